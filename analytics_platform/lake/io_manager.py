"""Dagster's view of the lake: a resource that connects and an IO manager for Polars frames.

An asset's key is `[product, table]`. The metadata entry `partition_column` names the date column
that tells the partitions of a table apart; an asset without partitions replaces its table. The
entry `schema_change` says what happens when the frame's columns are not the table's.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl

from analytics_platform.lake.errors import LakeError
from analytics_platform.lake.lake import Lake
from analytics_platform.lake.records import WHOLE, WriteRecord
from analytics_platform.lake.sql import identifier, table_name
from analytics_platform.settings import get_settings

PARTITION_COLUMN = "partition_column"
SCHEMA_CHANGE = "schema_change"
PREVIEW_ROWS = 5


class LakeResource(dg.ConfigurableResource):
    """The lake of this installation, for assets that write or read it with their own SQL."""

    @property
    def lake(self) -> Lake:
        """The lake that this process's settings name."""
        return Lake.from_settings(get_settings())


class LakeIOManager(dg.ConfigurableIOManager):
    """Writes Polars frames, eager or lazy, to the lake and reads them back.

    A write replaces the run's partition, or its whole range of partitions, in one transaction.
    An input annotated `pl.LazyFrame` is given lazily; any other as a `pl.DataFrame`.
    """

    resource: dg.ResourceDependency[LakeResource]

    def handle_output(self, context: dg.OutputContext, obj: pl.DataFrame | pl.LazyFrame) -> None:
        """Write a frame and attach rows, columns and a preview to the materialisation.

        Raises:
            LakeError: If `obj` is no frame, or holds rows of other partitions.
            SchemaChangedError: If its columns or types are not the table's, and the asset's
                metadata `schema_change` (fail, add_columns, replace) does not allow it.
        """
        if obj is None:
            # The asset wrote for itself and only says that it did.
            return
        if isinstance(obj, pl.LazyFrame):
            obj = obj.collect()
        if not isinstance(obj, pl.DataFrame):
            raise LakeError(
                f"{context.asset_key.to_user_string()} returned {type(obj).__name__}; "
                "expected a polars DataFrame or LazyFrame."
            )
        product, asset = context.asset_key.path
        partitions = list(context.asset_partition_keys) if context.has_asset_partitions else None
        declared = context.definition_metadata or {}
        column = declared.get(PARTITION_COLUMN)
        with self.resource.lake.transaction(f"write {product}.{asset}") as transaction:
            transaction.replace(
                product,
                asset,
                obj,
                partition_column=column,
                partitions=partitions,
                schema_change=declared.get(SCHEMA_CHANGE, "fail"),
            )
            transaction.record_writes(
                writes_of(product, asset, context.run_id, obj, column, partitions),
                columns={asset: column},
            )
        context.add_output_metadata(frame_metadata(obj))

    def load_input(self, context: dg.InputContext) -> pl.DataFrame | pl.LazyFrame:
        """Read a table, or the partitions of it that the run asks for."""
        product, asset = context.asset_key.path
        upstream = context.upstream_output
        column = (upstream.definition_metadata or {}).get(PARTITION_COLUMN) if upstream else None
        sql = f"SELECT * FROM {table_name(product, asset)}"
        parameters: list[Any] = []
        if context.has_asset_partitions and column:
            sql += f" WHERE {identifier(column)} IN (SELECT unnest(?::DATE[]))"
            parameters = [list(context.asset_partition_keys)]
        frame = self.resource.lake.query(sql, parameters)
        lazy = context.dagster_type.typing_type is pl.LazyFrame
        return frame.lazy() if lazy else frame


def writes_of(
    product: str,
    asset: str,
    run_id: str,
    frame: pl.DataFrame,
    column: str | None,
    partitions: Sequence[str] | None,
) -> list[WriteRecord]:
    """The write records of a frame: one per partition with its number of rows."""
    if partitions is None or column is None:
        return [WriteRecord(product, asset, WHOLE, run_id, frame.height)]
    counts = {str(key): rows for key, rows in frame.group_by(column).len().sort(column).iter_rows()}
    return [
        WriteRecord(product, asset, partition, run_id, counts.get(partition, 0))
        for partition in partitions
    ]


def frame_metadata(frame: pl.DataFrame) -> dict[str, Any]:
    """Rows, columns and a preview of a frame, as Dagster shows them."""
    return {
        "dagster/row_count": frame.height,
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn(name, str(dtype).lower()) for name, dtype in frame.schema.items()
            ]
        ),
        "preview": dg.MetadataValue.md(markdown_table(frame.head(PREVIEW_ROWS))),
    }


def markdown_table(frame: pl.DataFrame) -> str:
    """A small frame as a Markdown table."""
    if frame.width == 0:
        return "(no columns)"
    cells = [
        [
            "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")
            for value in row
        ]
        for row in frame.iter_rows()
    ]
    lines = [frame.columns, ["---"] * frame.width, *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
