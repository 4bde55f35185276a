"""What a product's sources keep aside: the rows that broke a rule, as they came.

Belongs here: reading the quarantine tables. Does not belong here: filling them (`load`), judging
their rows again (`replay`).
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import polars as pl

from analytics_platform.arrivals.checks import columns_exist
from analytics_platform.arrivals.landing import QUARANTINE_COLUMNS
from analytics_platform.arrivals.rows import RULES_PARTED_BY
from analytics_platform.contracts import SOURCE_FILE, SOURCE_LINE
from analytics_platform.lake.sql import identifier, table_name
from analytics_platform.lake.tables import QUARANTINE


def quarantining_sources(con: duckdb.DuckDBPyConnection, product: str) -> list[str]:
    """The sources of a product that have a quarantine, be it empty, by name."""
    rows = con.execute(
        "SELECT table_name FROM duckdb_tables() "
        "WHERE database_name = 'lake' AND schema_name = ? AND starts_with(table_name, ?) "
        "ORDER BY table_name",
        [product, QUARANTINE],
    ).fetchall()
    return [table.removeprefix(QUARANTINE) for (table,) in rows]


def quarantined_rows(
    con: duckdb.DuckDBPyConnection,
    product: str,
    source: str,
    *,
    partitions: Sequence[str] | None = None,
    rule: str | None = None,
    limit: int | None = None,
) -> pl.DataFrame:
    """The rows that a source keeps aside, in the order of partitions, files and lines.

    Columns: partition, _source_file, _source_line, rules (a list of names), row, text.

    Args:
        con: A connection to the lake.
        product: The product.
        source: The source.
        partitions: Only these; `[WHOLE]` is all of a source delivered whole.
        rule: Only rows that broke this rule.
        limit: How many, at the most.
    """
    where, given = "true", list[object]()
    if partitions is not None:
        where, given = '"partition" IN (SELECT unnest(?::VARCHAR[]))', [list(partitions)]
    if rule is not None:
        where, given = f"{where} AND list_contains(rules, ?)", [*given, rule]
    return con.execute(
        f"""
        FROM ({_select(con, product, source)}) WHERE {where}
        ORDER BY "partition", {SOURCE_FILE}, {SOURCE_LINE}
        {"" if limit is None else f"LIMIT {limit:d}"}
        """,
        given,
    ).pl()


def quarantined_counts(con: duckdb.DuckDBPyConnection, product: str, source: str) -> pl.DataFrame:
    """How many rows a source keeps aside: partition, _source_file, rules (a list), rows."""
    return con.execute(
        f"""
        SELECT "partition", {SOURCE_FILE}, rules, count(*) AS "rows"
        FROM ({_select(con, product, source)}) GROUP BY ALL ORDER BY ALL
        """
    ).pl()


def _select(con: duckdb.DuckDBPyConnection, product: str, source: str) -> str:
    """The source's quarantine with the same columns for every source."""
    columns = columns_exist(con, product, QUARANTINE + source)
    if not columns:
        nothing = f"'' AS {SOURCE_FILE}, 0 AS {SOURCE_LINE}, '' AS \"row\", '' AS \"text\""
        return f"SELECT '' AS \"partition\", [''] AS rules, {nothing} WHERE false"
    # What is not the platform's is the column that the source is partitioned by.
    partition = next((f"{identifier(c)}::VARCHAR" for c in columns - QUARANTINE_COLUMNS), "''")
    # A lake of before the records' text has none.
    text = '"text"' if "text" in columns else "NULL::VARCHAR"
    return (
        f'SELECT {partition} AS "partition", {SOURCE_FILE}, {SOURCE_LINE}, '
        f'string_split(rules, \'{RULES_PARTED_BY}\') AS rules, "row", {text} AS "text" '
        f"FROM {table_name(product, QUARANTINE + source)}"
    )
