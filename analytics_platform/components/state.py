"""What planning needs of a product: its assets, from the graph; its state, from the lake."""

import datetime as dt
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from analytics_platform.arrivals import LandingFolder, LandingZone, Look, SeenFile, look, write_down
from analytics_platform.components.product_spec import (
    LANDING,
    NEEDS_DAYS,
    ROLE,
    ROW_KEY,
    landing_folder,
)
from analytics_platform.lake import FileStore, Lake, WriterBusyError, records
from analytics_platform.lake.io_manager import PARTITION_COLUMN
from analytics_platform.lake.tables import RAW
from analytics_platform.modeling import challenger_of, champions, registry
from analytics_platform.planning import (
    Cadence,
    History,
    Node,
    ProductState,
    Role,
    SourceState,
)
from analytics_platform.release import ReleaseLog

logger = logging.getLogger(__name__)

WRITES_WITHOUT_CHECK = 2
"""How often a partition may be written without its checks running before it is left to a person."""


def cadence_of(partitions_def: dg.PartitionsDefinition | None) -> Cadence:
    """Whether an asset has daily, weekly or monthly partitions, or none."""
    if partitions_def is None:
        return "whole"
    if isinstance(partitions_def, dg.MonthlyPartitionsDefinition):
        return "monthly"
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
        cadence = cadence_of(asset.partitions_def)
        length = {"weekly": 7, "monthly": 31}.get(cadence, 1)
        parents = [
            (parent.path[-1], *_offsets(graph.get_partition_mapping(key, parent)))
            for parent in sorted(asset.parent_keys)
            if parent.path[0] == product
        ]
        nodes.append(
            Node(
                name=key.path[-1],
                cadence=cadence,
                role=asset.metadata[ROLE],
                upstreams=tuple(name for name, first, last in parents if first <= 0 <= last),
                history=tuple(
                    History(name, first * length, last * length + length - 1)
                    for name, first, last in parents
                    if first or last
                ),
                needs_days=_days(needs) if needs else None,
            )
        )
    return nodes


@dataclass(frozen=True)
class ProductShape:
    """What commands need to know of a product's assets, from the graph.

    Attributes:
        required: Every asset that is released, with the names of its blocking checks.
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
    roles: dict[str, Role] = {}
    daily: dict[str, str] = {}
    columns: dict[str, str] = {}
    keys: dict[str, list[str]] = {}
    for key in graph.toposorted_asset_keys:
        asset = graph.get(key)
        if key.path[0] != product or not asset.is_materializable:
            continue
        name = key.path[-1]
        roles[name] = asset.metadata[ROLE]
        if PARTITION_COLUMN in asset.metadata:
            columns[name] = asset.metadata[PARTITION_COLUMN]
            if cadence_of(asset.partitions_def) == "daily":
                daily[name] = columns[name]
        if ROW_KEY in asset.metadata:
            keys[name] = asset.metadata[ROW_KEY].split(", ")
    checks = [graph.get_check_spec(check) for check in sorted(graph.asset_check_keys)]
    required = required_checks(
        roles, [check for check in checks if check.asset_key.path[0] == product]
    )
    return ProductShape(required, daily, columns, keys)


def required_checks(
    roles: Mapping[str, Role], checks: Iterable[dg.AssetCheckSpec]
) -> dict[str, list[str]]:
    """The blocking checks that a release needs: every asset with the names of its own.

    A challenger is not among them: what it fails keeps it from being champion, and readers never
    see it.

    Args:
        roles: The role of each asset of the product.
        checks: The product's checks.
    """
    required: dict[str, list[str]] = {
        asset: [] for asset, role in sorted(roles.items()) if role not in {"release", "challenger"}
    }
    for check in checks:
        asset = check.asset_key.path[-1]
        if check.blocking and asset in required:
            required[asset].append(check.name)
    return {asset: sorted(names) for asset, names in required.items()}


def sources_of(graph: Any, product: str) -> list[LandingFolder]:
    """The product's landing folders, from the graph."""
    return [
        landing_folder(product, key.path[-1], graph.get(key))
        for key in graph.toposorted_asset_keys
        if key.path[0] == product and LANDING in graph.get(key).metadata
    ]


def look_at(
    lake: Lake,
    sources: Sequence[LandingFolder],
    product: str,
    zone: LandingZone,
    wait_seconds: float,
    seen: Sequence[SeenFile] | None = None,
) -> Look:
    """Look at a product's part of the landing zone, and tell the ledger what it does not know.

    Args:
        lake: The lake.
        sources: The product's landing folders.
        product: The product.
        zone: The landing zone.
        wait_seconds: How long to wait for the lake's turn. What could not be told the ledger then
            is found again by the next look.
        seen: What lies there, where it was listed already.
    """
    with lake.reader() as con:
        found = look(con, zone, product, sources, seen)
    try:
        write_down(Lake(lake.folder, wait_seconds), found)
    except WriterBusyError as busy:
        logger.info("The ledger is told later: %s", busy)
    return found


def product_state(
    lake: Lake, store: FileStore, graph: Any, product: str, found: Look
) -> ProductState:
    """The state of a product: what the lake holds, and what a look found due."""
    specs = [graph.get_check_spec(check) for check in graph.asset_check_keys]
    # As declared now: a check that was deleted will never run again, nor hold.
    blocking = {(*spec.asset_key.path, spec.name) for spec in specs if spec.blocking}
    with lake.reader() as con:
        con.execute("BEGIN")
        writes: dict[str, dict[str, int]] = {}
        for write in records.latest_writes(con, product).iter_rows(named=True):
            writes.setdefault(write["asset"], {})[write["partition"]] = write["snapshot_id"]
        removed = records.removed_partitions(con, product)
        failing: dict[str, set[str]] = {}
        for check in records.latest_checks(con, product).iter_rows(named=True):
            if (product, check["asset"], check["check"]) in blocking and not check["passed"]:
                failing.setdefault(check["asset"], set()).add(check["partition"])
        shape = shape_of(graph, product)
        required = [(asset, check) for asset in shape.required for check in shape.required[asset]]
        unverified = records.unverified(con, product, required, tries=WRITES_WITHOUT_CHECK)
        trained = registry.newest_versions(con, product)
        decided = champions.decided_versions(con, product)
    return ProductState(
        writes=writes,
        sources={RAW + source: SourceState(due) for source, due in found.due.items()},
        failing={asset: frozenset(partitions) for asset, partitions in failing.items()},
        unverified={asset: frozenset(found) for asset, found in unverified.items()},
        judged_snapshot=ReleaseLog(lake, store, product).judged_snapshot(),
        removed=removed,
        trained={challenger_of(model): version for model, version in trained.items()},
        decided=decided,
    )


def _offsets(mapping: dg.PartitionMapping | None) -> tuple[int, int]:
    """The first and the last partition a dependency reads, counted from the asset's own."""
    if isinstance(mapping, dg.TimeWindowPartitionMapping):
        return mapping.start_offset, mapping.end_offset
    return 0, 0


def _days(declared: str) -> tuple[dt.date, dt.date]:
    first, last = declared.split("/")
    return dt.date.fromisoformat(first), dt.date.fromisoformat(last)
