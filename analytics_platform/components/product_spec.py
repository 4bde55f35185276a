"""What a product declares about itself, and how its other components read it.

The declaration stands in `assets/<product>/product/defs.yaml`. It is not the folder's own
`defs.yaml`, because a component there would hide the folders and modules beside it.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from pydantic import BaseModel, ConfigDict, Field

from analytics_platform.arrivals import LandingFolder
from analytics_platform.lake import FileRecord, SchemaChange, StoredFile, records
from analytics_platform.lake.files import ui_path
from analytics_platform.lake.io_manager import PARTITION_COLUMN, SCHEMA_CHANGE
from analytics_platform.lake.lake import Lake
from analytics_platform.lake.records import WHOLE, CheckRecord
from analytics_platform.lake.tables import RAW

PRODUCT_TAG = "ap/product"
"""The tag of a run that works on a product; one is at work at a time."""

PLAN_TAG = "ap/plan"
"""The tag of a run that planning started: which work it is."""

ROLE = "role"
NEEDS_DAYS = "needs_days"
LANDING = "landing"
ROW_KEY = "row_key"


class ProductSpec(BaseModel):
    """A product's declaration.

    Attributes:
        name: The product's name: its folder under `assets/` and its schema in the lake; lower-case
            letters, digits and underscores.
        title: In words, for people.
        owners: E-mail addresses or `team:<name>`, as Dagster takes them.
        first_day: The first daily partition.
        end_day: The day after the last daily partition.
        delivery: Dotted path of a function that writes demonstration files, or None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # It becomes a schema, a folder and a catalog's name, in SQL that people write without quotes.
    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    title: str
    owners: list[str] = Field(min_length=1)
    first_day: dt.date
    end_day: dt.date
    delivery: str | None = None

    @property
    def daily(self) -> dg.DailyPartitionsDefinition:
        """The product's days."""
        return dg.DailyPartitionsDefinition(
            start_date=self.first_day.isoformat(), end_date=self.end_day.isoformat()
        )

    @property
    def weekly(self) -> dg.WeeklyPartitionsDefinition:
        """The product's whole weeks, each named by its Monday."""
        return dg.WeeklyPartitionsDefinition(
            start_date=self.first_day.isoformat(),
            end_date=self.end_day.isoformat(),
            day_offset=1,
        )

    @property
    def monthly(self) -> dg.MonthlyPartitionsDefinition:
        """The product's whole months, each named by its first day."""
        return dg.MonthlyPartitionsDefinition(
            start_date=self.first_day.isoformat(), end_date=self.end_day.isoformat()
        )

    def key(self, asset: str) -> dg.AssetKey:
        """The key of an asset of this product."""
        return dg.AssetKey([self.name, asset])

    def asset_spec(
        self,
        asset: str,
        *,
        description: str,
        kinds: set[str],
        role: str = "table",
        deps: Sequence[Any] = (),
        partition_column: str | None = None,
        partitions_def: dg.PartitionsDefinition | None = None,
        row_key: Sequence[str] = (),
        schema_change: SchemaChange = "fail",
        metadata: dict[str, Any] | None = None,
        code_version: str | None = None,
        skippable: bool = False,
    ) -> dg.AssetSpec:
        """An asset's specification with what all assets of the product share.

        Args:
            asset: The asset's name, which is its table's.
            description: What it holds and for whom.
            kinds: What it is made with, as Dagster shows it.
            role: Its part in planning: source, table, challenger, champion or release.
            deps: The assets it reads.
            partition_column: The date column that tells its partitions apart.
            partitions_def: Its partitions, where they are not the product's days.
            row_key: The columns that identify a row; two states are compared by them.
            schema_change: What happens when the frame's columns are no longer the table's.
            metadata: More metadata.
            code_version: The version of its code.
            skippable: Whether a run may leave it as it is.
        """
        if partition_column is not None and partitions_def is None:
            partitions_def = self.daily
        return dg.AssetSpec(
            self.key(asset),
            deps=deps,
            description=description,
            kinds=kinds,
            owners=self.owners,
            group_name=self.name,
            partitions_def=partitions_def,
            code_version=code_version,
            skippable=skippable,
            metadata={
                ROLE: role,
                # Models and a release are no tables.
                **(
                    {"dagster/table_name": f"lake.{self.name}.{asset}"}
                    if role in {"source", "table"}
                    else {}
                ),
                **({PARTITION_COLUMN: partition_column} if partition_column else {}),
                **({ROW_KEY: ", ".join(row_key)} if row_key else {}),
                **({SCHEMA_CHANGE: schema_change} if schema_change != "fail" else {}),
                **(metadata or {}),
            },
        )


def landing_metadata(source: LandingFolder) -> dict[str, Any]:
    """What an asset says of the files it is loaded from, for people and for the sensor."""
    return {
        name: value
        for name in ("folder", "pattern", "marker", "settle_seconds", "due_hours")
        if (value := getattr(source, name)) not in ("", None)
    }


def landing_folder(product: str, asset: str, spec: Any) -> LandingFolder:
    """The landing folder of a source's asset, as its definition has it.

    Args:
        product: The product.
        asset: The asset.
        spec: Its node in the code location's graph.
    """
    days = spec.partitions_def
    return LandingFolder(
        product=product,
        name=asset.removeprefix(RAW),
        **spec.metadata[LANDING],
        first_day=days.start.date() if days is not None else None,
        end_day=days.end.date() if days is not None else None,
    )


@cache
def _read(path: Path) -> ProductSpec:
    declared = yaml.safe_load(path.read_text())
    return ProductSpec.model_validate(declared["attributes"])


def product_of(path: Path | str) -> ProductSpec:
    """The product that a file or folder under `assets/` belongs to.

    Raises:
        FileNotFoundError: If no folder above it holds `product/defs.yaml`.
    """
    path = Path(path).resolve()
    for folder in (path, *path.parents):
        declaration = folder / "product" / "defs.yaml"
        if declaration.is_file():
            return _read(declaration)
    raise FileNotFoundError(
        f"{path} belongs to no product: no folder above it holds product/defs.yaml. "
        "Put it under assets/<product>/."
    )


def run_partitions(
    context: dg.AssetExecutionContext, partitions_def: dg.PartitionsDefinition | None
) -> list[str]:
    """The partitions of an asset that a run materialises; `[WHOLE]` for an asset without any.

    Args:
        context: The asset's execution context.
        partitions_def: The asset's own partitions: a run of days also rebuilds tables without any.
    """
    if partitions_def is None:
        return [WHOLE]
    return list(context.partition_keys)


def frame_asset(
    spec: dg.AssetSpec, checks: Sequence[dg.AssetCheckSpec]
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """A decorator for an asset whose frame the IO manager writes to the lake.

    The function is a generator: it yields `MaterializeResult(asset_key=…, value=frame)`, which is
    written before the function goes on, and then the results of its checks, which therefore look
    at what the lake holds. A run may ask it for one partition or for a range of them.
    """
    name = spec.key.to_python_identifier()
    return dg.multi_asset(
        name=name,
        outs={name: dg.AssetOut.from_spec(spec.replace_attributes(deps=[]), dagster_type=object)},
        deps=list(spec.deps),
        partitions_def=spec.partitions_def,
        check_specs=list(checks),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )


def check_result(
    lake: Lake,
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    check: str,
    *,
    passed: bool,
    partitions: Sequence[str] = (WHOLE,),
    blocking: bool = True,
    metadata: dict[str, Any] | None = None,
) -> dg.AssetCheckResult:
    """The result of a check, recorded in the lake as evidence and given to Dagster.

    Args:
        lake: The lake that the check has just looked at, after the asset's write.
        context: The asset's execution context.
        key: The asset checked.
        check: The check's name.
        passed: Whether it holds.
        partitions: The partitions it looked at; the whole table unless said.
        blocking: Whether a release needs it.
        metadata: What a person needs to find the cause.
    """
    product, asset = key.path
    results = [
        CheckRecord(
            product,
            asset,
            check,
            partition,
            passed,
            blocking,
            context.run.run_id,
            {} if passed else (metadata or {}),
        )
        for partition in partitions
    ]
    with lake.transaction(f"record check {check} of {product}.{asset}") as transaction:
        seen = records.seen_by(
            transaction.connection,
            product,
            asset,
            partitions,
            context.run.run_id,
            transaction.snapshot_id - 1,
        )
        transaction.record_checks(results, seen)
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=check,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
        metadata=metadata or {},
    )


def file_record(product: ProductSpec, asset: str, partition: str, stored: StoredFile) -> FileRecord:
    """The record of a stored file that belongs to an asset's partition."""
    return FileRecord(product.name, asset, partition, stored.name, stored.sha256, stored.size)


def file_link(sha256: str, name: str) -> dg.MetadataValue:
    """A stored file as an asset's page has it: a picture is shown, and anything else linked."""
    address = ui_path(sha256, name)
    if name.endswith(".svg"):
        return dg.MetadataValue.md(f"![{name}]({address})")
    return dg.MetadataValue.url(address)
