"""Make a clone's state of a product the origin's next release, without computing it again.

Only what the clone wrote since both were equal is taken over: its partitions, its evidence and its
records, in one transaction of the origin. The origin then holds the rows itself and needs the clone
no longer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from analytics_platform.environments.clone import (
    Base,
    NotACloneError,
    Origin,
    all_environments,
    origin_of,
    write_origin,
)
from analytics_platform.lake import (
    CheckRecord,
    FileStore,
    Lake,
    LakeError,
    WriteRecord,
    chart_records,
    records,
)
from analytics_platform.lake.catalog import CATALOG, drops, last_changes, view_definitions
from analytics_platform.lake.compare import digest
from analytics_platform.lake.records import WHOLE
from analytics_platform.lake.schema_change import columns_of
from analytics_platform.lake.sql import identifier, table_name
from analytics_platform.lake.tables import table_kinds, tables_of
from analytics_platform.release import GateRefusedError, Published, ReleaseLog, judge, publish
from analytics_platform.release.publish import require_not_on_hold

STAGED = "staged"
VIEW = "VIEW"
RUN_ID = "promotion"


class OriginMovedError(LakeError):
    """The origin has changed since it was cloned, so its state is not the clone's past."""


@dataclass(frozen=True)
class Promoted:
    """What a promotion did.

    Attributes:
        published: The origin's release.
        taken_over: Rows taken over, per table; a table of which nothing was taken is not there.
    """

    published: Published
    taken_over: Mapping[str, int]


def promote(
    source: Lake,
    target: Lake,
    store: FileStore,
    product: str,
    required: Mapping[str, Sequence[str]],
    columns: Mapping[str, str],
) -> Promoted:
    """Take a clone's state of a product over into its origin, and release it there.

    Args:
        source: The clone, such as staging.
        target: Its origin, such as production.
        store: The store of files.
        product: The product.
        required: Every asset of the product with the names of its blocking checks.
        columns: The partition column of each asset that has partitions.

    Raises:
        NotACloneError: If the source is no clone of the target's present lake.
        OriginMovedError: If the product changed in the target since; names what changed.
        GateRefusedError: If a blocking check does not hold in the source.
        OnHoldError: If the target was rolled back and is on hold.
    """
    names = f"{product} from {source.folder.name} to {target.folder.name}"
    purpose = f"promote {names}"
    with all_environments(source, purpose), source.writing(purpose), target.writing(purpose):
        origin = _require_clone_of(target, source, names)
        base = origin.base(product)
        with source.reader() as con:
            verdict = judge(con, product, required)
            if not verdict.opens:
                raise GateRefusedError(product, verdict)
            own_snapshot = source.snapshot()
        base = _base_now(source, target, store, product, base)
        _require_unmoved(source, target, store, product, base)
        require_not_on_hold(ReleaseLog(target, store, product))
        run_id = f"{RUN_ID} {source.place.name}@{own_snapshot}"
        taken_over = _take_over(source, target, product, base, required, columns, run_id)
        note = f"promoted from {source.folder.name}"
        published = publish(target, store, product, required, run_id, note)
        head = ReleaseLog(target, store, product).head()
        bases = {**origin.bases, product: Base(target.snapshot(), own_snapshot, head)}
        write_origin(source.place, replace(origin, bases=bases))
    return Promoted(published, taken_over)


def _require_clone_of(target: Lake, source: Lake, names: str) -> Origin:
    origin = origin_of(source)
    replaced = origin.environment == target.folder.name
    if not replaced or origin.place != target.place.name:
        raise NotACloneError(
            f"Promoting {names}: {source.folder.name} was cloned from {origin.environment}"
            + (", whose lake was replaced since" if replaced else "")
            + f". Clone {target.folder.name} again to promote there."
        )
    return origin


def _require_unmoved(
    source: Lake, target: Lake, store: FileStore, product: str, base: Base
) -> None:
    moved: list[str] = []
    if ReleaseLog(target, store, product).head() != base.head:
        moved.append("a release decision was made")
    with target.reader() as con:
        moved += [
            f"table {table} changed at snapshot {changed}"
            for table, changed in sorted(last_changes(con, product, base.origin_snapshot).items())
        ]
        moved += [
            f"table {table} was dropped at snapshot {dropped}"
            for table, dropped in sorted(drops(con, product).items())
            if dropped > base.origin_snapshot
        ]
        moved += [
            f"{write['asset']} was written"
            for write in _writes_since(con, "lake", product, base.origin_snapshot)
        ]
        source.attach(con, STAGED)
        moved += _models_unknown_to_clone(con, product)
    if moved:
        listed = "\n".join(f"  - {line}" for line in dict.fromkeys(moved[:10]))
        raise OriginMovedError(
            f"Promoting {product} to {target.folder.name}: it has moved on since it was cloned, "
            f"and would lose that.\n{listed}\nClone {target.folder.name} again, run there, and "
            "promote that."
        )


def _models_unknown_to_clone(con: duckdb.DuckDBPyConnection, product: str) -> list[str]:
    """Versions and decisions of the origin that the clone does not have.

    A training that lost writes no table and makes no release, and still takes a number. Both are
    only added to, so what the clone lacks was added since. Their snapshots do not tell: a version
    has the one that it learned from, which may be older than the clone.
    """
    lines: list[str] = []
    for table, said in (
        ("models", "version {1} of {0} was trained"),
        ("champions", "version {1} of {0} was decided on"),
    ):
        names = [name for name in columns_of(con, f"lake.ops.{table}") if name != "snapshot_id"]
        listed = ", ".join(identifier(name) for name in names)
        rows = con.execute(
            f"SELECT DISTINCT model, version FROM ("
            f"SELECT {listed} FROM lake.ops.{table} WHERE product = $product "
            f"EXCEPT ALL SELECT {listed} FROM {STAGED}.ops.{table} WHERE product = $product) "
            "ORDER BY ALL",
            {"product": product},
        ).fetchall()
        lines += [said.format(*row) for row in rows]
    return lines


def _base_now(source: Lake, target: Lake, store: FileStore, product: str, base: Base) -> Base:
    """Where both were last equal, counting a promotion that was killed before it said so.

    The origin's own records tell: its newest write carries the clone's snapshot that was taken
    over, and its newest decision may be the release of just that.
    """
    with target.reader() as con:
        newest = con.execute(
            "SELECT run_id, snapshot_id FROM lake.ops.writes WHERE product = ? "
            "ORDER BY snapshot_id DESC LIMIT 1",
            [product],
        ).fetchone()
    taken = _clone_snapshot(newest[0], source) if newest else -1
    if newest and taken > base.own_snapshot:
        base = replace(base, own_snapshot=taken, origin_snapshot=newest[1])
        decision = ReleaseLog(target, store, product).newest()
        if decision is not None and _clone_snapshot(decision.run_id, source) >= taken:
            base = replace(base, head=decision.address)
    return base


def _clone_snapshot(run_id: str, source: Lake) -> int:
    """The clone's snapshot that a promotion's name tells; -1 for anything else."""
    mark = f"{RUN_ID} {source.place.name}@"
    return int(run_id.removeprefix(mark)) if run_id.startswith(mark) else -1


def _take_over(
    source: Lake,
    target: Lake,
    product: str,
    base: Base,
    required: Mapping[str, Sequence[str]],
    columns: Mapping[str, str],
    run_id: str,
) -> dict[str, int]:
    """Copy what the clone wrote since `base`, and its records, in one transaction.

    Raises:
        GateRefusedError: If the origin's gate would not open on it; nothing is changed then.
    """
    with target.transaction(f"promote {product}") as transaction:
        con = transaction.connection
        source.attach(con, STAGED)
        writes = _writes_since(con, STAGED, product, base.own_snapshot)
        partitions: dict[str, list[str]] = {}
        for write in writes:
            partitions.setdefault(write["asset"], []).append(write["partition"])
        con.execute(f"CREATE SCHEMA IF NOT EXISTS lake.{identifier(product)}")
        taken: dict[str, int] = {}
        for asset, of_asset in partitions.items():
            for table in tables_of(asset):
                column = columns.get(asset) if of_asset != [WHOLE] else None
                rows = _take_table(con, product, table, column, of_asset)
                # What a source keeps aside is written with it, and mostly empty.
                if rows is not None and (rows or table == asset):
                    taken[table] = rows
        transaction.record_writes(
            [
                WriteRecord(
                    product,
                    write["asset"],
                    write["partition"],
                    run_id,
                    write["rows"],
                    "removed" if write["kind"] == "removed" else "promoted",
                )
                for write in writes
            ],
            columns=columns,
        )
        # The clone's gate has just held, so each of these saw the newest write of its partition.
        checks = records.latest_checks(con, product, alias=STAGED, since=base.own_snapshot)
        transaction.record_checks(
            [
                CheckRecord(
                    product,
                    check["asset"],
                    check["check"],
                    check["partition"],
                    check["passed"],
                    check["blocking"],
                    check["run_id"],
                    json.loads(check["detail"]),
                )
                for check in checks.iter_rows(named=True)
            ],
            transaction.snapshot_id,
        )
        _take_records(con, product, base.own_snapshot, transaction.snapshot_id)
        verdict = judge(con, product, required)
        if not verdict.opens:
            raise GateRefusedError(product, verdict)
    return taken


def _take_table(
    con: duckdb.DuckDBPyConnection,
    product: str,
    table: str,
    column: str | None,
    partitions: Sequence[str],
) -> int | None:
    """Take over a table's partitions, or all of it; the rows, or None for what is no table."""
    staged = f"{STAGED}.{identifier(product)}.{identifier(table)}"
    name = table_name(product, table)
    kinds = table_kinds(con, product, table, STAGED)
    if STAGED not in kinds:
        return None
    if "lake" in kinds and (kinds["lake"] == VIEW or kinds["lake"] != kinds[STAGED]):
        con.execute(f"DROP {'VIEW' if kinds.pop('lake') == VIEW else 'TABLE'} {name}")
    if kinds[STAGED] == VIEW:
        definition = view_definitions(con, STAGED, product)[table].replace(CATALOG, "lake")
        con.execute(f"CREATE VIEW {name} AS {definition}")
        return None
    if "lake" in kinds and columns_of(con, name) != columns_of(con, staged):
        con.execute(f"DROP TABLE {name}")
        del kinds["lake"]
    where = "true"
    if "lake" not in kinds:
        con.execute(f"CREATE TABLE {name} AS FROM {staged} LIMIT 0")
    elif column is not None:
        where = f"{identifier(column)} IN (SELECT unnest({list(partitions)!r}::DATE[]))"
    con.execute(f"DELETE FROM {name} WHERE {where}")
    inserted = con.execute(f"INSERT INTO {name} BY NAME SELECT * FROM {staged} WHERE {where}")
    (rows,) = inserted.fetchone() or (0,)
    names = list(columns_of(con, staged))
    there, here = digest(con, staged, names), digest(con, name, names)
    if there != here:
        raise LakeError(
            f"Promoting {product}.{table}: {there[0]} rows stand in the clone and {here[0]} came "
            "out, or their values differ. Nothing was changed."
        )
    return rows


def _take_records(
    con: duckdb.DuckDBPyConnection, product: str, own_snapshot: int, snapshot_id: int
) -> None:
    """Append the clone's arrivals, models, champions and files that the origin does not have.

    Raises:
        LakeError: If a number of a model would then be that of two versions.
    """
    con.execute(
        f"""
        INSERT INTO lake.ops.files BY NAME
        SELECT * REPLACE ({snapshot_id:d} AS snapshot_id) FROM {STAGED}.ops.files
        WHERE product = ? AND snapshot_id > ?
        QUALIFY snapshot_id = max(snapshot_id) OVER (PARTITION BY asset, "partition")
        """,
        [product, own_snapshot],
    )
    for table in ("arrivals", "models", "champions"):
        _append_new(con, table, product, snapshot_id)
    _take_chart_records(con, product, snapshot_id)
    twice = con.execute(
        "SELECT model, version FROM lake.ops.models WHERE product = ? "
        "GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL",
        [product],
    ).fetchall()
    if twice:
        listed = ", ".join(f"version {version} of {model}" for model, version in twice)
        raise LakeError(
            f"Promoting {product}: {listed} would stand twice, because the origin and the clone "
            "trained different models of one number. Nothing was changed; clone the origin again, "
            "train there, and promote that."
        )


def _take_chart_records(con: duckdb.DuckDBPyConnection, product: str, snapshot_id: int) -> None:
    """Append the limits and acknowledgements of the clone's charts that the origin does not have.

    Its charts would otherwise be judged anew by limits that a person moved in the clone, and tell
    of alarms that are known. Charts of the pipeline are of the environment that they measure.
    """
    of_pipeline = f"SELECT asset FROM {STAGED}.ops.chart_points WHERE product = $product"
    for table in ("chart_limits", "chart_acknowledgements"):
        if all(records.has_table(con, one, alias=STAGED) for one in (table, "chart_points")):
            chart_records.create_tables(con)
            _append_new(con, table, product, snapshot_id, f"asset NOT IN ({of_pipeline})")


def _append_new(
    con: duckdb.DuckDBPyConnection,
    table: str,
    product: str,
    snapshot_id: int,
    where: str = "true",
) -> None:
    """Append the clone's rows of an `ops` table that the origin does not have, whatever snapshot.

    Args:
        con: A connection with the clone attached as `STAGED`.
        table: The table.
        product: The product.
        snapshot_id: The snapshot that holds them from now on, where the table says so.
        where: Which of the clone's rows, in SQL; may name `$product`.
    """
    columns = columns_of(con, f"lake.ops.{table}")
    listed = ", ".join(identifier(name) for name in columns if name != "snapshot_id")
    has_snapshot = "snapshot_id" in columns
    con.execute(
        f"INSERT INTO lake.ops.{table} ({listed}{', snapshot_id' if has_snapshot else ''}) "
        f"SELECT {listed}{f', {snapshot_id:d}' if has_snapshot else ''} FROM ("
        f"SELECT {listed} FROM {STAGED}.ops.{table} WHERE product = $product AND {where} "
        f"EXCEPT ALL SELECT {listed} FROM lake.ops.{table} WHERE product = $product)",
        {"product": product},
    )


def _writes_since(
    con: duckdb.DuckDBPyConnection, alias: str, product: str, snapshot: int
) -> list[dict[str, Any]]:
    """The newest write of each partition written after a snapshot, removals among them."""
    return con.execute(
        f"""
        SELECT asset, "partition", "rows", kind FROM {alias}.ops.writes
        WHERE product = ? AND snapshot_id > ?
        QUALIFY row_number() OVER (
            PARTITION BY asset, "partition" ORDER BY snapshot_id DESC, written_at DESC) = 1
        ORDER BY asset, "partition"
        """,
        [product, snapshot],
    ).pl().to_dicts()  # fmt: skip
