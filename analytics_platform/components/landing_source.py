"""The `LandingSource` component: one kind of arriving file as a raw table with its checks."""

from collections.abc import Iterator
from typing import Any, Literal

import dagster as dg
import dataframely as dy

from analytics_platform.arrivals import CHECKS, LoadReport, Source, load
from analytics_platform.components.product_spec import (
    LANDING,
    ProductSpec,
    product_of,
    run_partitions,
)
from analytics_platform.contracts import FileFormat, FileKind, contract_columns
from analytics_platform.lake import FileStore, SchemaChange
from analytics_platform.lake.io_manager import LakeResource, frame_metadata
from analytics_platform.settings import get_settings


class LandingSource(dg.Component, dg.Model, dg.Resolvable):
    """A landing source: files of one kind, their contract, and the raw table they load.

    The contract is the `dataframely` schema in the `contract.py` beside the `defs.yaml`.

    Attributes:
        name: The source's name; the table is `raw_<name>`.
        description: What the source holds and who delivers it when.
        folder: Its folder in the product's landing zone.
        pattern: The file's name, with `{partition}` where its day stands.
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
        partition_column: The date column of its daily partitions; leave out for a source that is
            delivered whole.
        max_quarantined_share: The share of a file's rows, 0 to 1, that may break a rule.
        schema_change: What happens when the contract's columns are no longer the table's: `fail`,
            `add_columns`, or `replace`.
    """

    name: str
    description: str
    folder: str
    pattern: str
    file_format: FileKind
    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    decimal: str = "."
    thousands: str = ""
    date_format: str = "%Y-%m-%d"
    datetime_format: str | None = None
    compression: Literal["auto", "none", "gzip"] = "auto"
    unknown_columns: Literal["fail", "ignore"] = "fail"
    missing_columns: Literal["fail", "null"] = "fail"
    max_bytes: int = 2 * 1024**3
    partition_column: str | None = None
    max_quarantined_share: float = 0.01
    schema_change: SchemaChange = "fail"

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The raw table as an asset with its three checks."""
        product = product_of(context.path)
        module = context.load_defs_relative_python_module(context.path / "contract.py")
        source = self._source(product, _contract_in(module))
        return dg.Definitions(assets=[_build_asset(product, source, self.description)])

    def _source(self, product: ProductSpec, contract: type[dy.Schema]) -> Source:
        return Source(
            product=product.name,
            name=self.name,
            folder=self.folder,
            pattern=self.pattern,
            file_format=FileFormat(
                kind=self.file_format,
                delimiter=self.delimiter,
                quote=self.quote,
                encoding=self.encoding,
                decimal=self.decimal,
                thousands=self.thousands,
                date_format=self.date_format,
                datetime_format=self.datetime_format,
                compression=self.compression,
                unknown_columns=self.unknown_columns,
                missing_columns=self.missing_columns,
                max_bytes=self.max_bytes,
            ),
            contract=contract,
            partition_column=self.partition_column,
            max_quarantined_share=self.max_quarantined_share,
            schema_change=self.schema_change,
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


def _build_asset(product: ProductSpec, source: Source, description: str) -> dg.AssetsDefinition:
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
            LANDING: f"{source.folder}/{source.pattern}",
            "max_quarantined_share": source.max_quarantined_share,
        },
    )
    check_specs = [
        dg.AssetCheckSpec(name, asset=key, description=protects, blocking=True)
        for name, protects in CHECKS.items()
    ]

    @dg.multi_asset(
        name=f"{product.name}__{source.asset}",
        specs=[spec],
        check_specs=check_specs,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def raw(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        report = load(
            lake.lake,
            FileStore(get_settings().files_path),
            source,
            get_settings().landing_path,
            run_partitions(context, spec.partitions_def),
            context.run.run_id,
        )
        context.log.info(
            f"{source.asset}: {len(report.loaded)} files loaded with {report.frame.height} rows, "
            f"{sum(o.quarantined for o in report.outcomes)} rows quarantined, "
            f"{len(report.rejected)} files rejected"
        )
        metadata = _materialization_metadata(report)
        if report.rejected:
            # What was loaded stays loaded and is said; the run fails for the rest.
            for outcome in report.loaded:
                context.log_event(
                    dg.AssetMaterialization(
                        key, partition=outcome.partition or None, metadata={"rows": outcome.rows}
                    )
                )
        else:
            yield dg.MaterializeResult(asset_key=key, metadata=metadata)
        for name in CHECKS:
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=name,
                passed=report.passed[name],
                metadata=report.details[name],
            )
        if report.rejected:
            raise dg.Failure(
                description="\n".join(outcome.error for outcome in report.rejected[:20]),
                metadata={"rejected_files": len(report.rejected), "loaded": len(report.loaded)},
                allow_retries=False,
            )

    return raw


def _materialization_metadata(report: LoadReport) -> dict[str, Any]:
    metadata = frame_metadata(report.frame)
    metadata.pop("dagster/column_schema")
    return {
        **metadata,
        "files": len(report.loaded),
        "rows_in_files": sum(outcome.rows for outcome in report.outcomes),
        "rows_quarantined": sum(outcome.quarantined for outcome in report.outcomes),
        "rows_per_broken_rule": report.counts,
    }
