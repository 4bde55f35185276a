"""What happens when a frame's columns are not its table's: the policy that its asset declares.

Belongs here: comparing schemas and altering the table inside the caller's transaction. Does not
belong here: which policy an asset has (its declaration says so).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import duckdb

from analytics_platform.lake.errors import SchemaChangedError
from analytics_platform.lake.sql import identifier, table_name

SchemaChange = Literal["fail", "add_columns", "replace"]
SCHEMA_CHANGES: tuple[SchemaChange, ...] = get_args(SchemaChange)

# A Parquet file of the lake keeps these as doubles, which changes large values in silence.
INEXACT_TYPES = {"HUGEINT", "UHUGEINT"}


def reconcile(
    con: duckdb.DuckDBPyConnection,
    schema: str,
    table: str,
    incoming: Mapping[str, str],
    policy: SchemaChange,
    *,
    replaces_all: bool,
) -> None:
    """Make the table fit for the incoming columns as the policy allows, or raise.

    Args:
        con: A connection, inside a transaction.
        schema: The table's schema.
        table: The table's name.
        incoming: Name and DuckDB type of each incoming column.
        policy: `fail` changes nothing; `add_columns` adds columns at the end, null in rows that
            stand; `replace` gives the table the incoming schema, and keeps the rows of other
            partitions where every value of theirs survives the change.
        replaces_all: Whether every row of the table is about to be replaced.

    Raises:
        SchemaChangedError: If the policy does not allow the change, or a value that stays would
            be changed by it.
    """
    require_exact(f"{schema}.{table}", incoming)
    name = table_name(schema, table)
    have = columns_of(con, name)
    if dict(have) == dict(incoming):
        return
    new = {column: kind for column, kind in incoming.items() if column not in have}
    same = all(incoming.get(column) == kind for column, kind in have.items())
    if policy == "add_columns" and same:
        for column, kind in new.items():
            con.execute(f"ALTER TABLE {name} ADD COLUMN {identifier(column)} {kind}")
    elif policy == "replace":
        _rebuild(con, schema, table, have, incoming, replaces_all=replaces_all)
    else:
        raise SchemaChangedError(_difference(schema, table, have, incoming, policy))


def columns_of(con: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Name and DuckDB type of each column of a table, view or registered frame."""
    return {row[0]: row[1] for row in con.execute(f"DESCRIBE {relation}").fetchall()}


def require_exact(table: str, incoming: Mapping[str, str]) -> None:
    """Refuse types whose values the lake's files would change.

    Raises:
        SchemaChangedError: If there is such a column.
    """
    inexact = [f"{name} {kind}" for name, kind in incoming.items() if kind in INEXACT_TYPES]
    if inexact:
        raise SchemaChangedError(
            f"Writing {table}: {', '.join(inexact)} would be kept as floating point and lose "
            "digits. Nothing was changed. Cast to BIGINT, DECIMAL or VARCHAR in the asset."
        )


def _rebuild(
    con: duckdb.DuckDBPyConnection,
    schema: str,
    table: str,
    have: Mapping[str, str],
    incoming: Mapping[str, str],
    *,
    replaces_all: bool,
) -> None:
    name, kept = table_name(schema, table), "rows_that_stay"
    # SQL's names know no case: `Value` and `value` are one column.
    types = {column.casefold(): kind for column, kind in have.items()}
    shared = {column: kind for column, kind in incoming.items() if column.casefold() in types}
    if not replaces_all:
        for column, kind in shared.items():
            _require_lossless(con, schema, table, column, types[column.casefold()], kind)
        con.execute(f"CREATE TEMP TABLE {kept} AS FROM {name}")
    con.execute(f"DROP TABLE {name}")
    columns = ", ".join(f"{identifier(column)} {kind}" for column, kind in incoming.items())
    con.execute(f"CREATE TABLE {name} ({columns})")
    if not replaces_all:
        names = ", ".join(identifier(column) for column in shared)
        con.execute(f"INSERT INTO {name} ({names}) SELECT {names} FROM temp.{kept}")
        con.execute(f"DROP TABLE temp.{kept}")


def _require_lossless(
    con: duckdb.DuckDBPyConnection, schema: str, table: str, column: str, old: str, new: str
) -> None:
    if old == new:
        return
    quoted = identifier(column)
    lost = con.execute(
        f"SELECT {quoted}::VARCHAR FROM {table_name(schema, table)} WHERE {quoted} IS NOT NULL "
        f"AND TRY_CAST(TRY_CAST({quoted} AS {new}) AS {old}) IS DISTINCT FROM {quoted} LIMIT 1"
    ).fetchone()
    if lost is not None:
        raise SchemaChangedError(
            f"Writing {schema}.{table}: {column} would change from {old} to {new}, and rows that "
            f"stay hold values which that loses, such as {lost[0]!r}. Nothing was changed. "
            "Materialise every partition in one run, or keep the wider type."
        )


def _difference(
    schema: str,
    table: str,
    have: Mapping[str, str],
    incoming: Mapping[str, str],
    policy: SchemaChange,
) -> str:
    lines = [
        f"  {name}: table {have.get(name, 'has no such column')}, "
        f"frame {incoming.get(name, 'has no such column')}"
        for name in sorted(have.keys() | incoming.keys())
        if have.get(name) != incoming.get(name)
    ]
    return (
        f"Writing {schema}.{table}: the frame's columns are not the table's, and the asset's "
        f"policy for a changed schema is `{policy}`. Nothing was changed.\n"
        + "\n".join(lines)
        + f"\n  table: {dict(have)}\n  frame: {dict(incoming)}\n"
        "Mend the asset, or declare `schema_change: add_columns` or `schema_change: replace`."
    )
