"""Rows to compare, read one column at a time from a query.

Belongs here: what is asked of DuckDB, and which types can be compared. Does not belong here: what
is made of the values (`profiles`) and which units make a window (`windows`).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import polars as pl

from analytics_platform.lake.sql import identifier
from analytics_platform.monitoring.drift.declared import DriftError, Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNIT = "unit_"
"""The column of a query that says, as a whole number, to which unit a row belongs."""

_NUMBERS = {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER",
    "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN",
}  # fmt: skip
_NAMES = {"VARCHAR", "BOOLEAN", "ENUM"} | (_NUMBERS - {"FLOAT", "DOUBLE", "DECIMAL"})
_NARROW = 2**16 - 1
_TIMES = ("DATE", "TIME", "INTERVAL")


@dataclass(frozen=True)
class Rows:
    """The rows that a query gives, in units that are never split: days, or equal parts.

    Attributes:
        connection: A DuckDB connection on which the query can be asked again and again.
        query: SQL that gives the columns and `UNIT`, never null.
        units: The units, ascending; rows of others are left out.
        name: What errors call these rows.
        lock: Held while a column is read: a connection answers one question at a time.
    """

    connection: duckdb.DuckDBPyConnection
    query: str
    units: Sequence[int]
    name: str
    lock: threading.Lock = field(default_factory=threading.Lock, compare=False)

    def require(self, kinds: Mapping[str, Kind]) -> None:
        """See that all columns are there and of a type that can be compared.

        Raises:
            DriftError: If one is not.
        """
        described = self.connection.execute(f"DESCRIBE {self.query}").fetchall()
        types = {row[0]: str(row[1]).partition("(")[0].strip('"') for row in described}
        for column, kind in kinds.items():
            if column not in types:
                raise DriftError(
                    f"Scoring drift of column {column!r}: expected it in {self.name}, found only "
                    f"{[name for name in types if name != UNIT]}."
                )
            found = types[column]
            if found in (_NUMBERS if kind == "numeric" else _NAMES) or found == "NULL":
                continue
            if found.startswith(_TIMES):
                hint = "a time drifts by itself: compare its month, weekday or hour instead"
            elif kind == "numeric":
                hint = "list it as categorical, or make a number of it"
            else:
                hint = "list it as numeric, or make a string of it"
            raise DriftError(
                f"Scoring drift of {kind} column {column!r} of {self.name}: found values of type "
                f"{found}; {hint}."
            )

    def numbers(self, column: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """The position of each row's unit, and its value; NaN where it has no finite one."""
        first = int(self.units[0])
        places = int(self.units[-1]) - first + 1
        # Two bytes, where they will do, are a fifth of what a row needs.
        narrow = ("USMALLINT", np.uint16) if places <= _NARROW else ("UINTEGER", np.uint32)
        with self.lock:
            found = self.connection.execute(
                f"""
                SELECT ({UNIT} - {first})::{narrow[0]} AS place,
                       CASE WHEN isfinite(value) THEN value ELSE 'NaN'::DOUBLE END AS value
                FROM (SELECT {UNIT}, {identifier(column)}::DOUBLE AS value FROM ({self.query}))
                WHERE {UNIT} BETWEEN ? AND ?
                """,
                [first, first + places - 1],
            ).fetchnumpy()
        at, values = np.asarray(found["place"]), np.asarray(found["value"])
        if places == len(self.units):
            return at, values
        positions = np.full(places, places, narrow[1])
        positions[np.asarray(self.units) - first] = np.arange(len(self.units))
        at = positions[at]
        among = at < places
        return at[among], values[among]

    def names(self, column: str) -> pl.DataFrame:
        """Columns `unit` (a position), `value` (a string, or null) and `rows`, in order."""
        with self.lock:
            counted = self.connection.execute(
                f"""
                SELECT {UNIT}::INTEGER AS unit, {identifier(column)}::VARCHAR AS value,
                       count(*) AS rows
                FROM ({self.query}) WHERE {UNIT} BETWEEN ? AND ? GROUP BY ALL
                """,
                [int(self.units[0]), int(self.units[-1])],
            ).pl()
        return self._with_positions(counted).sort("unit", "value")

    def _with_positions(self, frame: pl.DataFrame) -> pl.DataFrame:
        positions = pl.DataFrame(
            {"unit": self.units, "position": range(len(self.units))},
            schema={"unit": pl.Int32, "position": pl.Int64},
        )
        return frame.join(positions, on="unit").drop("unit").rename({"position": "unit"})

    def segmented(self, column: str, segment: str, kind: Kind) -> pl.DataFrame:
        """Columns `unit` (a position), `segment` and `value`, a row each; for the causes."""
        value = f"{identifier(column)}::{'DOUBLE' if kind == 'numeric' else 'VARCHAR'}"
        rows = self.connection.execute(
            f"""
            SELECT {UNIT}::INTEGER AS unit,
                   coalesce({identifier(segment)}::VARCHAR, '(null)') AS segment, {value} AS value
            FROM ({self.query}) WHERE {UNIT} BETWEEN ? AND ?
            """,
            [int(self.units[0]), int(self.units[-1])],
        ).pl()
        return self._with_positions(rows)
