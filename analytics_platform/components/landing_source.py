"""The `LandingSource` component: one kind of arriving file as a raw table with its checks."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import dagster as dg
import dataframely as dy
from pydantic import Field

from analytics_platform.arrivals import (
    ACCOUNTED,
    ARRIVED,
    LoadReport,
    Source,
    UsualVolume,
    checks_of,
    files_left_aside,
    landing_zone,
    load,
    missing_files,
    replay,
)
from analytics_platform.components.product_spec import (
    LANDING,
    PLAN_TAG,
    ProductSpec,
    landing_metadata,
    product_of,
    run_partitions,
)
from analytics_platform.contracts import FileFormat, FileKind, contract_columns
from analytics_platform.lake import CheckRecord, FileStore, SchemaChange, records
from analytics_platform.lake.io_manager import LakeResource, frame_metadata
from analytics_platform.lake.records import WHOLE
from analytics_platform.settings import get_settings

SHOWN = 20
MOST_NAMED = 1000
"""How many files the record of a check names: each name is news to the alerter, and each alert's
events repeat them. Of those beyond, only the number is known."""


class Volume(dg.Model, dg.Resolvable):
    """How many rows a partition usually has, as `arrivals.UsualVolume` documents it."""

    least_share: float = UsualVolume.least_share
    most_share: float = UsualVolume.most_share
    days: int = UsualVolume.days
    at_least: int = UsualVolume.at_least


class LoadConfig(dg.Config):
    """What a run of a raw table does; as it stands, it loads what has arrived."""

    replay: bool = Field(
        False,
        description="Judge only the quarantined rows of the run's partitions again, by the "
        "contract and format of now, and load those that hold.",
    )


def replay_config(product: str, asset: str) -> dict[str, Any]:
    """The run config by which a run of a raw table replays its quarantined rows."""
    return {"ops": {_op_name(product, asset): {"config": {"replay": True}}}}


def _op_name(product: str, asset: str) -> str:
    return f"{product}__{asset}"


class LandingSource(dg.Component, dg.Model, dg.Resolvable):
    """A landing source: files of one kind, their contract, and the raw table they load.

    The contract is the `dataframely` schema in the `contract.py` beside the `defs.yaml`.

    Attributes:
        name: The source's name; the table is `raw_<name>`.
        description: What the source holds and who delivers it when.
        folder: Its folder in the product's landing zone.
        pattern: The file's name, with `{partition}` where its day stands, and `*` for what tells
            several files of a day apart.
        marker: The name of the file that says that another is complete, such as `{file}.done`.
        settle_seconds: How long a file must have stood still before it is loaded by itself; as
            the installation has it unless said.
        due_hours: How many hours after a day has begun (UTC) its file is due; leave out where only
            the file of a later day tells that one is missing.
        file_format: csv or parquet.
        delimiter: What parts values; this and what follows as `contracts.FileFormat` has it.
        quote: What values with delimiters or line breaks are wrapped in.
        encoding: The text's encoding.
        decimal: What parts a number from its fraction.
        thousands: What may part a number's groups of three digits.
        date_format: The strptime format of dates.
        datetime_format: The strptime format of times; ISO 8601 unless said.
        compression: gzip, none, or auto: gzip where the name ends in `.gz`.
        unknown_columns: What a column that the contract does not know does: `fail` or `ignore`.
        missing_columns: What a missing column does: `fail`, or `null` where it may be null.
        max_bytes: The most a file may hold, uncompressed.
        max_line_bytes: The most one line of text may hold.
        partition_column: The date column of its daily partitions; leave out for a source that is
            delivered whole.
        max_quarantined_share: The share of a file's rows, 0 to 1, that may break a rule.
        volume: How many rows a partition usually has, against the days before it; leave out where
            any number is usual.
        schema_change: What happens when the contract's columns are no longer the table's: `fail`,
            `add_columns`, or `replace`.
    """

    name: str
    description: str
    folder: str
    pattern: str
    file_format: FileKind
    delimiter: str = FileFormat.delimiter
    quote: str = FileFormat.quote
    encoding: str = FileFormat.encoding
    decimal: str = FileFormat.decimal
    thousands: str = FileFormat.thousands
    date_format: str = FileFormat.date_format
    datetime_format: str | None = FileFormat.datetime_format
    compression: Literal["auto", "none", "gzip"] = FileFormat.compression
    unknown_columns: Literal["fail", "ignore"] = FileFormat.unknown_columns
    missing_columns: Literal["fail", "null"] = FileFormat.missing_columns
    max_bytes: int = FileFormat.max_bytes
    max_line_bytes: int = FileFormat.max_line_bytes
    partition_column: str | None = None
    max_quarantined_share: float = 0.01
    schema_change: SchemaChange = "fail"
    marker: str = ""
    settle_seconds: float | None = None
    due_hours: float | None = None
    volume: Volume | None = None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The raw table as an asset with its checks, and the checks of what arrives."""
        product = product_of(context.path)
        module = context.load_defs_relative_python_module(context.path / "contract.py")
        source = self.source_of(product, _contract_in(module))
        return dg.Definitions(
            assets=[build_asset(product, source, self.description)],
            asset_checks=[_build_arrival_checks(product, source)],
        )

    def source_of(self, product: ProductSpec, contract: type[dy.Schema]) -> Source:
        """The source as the room of arrivals takes it."""
        declared = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(FileFormat)
            if field.name != "kind"
        }
        return Source(
            product=product.name,
            name=self.name,
            folder=self.folder,
            pattern=self.pattern,
            file_format=FileFormat(self.file_format, **declared),
            contract=contract,
            partition_column=self.partition_column,
            max_quarantined_share=self.max_quarantined_share,
            schema_change=self.schema_change,
            marker=self.marker if get_settings().wait_for_markers else "",
            settle_seconds=(
                get_settings().settle_seconds
                if self.settle_seconds is None
                else self.settle_seconds
            ),
            due_hours=self.due_hours,
            first_day=product.first_day if self.partition_column else None,
            end_day=product.end_day if self.partition_column else None,
            volume=UsualVolume(**self.volume.model_dump()) if self.volume else None,
        )


def _contract_in(module: Any) -> type[dy.Schema]:
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, dy.Schema)
        and value is not dy.Schema
        and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise dg.DagsterInvalidDefinitionError(
            f"{module.__name__}: expected one dataframely schema, found "
            f"{[schema.__name__ for schema in found]}. A source has one contract."
        )
    return found[0]


def build_asset(product: ProductSpec, source: Source, description: str) -> dg.AssetsDefinition:
    """The raw table of a source as an asset with its checks."""
    key = product.key(source.asset)
    columns = [
        dg.TableColumn(
            column.name,
            column.duckdb_type,
            column.description,
            dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in contract_columns(source.contract)
    ]
    spec = product.asset_spec(
        source.asset,
        description=description,
        kinds={source.file_format.kind, "polars", "ducklake"},
        role="source",
        partition_column=source.partition_column,
        row_key=source.contract.primary_key(),
        schema_change=source.schema_change,
        metadata={
            "dagster/column_schema": dg.TableSchema(columns),
            LANDING: landing_metadata(source),
            "max_quarantined_share": source.max_quarantined_share,
        },
        # A run may find that what it was started for needs no load.
        skippable=True,
    )
    checks = checks_of(source)
    check_specs = [
        dg.AssetCheckSpec(name, asset=key, description=check.protects, blocking=check.blocking)
        for name, check in checks.items()
    ]

    @dg.multi_asset(
        name=_op_name(product.name, source.asset),
        specs=[spec],
        check_specs=check_specs,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def raw(
        context: dg.AssetExecutionContext, config: LoadConfig, lake: LakeResource
    ) -> Iterator[Any]:
        partitions = run_partitions(context, spec.partitions_def)
        store, run_id = FileStore(get_settings().files_path), context.run.run_id
        if config.replay:
            report = replay(lake.lake, store, source, partitions, run_id)
        else:
            zone = landing_zone(get_settings().landing_url)
            is_planned = bool(context.run.tags.get(PLAN_TAG))
            report = load(lake.lake, store, source, zone, partitions, run_id, is_planned=is_planned)
        context.log.info(_told(source, report))
        is_whole = set(report.written) == set(partitions) and not report.errors
        # The rows of a replay are not all that stand of a partition, as the metadata would say.
        if is_whole and not config.replay:
            yield dg.MaterializeResult(asset_key=key, metadata=_materialization_metadata(report))
        else:
            # What was loaded stays loaded and is said.
            for partition in report.written:
                context.log_event(dg.AssetMaterialization(key, partition=partition or None))
        for name, check in checks.items():
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=name,
                passed=report.passed[name],
                severity=(
                    dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN
                ),
                metadata=dict(report.details[name]),
            )
        if report.errors:
            raise dg.Failure(
                description="\n".join(report.errors[:20]),
                metadata={"errors": len(report.errors), "loaded": len(report.written)},
                allow_retries=False,
            )

    return raw


def _told(source: Source, report: LoadReport) -> str:
    counts = Counter(entry.status for entry in report.files)
    files = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"
    return (
        f"{source.asset}: files {files}; rows loaded {report.frame.height:,}, quarantined "
        f"{report.quarantined:,}"
    )


def _materialization_metadata(report: LoadReport) -> dict[str, Any]:
    metadata = frame_metadata(report.frame)
    metadata.pop("dagster/column_schema")
    return {
        **metadata,
        "files": len(report.of_status("loaded")),
        "rows_in_files": report.frame.height + report.quarantined,
        "rows_quarantined": report.quarantined,
        "rows_per_broken_rule": dict(report.counts),
    }


def _build_arrival_checks(product: ProductSpec, source: Source) -> dg.AssetChecksDefinition:
    """Two checks that ask the ledger and warn, with or without a load."""
    key = product.key(source.asset)
    specs = [
        dg.AssetCheckSpec(
            ARRIVED,
            asset=key,
            description="Warns of files that should be there by now and never came, by name.",
        ),
        dg.AssetCheckSpec(
            ACCOUNTED,
            asset=key,
            description="Warns of what lies in the source's folder and is not loaded: names that "
            "match no source, days that are none of the product's, links, a day's only file that "
            "repeats another's, files that went before they were loaded.",
        ),
    ]

    @dg.multi_asset_check(name=f"{product.name}__{source.asset}__arrivals", specs=specs)
    def arrivals(
        context: dg.AssetCheckExecutionContext, lake: LakeResource
    ) -> Iterator[dg.AssetCheckResult]:
        with lake.lake.reader() as con:
            found = {
                ARRIVED: missing_files(con, source),
                ACCOUNTED: files_left_aside(con, source),
            }
            latest = records.latest_checks(con, product.name)
        told = {
            row["check"]: row["detail"]
            for row in latest.filter(asset=source.asset).iter_rows(named=True)
        }
        news = []
        for name, files in found.items():
            detail = {"files": len(files), "first": files[:MOST_NAMED]} if files else {}
            if told.get(name) != json.dumps(detail):
                news.append(
                    CheckRecord(
                        product.name,
                        source.asset,
                        name,
                        WHOLE,
                        not files,
                        False,
                        context.run.run_id,
                        detail,
                    )
                )
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=name,
                passed=not files,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={
                    "files": len(files),
                    **({"first": dg.MetadataValue.md(_listed(files))} if files else {}),
                },
            )
        if news:
            # For who asks without Dagster. What is known already is not said again by the hour.
            with lake.lake.transaction(f"say what arrives of {source.asset}") as transaction:
                transaction.record_checks(news, transaction.snapshot_id)

    return arrivals


def _listed(files: Sequence[str]) -> str:
    more = f"\n- … and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return "\n".join(f"- `{file}`" for file in files[:SHOWN]) + more
