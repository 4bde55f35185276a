"""The ledger: every file that was loaded or rejected, by the hash of its content.

The ledger decides what is new. Size and time of a file only spare hashing what was seen already.
An entry of status `reverted` says that an older file's rows stand again; the newer file is still
known, and is not loaded again by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from analytics_platform.arrivals.landing import ArrivedFile, LandingFolder


def waiting(
    con: duckdb.DuckDBPyConnection, source: LandingFolder, files: Sequence[ArrivedFile]
) -> dict[str, tuple[str, ...]]:
    """The content hashes that the ledger does not know, by partition.

    Args:
        con: A connection to the lake.
        source: The source.
        files: What lies in its landing zone.
    """
    known: Mapping[str, tuple[int, int, str]] = {
        path: (size, modified, sha256)
        for path, size, modified, sha256 in con.execute(
            """
            SELECT path, arg_max(size_bytes, recorded_at), arg_max(modified_ns, recorded_at),
                   arg_max(content_sha256, recorded_at)
            FROM lake.ops.arrivals
            WHERE product = ? AND source = ? AND status <> 'reverted' GROUP BY path
            """,
            [source.product, source.name],
        ).fetchall()
    }
    unknown: dict[str, tuple[str, ...]] = {}
    for file in files:
        size, modified, recorded = known.get(file.name, (-1, -1, ""))
        if (size, modified) == (file.size_bytes, file.modified_ns):
            continue
        try:
            sha256 = file.sha256()
        except OSError as error:
            # Loading will reject it with the reason; until it changes, it is not asked for again.
            sha256 = f"unreadable: {error.strerror} {file.modified_ns}"
        if sha256 != recorded:
            unknown[file.partition] = (*unknown.get(file.partition, ()), sha256)
    return unknown


def summary(
    con: duckdb.DuckDBPyConnection, product: str
) -> list[tuple[str, int, int, int, int, int]]:
    """Per source: files loaded, files rejected, rows in them, rows loaded, rows quarantined.

    Counted over the newest entry of each path, so that a corrected file counts once.
    """
    return con.execute(
        """
        WITH newest AS (
            SELECT * FROM lake.ops.arrivals WHERE product = ? AND status <> 'reverted'
            QUALIFY row_number() OVER (PARTITION BY source, path ORDER BY recorded_at DESC) = 1)
        SELECT source, count(*) FILTER (status = 'loaded'), count(*) FILTER (status = 'rejected'),
               sum(rows_in_file)::BIGINT, sum(rows_loaded)::BIGINT, sum(rows_quarantined)::BIGINT
        FROM newest GROUP BY source ORDER BY source
        """,
        [product],
    ).fetchall()
