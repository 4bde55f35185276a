"""One column, unit by unit: enough to score any window against any other.

A unit is what is never split, a day as a rule. Belongs here: what is kept of a column's values, the
score of a window, and the scores of many windows drawn from the same units. Does not belong here:
which units make a window (`windows`), and what the scores mean (`thresholds`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl

from analytics_platform.monitoring.drift.declared import (
    JENSEN_SHANNON,
    NULL_SHARE,
    OTHER_CATEGORY,
    WASSERSTEIN,
    Method,
)
from analytics_platform.monitoring.drift.scores import (
    LEAST_DEVIATION,
    jensen_shannon,
    wasserstein,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Units = NDArray[np.int64]

CELLS = 128
"""Cells in which a column's values are counted for the null windows."""
_THINNED = 100_000
_CHUNK = 512
_PIECE = 1 << 20
_DIGITS = 12


class Measure(Protocol):
    """A column under one method.

    Attributes:
        method: The method.
        size: How many units there are.
        rows: Rows of each unit.
        counts: Those that the method compares.
    """

    method: Method
    size: int
    rows: NDArray[np.int64]
    counts: NDArray[np.int64]

    def score(self, reference: Units, current: Units) -> float:
        """How far the current units lie from the reference's, on all rows."""
        ...

    def effect(self, reference: Units, current: Units) -> float:
        """The change in words a person uses; its sign says up or down."""
        ...

    def resampled(self, pool: Units, windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The score of each window (a row of units) against the rest of the pool.

        It may be of values counted in cells, and thus only near `score`.
        """
        ...

    def parts(
        self, reference: Units, current: Units, cells: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """What each group adds to the score, where groups are given as counts of cells.

        Args:
            reference: Units of the reference.
            current: Units of the window.
            cells: Groups by side (0 the reference, 1 the window) by cells.

        Returns:
            One number per group; they add up to about the score (the total variation distance for
            shares).
        """
        ...

    def cells(self, values: pl.Series) -> NDArray[np.int64]:
        """The cell in which each value is counted, -1 for none."""
        ...


class NumericProfile:
    """A column of numbers.

    Args:
        units: The position of each row's unit.
        values: Each row's value, NaN where it has none. Taken over and changed.
        size: How many units there are.
    """

    method: Method = WASSERSTEIN

    def __init__(self, units: NDArray[Any], values: NDArray[np.float64], size: int) -> None:
        self.size = size
        self.rows = _counted(units, size)
        is_finite = ~np.isnan(values)
        if not is_finite.all():
            units, values = units[is_finite], values[is_finite]
        if units.size and bool((units[1:] < units[:-1]).any()):
            # Two bytes are sorted by radix, in one pass over the rows.
            values = values[np.argsort(units, kind="stable")]
        elif not values.flags.writeable:
            values = values.copy()
        self.counts = _counted(units, size)
        self._offsets = np.concatenate([[0], np.cumsum(self.counts)])
        self._values = values
        self._centre = float(values.mean()) if values.size else 0.0
        self._sums = np.zeros(size)
        self._squares = np.zeros(size)
        for unit in range(size):
            of_unit = self._of(unit)
            of_unit.sort()
            apart = of_unit - self._centre
            self._sums[unit] = apart.sum()
            self._squares[unit] = (apart * apart).sum()
        self.edges = _edges(values)
        self.at_most = np.empty((size, self.edges.size), np.int64)
        for unit in range(size):
            self.at_most[unit] = np.searchsorted(self._of(unit), self.edges, side="right")
        self._kept: dict[bytes, NDArray[np.float64]] = {}

    def _of(self, unit: int) -> NDArray[np.float64]:
        return self._values[self._offsets[unit] : self._offsets[unit + 1]]

    def _sorted(self, units: Units, *, keep: bool = False) -> NDArray[np.float64]:
        """The values of some units together, in order; kept for the next window if asked to."""
        key = units.tobytes()
        if key in self._kept:
            return self._kept[key]
        values = np.concatenate([self._of(unit) for unit in units])
        # One unit is in order already.
        if units.size > 1:
            values.sort()
        if keep:
            self._kept = {key: values}
        return values

    def deviation(self, units: Units) -> float:
        """The standard deviation of some units' values, or `LEAST_DEVIATION` of a constant."""
        count = self.counts[units].sum()
        mean = self._sums[units].sum() / count
        return float(self._deviations(self._squares[units].sum() / count - mean * mean))

    def _deviations(self, variances: Any) -> Any:
        """Standard deviations to divide by.

        Evidently divides by 0.001 where there is less, so that a column that varies by little would
        never drift; here only a constant one is divided by it.
        """
        span = self.edges[-1] - self.edges[0]
        # What is left of a constant's squares after rounding is no variance.
        return np.sqrt(np.where(variances > 1e-13 * span * span, variances, LEAST_DEVIATION**2))

    def mean(self, units: Units) -> float:
        """The mean of some units' values."""
        return self._centre + float(self._sums[units].sum() / self.counts[units].sum())

    def score(self, reference: Units, current: Units) -> float:
        """The Wasserstein distance over the standard deviation of the reference."""
        apart = wasserstein(self._sorted(reference, keep=True), self._sorted(current))
        return round(apart / self.deviation(reference), _DIGITS)

    def effect(self, reference: Units, current: Units) -> float:
        """How far the mean has moved, in standard deviations of the reference."""
        return (self.mean(current) - self.mean(reference)) / self.deviation(reference)

    def resampled(self, pool: Units, windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """As `Measure` says, with values counted in cells."""
        widths = np.diff(self.edges)
        total, count = self.at_most[pool].sum(axis=0), self.counts[pool].sum()
        sums, squares = self._sums[pool].sum(), self._squares[pool].sum()

        def scores(part: NDArray[np.int64]) -> NDArray[np.float64]:
            inside = _summed(self.at_most, part)
            now = self.counts[part].sum(axis=1)
            rest = count - now
            mean = (sums - self._sums[part].sum(axis=1)) / rest
            variance = (squares - self._squares[part].sum(axis=1)) / rest - mean * mean
            apart = inside / now[:, None] - (total - inside) / rest[:, None]
            areas = (np.abs(apart[:, :-1]) * widths).sum(axis=1)
            return areas / self._deviations(variance)

        return _in_chunks(scores, windows)

    def sample(self, units: Units, rows: int) -> NDArray[np.float64]:
        """Evenly spaced values of each unit, by its share of the rows: at most about `rows`."""
        total = int(self.counts[units].sum())
        taken = []
        for unit in units:
            of_unit = self._of(unit)
            wanted = min(of_unit.size, max(1, round(rows * of_unit.size / total)))
            # The middle of each of `wanted` equal parts, so that neither end is preferred.
            taken.append(of_unit[((np.arange(wanted) + 0.5) / wanted * of_unit.size).astype(int)])
        return np.concatenate(taken)

    def parts(
        self, reference: Units, current: Units, cells: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """What each group adds to the area between the cumulative shares."""
        before, now = self.at_most[reference].sum(axis=0), self.at_most[current].sum(axis=0)
        old, new = self.counts[reference].sum(), self.counts[current].sum()
        sign = np.sign(now / new - before / old)[:-1]
        weights = sign * np.diff(self.edges) / self.deviation(reference)
        below = np.cumsum(cells, axis=2)
        return _departures(below, below[:, :, -1], before / old, old, new)[:, :-1] @ weights

    def cells(self, values: pl.Series) -> NDArray[np.int64]:
        """The cell of each value, -1 where it has none."""
        numbers = values.cast(pl.Float64).to_numpy()
        found = np.searchsorted(self.edges, numbers, side="left")
        return np.where(np.isfinite(numbers), np.minimum(found, self.edges.size - 1), -1)


class CategoricalProfile:
    """A column of names.

    Args:
        counted: Columns `unit`, `value` and `rows`, as `Rows.names` gives them.
        size: How many units there are.
        most: The most categories told apart in a comparison.
    """

    method: Method = JENSEN_SHANNON

    def __init__(self, counted: pl.DataFrame, size: int, most: int) -> None:
        self.size = size
        self._most = most
        self.rows = np.zeros(size, np.int64)
        np.add.at(self.rows, counted["unit"].to_numpy(), counted["rows"].to_numpy())
        named = counted.drop_nulls("value")
        self.categories: list[str] = named["value"].unique().sort().to_list()
        self._position = {name: at for at, name in enumerate(self.categories)}
        self.table = np.zeros((size, len(self.categories)), np.int64)
        columns = named["value"].replace_strict(self._position, return_dtype=pl.Int64)
        self.table[named["unit"].to_numpy(), columns.to_numpy()] = named["rows"].to_numpy()
        self.counts = self.table.sum(axis=1)

    def _kept(self, units: Units) -> NDArray[np.int64] | None:
        """The categories told apart among some units, ascending; None where all are.

        They are those with the most rows in the window and what it is compared with together.
        Which of these units are the window must not matter: categories chosen for the window's own
        rows fit them better than those of any null window, which would alarm without drift.
        """
        if len(self.categories) <= self._most:
            return None
        rows = self.table[units].sum(axis=0)
        # Ties go by name, so that the same windows give the same score.
        return np.sort(np.argsort(-rows, kind="stable")[: self._most - 1])

    def _folded(self, kept: NDArray[np.int64] | None) -> NDArray[np.int64]:
        if kept is None:
            return self.table
        rest = self.counts - self.table[:, kept].sum(axis=1)
        return np.column_stack([self.table[:, kept], rest])

    def score(self, reference: Units, current: Units) -> float:
        """The Jensen-Shannon distance."""
        table = self._folded(self._kept(np.concatenate([reference, current])))
        found = jensen_shannon(
            _shares(table[reference].sum(axis=0)), _shares(table[current].sum(axis=0))
        )
        return round(float(found), _DIGITS)

    def effect(self, reference: Units, current: Units) -> float:
        """The change of the share that changed most."""
        change = _shares(self.table[current].sum(axis=0)) - _shares(
            self.table[reference].sum(axis=0)
        )
        return float(change[np.argmax(np.abs(change))])

    def resampled(self, pool: Units, windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """As `Measure` says."""
        table = self._folded(self._kept(pool))
        total = table[pool].sum(axis=0)

        def scores(part: NDArray[np.int64]) -> NDArray[np.float64]:
            inside = _summed(table, part)
            rest = total - inside
            return jensen_shannon(
                rest / rest.sum(axis=1, keepdims=True), inside / inside.sum(axis=1, keepdims=True)
            )

        return _in_chunks(scores, windows)

    def sample(self, reference: Units, current: Units, rows: int) -> tuple[list[str], list[str]]:
        """About `rows` names of each side with its shares, rare ones folded."""
        kept = self._kept(np.concatenate([reference, current]))
        table = self._folded(kept)
        names = (
            self.categories
            if kept is None
            else [*(self.categories[at] for at in kept), OTHER_CATEGORY]
        )

        def side(units: Units) -> list[str]:
            counts = table[units].sum(axis=0)
            total = counts.sum()
            taken = counts if total <= rows else np.ceil(counts * (rows / total)).astype(int)
            return [name for name, times in zip(names, taken, strict=True) for _ in range(times)]

        return side(reference), side(current)

    def parts(
        self, reference: Units, current: Units, cells: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """What each group adds to the total variation distance."""
        before, now = self.table[reference].sum(axis=0), self.table[current].sum(axis=0)
        old, new = before.sum(), now.sum()
        sign = np.sign(now / new - before / old)
        return _departures(cells, cells.sum(axis=2), before / old, old, new) @ (sign / 2)

    def cells(self, values: pl.Series) -> NDArray[np.int64]:
        """The cell of each value, -1 where it has none."""
        return (
            values.replace_strict(self._position, default=-1, return_dtype=pl.Int64)
            .fill_null(-1)
            .to_numpy()
        )


class NullProfile:
    """Whether a column has a value.

    Args:
        rows: Rows of each unit.
        counts: Those with a value.
    """

    method: Method = NULL_SHARE

    def __init__(self, rows: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        self.size = rows.size
        self.rows = rows
        self.counts = rows
        self.nulls = rows - counts

    def share(self, units: Units) -> float:
        """The null share of some units."""
        return float(self.nulls[units].sum() / self.rows[units].sum())

    def score(self, reference: Units, current: Units) -> float:
        """The difference of the null shares."""
        return abs(self.effect(reference, current))

    def effect(self, reference: Units, current: Units) -> float:
        """The change of the null share."""
        return round(self.share(current) - self.share(reference), _DIGITS)

    def resampled(self, pool: Units, windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """As `Measure` says."""
        nulls, rows = self.nulls[windows].sum(axis=1), self.rows[windows].sum(axis=1)
        rest = self.nulls[pool].sum() - nulls
        return np.abs(nulls / rows - rest / (self.rows[pool].sum() - rows))

    def parts(
        self, reference: Units, current: Units, cells: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """What each group adds to the difference; cell 1 is null."""
        old, new = self.rows[reference].sum(), self.rows[current].sum()
        share = np.array([1 - self.share(reference), self.share(reference)])
        sign = np.sign(self.effect(reference, current))
        return _departures(cells, cells.sum(axis=2), share, old, new)[:, 1] * sign

    def cells(self, values: pl.Series) -> NDArray[np.int64]:
        """1 for a value that is null or not finite, else 0."""
        if values.dtype.is_float():
            values = pl.select(pl.when(values.is_finite()).then(values)).to_series()
        return values.is_null().cast(pl.Int64).to_numpy()


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where cells end: at every value, where there are few.

    Else cells are narrow where values are many and where they lie far apart, as the tail of a delay
    weighs.
    """
    if values.size == 0:
        return np.zeros(1)
    least, most = float(values.min()), float(values.max())
    thinned = values[:: max(1, values.size // _THINNED)]
    distinct = np.unique(np.concatenate([thinned, [least, most]]))
    if distinct.size <= CELLS:
        return distinct
    parts = np.linspace(0, 1, CELLS // 2 + 1)
    evenly = np.linspace(least, most, CELLS // 2 + 1)
    return np.unique(np.concatenate([np.quantile(thinned, parts), evenly, [least, most]]))


def _counted(units: NDArray[Any], size: int) -> NDArray[np.int64]:
    """How many rows each unit has; in pieces, because counting widens what it counts."""
    counts = np.zeros(size, np.int64)
    for start in range(0, units.size, _PIECE):
        counts += np.bincount(units[start : start + _PIECE], minlength=size)
    return counts


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return counts / counts.sum()


def _summed(table: NDArray[np.int64], windows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of a table summed over each window's units."""
    found = table[windows[:, 0]]
    for position in range(1, windows.shape[1]):
        found += table[windows[:, position]]
    return found


def _in_chunks(
    scores: Callable[[NDArray[np.int64]], NDArray[np.float64]], windows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Scores of all windows in bounded memory; 0 where a side of one has no value."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.concatenate(
            [scores(windows[at : at + _CHUNK]) for at in range(0, len(windows), _CHUNK)]
        )
    return np.nan_to_num(found, nan=0.0)


def _departures(
    cells: NDArray[np.int64],
    rows: NDArray[np.int64],
    before: NDArray[np.float64],
    old: int,
    new: int,
) -> NDArray[np.float64]:
    """By group and cell: how far it lies from the reference's shares, now less how far it lay.

    A group that always differed from the others adds nothing; summed over all groups it is the
    difference between the windows.
    """
    was = (cells[:, 0] - rows[:, 0:1] * before) / old
    return (cells[:, 1] - rows[:, 1:2] * before) / new - was
