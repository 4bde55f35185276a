"""Connections to the DuckLake, its single writer, and writes that happen whole or not at all.

The lake is attached under the name `lake` with one schema per product and the schema `ops` for the
platform's own records. On an SQLite catalog concurrent commits fail with `database is locked`, so
writing takes turns: a file lock is held while a transaction writes, and never while reading.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from analytics_platform.lake import records
from analytics_platform.lake.errors import LakeError, SchemaChangedError, WriterBusyError
from analytics_platform.lake.sql import identifier, literal, table_name
from analytics_platform.settings import Settings

if TYPE_CHECKING:
    from filelock import FileLock

EXTENSIONS = ("sqlite_scanner", "ducklake")
BUSY_TIMEOUT = "META_BUSY_TIMEOUT 30000"
# Set once, when the catalog is made: it stays with the file, and a reader may not set it.
# Beside a busy writer, readers do not wait for it (docs/adr/0002).
JOURNAL_MODE = "META_JOURNAL_MODE 'WAL'"


@cache
def install_extensions() -> None:
    """Put the DuckDB extensions that came as Python packages where DuckDB looks for them.

    DuckDB verifies their signatures when it loads them. Nothing is fetched from a network.
    """
    import duckdb_extensions

    for extension in EXTENSIONS:
        duckdb_extensions.import_extension(extension)


@dataclass(frozen=True)
class Transaction:
    """One open transaction on the lake; everything in it becomes visible at once.

    Attributes:
        connection: The DuckDB connection, inside the transaction.
        snapshot_id: The snapshot that committing will create. Exact, because there is one writer.
    """

    connection: duckdb.DuckDBPyConnection
    snapshot_id: int

    def replace(
        self,
        schema: str,
        table: str,
        frame: pl.DataFrame,
        *,
        partition_column: str | None = None,
        partitions: Sequence[str] | None = None,
    ) -> int:
        """Replace partitions of a table, or the whole table, with the rows of a frame.

        Columns are matched by name. A table that does not exist is created from the frame.

        Args:
            schema: The product's schema.
            table: The table's name.
            frame: The new rows. With `partitions`, every row belongs to one of them.
            partition_column: The date column that says which partition a row belongs to.
            partitions: The partitions to replace, as ISO dates; None replaces the whole table.

        Returns:
            The number of rows written.

        Raises:
            SchemaChangedError: If the frame's columns or types differ from the table's.
            LakeError: If a row belongs to none of `partitions`.
        """
        frame = _without_categoricals(frame)
        name = table_name(schema, table)
        con = self.connection
        con.execute(f"CREATE SCHEMA IF NOT EXISTS lake.{identifier(schema)}")
        con.register("incoming", frame.to_arrow())
        try:
            incoming = _columns(con, "incoming")
            if _exists(con, schema, table):
                _require_same_schema(f"{schema}.{table}", _columns(con, name), incoming)
            else:
                con.execute(f"CREATE TABLE {name} AS SELECT * FROM incoming LIMIT 0")
            if partitions is None:
                con.execute(f"DELETE FROM {name}")
            else:
                if partition_column is None:
                    raise LakeError(f"{schema}.{table}: partitions given without a column")
                column = identifier(partition_column)
                keys = f"SELECT unnest({list(partitions)!r}::DATE[])"
                strays = con.execute(
                    f"SELECT DISTINCT {column} FROM incoming "
                    f"WHERE {column} IS NULL OR {column} NOT IN ({keys}) LIMIT 3"
                ).fetchall()
                if strays:
                    raise LakeError(
                        f"Writing {schema}.{table} for {_span(partitions)}: the frame holds rows "
                        f"with {partition_column} = {[str(row[0]) for row in strays]}, which are "
                        f"not among the partitions of this write. Filter them in the asset."
                    )
                con.execute(f"DELETE FROM {name} WHERE {column} IN ({keys})")
            con.execute(f"INSERT INTO {name} BY NAME SELECT * FROM incoming")
        finally:
            con.unregister("incoming")
        return frame.height

    def record_writes(
        self, writes: Sequence[records.WriteRecord], snapshot_id: int | None = None
    ) -> None:
        """Remember which partitions of which assets were written.

        Args:
            writes: What was written.
            snapshot_id: The snapshot that holds it; the one of this transaction unless another
                connection committed it before.
        """
        standing = self.snapshot_id if snapshot_id is None else snapshot_id
        records.insert_writes(self.connection, writes, standing)

    def record_checks(self, checks: Sequence[records.CheckRecord], snapshot_id: int) -> None:
        """Remember the results of checks that saw the lake at `snapshot_id` or later."""
        records.insert_checks(self.connection, checks, snapshot_id)


class Lake:
    """The lake of one installation.

    Args:
        catalog: The SQLite file of the catalog.
        data: The folder of the Parquet files.
        writer_wait_seconds: How long a writer waits for its turn.
    """

    def __init__(self, catalog: Path, data: Path, writer_wait_seconds: float = 600.0) -> None:
        self.catalog = catalog
        self.data = data
        self.writer_wait_seconds = writer_wait_seconds
        self._lock_path = catalog.with_name("writer.lock")
        self._holder_path = catalog.with_name("writer.json")
        self._turns = threading.local()

    @classmethod
    def from_settings(cls, settings: Settings) -> Lake:
        """The lake that the settings name."""
        return cls(settings.lake_catalog, settings.lake_data, settings.writer_wait_seconds)

    def connect(
        self, *, read_only: bool = False, snapshot: int | None = None
    ) -> duckdb.DuckDBPyConnection:
        """Open a connection of its own with the lake attached as `lake`.

        Args:
            read_only: Whether writing is refused.
            snapshot: The snapshot to read, fixed for the connection's life; None for the newest.
        """
        install_extensions()
        if not self.catalog.exists():
            self._create()
        con = duckdb.connect()
        try:
            for extension in EXTENSIONS:
                con.load_extension(extension)
            options = [f"DATA_PATH {literal(str(self.data) + '/')}", BUSY_TIMEOUT]
            if read_only or snapshot is not None:
                options.append("READ_ONLY")
            if snapshot is not None:
                options.append(f"SNAPSHOT_VERSION {snapshot:d}")
            con.execute(
                f"ATTACH {literal(f'ducklake:sqlite:{self.catalog}')} AS lake "
                f"({', '.join(options)})"
            )
            con.execute("SET TimeZone = 'UTC'")
        except BaseException:
            con.close()
            raise
        return con

    @contextmanager
    def reader(self, snapshot: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection, closed afterwards."""
        con = self.connect(read_only=True, snapshot=snapshot)
        try:
            yield con
        finally:
            con.close()

    def query(self, sql: str, parameters: Sequence[object] = ()) -> pl.DataFrame:
        """Read the newest state with one statement and give its result as a frame."""
        with self.reader() as con:
            return con.execute(sql, parameters).pl()

    @contextmanager
    def transaction(self, purpose: str) -> Iterator[Transaction]:
        """Write in one transaction: all of it is committed, or none when the block raises.

        Args:
            purpose: What is being written; a waiting writer is told.
        """
        with self.writing(purpose):
            con = self.connect()
            try:
                con.execute("BEGIN")
                yield Transaction(con, current_snapshot(con) + 1)
                con.execute("COMMIT")
            finally:
                # Closing rolls back what was not committed.
                con.close()

    @contextmanager
    def writing(self, purpose: str) -> Iterator[None]:
        """Hold the lake's only writing turn; a thread that holds it may enter again.

        Raises:
            WriterBusyError: If the turn did not come within the wait; names the holder.
        """
        import filelock

        lock = self._turn()
        try:
            lock.acquire(timeout=self.writer_wait_seconds)
        except filelock.Timeout as timeout:
            raise WriterBusyError(
                f"Waited {self.writer_wait_seconds:.0f} s for the writing turn on {self.catalog} "
                f"to do: {purpose}. It is held by {self._holder()}."
            ) from timeout
        try:
            if lock.lock_counter == 1:
                self._holder_path.write_text(
                    json.dumps(
                        {
                            "pid": os.getpid(),
                            "purpose": purpose,
                            "since": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                        }
                    )
                )
            yield
        finally:
            lock.release()

    def snapshot(self) -> int:
        """The newest snapshot's number."""
        with self.reader() as con:
            return current_snapshot(con)

    def _turn(self) -> FileLock:
        import filelock

        lock = getattr(self._turns, "lock", None)
        if lock is None:
            self._lock_path.parent.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self._lock_path)
            self._turns.lock = lock
        return lock

    def _holder(self) -> str:
        try:
            holder = json.loads(self._holder_path.read_text())
        except (OSError, ValueError):
            return "a process that left no name"
        return f"process {holder['pid']} since {holder['since']} to do: {holder['purpose']}"

    def _create(self) -> None:
        """Make the catalog and the platform's own tables, once, however many ask at once."""
        with self.writing("create the lake"):
            if self.catalog.exists():
                return
            self.data.mkdir(parents=True, exist_ok=True)
            # Made under another name and moved, so that a killed creation leaves no half lake.
            draft = self.catalog.with_suffix(".draft")
            draft.unlink(missing_ok=True)
            con = duckdb.connect()
            try:
                for extension in EXTENSIONS:
                    con.load_extension(extension)
                con.execute(
                    f"ATTACH {literal(f'ducklake:sqlite:{draft}')} AS lake "
                    f"(DATA_PATH {literal(str(self.data) + '/')}, {JOURNAL_MODE})"
                )
                records.create_tables(con)
                con.execute("DETACH lake")
            finally:
                con.close()
            draft.replace(self.catalog)


def current_snapshot(con: duckdb.DuckDBPyConnection) -> int:
    """The snapshot that a connection reads, or on which its transaction stands."""
    row = con.execute("SELECT id FROM lake.current_snapshot()").fetchone()
    if row is None:
        raise LakeError("The lake's catalog holds no snapshot; it was not made by this platform.")
    return int(row[0])


def _columns(con: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    return {row[0]: row[1] for row in con.execute(f"DESCRIBE {relation}").fetchall()}


def _exists(con: duckdb.DuckDBPyConnection, schema: str, table: str) -> bool:
    found = con.execute(
        "SELECT 1 FROM duckdb_tables() "
        "WHERE database_name = 'lake' AND schema_name = ? AND table_name = ?",
        [schema, table],
    ).fetchone()
    return found is not None


def _require_same_schema(table: str, have: dict[str, str], incoming: dict[str, str]) -> None:
    if have == incoming or dict(sorted(have.items())) == dict(sorted(incoming.items())):
        return
    lines = [
        f"  {name}: table {have.get(name, 'has no such column')}, "
        f"frame {incoming.get(name, 'has no such column')}"
        for name in sorted(have.keys() | incoming.keys())
        if have.get(name) != incoming.get(name)
    ]
    raise SchemaChangedError(
        f"Writing {table}: the frame's columns are not the table's. Nothing was changed.\n"
        + "\n".join(lines)
        + f"\n  table: {have}\n  frame: {incoming}"
    )


def _without_categoricals(frame: pl.DataFrame) -> pl.DataFrame:
    # DuckLake has no ENUM type, which is what Arrow dictionaries become.
    return frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))


def _span(partitions: Sequence[str]) -> str:
    return partitions[0] if len(partitions) == 1 else f"{partitions[0]} to {partitions[-1]}"
