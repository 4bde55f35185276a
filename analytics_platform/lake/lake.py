"""Connections to the DuckLake of an environment, and writes that happen whole or not at all.

The lake is attached under the name `lake` with one schema per product and the schema `ops` for the
platform's own records. On an SQLite catalog concurrent commits fail with `database is locked`, so
writing takes turns: a file lock is held while a transaction writes, and never while reading.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb
import polars as pl

from analytics_platform.lake import outside, records
from analytics_platform.lake.catalog import files_of_attached
from analytics_platform.lake.engine import open_duckdb
from analytics_platform.lake.errors import LakeError
from analytics_platform.lake.files import real_paths
from analytics_platform.lake.schema_change import (
    SchemaChange,
    columns_of,
    reconcile,
    require_exact,
)
from analytics_platform.lake.sql import identifier, literal, table_name
from analytics_platform.lake.turn import Turn
from analytics_platform.settings import Settings

logger = logging.getLogger(__name__)

BUSY_TIMEOUT = "META_BUSY_TIMEOUT 30000"
# Set once, when the catalog is made: it stays with the file, and a reader may not set it.
# Beside a busy writer, readers do not wait for it (docs/adr/0002).
JOURNAL_MODE = "META_JOURNAL_MODE 'WAL'"
# Small rows of the platform's own records stay in the catalog: a file for every check would be
# thousands. Products have none there, because a release is a copy of the catalog in another
# format, and DuckLake 1.0 cannot read rows that were copied along.
INLINED_OPS_ROWS = 1000


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
        schema_change: SchemaChange = "fail",
    ) -> int:
        """Replace partitions of a table, or the whole table, with the rows of a frame.

        Columns are matched by name. A table that does not exist is created from the frame.

        Args:
            schema: The product's schema.
            table: The table's name.
            frame: The new rows. With `partitions`, every row belongs to one of them.
            partition_column: The date column that says which partition a row belongs to.
            partitions: The partitions to replace, as ISO dates; None replaces the whole table.
            schema_change: What to do where the frame's columns are not the table's.

        Returns:
            The number of rows written.

        Raises:
            SchemaChangedError: If the frame's columns or types differ from the table's in a way
                that `schema_change` does not allow.
            LakeError: If a row belongs to none of `partitions`.
        """
        name = table_name(schema, table)
        con = self.connection
        with self._incoming(schema, table, frame, schema_change, replaces_all=partitions is None):
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
        return frame.height

    def append(
        self,
        schema: str,
        table: str,
        frame: pl.DataFrame,
        *,
        schema_change: SchemaChange = "fail",
    ) -> int:
        """Add the rows of a frame to a table, whose rows stay as they are.

        Args:
            schema: The product's schema.
            table: The table's name.
            frame: The new rows; columns are matched by name.
            schema_change: What to do where the frame's columns are not the table's.

        Returns:
            The number of rows added.

        Raises:
            SchemaChangedError: As `replace` does.
        """
        with self._incoming(schema, table, frame, schema_change, replaces_all=False):
            self.connection.execute(
                f"INSERT INTO {table_name(schema, table)} BY NAME SELECT * FROM incoming"
            )
        return frame.height

    @contextmanager
    def _incoming(
        self,
        schema: str,
        table: str,
        frame: pl.DataFrame,
        schema_change: SchemaChange,
        *,
        replaces_all: bool,
    ) -> Iterator[None]:
        """The frame under the name `incoming`, and a table that fits it."""
        frame = _without_categoricals(frame)
        require_exact(f"{schema}.{table}", _wide_integers(frame))
        con = self.connection
        con.execute(f"CREATE SCHEMA IF NOT EXISTS lake.{identifier(schema)}")
        con.register("incoming", frame.to_arrow())
        try:
            incoming = columns_of(con, "incoming")
            if records.has_table(con, table, schema=schema):
                reconcile(con, schema, table, incoming, schema_change, replaces_all=replaces_all)
            else:
                require_exact(f"{schema}.{table}", incoming)
                con.execute(
                    f"CREATE TABLE {table_name(schema, table)} AS SELECT * FROM incoming LIMIT 0"
                )
            yield
        finally:
            con.unregister("incoming")

    def record_writes(
        self,
        writes: Sequence[records.WriteRecord],
        snapshot_id: int | None = None,
        *,
        columns: Mapping[str, str | None] | None = None,
        changed_before: Sequence[outside.OutsideChange] | None = None,
    ) -> None:
        """Remember which partitions of which assets were written.

        What had changed in their tables before, and outside any recorded run, is kept too: these
        records would hide it from the gate.

        Args:
            writes: What was written.
            snapshot_id: The snapshot that holds it; the one of this transaction unless another
                connection committed it before.
            columns: The partition column of assets that have one; tells which partitions changed.
            changed_before: What `outside.find` found before another connection committed.
        """
        standing = self.snapshot_id if snapshot_id is None else snapshot_id
        if changed_before is None:
            assets: dict[str, dict[str, str | None]] = {}
            for write in writes:
                column = (columns or {}).get(write.asset)
                assets.setdefault(write.product, {})[write.asset] = column
            changed_before = [
                change
                for product, of_product in assets.items()
                for change in outside.find(self.connection, product, of_product)
            ]
        outside.insert(self.connection, changed_before)
        records.insert_writes(self.connection, writes, standing)

    def record_files(self, files: Sequence[records.FileRecord]) -> None:
        """Remember files that belong to what this transaction writes or follows.

        All files of a partition are recorded together: they replace those it had.
        """
        records.insert_files(self.connection, files, self.snapshot_id)

    def record_checks(self, checks: Sequence[records.CheckRecord], snapshot_id: int) -> None:
        """Remember the results of checks that saw the lake at `snapshot_id` or later."""
        records.insert_checks(self.connection, checks, snapshot_id)


class Lake:
    """The lake of one environment.

    What stands belongs to one folder below `lakes/`; the link `lake` names the one in force, so
    that replacing the whole lake by a clone of another is one step.

    Args:
        folder: The environment's folder.
        writer_wait_seconds: How long a writer waits for its turn.

    Attributes:
        releases_turn: The turn in which a release log is changed; held for milliseconds.
    """

    def __init__(self, folder: Path, writer_wait_seconds: float = 600.0) -> None:
        self.folder = folder
        self.writer_wait_seconds = writer_wait_seconds
        self._turn = Turn(folder / "writer.lock", writer_wait_seconds)
        self.releases_turn = Turn(folder / "releases.lock", writer_wait_seconds)

    @classmethod
    def from_settings(cls, settings: Settings) -> Lake:
        """The lake that the settings name; one object per lake and process."""
        return _lake_at(settings.environment_path, settings.writer_wait_seconds)

    @property
    def exists(self) -> bool:
        """Whether there is anything yet."""
        return (self.folder / "lake").exists()

    @property
    def place(self) -> Path:
        """The folder of the lake in force, without links."""
        return (self.folder / "lake").resolve()

    @property
    def catalog(self) -> Path:
        """The SQLite file of the catalog."""
        return self.place / "catalog.sqlite"

    @property
    def data(self) -> Path:
        """The folder of the Parquet files that this lake wrote."""
        return self.place / "data"

    @property
    def releases(self) -> Path:
        """The folder of the products' release logs."""
        return self.place / "releases"

    def connect(
        self, *, read_only: bool = False, snapshot: int | None = None
    ) -> duckdb.DuckDBPyConnection:
        """Open a connection of its own with the lake attached as `lake`.

        Args:
            read_only: Whether writing is refused.
            snapshot: The snapshot to read, fixed for the connection's life; None for the newest.
        """
        if not self.exists:
            self._create()
        con = open_duckdb()
        try:
            self.attach(con, "lake", read_only=read_only, snapshot=snapshot)
        except BaseException:
            con.close()
            raise
        return con

    def attach(
        self,
        con: duckdb.DuckDBPyConnection,
        alias: str,
        *,
        read_only: bool = True,
        snapshot: int | None = None,
    ) -> None:
        """Attach the lake to a connection under a name."""
        options = [BUSY_TIMEOUT]
        if read_only or snapshot is not None:
            options.append("READ_ONLY")
        if snapshot is not None:
            options.append(f"SNAPSHOT_VERSION {snapshot:d}")
        con.execute(
            f"ATTACH {literal(f'ducklake:sqlite:{self.catalog}')} AS {identifier(alias)} "
            f"({', '.join(options)})"
        )

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
        with self.writer(purpose) as con:
            con.execute("BEGIN")
            yield Transaction(con, current_snapshot(con) + 1)
            con.execute("COMMIT")

    @contextmanager
    def writer(self, purpose: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that may write, in the lake's only turn; closed afterwards.

        When the block raises, what was not committed is rolled back, and the files it was written
        to are removed: where the disk was full, there is room again.

        Args:
            purpose: What is being written; a waiting writer is told.
        """
        with self.writing(purpose):
            began = time.time()
            con = self.connect()
            try:
                yield con
            except BaseException:
                self._remove_unfinished(con, began)
                raise
            finally:
                con.close()

    @contextmanager
    def writing(self, purpose: str) -> Iterator[None]:
        """Hold the lake's only writing turn; a thread that holds it may enter again.

        Raises:
            WriterBusyError: If the turn did not come within the wait; names the holder.
        """
        with self._turn.held(purpose):
            yield

    def snapshot(self) -> int:
        """The newest snapshot's number."""
        with self.reader() as con:
            return current_snapshot(con)

    def new_place(self) -> Path:
        """An empty folder for a lake that is not in force yet."""
        place = self.folder.resolve() / "lakes" / uuid.uuid4().hex[:12]
        (place / "data").mkdir(parents=True)
        return place

    def put_in_force(self, place: Path) -> None:
        """Make a complete lake the environment's, in one step. The caller holds the turn."""
        if self.exists:
            # Upkeep counts the retention of what is given up from here.
            os.utime(self.place)
        link = self.folder / f".lake-{place.name}"
        link.unlink(missing_ok=True)
        link.symlink_to(place.relative_to(self.folder.resolve()))
        os.replace(link, self.folder / "lake")  # noqa: PTH105 - the one call that is atomic

    def _remove_unfinished(self, con: duckdb.DuckDBPyConnection, began: float) -> None:
        """Remove the data files written since a moment that the catalog does not name."""
        try:
            with suppress(duckdb.TransactionException):  # where the block had begun none
                con.execute("ROLLBACK")
            named = real_paths(files_of_attached(con, "lake"))
            for path in self.data.rglob("*.parquet"):
                if path.stat().st_mtime >= began and str(path) not in named:
                    path.unlink()
        except (duckdb.Error, OSError) as error:
            # The failure itself is what the caller must hear of.
            logger.warning("What a failed write left is for upkeep to remove: %s", error)

    def _create(self) -> None:
        """Make the catalog and the platform's own tables, once, however many ask at once."""
        with self.writing("create the lake"):
            if self.exists:
                return
            place = self.new_place()
            con = open_duckdb()
            try:
                con.execute(
                    f"ATTACH {literal(f'ducklake:sqlite:{place}/catalog.sqlite')} AS lake "
                    f"(DATA_PATH {literal(f'{place}/data/')}, {JOURNAL_MODE})"
                )
                con.execute("CALL lake.set_option('data_inlining_row_limit', 0)")
                records.create_tables(con)
                con.execute(
                    f"CALL lake.set_option('data_inlining_row_limit', {INLINED_OPS_ROWS}, "
                    "schema => 'ops')"
                )
                con.execute("DETACH lake")
            finally:
                con.close()
            self.put_in_force(place)


# One object per lake, so that a thread which holds the writing turn may enter it again.
_lake_at = cache(Lake)


def current_snapshot(con: duckdb.DuckDBPyConnection) -> int:
    """The snapshot that a connection reads, or on which its transaction stands."""
    row = con.execute("SELECT id FROM lake.current_snapshot()").fetchone()
    if row is None:
        raise LakeError("The lake's catalog holds no snapshot; it was not made by this platform.")
    return int(row[0])


def _without_categoricals(frame: pl.DataFrame) -> pl.DataFrame:
    # DuckLake has no ENUM type, which is what Arrow dictionaries become.
    return frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))


def _wide_integers(frame: pl.DataFrame) -> dict[str, str]:
    # Arrow has no such type, so DuckDB cannot be asked what it would be.
    wide = {pl.Int128: "HUGEINT", pl.UInt128: "UHUGEINT"}
    return {name: wide[kind] for name, kind in frame.schema.items() if kind in wide}  # pyright: ignore[reportArgumentType]


def _span(partitions: Sequence[str]) -> str:
    return partitions[0] if len(partitions) == 1 else f"{partitions[0]} to {partitions[-1]}"
