"""What one environment's tables have that another's have not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import duckdb

from analytics_platform.lake import Lake
from analytics_platform.lake.catalog import table_files, view_definitions
from analytics_platform.lake.compare import Measure, RowDifference, measures, row_difference
from analytics_platform.lake.engine import open_duckdb
from analytics_platform.lake.schema_change import columns_of
from analytics_platform.lake.sql import identifier


@dataclass(frozen=True)
class TableDiff:
    """One table, from the second environment's state to the first's.

    Attributes:
        table: Its name.
        status: `same`, `changed`, `added` or `removed`.
        schema: Column, type before and type after, of columns that differ.
        rows: The rows that differ.
        measures: Means of numeric columns that differ, the most changed first.
        has_key: Whether rows were matched by a key.
        rows_before: How many rows there were.
        rows_after: How many there are.
    """

    table: str
    status: str
    schema: tuple[tuple[str, str | None, str | None], ...] = ()
    rows: RowDifference = field(default_factory=lambda: RowDifference(0, 0, 0, {}))
    measures: tuple[Measure, ...] = ()
    has_key: bool = False
    rows_before: int = 0
    rows_after: int = 0


def diff(
    first: Lake, second: Lake, product: str, keys: Mapping[str, Sequence[str]]
) -> list[TableDiff]:
    """What the first environment's working state would change in the second's, per table.

    A table made of the same files in both is the same and is not read. Views are compared by their
    columns and their definition.

    Args:
        first: The environment with the changes, such as staging.
        second: The environment compared with, such as production.
        product: The product.
        keys: Per table, the columns that identify a row.
    """
    files_first, files_second = (
        table_files(first.catalog, product),
        table_files(second.catalog, product),
    )
    found: list[TableDiff] = []
    with both(first, second) as con:
        after, before = _relations(con, "first", product), _relations(con, "second", product)
        for table in sorted(after.keys() | before.keys()):
            if table not in before:
                found.append(
                    TableDiff(table, "added", rows_after=_count(con, "first", product, table))
                )
            elif table not in after:
                found.append(
                    TableDiff(table, "removed", rows_before=_count(con, "second", product, table))
                )
            elif after[table] != before[table] or (
                files_first.get(table) != files_second.get(table)
            ):
                found.append(_compare(con, product, table, keys.get(table, ()), after[table]))
            else:
                found.append(TableDiff(table, "same"))
    return found


@contextmanager
def both(first: Lake, second: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that reads two lakes, as `first` and `second`."""
    con = open_duckdb()
    try:
        first.attach(con, "first")
        second.attach(con, "second")
        yield con
    finally:
        con.close()


def _relations(
    con: duckdb.DuckDBPyConnection, alias: str, product: str
) -> dict[str, tuple[str, str]]:
    """Per table or view: a view's definition, and the columns with their types."""
    views = view_definitions(con, alias, product)
    rows = con.execute(
        "SELECT table_name, string_agg(column_name || ' ' || data_type, ', ' "
        "ORDER BY ordinal_position) FROM information_schema.columns "
        "WHERE table_catalog = ? AND table_schema = ? GROUP BY ALL",
        [alias, product],
    ).fetchall()
    return {name: (views.get(name, ""), columns) for name, columns in rows}


def _compare(
    con: duckdb.DuckDBPyConnection,
    product: str,
    table: str,
    key: Sequence[str],
    relation: tuple[str, str],
) -> TableDiff:
    before, after = _name("second", product, table), _name("first", product, table)
    old, new = columns_of(con, before), columns_of(con, after)
    schema = tuple(
        (column, old.get(column), new.get(column))
        for column in [*old, *(column for column in new if column not in old)]
        if old.get(column) != new.get(column)
    )
    is_view = bool(relation[0])
    rows = RowDifference(0, 0, 0, {}) if is_view else row_difference(con, before, after, key)
    return TableDiff(
        table,
        "changed" if schema or is_view or not rows.is_empty else "same",
        schema,
        rows,
        () if is_view else tuple(measures(con, before, after)),
        bool(key),
        0 if is_view else _count(con, "second", product, table),
        0 if is_view else _count(con, "first", product, table),
    )


def _name(alias: str, product: str, table: str) -> str:
    return f"{alias}.{identifier(product)}.{identifier(table)}"


def _count(con: duckdb.DuckDBPyConnection, alias: str, product: str, table: str) -> int:
    row = con.execute(f"SELECT count(*) FROM {_name(alias, product, table)}").fetchone()
    return row[0] if row else 0
