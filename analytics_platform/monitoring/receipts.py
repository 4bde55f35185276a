"""Receipts: what a step cost, and what it read and wrote.

Seconds, CPU and memory are measured on this process. Rows come from the lake's record of writes,
bytes from the sizes of Parquet files in DuckLake's catalog, so neither costs a look at the data.

Belongs here: measuring, dividing a step's cost among its assets, and counting. Does not belong
here: when a step begins and ends, and which assets it makes (`components.receipts`).
"""

from __future__ import annotations

import datetime as dt
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from analytics_platform.lake import Lake, records
from analytics_platform.lake.records import WHOLE, Receipt
from analytics_platform.lake.tables import RAW, tables_of

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""Written to `clear_refs`, it sets the peak of resident memory to what is resident now
(Linux, Documentation/filesystems/proc.rst, since 4.0)."""


@dataclass(frozen=True)
class Cost:
    """What a step cost this process.

    Attributes:
        started_at: When it began, in UTC without a zone.
        wall_seconds: Time from start to end.
        cpu_seconds: CPU time, user and system, of the process with all its threads and of the
            children that ended meanwhile.
        peak_memory_bytes: The most resident memory the process had meanwhile.
    """

    started_at: dt.datetime
    wall_seconds: float
    cpu_seconds: float
    peak_memory_bytes: int


class Meter:
    """Measures from the moment it is made.

    Of two meters at once in one process, each counts the CPU of both, and the newer sets the peak
    of memory back for the older: steps of a run go one after another (docs/adr/0001).
    """

    def __init__(self) -> None:
        self._started_at = records.now()
        self._wall = time.perf_counter()
        self._cpu = _cpu_seconds()
        _reset_peak_memory()

    def read(self) -> Cost:
        """The cost up to now."""
        return Cost(
            started_at=self._started_at,
            wall_seconds=time.perf_counter() - self._wall,
            cpu_seconds=_cpu_seconds() - self._cpu,
            peak_memory_bytes=peak_memory_bytes(),
        )


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _reset_peak_memory() -> None:
    # Where it cannot be reset, the peak is that of the process's life: more than the step's, and
    # the only figure there is.
    if _CLEAR_REFS.exists():
        try:
            _CLEAR_REFS.write_text(_RESET_PEAK)
        except OSError:
            return


def peak_memory_bytes() -> int:
    """The most resident memory of this process since the peak was last reset, if it can be."""
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@dataclass(frozen=True)
class Read:
    """A table that an asset reads, and which part of it.

    Attributes:
        product: The table's product.
        asset: The table.
        first: The first partition read, ISO; None for all that stand.
        last: The last one, included.
        through: What the table itself reads of that: the bytes of a view are those.
        is_known: Whether it is a table of this lake. One that is and was never written holds
            nothing; of one that is not, nothing is known.
    """

    product: str
    asset: str
    first: str | None = None
    last: str | None = None
    through: tuple[Read, ...] = ()
    is_known: bool = True


@dataclass(frozen=True)
class Made:
    """An asset that a step made, or was to make.

    Attributes:
        product: Its product.
        asset: The asset.
        partitions: The partitions it made; `(WHOLE,)` for an asset without any.
        reads: The tables it reads directly.
        seconds: How long it took of the step by its own account; None where it does not say.
        succeeded: Whether it was made and none of its blocking checks failed.
    """

    product: str
    asset: str
    partitions: tuple[str, ...] = (WHOLE,)
    reads: tuple[Read, ...] = ()
    seconds: float | None = None
    succeeded: bool = True


def divide(made: Sequence[Made]) -> list[float]:
    """The share of a step's cost that is laid to each of its assets; the shares sum to 1.

    They go by the seconds that each says it took, such as dbt's time of a model: what the step
    spent beside (its start, its tests, its records) is spread in the same proportion. Where none
    says, all have the same share; where some do, those that do not have none.
    """
    said = [asset.seconds or 0.0 for asset in made]
    total = sum(said)
    if not total:
        return [1 / len(made)] * len(made)
    return [seconds / total for seconds in said]


def write_receipts(lake: Lake, run_id: str, cost: Cost, made: Sequence[Made]) -> list[Receipt]:
    """Count what a step's assets read and wrote, and append a receipt for each, in one transaction.

    Args:
        lake: The lake.
        run_id: Dagster's run.
        cost: What the step cost.
        made: The step's assets.
    """
    if not made:
        return []
    with lake.transaction(f"write receipts of {made[0].asset}") as transaction:
        con = transaction.connection
        books = _Books(con, run_id, cost.started_at, made)
        receipts = [
            Receipt(
                product=asset.product,
                asset=asset.asset,
                partition=min(asset.partitions),
                partitions=len(asset.partitions),
                run_id=run_id,
                wall_seconds=cost.wall_seconds * share,
                cpu_seconds=cost.cpu_seconds * share,
                peak_memory_bytes=cost.peak_memory_bytes,
                rows_in=books.rows_in(asset),
                rows_out=books.rows_out(asset),
                bytes_in=books.bytes_in(asset),
                bytes_out=books.bytes_out(asset),
                succeeded=asset.succeeded,
                started_at=cost.started_at,
            )
            for asset, share in zip(made, divide(made), strict=True)
        ]
        records.insert_receipts(con, receipts)
    return receipts


@dataclass(frozen=True)
class _Files:
    """A table's data files: their bytes, and the rows in them that were not deleted."""

    size: int
    rows: int


class _Books:
    """What the lake's own records say of a step's reads and writes, read once for the step."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        run_id: str,
        started_at: dt.datetime,
        made: Sequence[Made],
    ) -> None:
        products = sorted({read.product for asset in made for read in _all_reads(asset.reads)}
                          | {asset.product for asset in made})  # fmt: skip
        read = sorted({read.asset for asset in made for read in _all_reads(asset.reads)})
        own = sorted({asset.asset for asset in made})
        self._written = _written(con, run_id, products, own)
        self._standing = _standing(con, products, read)
        self._stored = _stored_files(con, products, own, started_at)
        self._arrived = _arrived(con, run_id, products, own)
        self._live = _live_files(con, products, read)
        tables = [table for asset in own for table in tables_of(asset)]
        self._new = _new_files(con, products, tables, started_at)

    def rows_in(self, asset: Made) -> int | None:
        """Rows that stand of the partitions it reads; of a source, rows in the files it read."""
        if (asset.product, asset.asset) in self._arrived:
            return self._arrived[asset.product, asset.asset][0]
        counts = [self._rows_read(read) for read in asset.reads]
        known = [count for count in counts if count is not None]
        return sum(known) if counts and len(known) == len(counts) else None

    def rows_out(self, asset: Made) -> int | None:
        """Rows of what this run wrote of it."""
        return self._written.get((asset.product, asset.asset))

    def bytes_in(self, asset: Made) -> int | None:
        """Bytes of the files of the rows it reads; of a source, of the files that arrived."""
        if (asset.product, asset.asset) in self._arrived:
            return self._arrived[asset.product, asset.asset][1]
        return self._bytes_of(asset.reads)

    def bytes_out(self, asset: Made) -> int:
        """Bytes of its tables' new data and delete files, and of the files it keeps by content."""
        tables = sum(self._new.get((asset.product, table), 0) for table in tables_of(asset.asset))
        return tables + self._stored.get((asset.product, asset.asset), 0)

    def _rows_read(self, read: Read) -> int | None:
        if not read.is_known:
            return None
        counts = [
            rows
            for partition, rows in self._standing.get((read.product, read.asset), {}).items()
            if read.first is None
            or partition == WHOLE
            or (read.first <= partition <= (read.last or read.first))
        ]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def _bytes_of(self, reads: Sequence[Read]) -> int | None:
        if not reads:
            return None
        sizes = [self._bytes_read(read) for read in reads]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def _bytes_read(self, read: Read) -> int | None:
        rows = self._rows_read(read)
        if not rows:
            return rows
        files = self._live.get((read.product, read.asset))
        # A view has no files of its own.
        return self._bytes_of(read.through) if files is None else _share(files, rows)


def _share(files: _Files, rows: int) -> int:
    return round(files.size * min(1.0, rows / files.rows)) if files.rows else 0


def _all_reads(reads: Sequence[Read]) -> list[Read]:
    return [found for read in reads for found in (read, *_all_reads(read.through))]


_NEWEST = """QUALIFY row_number() OVER (
    PARTITION BY product, asset, "partition" ORDER BY snapshot_id DESC, written_at DESC) = 1"""


def _written(
    con: duckdb.DuckDBPyConnection, run_id: str, products: Sequence[str], assets: Sequence[str]
) -> dict[tuple[str, str], int | None]:
    rows = con.execute(
        f"""
        SELECT product, asset, CASE WHEN count("rows") = count(*) THEN sum("rows")::BIGINT END
        FROM (SELECT * FROM lake.ops.writes
              WHERE run_id = ? AND list_contains(?, product) AND list_contains(?, asset) {_NEWEST})
        GROUP BY ALL
        """,
        [run_id, products, assets],
    ).fetchall()
    return {(product, asset): count for product, asset, count in rows}


def _standing(
    con: duckdb.DuckDBPyConnection, products: Sequence[str], assets: Sequence[str]
) -> dict[tuple[str, str], dict[str, int | None]]:
    """The rows of each partition that stands."""
    rows = con.execute(
        f"""
        SELECT product, asset, "partition", "rows", kind FROM lake.ops.writes
        WHERE list_contains(?, product) AND list_contains(?, asset) {_NEWEST}
        """,
        [products, assets],
    ).fetchall()
    found: dict[tuple[str, str], dict[str, int | None]] = {}
    for product, asset, partition, count, kind in rows:
        of_asset = found.setdefault((product, asset), {})
        if kind != "removed":
            of_asset[partition] = count
    return found


def _arrived(
    con: duckdb.DuckDBPyConnection, run_id: str, products: Sequence[str], assets: Sequence[str]
) -> dict[tuple[str, str], tuple[int | None, int]]:
    """Rows in and bytes of the files that a run read for each source."""
    sources = [asset.removeprefix(RAW) for asset in assets if asset.startswith(RAW)]
    rows = con.execute(
        """
        SELECT product, source, sum(rows_in_file)::BIGINT, coalesce(sum(size_bytes), 0)::BIGINT
        FROM lake.ops.arrivals
        WHERE run_id = ? AND list_contains(?, product) AND list_contains(?, source)
          AND status IN ('loaded', 'rejected') GROUP BY ALL
        """,
        [run_id, products, sources],
    ).fetchall()
    return {(product, RAW + source): (count, size) for product, source, count, size in rows}


def _stored_files(
    con: duckdb.DuckDBPyConnection,
    products: Sequence[str],
    assets: Sequence[str],
    started_at: dt.datetime,
) -> dict[tuple[str, str], int]:
    """Bytes of the reports and artifacts recorded since a moment."""
    # A bound on the time in WHERE has DuckLake look for data files to leave out, of which this
    # table has hardly any: four times the cost (measured).
    rows = con.execute(
        """
        SELECT product, asset,
               coalesce(sum(size_bytes) FILTER (recorded_at >= ?), 0)::BIGINT
        FROM lake.ops.files WHERE list_contains(?, product) AND list_contains(?, asset)
        GROUP BY ALL
        """,
        [started_at, products, assets],
    ).fetchall()
    return {(product, asset): size for product, asset, size in rows}


_LIVE_TABLES = """
    SELECT sch.schema_name, tab.table_name, tab.table_id
    FROM __ducklake_metadata_lake.ducklake_table tab
    JOIN __ducklake_metadata_lake.ducklake_schema sch USING (schema_id)
    WHERE tab.end_snapshot IS NULL AND sch.end_snapshot IS NULL
      AND list_contains($products, sch.schema_name) AND list_contains($tables, tab.table_name)"""


def _live_files(
    con: duckdb.DuckDBPyConnection, products: Sequence[str], tables: Sequence[str]
) -> dict[tuple[str, str], _Files]:
    """The data files that each table is made of now; a view is not among them."""
    rows = con.execute(
        f"""
        WITH live AS ({_LIVE_TABLES})
        SELECT live.schema_name, live.table_name, coalesce(data.size, 0)::BIGINT,
               (coalesce(data.held, 0) - coalesce(gone.deleted, 0))::BIGINT
        FROM live
        LEFT JOIN (SELECT table_id, sum(file_size_bytes) AS size, sum(record_count) AS held
                   FROM __ducklake_metadata_lake.ducklake_data_file
                   WHERE end_snapshot IS NULL GROUP BY 1) data USING (table_id)
        LEFT JOIN (SELECT table_id, sum(delete_count) AS deleted
                   FROM __ducklake_metadata_lake.ducklake_delete_file
                   WHERE end_snapshot IS NULL GROUP BY 1) gone USING (table_id)
        """,
        {"products": products, "tables": tables},
    ).fetchall()
    return {(schema, table): _Files(size, held) for schema, table, size, held in rows}


def _new_files(
    con: duckdb.DuckDBPyConnection,
    products: Sequence[str],
    tables: Sequence[str],
    started_at: dt.datetime,
) -> Mapping[tuple[str, str], int]:
    """Bytes of the data and delete files that tables got since a moment."""
    rows = con.execute(
        f"""
        WITH live AS ({_LIVE_TABLES}), made AS (
            SELECT snapshot_id AS begin_snapshot FROM __ducklake_metadata_lake.ducklake_snapshot
            WHERE snapshot_time::TIMESTAMPTZ >= $since::TIMESTAMPTZ)
        SELECT live.schema_name, live.table_name, sum(file.size)::BIGINT
        FROM (SELECT table_id, begin_snapshot, file_size_bytes AS size
              FROM __ducklake_metadata_lake.ducklake_data_file
              UNION ALL
              SELECT table_id, begin_snapshot, file_size_bytes
              FROM __ducklake_metadata_lake.ducklake_delete_file) file
        JOIN live USING (table_id) JOIN made USING (begin_snapshot) GROUP BY ALL
        """,
        {
            "products": products,
            "tables": tables,
            "since": started_at.replace(tzinfo=dt.UTC),
        },
    ).fetchall()
    return {(schema, table): size for schema, table, size in rows}
