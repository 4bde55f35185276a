"""Put partitions of the working state back to what the release has, so that the rest may go out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from analytics_platform.lake import (
    CheckRecord,
    FileRecord,
    FileStore,
    LakeError,
    WriteRecord,
    ledger,
    outside,
    records,
)
from analytics_platform.lake.schema_change import columns_of
from analytics_platform.lake.sql import identifier, literal, table_name
from analytics_platform.lake.tables import RAW, table_kinds, tables_of
from analytics_platform.release.gate import Verdict, judge, results_of, why_not
from analytics_platform.release.log import Release, ReleaseLog
from analytics_platform.release.provenance import read_manifest

RELEASED = "released"


@dataclass(frozen=True)
class Reverted:
    """What a revert did.

    Attributes:
        release: The release whose state was put back.
        restored: (asset, partition) pairs that stand again as they were released.
        removed: (asset, partition) pairs that no release had, so they were taken out.
        verdict: What the gate says of the working state now.
    """

    release: Release
    restored: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]
    verdict: Verdict


def revert(
    log: ReleaseLog,
    store: FileStore,
    required: Mapping[str, Sequence[str]],
    columns: Mapping[str, str],
    partitions: Sequence[str],
    note: str = "",
) -> Reverted:
    """Put partitions back to their released state, in all assets that have them, all at once.

    A partition that the release does not have is taken out. The checks that held on the released
    rows hold again, since the rows are those very ones, and are recorded so; a check that came
    since has not seen them, and is not. Tables without partitions that were made of these are
    behind afterwards, and the next run makes them again.

    Args:
        log: The product's release log.
        store: The store of files.
        required: Every asset of the product with the names of its blocking checks.
        columns: The partition column of each asset that has partitions of this kind.
        partitions: The partitions, as ISO dates.
        note: The reason.

    Raises:
        NoReleaseError: If there is no release to put back.
        LakeError: If the working state has none of the partitions, or a table's released columns
            are gone or of another type.
    """
    lake, product = log.lake, log.product
    partitions = list(dict.fromkeys(partitions))
    with lake.transaction(f"revert {product}") as transaction:
        # In the turn: a release that this waited for is the one to go back to.
        release = log.serving()
        manifest = read_manifest(store, release.manifest)
        released = manifest["writes"]
        run_id = f"revert to release {release.number}"
        con = transaction.connection
        catalog = store.path(release.catalog.sha256, release.catalog.name)
        con.execute(f"ATTACH {literal(f'ducklake:{catalog}')} AS {RELEASED} (READ_ONLY)")
        standing = _standing(con, product, columns, partitions)
        if not standing:
            raise LakeError(
                f"Nothing of {product} stands or fails on {', '.join(partitions)}, so there is "
                "nothing to put back."
            )
        at_release = records.latest_checks(con, product, until=(release.snapshot, release.moment))
        held = results_of(at_release)
        writes: list[WriteRecord] = []
        checks: list[CheckRecord] = []
        for asset, column in columns.items():
            _put_back(con, product, asset, column, partitions)
            for partition in partitions:
                had = released.get(asset, {})
                if partition not in had and (asset, partition) not in standing:
                    continue
                kind = "reverted" if partition in had else "removed"
                writes.append(
                    WriteRecord(product, asset, partition, run_id, had.get(partition, 0), kind)
                )
                checks += [
                    CheckRecord(
                        product, asset, check, partition, True, True, run_id,
                        {"reverted_to_release": release.number},
                    )
                    for check in required.get(asset, ())
                    if kind == "removed"
                    or why_not(held.get((asset, check), {}), partition)[0] is None
                ]  # fmt: skip
        transaction.record_writes(writes, columns=columns)
        transaction.record_checks(checks, transaction.snapshot_id)
        ledger.put_back(
            con,
            product,
            [
                (write.asset.removeprefix(RAW), write.partition)
                for write in writes
                if write.asset.startswith(RAW)
            ],
            manifest["arrivals"],
            release.snapshot,
            run_id,
            transaction.snapshot_id,
        )
        _record_files(con, manifest["files"], writes, transaction.snapshot_id)
        verdict = judge(con, product, required)
        snapshot = transaction.snapshot_id
    restored = tuple((w.asset, w.partition) for w in writes if w.kind == "reverted")
    removed = tuple((w.asset, w.partition) for w in writes if w.kind == "removed")
    said = f"{', '.join(partitions)} put back to release {release.number}" + (
        f": {note}" if note else ""
    )
    with log.changing(f"revert {product}"):
        log.decide("revert", snapshot=snapshot, note=said)
    return Reverted(release, restored, removed, verdict)


def _record_files(
    con: duckdb.DuckDBPyConnection,
    released: Sequence[Mapping[str, Any]],
    writes: Sequence[WriteRecord],
    snapshot_id: int,
) -> None:
    """Give the partitions the files that they had in the release, be it none."""
    for write in writes:
        files = [
            FileRecord(product=write.product, **file)
            for file in released
            if (file["asset"], file["partition"]) == (write.asset, write.partition)
        ]
        if files:
            records.insert_files(con, files, snapshot_id)
        else:
            records.forget_files(con, write.product, write.asset, write.partition, snapshot_id)


def _standing(
    con: duckdb.DuckDBPyConnection,
    product: str,
    columns: Mapping[str, str],
    partitions: Sequence[str],
) -> set[tuple[str, str]]:
    """What was written, checked or changed of these partitions.

    The failed check of a rejected file is among them.
    """
    rows = con.execute(
        """
        SELECT DISTINCT asset, "partition" FROM (
            SELECT product, asset, "partition" FROM lake.ops.writes
            UNION ALL SELECT product, asset, "partition" FROM lake.ops.checks)
        WHERE product = ? AND "partition" IN (SELECT unnest(?))
        """,
        [product, list(partitions)],
    ).fetchall()
    changed = {(change.asset, change.partition) for change in outside.kept(con, product)}
    rows += [(asset, partition) for asset, partition in changed if partition in partitions]
    return {(asset, partition) for asset, partition in rows if asset in columns}


def _put_back(
    con: duckdb.DuckDBPyConnection, product: str, asset: str, column: str, partitions: Sequence[str]
) -> None:
    """Replace the partitions' rows in an asset's table and in what its source keeps aside."""
    keys = f"SELECT unnest({list(partitions)!r}::DATE[])"
    for table in tables_of(asset):
        kinds = table_kinds(con, product, table, RELEASED)
        # A view has no rows of its own.
        if kinds.get("lake") != "BASE TABLE":
            continue
        name, quoted = table_name(product, table), identifier(column)
        source = f"{RELEASED}.{identifier(product)}.{identifier(table)}"
        if RELEASED in kinds:
            _require_columns(f"{product}.{table}", columns_of(con, name), columns_of(con, source))
        con.execute(f"DELETE FROM {name} WHERE {quoted} IN ({keys})")
        if RELEASED in kinds:
            con.execute(
                f"INSERT INTO {name} BY NAME SELECT * FROM {source} WHERE {quoted} IN ({keys})"
            )


def _require_columns(table: str, now: Mapping[str, str], then: Mapping[str, str]) -> None:
    """The rows put back would otherwise not be the released ones: cut or cast.

    A column that came since is null in them, as it is on every day that was not made again.
    """
    differing = [
        f"{name} ({kind} in the release, {now.get(name, 'absent')} now)"
        for name, kind in sorted(then.items())
        if now.get(name) != kind
    ]
    if differing:
        raise LakeError(
            f"Putting back {table}: its columns are no longer those of the release: "
            f"{', '.join(differing)}. Nothing was changed. Mend the partitions and materialise "
            "them instead, or roll the release back and build on that."
        )
