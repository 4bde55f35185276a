"""Compare two states of a table: by digest, by key, by measure.

Belongs here: comparing relations of one DuckDB connection. Does not belong here: where the two
states come from (two environments, a release and its reproduction).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from analytics_platform.lake.schema_change import columns_of
from analytics_platform.lake.sql import identifier

_NUMERIC = re.compile(
    r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)|FLOAT|DOUBLE|DECIMAL\(\d+,\d+\)"
)
TEXT = "::VARCHAR"
# Names that no column has: in DuckDB a row is named like its relation, unless a column is.
_BEFORE, _AFTER, _PRESENT = '"·before"', '"·after"', '"·present"'


@dataclass(frozen=True)
class Measure:
    """The mean of a numeric column in both states; None where it has no value."""

    column: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class RowDifference:
    """Rows that differ between two states of a table.

    Attributes:
        added: Rows only in the second state.
        removed: Rows only in the first.
        changed: Rows of the same key with another value; 0 where the table has no key.
        changed_columns: Per column, in how many of those rows it differs.
    """

    added: int
    removed: int
    changed: int
    changed_columns: Mapping[str, int]

    @property
    def is_empty(self) -> bool:
        """Whether both states hold the same rows."""
        return not (self.added or self.removed or self.changed)


def digest(
    con: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str]
) -> tuple[int, int]:
    """Number of rows, and the sum of the hashes of all rows: equal for the same rows in any order.

    Args:
        con: A connection.
        relation: The relation's SQL name.
        columns: The columns to look at.
    """
    names = ", ".join(identifier(name) for name in sorted(columns))
    row = con.execute(
        f"SELECT count(*), coalesce(sum(hash({names})::HUGEINT), 0) FROM {relation}"
    ).fetchone()
    return (row[0], row[1]) if row else (0, 0)


def row_difference(
    con: duckdb.DuckDBPyConnection,
    before: str,
    after: str,
    key: Sequence[str] = (),
    where: str = "true",
) -> RowDifference:
    """The rows that differ, over the columns that both states have.

    Args:
        con: A connection.
        before: The first state's SQL name.
        after: The second state's SQL name.
        key: Columns that identify a row; without any, rows are compared whole.
        where: A condition on the rows to compare.
    """
    have, has = columns_of(con, before), columns_of(con, after)
    shared = [name for name in has if name in have]
    names = ", ".join(identifier(name) for name in shared)
    if not key or not set(key) <= set(shared) or _has_doubles(con, (before, after), key, where):
        return _whole_rows(con, before, after, names, where)
    pairs = {
        name: tuple(
            f"{side}.{identifier(name)}" + ("" if _are_comparable(have[name], has[name]) else TEXT)
            for side in (_BEFORE, _AFTER)
        )
        for name in shared
    }
    on = " AND ".join(f"{pairs[k][0]} IS NOT DISTINCT FROM {pairs[k][1]}" for k in key)
    values = [name for name in shared if name not in key]
    differs = [f"{pairs[v][0]} IS DISTINCT FROM {pairs[v][1]}" for v in values]
    was, stands = f"{_BEFORE}.{_PRESENT}", f"{_AFTER}.{_PRESENT}"
    both = f"({was} AND {stands}) IS TRUE"
    counts = ", ".join(f"count(*) FILTER ({both} AND {d})" for d in differs) or "0"
    row = con.execute(
        f"""
        SELECT count(*) FILTER ({was} IS NULL), count(*) FILTER ({stands} IS NULL),
               count(*) FILTER ({both} AND ({" OR ".join(differs) or "false"})), {counts}
        FROM (SELECT true AS {_PRESENT}, {names} FROM {before} WHERE {where}) {_BEFORE}
        FULL JOIN (SELECT true AS {_PRESENT}, {names} FROM {after} WHERE {where}) {_AFTER}
          ON {on}
        """
    ).fetchone()
    added, removed, changed, *of_columns = row if row else (0, 0, 0)
    changes = dict(zip(values, of_columns, strict=False))
    return RowDifference(added, removed, changed, {c: n for c, n in changes.items() if n})


def measures(con: duckdb.DuckDBPyConnection, before: str, after: str) -> list[Measure]:
    """The means of numeric columns that differ, the most changed first."""
    have = columns_of(con, before)
    shared = [
        name
        for name, kind in columns_of(con, after).items()
        if _NUMERIC.fullmatch(kind) and _NUMERIC.fullmatch(have.get(name, ""))
    ]
    if not shared:
        return []
    means = ", ".join(f"avg({identifier(name)})::DOUBLE" for name in shared)
    old = con.execute(f"SELECT {means} FROM {before}").fetchone() or ()
    new = con.execute(f"SELECT {means} FROM {after}").fetchone() or ()
    found = [Measure(n, b, a) for n, b, a in zip(shared, old, new, strict=True) if not _same(b, a)]
    return sorted(found, key=_relative, reverse=True)


def _are_comparable(before: str, after: str) -> bool:
    """Whether values of two types compare without a cast, which some value would not survive."""
    return before == after or bool(_NUMERIC.fullmatch(before) and _NUMERIC.fullmatch(after))


def _same(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return before is after
    # Sums of doubles in another order differ in the last digits.
    return before == after or abs(before - after) <= 1e-12 * max(abs(before), abs(after))


def _relative(measure: Measure) -> float:
    if measure.before is None or measure.after is None:
        return float("inf")
    return abs(measure.after - measure.before) / (abs(measure.before) or 1.0)


def _has_doubles(
    con: duckdb.DuckDBPyConnection, relations: Sequence[str], key: Sequence[str], where: str
) -> bool:
    names = ", ".join(identifier(name) for name in key)
    return any(
        con.execute(
            f"SELECT 1 FROM {relation} WHERE {where} GROUP BY {names} HAVING count(*) > 1 LIMIT 1"
        ).fetchone()
        for relation in relations
    )


def _whole_rows(
    con: duckdb.DuckDBPyConnection, before: str, after: str, names: str, where: str
) -> RowDifference:
    def only_in(first: str, second: str) -> int:
        row = con.execute(
            f"SELECT count(*) FROM (SELECT {names} FROM {first} WHERE {where} "
            f"EXCEPT ALL SELECT {names} FROM {second} WHERE {where})"
        ).fetchone()
        return row[0] if row else 0

    return RowDifference(only_in(after, before), only_in(before, after), 0, {})
