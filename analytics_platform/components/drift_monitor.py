"""The `DriftMonitor` component: Evidently's weekly comparison with a reference, as an asset."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from analytics_platform.components.model import Window
from analytics_platform.components.product_spec import (
    NEEDS_DAYS,
    ProductSpec,
    check_result,
    file_record,
    frame_asset,
    product_of,
    run_partitions,
)
from analytics_platform.lake import FileRecord, FileStore, Lake
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.lake.sql import identifier, table_name
from analytics_platform.monitoring import DriftColumns, drift_report
from analytics_platform.settings import get_settings

WEEK = "week_start"


class DriftMonitor(dg.Component, dg.Model, dg.Resolvable):
    """A weekly drift report on one daily table.

    Attributes:
        name: The asset and table of scores.
        description: What is watched and why.
        table: The daily table.
        time_column: Its date column.
        reference: The days that each week is compared with.
        numeric: Numeric columns to compare.
        categorical: Columns with few values to compare.
        max_drifted_share: The share of columns, 0 to 1, that may drift before the check warns.
    """

    name: str
    description: str
    table: str
    time_column: str
    reference: Window
    numeric: list[str]
    categorical: list[str]
    max_drifted_share: float

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The drift report as an asset with weekly partitions and its check."""
        return dg.Definitions(assets=[_build_asset(self, product_of(context.path))])


def _build_asset(declared: DriftMonitor, product: ProductSpec) -> dg.AssetsDefinition:
    spec = product.asset_spec(
        declared.name,
        description=f"{declared.description}\n\nEach whole week of `{declared.table}` against "
        f"{declared.reference.first} to {declared.reference.last}: a score per column in this "
        "table, and Evidently's report as a file, linked from the materialisation.",
        kinds={"evidently", "ducklake"},
        deps=[product.key(declared.table)],
        partition_column=WEEK,
        row_key=[WEEK, "column"],
        partitions_def=product.weekly,
        metadata={NEEDS_DAYS: f"{declared.reference.first}/{declared.reference.last}"},
    )
    within = dg.AssetCheckSpec(
        "drifted_share_is_within_limit",
        asset=spec.key,
        description="Warns before a model meets data it was not made for: at most "
        f"{declared.max_drifted_share:.0%} of the columns drifted in the newest week of the run.",
    )

    @frame_asset(spec, [within])
    def drift(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        weeks = run_partitions(context, spec.partitions_def)
        first, last = declared.reference.first, declared.reference.last
        reference = _rows(lake.lake, product, declared, first, last)
        store = FileStore(get_settings().files_path)
        frames: list[pl.DataFrame] = []
        shares: dict[str, float] = {}
        reports: list[FileRecord] = []
        for week in weeks:
            monday = dt.date.fromisoformat(week)
            sunday = monday + dt.timedelta(days=6)
            current = _rows(lake.lake, product, declared, week, sunday.isoformat())
            result = drift_report(
                reference,
                current,
                DriftColumns(numeric=declared.numeric, categorical=declared.categorical),
                title=f"{product.title}: {declared.table}, week of {week}",
                reference_name=f"reference, {first} to {last}",
                current_name=f"{week} to {sunday}",
            )
            report = store.put(result.html.encode(), f"{declared.name}_{week}.html")
            reports.append(file_record(product, declared.name, week, report))
            shares[week] = result.drifted_share
            frames.append(
                result.scores.with_columns(
                    pl.lit(monday).alias(WEEK),
                    report_sha256=pl.lit(report.sha256),
                    report_name=pl.lit(report.name),
                )
            )
            drifted = result.scores.filter(pl.col("is_drifted"))["column"].to_list()
            context.add_asset_metadata(
                {
                    "report": dg.MetadataValue.url(store.ui_path(report)),
                    "drifted_share": result.drifted_share,
                    "drifted_columns": ", ".join(drifted) or "none",
                },
                asset_key=spec.key,
                partition_key=week,
            )
            context.log.info(f"Week of {week}: {len(drifted)} of {result.scores.height} drifted")
        with lake.lake.transaction(f"record reports of {declared.name}") as transaction:
            transaction.record_files(reports)
        yield dg.MaterializeResult(asset_key=spec.key, value=pl.concat(frames))
        yield check_result(
            lake.lake,
            context,
            spec.key,
            within.name,
            passed=shares[weeks[-1]] <= declared.max_drifted_share,
            partitions=[weeks[-1]],
            blocking=False,
            metadata={
                "week": weeks[-1],
                "drifted_share": shares[weeks[-1]],
                "limit": declared.max_drifted_share,
                "weeks_over_the_limit": sum(
                    share > declared.max_drifted_share for share in shares.values()
                ),
            },
        )

    return drift


def _rows(
    lake: Lake, product: ProductSpec, declared: DriftMonitor, first: str, last: str
) -> pl.DataFrame:
    columns = ", ".join(identifier(name) for name in (*declared.numeric, *declared.categorical))
    day = identifier(declared.time_column)
    return lake.query(
        f"SELECT {columns} FROM {table_name(product.name, declared.table)} "
        f"WHERE {day} BETWEEN ?::DATE AND ?::DATE ORDER BY ALL",
        [first, last],
    )
