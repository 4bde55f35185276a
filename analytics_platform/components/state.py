"""What planning needs of a product: its assets, from the graph; its state, from the lake."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from analytics_platform.arrivals import LandingFolder, scan, waiting
from analytics_platform.components.product_spec import LANDING, NEEDS_DAYS, ROLE, ROW_KEY
from analytics_platform.lake import FileStore, Lake, records
from analytics_platform.lake.io_manager import PARTITION_COLUMN
from analytics_platform.planning import Cadence, Node, ProductState, SourceState
from analytics_platform.release import ReleaseLog

WRITES_WITHOUT_CHECK = 2
"""How often a partition may be written without its checks running before it is left to a person."""


def cadence_of(partitions_def: dg.PartitionsDefinition | None) -> Cadence:
    """Whether an asset has daily partitions, weekly ones, or none."""
    if partitions_def is None:
        return "whole"
    return "weekly" if isinstance(partitions_def, dg.WeeklyPartitionsDefinition) else "daily"


def nodes_of(graph: Any, product: str) -> list[Node]:
    """The product's assets as planning sees them, upstream first.

    Args:
        graph: The code location's asset graph.
        product: The product's name.
    """
    nodes: list[Node] = []
    for key in graph.toposorted_asset_keys:
        if key.path[0] != product or not graph.get(key).is_materializable:
            continue
        asset = graph.get(key)
        needs = asset.metadata.get(NEEDS_DAYS)
        parents = [
            (parent.path[-1], _is_history(graph.get_partition_mapping(key, parent)))
            for parent in sorted(asset.parent_keys)
            if parent.path[0] == product
        ]
        nodes.append(
            Node(
                name=key.path[-1],
                cadence=cadence_of(asset.partitions_def),
                role=asset.metadata[ROLE],
                upstreams=tuple(name for name, past in parents if not past),
                history=tuple(name for name, past in parents if past),
                needs_days=_days(needs) if needs else None,
            )
        )
    return nodes


@dataclass(frozen=True)
class ProductShape:
    """What commands need to know of a product's assets, from the graph.

    Attributes:
        required: Every asset but the release, with the names of its blocking checks.
        daily_columns: The partition column of each asset with daily partitions.
        columns: The partition column of each asset with partitions of any kind.
        keys: Per table, the columns that identify a row.
    """

    required: Mapping[str, Sequence[str]]
    daily_columns: Mapping[str, str]
    columns: Mapping[str, str]
    keys: Mapping[str, Sequence[str]]


def shape_of(graph: Any, product: str) -> ProductShape:
    """The shape of a product.

    Args:
        graph: The code location's asset graph.
        product: The product's name.
    """
    required: dict[str, list[str]] = {}
    daily: dict[str, str] = {}
    columns: dict[str, str] = {}
    keys: dict[str, list[str]] = {}
    for key in graph.toposorted_asset_keys:
        asset = graph.get(key)
        if (
            key.path[0] != product
            or not asset.is_materializable
            or asset.metadata[ROLE] == "release"
        ):
            continue
        name = key.path[-1]
        required[name] = []
        if PARTITION_COLUMN in asset.metadata:
            columns[name] = asset.metadata[PARTITION_COLUMN]
            if cadence_of(asset.partitions_def) == "daily":
                daily[name] = columns[name]
        if ROW_KEY in asset.metadata:
            keys[name] = asset.metadata[ROW_KEY].split(", ")
    for check in sorted(graph.asset_check_keys):
        name = check.asset_key.path[-1]
        blocking = graph.get_check_spec(check).blocking
        if check.asset_key.path[0] == product and name in required and blocking:
            required[name].append(check.name)
    return ProductShape(required, daily, columns, keys)


def product_state(
    lake: Lake, store: FileStore, graph: Any, product: str, landing: Path
) -> ProductState:
    """The state of a product, read in one look at the lake and one at the landing zone."""
    sources = [
        _landing_folder(product, key.path[-1], graph.get(key).metadata[LANDING])
        for key in graph.toposorted_asset_keys
        if key.path[0] == product and LANDING in graph.get(key).metadata
    ]
    with lake.reader() as con:
        con.execute("BEGIN")
        writes: dict[str, dict[str, int]] = {}
        for write in records.latest_writes(con, product).iter_rows(named=True):
            writes.setdefault(write["asset"], {})[write["partition"]] = write["snapshot_id"]
        failing: dict[str, set[str]] = {}
        for check in records.latest_checks(con, product).iter_rows(named=True):
            if check["blocking"] and not check["passed"]:
                failing.setdefault(check["asset"], set()).add(check["partition"])
        shape = shape_of(graph, product)
        required = [(asset, check) for asset in shape.required for check in shape.required[asset]]
        unverified = records.unverified(con, product, required, tries=WRITES_WITHOUT_CHECK)
        waits = {
            source.asset: SourceState(waiting(con, source, scan(source, landing)))
            for source in sources
        }
    return ProductState(
        writes=writes,
        sources=waits,
        failing={asset: frozenset(partitions) for asset, partitions in failing.items()},
        unverified={asset: frozenset(found) for asset, found in unverified.items()},
        judged_snapshot=ReleaseLog(lake, store, product).judged_snapshot(),
    )


def _landing_folder(product: str, asset: str, declared: str) -> LandingFolder:
    folder, _, pattern = declared.rpartition("/")
    return LandingFolder(product, asset.removeprefix("raw_"), folder, pattern)


def _is_history(mapping: dg.PartitionMapping | None) -> bool:
    """Whether a dependency reads other partitions than the asset's own, as history does."""
    return isinstance(mapping, dg.TimeWindowPartitionMapping) and bool(
        mapping.start_offset or mapping.end_offset
    )


def _days(declared: str) -> tuple[dt.date, dt.date]:
    first, last = declared.split("/")
    return dt.date.fromisoformat(first), dt.date.fromisoformat(last)
