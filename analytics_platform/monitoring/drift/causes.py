"""From a drifted column to its cause: the days, files and segments that moved it most.

Belongs here: how much of a column's score each part of a window adds. Does not belong here: whether
the column has drifted, and how the parts are shown.

A score is an area between two cumulative shares, or a sum of differences between shares, and both
are sums over the rows. So each group of rows has a part of it, and the parts add up. A group that
always differed from the others has none: what counts is how it differs from what it was.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from analytics_platform.monitoring.drift.declared import NULL_SHARE, Kind
from analytics_platform.monitoring.drift.profiles import (
    CategoricalProfile,
    Measure,
    NullProfile,
    NumericProfile,
)
from analytics_platform.monitoring.drift.rows import Rows
from analytics_platform.monitoring.drift.watch import WindowDrift, read_profile
from analytics_platform.monitoring.drift.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY, FILE = "day", "file"
SHOWN = 5
_MOST_SEGMENTS = 50
# Files of days that moved a column by less are no cause.
_LEAST_SHARE = 0.05
_OTHER = "(other)"


@dataclass(frozen=True)
class Part:
    """One group of a window's rows and what it adds to a column's score.

    Attributes:
        group: What the rows have in common: a day, a file, or the value of a segment.
        share: Its part of the score; the parts of all groups add up to 1. Below 0 where it moved
            against the drift.
        rows: Its rows in the window.
        rows_share_before: Its share of the reference's rows; None for a day.
        rows_share_now: Its share of the window's rows.
    """

    group: str
    share: float
    rows: int
    rows_share_before: float | None
    rows_share_now: float


@dataclass(frozen=True)
class Cause:
    """What moved a drifted column.

    Attributes:
        column: The column.
        method: The method by which it drifted.
        by: `day`, `file`, or a segment's column.
        parts: The groups that add most, the largest first.
    """

    column: str
    method: str
    by: str
    parts: tuple[Part, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self) | {"parts": [asdict(part) for part in self.parts]}


class CauseFinder:
    """Finds what moved the drifted columns of windows; reads a column once for all of them.

    Args:
        rows: The rows that were scored.
        segments: Columns that split the rows.
        days: The day of each unit; None where units are no days.
        files: The delivered files by day, as people name them.
        maximum_categories: As the columns were scored with.
    """

    def __init__(
        self,
        rows: Rows,
        segments: Sequence[str],
        days: Sequence[dt.date] | None = None,
        files: Mapping[str, Sequence[str]] | None = None,
        maximum_categories: int = 100,
    ) -> None:
        self._rows = rows
        self._segments = segments
        self._days = days
        self._files = files or {}
        self._most = maximum_categories
        self._profiles: dict[str, NumericProfile | CategoricalProfile] = {}
        self._tables: dict[tuple[str, str, str], tuple[list[str], NDArray[np.int64]]] = {}
        rows.require(dict.fromkeys(segments, "categorical"))

    def causes(self, drift: WindowDrift) -> list[Cause]:
        """What moved each drifted column of a window, by day, file and segment."""
        found: list[Cause] = []
        drifted = drift.scores.filter(pl.col("is_drifted")).sort("score", descending=True)
        for column, method in drifted.select("column", "method").iter_rows():
            measure = self._measure(column, drift.kinds[column], method)
            found += self._by_day(column, measure, drift.window)
            for segment in self._segments:
                if segment != column:
                    kind = drift.kinds[column]
                    found.append(self._by_segment(column, kind, measure, segment, drift.window))
        return found

    def _measure(self, column: str, kind: Kind, method: str) -> Measure:
        if column not in self._profiles:
            self._profiles[column] = read_profile(self._rows, column, kind, self._most)
        profile = self._profiles[column]
        return NullProfile(profile.rows, profile.counts) if method == NULL_SHARE else profile

    def _by_day(self, column: str, measure: Measure, window: Window) -> list[Cause]:
        if self._days is None:
            return []
        cells = _cells_of_units(measure)[window.current]
        nothing = np.zeros_like(cells)
        parts = measure.parts(window.reference, window.current, np.stack([nothing, cells], axis=1))
        rows = measure.rows[window.current]
        names = [self._days[unit].isoformat() for unit in window.current]
        by_day = _largest(names, parts, rows, None)
        found = [Cause(column, measure.method, DAY, by_day)]
        by_file = tuple(
            Part(path, part.share, part.rows, None, part.rows_share_now)
            for part in by_day
            if part.share >= _LEAST_SHARE
            for path in self._files.get(part.group, ())
        )
        if by_file:
            found.append(Cause(column, measure.method, FILE, by_file))
        return found

    def _by_segment(
        self, column: str, kind: Kind, measure: Measure, segment: str, window: Window
    ) -> Cause:
        key = (column, measure.method, segment)
        if key not in self._tables:
            self._tables[key] = self._table(column, kind, measure, segment)
        names, table = self._tables[key]
        cells = np.stack(
            [table[window.reference].sum(axis=0), table[window.current].sum(axis=0)], axis=1
        )
        parts = measure.parts(window.reference, window.current, cells)
        rows = cells.sum(axis=2)
        return Cause(
            column, measure.method, segment, _largest(names, parts, rows[:, 1], rows[:, 0])
        )

    def _table(
        self, column: str, kind: Kind, measure: Measure, segment: str
    ) -> tuple[list[str], NDArray[np.int64]]:
        """The values of a segment, and counts by unit, value and cell."""
        rows = self._rows.segmented(column, segment, kind)
        sizes = rows["segment"].value_counts().sort(["count", "segment"], descending=[True, False])
        names = sizes["segment"].head(_MOST_SEGMENTS).to_list()
        if sizes.height > _MOST_SEGMENTS:
            names.append(_OTHER)
        at = rows["segment"].replace_strict(
            {name: position for position, name in enumerate(names)},
            default=len(names) - 1,
            return_dtype=pl.Int64,
        )
        cells = measure.cells(rows["value"])
        width = _cells_of_units(measure).shape[1]
        has_cell = cells >= 0
        place = (rows["unit"].to_numpy() * len(names) + at.to_numpy()) * width + cells
        counts = np.bincount(place[has_cell], minlength=measure.size * len(names) * width)
        return names, counts.reshape(measure.size, len(names), width)


def _cells_of_units(measure: Measure) -> NDArray[np.int64]:
    if isinstance(measure, NumericProfile):
        return np.diff(measure.at_most, axis=1, prepend=0)
    if isinstance(measure, CategoricalProfile):
        return measure.table
    if isinstance(measure, NullProfile):
        return np.column_stack([measure.rows - measure.nulls, measure.nulls])
    raise TypeError(f"Finding causes: expected a profile of a column, found {measure!r}.")


def _largest(
    names: list[str],
    parts: NDArray[np.float64],
    now: NDArray[np.int64],
    before: NDArray[np.int64] | None,
) -> tuple[Part, ...]:
    total = float(parts.sum())
    shares = parts / total if total else np.zeros_like(parts)
    order = np.argsort(-shares, kind="stable")[:SHOWN]
    return tuple(
        Part(
            names[at],
            float(shares[at]),
            int(now[at]),
            None if before is None else float(before[at] / max(before.sum(), 1)),
            float(now[at] / max(now.sum(), 1)),
        )
        for at in order
    )
