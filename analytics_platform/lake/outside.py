"""Changes of tables that no run recorded: a person's own SQL, or what a killed run left.

DuckLake lists what each snapshot changed; `ops.writes` says what runs wrote. A table that changed
after the newest record of its asset was changed by something else, and nothing has checked it. The
next record of the asset would hide that, be it of another partition. So whoever records a write
first writes down here what had changed, and that counts until the partition is made again.

Belongs here: finding such changes and keeping them. Does not belong here: what follows for a
release (`release.gate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace

import duckdb

from analytics_platform.lake import ledger, records
from analytics_platform.lake.catalog import drops, last_changes
from analytics_platform.lake.sql import identifier, literal
from analytics_platform.lake.tables import QUARANTINE, asset_of


@dataclass(frozen=True)
class OutsideChange:
    """A partition of an asset's table that changed outside any recorded run.

    Attributes:
        product: The product.
        asset: The asset.
        partition: The partition; None where it may be any.
        snapshot_id: The snapshot that changed it.
    """

    product: str
    asset: str
    partition: str | None
    snapshot_id: int


@dataclass(frozen=True)
class UnrecordedChange:
    """A table or view that changed after the newest record of its asset.

    Attributes:
        table: Its name.
        asset: The asset that it belongs to by its name, if there is such a one.
        recorded: The snapshot of the newest record; -1 where there is none.
        changed: The snapshot of the last change.
        is_gone: Whether it was dropped.
    """

    table: str
    asset: str
    recorded: int
    changed: int
    is_gone: bool


def unrecorded_changes(
    con: duckdb.DuckDBPyConnection, product: str, assets: Iterable[str] | None = None
) -> list[UnrecordedChange]:
    """What changed outside any recorded run and was not recorded over since.

    Args:
        con: A connection with the lake attached as `lake`, possibly inside a transaction.
        product: The product.
        assets: Look at the tables of these only.
    """
    wanted = None if assets is None else set(assets)
    gone = drops(con, product)
    moved = {
        table: at
        for table, at in (last_changes(con, product) | gone).items()
        if wanted is None or asset_of(table) in wanted
    }
    if not moved:
        return []
    # Records of every kind: taking a partition out changes a table too.
    recorded: dict[str, int] = dict(
        con.execute(
            "SELECT asset, max(snapshot_id) FROM lake.ops.writes WHERE product = ? GROUP BY asset",
            [product],
        ).fetchall()
    )
    found = [
        UnrecordedChange(
            table, asset_of(table), recorded.get(asset_of(table), -1), at, table in gone
        )
        for table, at in sorted(moved.items())
        if at > recorded.get(asset_of(table), -1)
        and (table not in gone or asset_of(table) in recorded)
    ]
    if not any(change.table.startswith(QUARANTINE) for change in found):
        return found
    # What a source keeps aside is written in the same transaction as what it loads; by itself only
    # where a replay found that no row of it holds.
    replays = {QUARANTINE + source: at for source, at in ledger.replays(con, product).items()}
    return [
        replace(change, recorded=max(change.recorded, replays.get(change.table, -1)))
        for change in found
        if change.changed > replays.get(change.table, -1)
    ]


def find(
    con: duckdb.DuckDBPyConnection, product: str, columns: Mapping[str, str | None]
) -> list[OutsideChange]:
    """What the next record of some assets would hide.

    Args:
        con: A connection as above, before anything of these assets is committed.
        product: The product.
        columns: The assets about to be recorded, each with its partition column or None.
    """
    return [
        OutsideChange(product, change.asset, partition, change.changed)
        for change in unrecorded_changes(con, product, columns)
        for partition in _touched(con, product, change, columns[change.asset])
    ]


def _touched(
    con: duckdb.DuckDBPyConnection, product: str, change: UnrecordedChange, column: str | None
) -> Sequence[str | None]:
    """The partitions whose rows came or went; `[None]` where that cannot be told."""
    if column is None or change.is_gone or change.recorded < 0:
        return [None]
    # Beside the caller's transaction, which an error would end.
    with closing(con.cursor()) as beside:
        try:
            rows = beside.execute(
                f"SELECT DISTINCT {identifier(column)}::DATE::VARCHAR FROM ducklake_table_changes("
                f"'lake', {literal(product)}, {literal(change.table)}, "
                f"{change.recorded + 1:d}, {change.changed:d})"
            ).fetchall()
        except duckdb.Error:
            # A view, or a table that was made anew since.
            return [None]
    days = sorted(day for (day,) in rows if day is not None)
    return days if days and len(days) == len(rows) else [None]


def insert(con: duckdb.DuckDBPyConnection, changes: Sequence[OutsideChange]) -> None:
    """Keep what was found, inside a transaction."""
    if changes:
        records.ensure_table(con, records.OUTSIDE_CHANGES)
        moment = records.now()
        rows = [{**asdict(change), "found_at": moment} for change in changes]
        records.insert(con, records.OUTSIDE_CHANGES, rows)


def kept(con: duckdb.DuckDBPyConnection, product: str) -> list[OutsideChange]:
    """The newest change of each partition that was found, made again since or not."""
    if not records.has_table(con, records.OUTSIDE_CHANGES):
        return []
    rows = con.execute(
        f'SELECT product, asset, "partition", max(snapshot_id) FROM lake.ops.'
        f"{records.OUTSIDE_CHANGES} WHERE product = ? GROUP BY ALL ORDER BY ALL",
        [product],
    ).fetchall()
    return [OutsideChange(*row) for row in rows]
