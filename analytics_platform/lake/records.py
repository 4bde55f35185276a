"""What the lake remembers of itself: which partitions were written, which checks held on them.

The evidence lies beside the data it speaks of, because Dagster's event log may be pruned, or be a
temporary one where `DAGSTER_HOME` is not set. Belongs here: the `ops` tables of writes, checks
and receipts and their shapes. Does not belong here: the gate that judges them, and how a cost is
measured (`monitoring.receipts`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import duckdb
import polars as pl

WHOLE = ""
"""The partition of an asset that has none, and of a check that saw the whole table."""


WriteKind = Literal["written", "reverted", "removed", "promoted"]
"""Materialised; put back to its released state; taken out, because no release had it; taken over
from another environment."""


@dataclass(frozen=True)
class WriteRecord:
    """One partition of an asset, written.

    Attributes:
        product: The product's name, which is also the schema.
        asset: The asset's name, which is also the table's.
        partition: The partition's key, or `WHOLE`.
        run_id: Dagster's run.
        rows: Rows of the partition; None where not counted.
        kind: How it came to be.
    """

    product: str
    asset: str
    partition: str
    run_id: str
    rows: int | None = None
    kind: WriteKind = "written"


@dataclass(frozen=True)
class CheckRecord:
    """The result of one check on one partition, or on the whole table.

    Attributes:
        product: The product's name.
        asset: The asset checked.
        check: The check's name.
        partition: The partition's key, or `WHOLE` where the check saw the whole table.
        passed: Whether it held.
        blocking: Whether a release needs it to hold.
        run_id: Dagster's run.
        detail: What a person needs to find the cause; JSON values.
    """

    product: str
    asset: str
    check: str
    partition: str
    passed: bool
    blocking: bool
    run_id: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FileRecord:
    """A file that belongs to an asset, such as a report or a model's artifact.

    Attributes:
        product: The product's name.
        asset: The asset that made it.
        partition: The partition's key, or `WHOLE`.
        name: Its name in the store of files.
        sha256: The hash of its content, which is its address there.
        size_bytes: Its size.
    """

    product: str
    asset: str
    partition: str
    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Receipt:
    """What one materialisation of an asset cost.

    Attributes:
        product: The product's name.
        asset: The asset's name.
        partition: The first partition it made, or `WHOLE`.
        partitions: How many it made; 1 for an asset without any.
        run_id: Dagster's run.
        wall_seconds: Time from the step's start to its end. A step that makes several assets
            divides it among them (`monitoring.receipts.divide`), so the sum is the step's.
        cpu_seconds: CPU time, user and system, of the process and of its ended children, divided
            in the same way.
        peak_memory_bytes: The most resident memory that the process had while the step ran; the
            whole process, so the same for all assets of a step.
        rows_in: Rows of its direct upstreams that stand for the partitions it read; None where one
            is not known.
        rows_out: Rows of the partitions it wrote; None where not counted.
        bytes_in: Bytes of the files those rows lie in, by share of rows; None where not known.
        bytes_out: Bytes of the files that it wrote.
        succeeded: Whether it was made and none of its blocking checks failed.
        started_at: When the step began, in UTC without a zone.
    """

    product: str
    asset: str
    partition: str
    partitions: int
    run_id: str
    wall_seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    rows_in: int | None
    rows_out: int | None
    bytes_in: int | None
    bytes_out: int | None
    succeeded: bool
    started_at: dt.datetime


RECEIPTS = "receipts"
ALERTS = "alerts"
OUTSIDE_CHANGES = "outside_changes"
RECEIPT_SCHEMA = pl.Schema(
    {
        "product": pl.String,
        "asset": pl.String,
        "partition": pl.String,
        "partitions": pl.Int64,
        "run_id": pl.String,
        "wall_seconds": pl.Float64,
        "cpu_seconds": pl.Float64,
        "peak_memory_bytes": pl.Int64,
        "rows_in": pl.Int64,
        "rows_out": pl.Int64,
        "bytes_in": pl.Int64,
        "bytes_out": pl.Int64,
        "succeeded": pl.Boolean,
        "started_at": pl.Datetime("us"),
    }
)

TABLES = {
    "writes": """
        product VARCHAR, asset VARCHAR, "partition" VARCHAR, snapshot_id BIGINT, run_id VARCHAR,
        "rows" BIGINT, kind VARCHAR, written_at TIMESTAMP""",
    "checks": """
        product VARCHAR, asset VARCHAR, "check" VARCHAR, "partition" VARCHAR, snapshot_id BIGINT,
        passed BOOLEAN, blocking BOOLEAN, run_id VARCHAR, detail VARCHAR,
        evaluated_at TIMESTAMP""",
    "arrivals": """
        product VARCHAR, source VARCHAR, "partition" VARCHAR, path VARCHAR, status VARCHAR,
        size_bytes BIGINT, version VARCHAR, content_sha256 VARCHAR, stored_name VARCHAR,
        reason VARCHAR, run_id VARCHAR, rows_in_file BIGINT, rows_loaded BIGINT,
        rows_quarantined BIGINT, snapshot_id BIGINT, recorded_at TIMESTAMP""",
    "models": """
        product VARCHAR, model VARCHAR, version BIGINT, artifact_sha256 VARCHAR,
        artifact_name VARCHAR, trained_on VARCHAR, known_through VARCHAR, params VARCHAR,
        seed BIGINT, code_sha256 VARCHAR, attachments VARCHAR, declared VARCHAR,
        snapshot_id BIGINT, run_id VARCHAR, metrics VARCHAR, gates VARCHAR, note VARCHAR,
        created_at TIMESTAMP""",
    "champions": """
        product VARCHAR, model VARCHAR, version BIGINT, kind VARCHAR, reason VARCHAR,
        run_id VARCHAR, snapshot_id BIGINT, decided_at TIMESTAMP""",
    "files": """
        product VARCHAR, asset VARCHAR, "partition" VARCHAR, name VARCHAR, sha256 VARCHAR,
        size_bytes BIGINT, snapshot_id BIGINT, recorded_at TIMESTAMP""",
    RECEIPTS: """
        product VARCHAR, asset VARCHAR, "partition" VARCHAR, partitions BIGINT, run_id VARCHAR,
        wall_seconds DOUBLE, cpu_seconds DOUBLE, peak_memory_bytes BIGINT, rows_in BIGINT,
        rows_out BIGINT, bytes_in BIGINT, bytes_out BIGINT, succeeded BOOLEAN,
        started_at TIMESTAMP""",
    ALERTS: """
        product VARCHAR, kind VARCHAR, subject VARCHAR, event VARCHAR, severity VARCHAR,
        summary VARCHAR, link VARCHAR, channel VARCHAR, detail VARCHAR, recorded_at TIMESTAMP""",
    OUTSIDE_CHANGES: """
        product VARCHAR, asset VARCHAR, "partition" VARCHAR, snapshot_id BIGINT,
        found_at TIMESTAMP""",
}


def create_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Create the `ops` schema and its tables in one transaction."""
    con.execute("BEGIN")
    con.execute("CREATE SCHEMA IF NOT EXISTS lake.ops")
    for name, columns in TABLES.items():
        con.execute(f"CREATE TABLE IF NOT EXISTS lake.ops.{name} ({columns})")
    con.execute("COMMIT")


def ensure_table(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Make one of the `ops` tables where a lake from before it has none, inside a transaction."""
    con.execute(f"CREATE TABLE IF NOT EXISTS lake.ops.{name} ({TABLES[name]})")


def has_table(
    con: duckdb.DuckDBPyConnection, name: str, *, schema: str = "ops", alias: str = "lake"
) -> bool:
    """Whether a lake has a table; those of `ops` that came later are made when written."""
    found = con.execute(
        "SELECT 1 FROM duckdb_tables() "
        "WHERE database_name = ? AND schema_name = ? AND table_name = ?",
        [alias, schema, name],
    ).fetchone()
    return found is not None


def now() -> dt.datetime:
    """This moment in UTC, without a zone, as the `ops` tables keep it."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


def insert(con: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append rows to one of the `ops` tables, by column name."""
    if not rows:
        return
    frame = pl.DataFrame(list(rows), infer_schema_length=None)
    con.register("ops_rows", frame.to_arrow())
    try:
        con.execute(f"INSERT INTO lake.ops.{table} BY NAME SELECT * FROM ops_rows")
    finally:
        con.unregister("ops_rows")


def insert_writes(
    con: duckdb.DuckDBPyConnection, writes: Sequence[WriteRecord], snapshot_id: int
) -> None:
    """Append write records, as of the snapshot that made them visible."""
    moment = now()
    insert(
        con,
        "writes",
        [
            {
                "product": write.product,
                "asset": write.asset,
                "partition": write.partition,
                "snapshot_id": snapshot_id,
                "run_id": write.run_id,
                "rows": write.rows,
                "kind": write.kind,
                "written_at": moment,
            }
            for write in writes
        ],
    )


def insert_checks(
    con: duckdb.DuckDBPyConnection, checks: Sequence[CheckRecord], snapshot_id: int
) -> None:
    """Append check results, as of the snapshot that the checks saw."""
    moment = now()
    insert(
        con,
        "checks",
        [
            {
                "product": check.product,
                "asset": check.asset,
                "check": check.check,
                "partition": check.partition,
                "snapshot_id": snapshot_id,
                "passed": check.passed,
                "blocking": check.blocking,
                "run_id": check.run_id,
                "detail": json.dumps(check.detail, default=str),
                "evaluated_at": moment,
            }
            for check in checks
        ],
    )


def insert_files(
    con: duckdb.DuckDBPyConnection, files: Sequence[FileRecord], snapshot_id: int
) -> None:
    """Append records of files, as of the snapshot of what they belong to."""
    moment = now()
    insert(
        con,
        "files",
        [{**asdict(file), "snapshot_id": snapshot_id, "recorded_at": moment} for file in files],
    )


def forget_files(
    con: duckdb.DuckDBPyConnection, product: str, asset: str, partition: str, snapshot_id: int
) -> None:
    """Say that a partition has no files from a snapshot on."""
    insert(
        con,
        "files",
        [
            {
                "product": product,
                "asset": asset,
                "partition": partition,
                "snapshot_id": snapshot_id,
                "recorded_at": now(),
            }
        ],
    )


def insert_receipts(con: duckdb.DuckDBPyConnection, receipts: Sequence[Receipt]) -> None:
    """Append receipts, inside a transaction; the table is made where the lake has none yet."""
    ensure_table(con, RECEIPTS)
    insert(con, RECEIPTS, [asdict(receipt) for receipt in receipts])


def receipts(
    con: duckdb.DuckDBPyConnection, product: str, asset: str | None = None
) -> pl.DataFrame:
    """The receipts of a product's assets, the oldest first; none in a lake from before them.

    Args:
        con: A connection to the lake.
        product: The product.
        asset: Only this asset's.

    Returns:
        One row per receipt; columns of `RECEIPT_SCHEMA`.
    """
    if not has_table(con, RECEIPTS):
        return pl.DataFrame(schema=RECEIPT_SCHEMA)
    return con.execute(
        f"""
        SELECT {", ".join(f'"{name}"' for name in RECEIPT_SCHEMA)} FROM lake.ops.{RECEIPTS}
        WHERE product = ? AND asset = coalesce(?, asset) ORDER BY started_at, asset
        """,
        [product, asset],
    ).pl()


def latest_writes(con: duckdb.DuckDBPyConnection, product: str) -> pl.DataFrame:
    """The newest write of each partition that stands.

    Columns: asset, partition, snapshot_id, rows, run_id, kind.
    """
    return con.execute(
        """
        SELECT asset, "partition", snapshot_id, "rows", run_id, kind
        FROM lake.ops.writes WHERE product = ?
        QUALIFY row_number() OVER (
            PARTITION BY asset, "partition" ORDER BY snapshot_id DESC, written_at DESC) = 1
          AND kind <> 'removed'
        ORDER BY asset, "partition"
        """,
        [product],
    ).pl()


def latest_changes(con: duckdb.DuckDBPyConnection, product: str) -> pl.DataFrame:
    """The newest write or removal of each partition.

    Columns: asset, partition, snapshot_id, run_id, written_at, kind.
    """
    return con.execute(
        """
        SELECT asset, "partition", snapshot_id, run_id, written_at, kind
        FROM lake.ops.writes WHERE product = ?
        QUALIFY row_number() OVER (
            PARTITION BY asset, "partition" ORDER BY snapshot_id DESC, written_at DESC) = 1
        ORDER BY asset, "partition"
        """,
        [product],
    ).pl()


def removed_partitions(con: duckdb.DuckDBPyConnection, product: str) -> dict[str, dict[str, int]]:
    """The partitions of each asset that were taken out and do not stand, with the snapshot."""
    rows = con.execute(
        """
        SELECT asset, "partition", snapshot_id FROM (
            SELECT * FROM lake.ops.writes WHERE product = ?
            QUALIFY row_number() OVER (
                PARTITION BY asset, "partition" ORDER BY snapshot_id DESC, written_at DESC) = 1)
        WHERE kind = 'removed'
        """,
        [product],
    ).fetchall()
    removed: dict[str, dict[str, int]] = {}
    for asset, partition, snapshot_id in rows:
        removed.setdefault(asset, {})[partition] = snapshot_id
    return removed


def latest_files(con: duckdb.DuckDBPyConnection, product: str) -> pl.DataFrame:
    """The files of each partition: those that were recorded together last.

    Columns: asset, partition, name, sha256, size_bytes.
    """
    return con.execute(
        """
        SELECT asset, "partition", name, sha256, size_bytes FROM lake.ops.files WHERE product = ?
        QUALIFY snapshot_id = max(snapshot_id) OVER (PARTITION BY asset, "partition")
          AND name IS NOT NULL
        ORDER BY asset, "partition", name
        """,
        [product],
    ).pl()


def latest_checks(
    con: duckdb.DuckDBPyConnection,
    product: str,
    *,
    alias: str = "lake",
    since: int = -1,
    until: tuple[int, dt.datetime] | None = None,
) -> pl.DataFrame:
    """The newest result of each check on each partition.

    Of two of the same moment on the same state, the one that failed counts.

    Columns: asset, check, partition, snapshot_id, evaluated_at, passed, blocking, run_id, detail.

    Args:
        con: A connection to the lake.
        product: The product.
        alias: The catalog to look in, where another is attached.
        since: Leave out what saw this snapshot or an earlier one.
        until: Leave out what saw a later snapshot than this, or ran after this moment.
    """
    last, moment = until or (None, None)
    return con.execute(
        f"""
        SELECT asset, "check", "partition", snapshot_id, evaluated_at, passed, blocking, run_id,
               detail
        FROM {alias}.ops.checks WHERE product = ? AND snapshot_id > ?
          AND snapshot_id <= coalesce(?, snapshot_id) AND evaluated_at <= coalesce(?, evaluated_at)
        QUALIFY row_number() OVER (
            PARTITION BY asset, "check", "partition"
            ORDER BY snapshot_id DESC, evaluated_at DESC, passed) = 1
        ORDER BY asset, "check", "partition"
        """,
        [product, since, last, moment],
    ).pl()


def seen_by(
    con: duckdb.DuckDBPyConnection,
    product: str,
    asset: str,
    partitions: Sequence[str],
    run_id: str,
    now_at: int,
) -> int:
    """The snapshot that a run's check of what it wrote has seen at the least.

    Where another run has written the same partitions since, the check may have looked before.

    Args:
        con: A connection to the lake.
        product: The product.
        asset: The asset checked.
        partitions: The partitions checked; `WHOLE` for all of them.
        run_id: The run that checks.
        now_at: The snapshot that stands now.
    """
    row = con.execute(
        """
        SELECT max(snapshot_id) FILTER (run_id = $run), max(snapshot_id) FILTER (run_id <> $run)
        FROM lake.ops.writes WHERE product = $product AND asset = $asset
          AND ($whole OR "partition" IN (SELECT unnest($partitions)))
        """,
        {
            "run": run_id,
            "product": product,
            "asset": asset,
            "whole": WHOLE in partitions,
            "partitions": list(partitions),
        },
    ).fetchone()
    own, others = row or (None, None)
    return now_at if own is None or others is None or others < own else own


def unverified(
    con: duckdb.DuckDBPyConnection, product: str, required: Sequence[tuple[str, str]], tries: int
) -> dict[str, set[str]]:
    """The partitions of each asset whose newest write a required check has not seen.

    Args:
        con: A connection to the lake.
        product: The product.
        required: Assets with the names of their blocking checks, one pair per check.
        tries: A partition written so often since its check last ran is left out: writing it once
            more will not help.
    """
    if not required:
        return {}
    rows = con.execute(
        """
        WITH required AS (SELECT unnest(?) AS asset, unnest(?) AS "check"),
        pairs AS (
            SELECT r.asset, r."check", w."partition", w.snapshot_id
            FROM required r JOIN lake.ops.writes w ON w.product = ? AND w.asset = r.asset),
        seen AS (
            SELECT p.asset, p."check", p."partition", max(c.snapshot_id) AS snapshot_id
            FROM (SELECT DISTINCT asset, "check", "partition" FROM pairs) p
            JOIN lake.ops.checks c ON c.product = ? AND c.asset = p.asset
              AND c."check" = p."check" AND c."partition" IN (p."partition", '')
            GROUP BY ALL)
        SELECT asset, "partition" FROM (
            SELECT p.asset, p."check", p."partition",
                   count(*) FILTER (p.snapshot_id > coalesce(s.snapshot_id, -1)) AS unseen
            FROM pairs p LEFT JOIN seen s USING (asset, "check", "partition") GROUP BY ALL)
        GROUP BY asset, "partition" HAVING max(unseen) BETWEEN 1 AND ?
        """,
        [[asset for asset, _ in required], [check for _, check in required], product, product,
         tries],
    ).fetchall()  # fmt: skip
    found: dict[str, set[str]] = {}
    for asset, partition in rows:
        found.setdefault(asset, set()).add(partition)
    return found
