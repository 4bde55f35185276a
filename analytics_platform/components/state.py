"""What planning needs of a product: its assets, from the graph; its state, from the lake."""

import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg

from analytics_platform.arrivals import LandingFolder, scan, waiting
from analytics_platform.components.product_spec import LANDING, NEEDS_DAYS, ROLE
from analytics_platform.lake import Lake, records
from analytics_platform.planning import Cadence, Node, ProductState, SourceState

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


def product_state(lake: Lake, graph: Any, product: str, landing: Path) -> ProductState:
    """The state of a product, read in one look at the lake and one at the landing zone."""
    sources = [
        _landing_folder(product, key.path[-1], graph.get(key).metadata[LANDING])
        for key in graph.toposorted_asset_keys
        if key.path[0] == product and LANDING in graph.get(key).metadata
    ]
    with lake.reader() as con:
        con.execute("BEGIN")
        writes: dict[str, dict[str, int]] = {}
        for asset, partition, snapshot_id, _rows in records.latest_writes(con, product).iter_rows():
            writes.setdefault(asset, {})[partition] = snapshot_id
        failing: dict[str, set[str]] = {}
        for check in records.latest_checks(con, product).iter_rows(named=True):
            if check["blocking"] and not check["passed"]:
                failing.setdefault(check["asset"], set()).add(check["partition"])
        required = [
            (key.asset_key.path[-1], key.name)
            for key in sorted(graph.asset_check_keys)
            if key.asset_key.path[0] == product and graph.get_check_spec(key).blocking
        ]
        unverified = records.unverified(con, product, required, tries=WRITES_WITHOUT_CHECK)
        judged = con.execute(
            "SELECT coalesce(max(snapshot_id), -1) FROM lake.ops.releases WHERE product = ?",
            [product],
        ).fetchone()
        waits = {
            source.asset: SourceState(waiting(con, source, scan(source, landing)))
            for source in sources
        }
    return ProductState(
        writes=writes,
        sources=waits,
        failing={asset: frozenset(partitions) for asset, partitions in failing.items()},
        unverified={asset: frozenset(found) for asset, found in unverified.items()},
        judged_snapshot=judged[0] if judged else -1,
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
