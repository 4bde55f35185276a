"""Read a release: in Python, in Polars, and from any other DuckDB.

A reader opens the release's frozen catalog, a file that never changes. It takes no part in the
working lake's locks, holds nothing back, and sees one state for as long as it stays open.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from types import TracebackType
from typing import Any

import duckdb
import polars as pl
from polars.io.plugins import register_io_source

from analytics_platform.lake import FileStore, LakeError
from analytics_platform.lake.catalog import files_of_attached
from analytics_platform.lake.engine import open_duckdb
from analytics_platform.lake.sql import identifier, literal
from analytics_platform.release.log import Release


class ReleasedProduct:
    """A read-only DuckDB connection to one release, and a Polars scan of its tables.

    Everything a DuckDB connection offers can be called on it (`execute`, `sql`, `table`, …);
    tables need no schema. Use it as a context manager, or close it.

    Attributes:
        release: The release that it reads.
        connection: The DuckDB connection.
    """

    def __init__(self, release: Release, store: FileStore) -> None:
        self.release = release
        self._schema = f"{identifier(release.product)}.{identifier(release.product)}"
        # Without the SQLite extension, which opens any file whatever DuckDB forbids (`sealed`).
        self.connection = open_duckdb(["ducklake"])
        try:
            self.connection.execute(attach_statement(release, store))
        except BaseException:
            self.connection.close()
            raise

    def scan(self, table: str) -> pl.LazyFrame:
        """A table as a lazy Polars frame; filters and columns are pushed down to DuckDB.

        Args:
            table: The table's name, without a schema.

        Raises:
            LakeError: If the release has no such table; lists those it has.
        """
        tables = self.tables()
        if table not in tables:
            raise LakeError(
                f"Release {self.release.number} of {self.release.product} has no table "
                f"{table!r}; it has: {', '.join(tables)}."
            )
        relation = f"FROM {self._schema}.{identifier(table)}"

        def source(
            columns: list[str] | None,
            predicate: pl.Expr | None,
            rows: int | None,
            batch_rows: int | None,
        ) -> Iterator[pl.DataFrame]:
            # A cursor for each: Polars runs the scans of one query at once, and a connection does
            # one thing at a time.
            with closing(self.connection.cursor()) as cursor:
                frame: pl.LazyFrame = cursor.sql(relation).pl(lazy=True)  # pyright: ignore[reportAssignmentType]
                frame = frame if rows is None else frame.head(rows)
                frame = frame if predicate is None else frame.filter(predicate)
                frame = frame if columns is None else frame.select(columns)
                yield from frame.collect_batches(chunk_size=batch_rows)

        schema = self.connection.sql(f"{relation} LIMIT 0").pl().schema
        return register_io_source(source, schema=schema, is_pure=True)

    def tables(self) -> list[str]:
        """The names of its tables and views."""
        rows = self.connection.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_catalog = ? AND table_schema = ? ORDER BY 1",
            [self.release.product, self.release.product],
        ).fetchall()
        return [name for (name,) in rows]

    def sealed(self) -> ReleasedProduct:
        """The same, for the statements of strangers: it reads the release's files and no others.

        Settings are locked. Give it statements by `query`, which lets through those that read.
        """
        files = sorted(files_of_attached(self.connection, self.release.product))
        self.connection.execute(f"SET allowed_paths = [{', '.join(map(literal, files))}]")
        self.connection.execute("SET autoinstall_known_extensions = false")
        self.connection.execute("SET autoload_known_extensions = false")
        self.connection.execute("SET enable_external_access = false")
        self.connection.execute("SET lock_configuration = true")
        return self

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def __enter__(self) -> ReleasedProduct:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def attach_statement(release: Release, store: FileStore) -> str:
    """The SQL by which any DuckDB client or BI tool attaches a release's frozen catalog."""
    path = store.path(release.catalog.sha256, release.catalog.name)
    name = identifier(release.product)
    return (
        f"LOAD ducklake;\n"
        f"ATTACH {literal(f'ducklake:{path}')} AS {name} (READ_ONLY);\n"
        f"USE {name}.{name};"
    )


def query(released: ReleasedProduct, sql: str) -> pl.DataFrame:
    """The result of one statement that reads.

    Raises:
        LakeError: If it is anything else.
    """
    statements = duckdb.extract_statements(sql)
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise LakeError("One statement that reads is expected, such as: select … from …")
    return released.connection.execute(sql).pl()
