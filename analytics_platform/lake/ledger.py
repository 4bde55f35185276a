"""The ledger: what became of every file that was seen in the landing zone.

It is a list of events that is only added to. What stands for a path follows from them, so that a
lost cursor, a restarted daemon or two sensors at once can neither skip nor repeat a file. It lies
in the lake, so that a load and what the ledger says of it are one transaction.

Belongs here: the events and what follows from them. Does not belong here: what should become of a
file (`arrivals.decide`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import duckdb
import polars as pl

from analytics_platform.lake import records

Status = Literal[
    "waiting",
    "loaded",
    "replayed",
    "duplicate",
    "rejected",
    "unmatched",
    "out_of_range",
    "vanished",
    "reverted",
    "withdrawn",
]
"""What an event says of a file: seen and to be loaded; loaded; its quarantined rows were judged
again; the same content stands under another name; could not be loaded; its name is no source's; its
partition is none of the product's; gone before it was loaded; its rows stand again by a revert; its
rows were taken out by one."""

FileStatus = Literal[
    "waiting",
    "loaded",
    "superseded",
    "withdrawn",
    "duplicate",
    "rejected",
    "unmatched",
    "out_of_range",
    "vanished",
]
"""What became of a file, as its events tell; `ledger` says how."""

NO_SOURCE = ""
"""The source of a file whose name is no source's."""


@dataclass(frozen=True)
class LedgerEntry:
    """One event of the ledger.

    Attributes:
        product: The product.
        source: The source, or `NO_SOURCE`.
        partition: The partition that its name says; `WHOLE` for a source delivered whole.
        path: Its path in the product's part of the landing zone.
        status: What became of it.
        size_bytes: Its size; None where the event is not of the file as it lay there.
        version: What the landing zone told its content's version by.
        content_sha256: The hash of its content; empty where it was not read.
        stored_name: Its name in the store of files; None where it is not kept.
        reason: Why, in words.
        run_id: Dagster's run; empty where none was at work.
        rows_in_file: Rows in it.
        rows_loaded: Rows that hold.
        rows_quarantined: Rows that broke a rule.
    """

    product: str
    source: str
    partition: str
    path: str
    status: Status
    size_bytes: int | None = None
    version: str | None = None
    content_sha256: str = ""
    stored_name: str | None = None
    reason: str = ""
    run_id: str = ""
    rows_in_file: int | None = None
    rows_loaded: int | None = None
    rows_quarantined: int | None = None


@dataclass(frozen=True)
class KnownFile:
    """What the ledger knows of a path.

    Attributes:
        seen: The newest event of the file as it lay there; None where there was none.
        seconds: How long ago that was recorded.
        standing: The event by which rows of it stand in the lake; None where none do.
    """

    seen: LedgerEntry | None
    seconds: float
    standing: LedgerEntry | None


_FIELDS = ", ".join(f'"{name}"' for name in LedgerEntry.__dataclass_fields__)
_NEWEST_FIRST = "snapshot_id DESC, recorded_at DESC"
_STANDS = "('loaded', 'replayed', 'reverted')"
_MOVES_ROWS = "('loaded', 'replayed', 'reverted', 'withdrawn')"
# Events of rows that stand, and not of what lies in the landing zone, which may be another content.
_OF_NO_FILE = "('replayed', 'reverted', 'withdrawn')"


def append(
    con: duckdb.DuckDBPyConnection, entries: Iterable[LedgerEntry], snapshot_id: int
) -> None:
    """Add events, as of the snapshot that makes them visible."""
    moment = records.now()
    records.insert(
        con,
        "arrivals",
        [{**vars(entry), "snapshot_id": snapshot_id, "recorded_at": moment} for entry in entries],
    )


def known_files(
    con: duckdb.DuckDBPyConnection, product: str, source: str | None = None
) -> dict[str, KnownFile]:
    """What the ledger knows, by path.

    Args:
        con: A connection to the lake.
        product: The product.
        source: Only this source's files, where given.
    """
    where = "product = ?" + ("" if source is None else " AND source = ?")
    given = [product] if source is None else [product, source]
    rows = con.execute(
        f"""
        WITH events AS (SELECT * FROM lake.ops.arrivals WHERE {where}),
        seen AS (
            SELECT 'seen' AS part, * FROM events WHERE status NOT IN {_OF_NO_FILE}
            QUALIFY row_number() OVER (PARTITION BY path ORDER BY {_NEWEST_FIRST}) = 1),
        standing AS (
            SELECT 'standing' AS part, * FROM events WHERE status IN {_MOVES_ROWS}
            QUALIFY row_number() OVER (PARTITION BY path ORDER BY {_NEWEST_FIRST}) = 1)
        SELECT part, date_diff('millisecond', recorded_at, ?) / 1000.0, {_FIELDS} FROM (
            FROM seen UNION ALL BY NAME
            SELECT * FROM standing WHERE status IN {_STANDS})
        """,
        [*given, records.now()],
    ).fetchall()
    seen: dict[str, tuple[LedgerEntry, float]] = {}
    standing: dict[str, LedgerEntry] = {}
    for part, seconds, *values in rows:
        entry = LedgerEntry(*values)
        if part == "seen":
            seen[entry.path] = (entry, seconds)
        else:
            standing[entry.path] = entry
    return {
        path: KnownFile(*seen.get(path, (None, 0.0)), standing.get(path))
        for path in seen.keys() | standing.keys()
    }


def before_vanishing(con: duckdb.DuckDBPyConnection, product: str) -> dict[str, Status]:
    """What was last told of each path that ever vanished, beside that: as what it went."""
    return dict(
        con.execute(
            f"""
            SELECT path, status FROM lake.ops.arrivals
            WHERE product = ? AND status NOT IN ('vanished', {_OF_NO_FILE.strip("()")})
              AND path IN (SELECT path FROM lake.ops.arrivals
                           WHERE product = ? AND status = 'vanished')
            QUALIFY row_number() OVER (PARTITION BY path ORDER BY {_NEWEST_FIRST}) = 1
            """,
            [product, product],
        ).fetchall()
    )


def standing_files(con: duckdb.DuckDBPyConnection, product: str) -> pl.DataFrame:
    """The files whose rows stand in the lake, with the content that they had.

    Columns: source, partition, path, content_sha256, stored_name, rows_in_file, rows_loaded,
    rows_quarantined.
    """
    return con.execute(
        f"""
        SELECT source, "partition", path, content_sha256, stored_name, rows_in_file, rows_loaded,
               rows_quarantined
        FROM (
            SELECT * FROM lake.ops.arrivals WHERE product = ? AND status IN {_MOVES_ROWS}
            QUALIFY row_number() OVER (PARTITION BY path ORDER BY {_NEWEST_FIRST}) = 1)
        WHERE status IN {_STANDS}
        ORDER BY source, "partition", path
        """,
        [product],
    ).pl()


def replays(con: duckdb.DuckDBPyConnection, product: str) -> dict[str, int]:
    """The snapshot of each source's newest replay; a source without one is not there."""
    return dict(
        con.execute(
            "SELECT source, max(snapshot_id) FROM lake.ops.arrivals "
            "WHERE product = ? AND status = 'replayed' GROUP BY source",
            [product],
        ).fetchall()
    )


def ledger(con: duckdb.DuckDBPyConnection, product: str) -> pl.DataFrame:
    """One row per file that was ever seen: a path with the content that it had.

    Columns: source, partition, path, size_bytes, content_sha256, stored_name, first_seen_at,
    status, reason, run_id, rows_in_file, rows_loaded, rows_quarantined, recorded_at, is_current.

    What is current is what was last seen at its path. The status is that of the newest event, but
    for a file that was loaded and whose rows stand no more: it is `superseded` where a newer
    content of its path was loaded, and `withdrawn` where a revert took it out. One whose rows stand
    again by a revert is `loaded`.
    """
    return con.execute(
        f"""
        WITH events AS (
            -- A file that waited has no hash yet; the event of its loading tells it.
            SELECT * REPLACE (coalesce(nullif(content_sha256, ''), max(nullif(content_sha256, ''))
                OVER (PARTITION BY path, size_bytes, version), '') AS content_sha256)
            FROM lake.ops.arrivals WHERE product = $product),
        named AS (
            SELECT *, CASE WHEN content_sha256 = '' THEN concat_ws(' ', size_bytes, version)
                           ELSE content_sha256 END AS content
            FROM events),
        seen AS (SELECT path, content, min(recorded_at) AS first_seen_at FROM named GROUP BY ALL),
        newest AS (
            SELECT * FROM named
            QUALIFY row_number() OVER (PARTITION BY path, content ORDER BY {_NEWEST_FIRST}) = 1),
        current AS (
            SELECT path, content AS lies FROM named WHERE status NOT IN ('reverted', 'withdrawn')
            QUALIFY row_number() OVER (PARTITION BY path ORDER BY {_NEWEST_FIRST}) = 1),
        moved AS (
            SELECT path, content AS stands, status AS how FROM named WHERE status IN {_MOVES_ROWS}
            QUALIFY row_number() OVER (PARTITION BY path ORDER BY {_NEWEST_FIRST}) = 1)
        SELECT source, "partition", path, size_bytes, content_sha256, stored_name, first_seen_at,
               CASE WHEN status NOT IN {_MOVES_ROWS} THEN status
                    WHEN content = stands AND how IN {_STANDS} THEN 'loaded'
                    WHEN how IN ('loaded', 'replayed') THEN 'superseded'
                    ELSE 'withdrawn' END AS status,
               reason, run_id, rows_in_file, rows_loaded, rows_quarantined, recorded_at,
               content = lies AS is_current
        FROM newest JOIN seen USING (path, content) JOIN current USING (path)
        LEFT JOIN moved USING (path)
        ORDER BY source, "partition", path, first_seen_at
        """,
        {"product": product},
    ).pl()


def put_back(
    con: duckdb.DuckDBPyConnection,
    product: str,
    partitions: Iterable[tuple[str, str]],
    released: Iterable[Mapping[str, Any]],
    released_snapshot: int,
    reason: str,
    snapshot_id: int,
) -> None:
    """Say that the rows of some partitions are those of a release again.

    Args:
        con: A connection in a transaction.
        product: The product.
        partitions: The source and partition of what was put back.
        released: The files that the release is made of, of these partitions and of others:
            `source`, `partition`, `path`, `sha256`, `name`, `rows`.
        released_snapshot: The snapshot that was released: what is told of a file is as of then.
        reason: By what.
        snapshot_id: The transaction's snapshot.
    """
    wanted = set(partitions)
    back = [file for file in released if (file["source"], file["partition"]) in wanted]
    loads = _loads(con, product, released_snapshot)
    entries: list[LedgerEntry] = []
    for file in back:
        entry = loads.get((file["path"], file["sha256"])) or LedgerEntry(
            product,
            file["source"],
            file["partition"],
            file["path"],
            "loaded",
            content_sha256=file["sha256"],
            stored_name=file["name"],
            rows_in_file=file["rows"],
        )
        entries.append(replace(entry, status="reverted", reason=reason, run_id=reason))
    kept = {file["path"] for file in back}
    entries += [
        replace(known.standing, status="withdrawn", reason=reason, run_id=reason)
        for path, known in known_files(con, product).items()
        if known.standing is not None
        and (known.standing.source, known.standing.partition) in wanted
        and path not in kept
    ]
    append(con, entries, snapshot_id)


def _loads(
    con: duckdb.DuckDBPyConnection, product: str, until: int
) -> dict[tuple[str, str], LedgerEntry]:
    """The newest event by which each content stood up to a snapshot, by path and hash."""
    entries = [
        LedgerEntry(*row)
        for row in con.execute(
            f"""
            SELECT {_FIELDS} FROM lake.ops.arrivals WHERE product = ? AND status IN {_STANDS}
              AND snapshot_id <= ?
            QUALIFY row_number() OVER (
                PARTITION BY path, content_sha256 ORDER BY {_NEWEST_FIRST}) = 1
            """,
            [product, until],
        ).fetchall()
    ]
    return {(entry.path, entry.content_sha256): entry for entry in entries}
