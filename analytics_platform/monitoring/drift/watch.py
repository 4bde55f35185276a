"""Windows scored against their references, column by column.

Belongs here: the order of work, so that one column at a time is in memory, and what is known of a
window at the end. Does not belong here: the measures, the null windows, and the report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from analytics_platform.monitoring.drift.declared import (
    SCORES_SCHEMA,
    Calibration,
    DriftColumns,
    DriftError,
    Kind,
    LeastEffects,
)
from analytics_platform.monitoring.drift.profiles import (
    CategoricalProfile,
    Measure,
    NullProfile,
    NumericProfile,
)
from analytics_platform.monitoring.drift.rows import Rows
from analytics_platform.monitoring.drift.thresholds import (
    Null,
    deciding_p_value,
    false_discovery_rates,
    null_of,
)
from analytics_platform.monitoring.drift.windows import (
    NullWindows,
    Window,
    null_windows,
    of_its_weekday,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_ROWS = 5_000
_AT_ONCE = 2


@dataclass(frozen=True)
class WindowDrift:
    """What was found of one window.

    Attributes:
        window: The window and its reference, as they were compared.
        kinds: The kind of each column.
        scores: One row per test; columns of `SCORES_SCHEMA`, never null or NaN. A threshold is
            infinite where the reference is too short for any score to be drift.
        samples: For each column that holds values in both windows, some values of the reference
            and of the window with their distributions, for plots.
        budget: The false-alarm budget that the scores were held to.
        rows: Rows of the reference and of the window.
    """

    window: Window
    kinds: Mapping[str, Kind]
    scores: pl.DataFrame
    samples: Mapping[str, tuple[Any, Any]]
    budget: float
    rows: tuple[int, int]

    @property
    def drifted(self) -> list[str]:
        """The drifted columns, each once, the furthest over its threshold first."""
        named = self.scores.filter(pl.col("is_drifted")).with_columns(
            times=pl.col("score") / pl.col("threshold")
        )
        return (
            named.group_by("column")
            .agg(pl.col("times").max())
            .sort(["times", "column"], descending=[True, False])["column"]
            .to_list()
        )


@dataclass
class _Test:
    column: str
    kind: Kind
    method: str
    score: float
    effect: float
    least: float
    null: Null
    # How much the score of all rows exceeds the one counted in cells, which the null is made of.
    exactness: float
    p_value: float


@dataclass(frozen=True)
class _OfColumn:
    """What a column is in one window."""

    tests: list[_Test]
    sample: tuple[Any, Any] | None
    null_shares: tuple[float, float]
    rows: tuple[int, int]


def score_windows(
    rows: Rows,
    windows: Sequence[Window],
    columns: DriftColumns,
    *,
    ordinals: NDArray[np.int64] | None = None,
    calibration: Calibration | None = None,
    effects: LeastEffects | None = None,
    sample_rows: int = SAMPLE_ROWS,
) -> list[WindowDrift]:
    """Score windows of the same rows.

    Nulls, NaN and infinite values are left out of a column's score and counted in its null share.
    Where there are nulls in the window or the reference, the difference of the null shares is a
    test of its own; it is the only one of a column with no value on one side. A window of one day
    is compared with the days of its weekday in the reference; what is found says so.

    Args:
        rows: The rows of all windows and references.
        windows: What to judge, as positions among `rows.units`; none is no error.
        columns: The columns to compare. A date or time is refused: it drifts by itself.
        ordinals: The day of each unit as a number, where units are days.
        calibration: How sure to be.
        effects: The least scores that matter.
        sample_rows: About how many values of a column a report shows of each side.

    Raises:
        DriftError: If a window or its reference is empty, or a column is missing or of a type that
            cannot be scored.
    """
    calibration = calibration or Calibration()
    effects = effects or LeastEffects()
    kinds = columns.kinds
    unknown = sorted(set(effects.columns) - set(kinds))
    if unknown:
        raise DriftError(
            f"Setting thresholds for drift: expected columns among {list(kinds)}, found {unknown}."
        )
    rows.require(kinds)
    if not windows:
        # There may be no row at all.
        return []
    windows = [of_its_weekday(window, ordinals) for window in windows]
    # A column may be tested twice, and the smallest p-value is held to the budget over the tests.
    draws = max(calibration.draws, math.ceil(2 * len(kinds) / calibration.false_alarm_budget))
    nulls = [
        null_windows(window, ordinals, calibration.blocks, draws, calibration.seed)
        for window in windows
    ]

    def judge(column: str) -> list[_OfColumn]:
        profile = read_profile(rows, column, kinds[column], calibration.maximum_categories)
        judge = _Judge(column, kinds[column], profile, effects, sample_rows)
        return [judge.of(window, null) for window, null in zip(windows, nulls, strict=True)]

    # Two columns at a time are in memory: one is read while another is sorted.
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        by_column = list(threads.map(judge, kinds))
    return [
        _decided(
            window,
            {column: found[at] for column, found in zip(kinds, by_column, strict=True)},
            kinds,
            calibration.false_alarm_budget,
        )
        for at, window in enumerate(windows)
    ]


def read_profile(
    rows: Rows, column: str, kind: Kind, maximum_categories: int
) -> NumericProfile | CategoricalProfile:
    """A column of all units."""
    if kind == "numeric":
        return NumericProfile(*rows.numbers(column), len(rows.units))
    return CategoricalProfile(rows.names(column), len(rows.units), maximum_categories)


class _Judge:
    """One column in every window."""

    def __init__(
        self,
        column: str,
        kind: Kind,
        profile: NumericProfile | CategoricalProfile,
        effects: LeastEffects,
        sample_rows: int,
    ) -> None:
        self._column = column
        self._kind: Kind = kind
        self._profile = profile
        self._nulls = NullProfile(profile.rows, profile.counts)
        self._effects = effects
        self._sample_rows = sample_rows
        self._of_reference: dict[Any, Any] = {}

    def of(self, window: Window, null: NullWindows) -> _OfColumn:
        """What this column is in a window."""
        reference, current = window.reference, window.current
        counts, rows = self._profile.counts, self._profile.rows
        tests: list[_Test] = []
        sample = None
        if counts[reference].sum() and counts[current].sum():
            tests.append(self._test(self._profile, window, null))
            sample = self._samples(window)
        if sample is None or self._nulls.nulls[[*reference, *current]].any():
            tests.append(self._test(self._nulls, window, null))
        return _OfColumn(
            tests,
            sample,
            (self._nulls.share(reference), self._nulls.share(current)),
            (int(rows[reference].sum()), int(rows[current].sum())),
        )

    def _test(self, measure: Measure, window: Window, null: NullWindows) -> _Test:
        reference, current = window.reference, window.current
        score = measure.score(reference, current)
        if null.independent is None:
            scores = measure.resampled(null.pool, null.windows)
            counted = float(scores[-1])
        else:
            # Windows with the same reference share their null windows.
            key = (measure.method, null.pool.tobytes(), current.size)
            if key not in self._of_reference:
                if len(self._of_reference) > 2:
                    self._of_reference.clear()
                windows = null.windows if len(null.windows) else null.pool[None, :0]
                self._of_reference[key] = (
                    measure.resampled(null.pool, windows) if windows.size else np.zeros(0)
                )
            scores = self._of_reference[key]
            pool = np.concatenate([reference, current])
            counted = float(measure.resampled(pool, current[None, :])[0])
        judged = null_of(scores, null, lambda: self._odd_units(measure, window))
        return _Test(
            column=self._column,
            kind=self._kind,
            method=measure.method,
            score=score,
            effect=measure.effect(reference, current),
            least=self._effects.of(self._column, measure.method),
            null=judged,
            exactness=score / counted if counted > 0 else 1.0,
            p_value=judged.p_value(counted),
        )

    def _odd_units(self, measure: Measure, window: Window) -> int:
        return sum(
            measure.score(window.reference, np.array([unit])) > 0
            for unit in window.current
            if measure.counts[unit]
        )

    def _samples(self, window: Window) -> tuple[Any, Any]:
        profile = self._profile
        if isinstance(profile, CategoricalProfile):
            return profile.sample(window.reference, window.current, self._sample_rows)
        key = ("sample", window.reference.tobytes())
        if key not in self._of_reference:
            self._of_reference[key] = profile.sample(window.reference, self._sample_rows)
        return self._of_reference[key], profile.sample(window.current, self._sample_rows)


def _decided(
    window: Window, found: Mapping[str, _OfColumn], kinds: Mapping[str, Kind], budget: float
) -> WindowDrift:
    """The window's table, after all its columns are known."""
    tests = [test for of_column in found.values() for test in of_column.tests]
    p_values = [test.p_value for test in tests]
    rates = false_discovery_rates(p_values)
    deciding = deciding_p_value(p_values, budget)
    rows = next(iter(found.values())).rows
    table = []
    for test, rate in zip(tests, rates, strict=True):
        is_unlikely = rate <= budget
        threshold = test.null.least_score(deciding) * test.exactness
        # The threshold says the same as the p-value, whatever rounding did to it.
        if is_unlikely:
            threshold = min(threshold, test.score)
        elif test.score >= threshold:
            threshold = float(np.nextafter(test.score, math.inf))
        threshold = max(threshold, test.least)
        before, now = found[test.column].null_shares
        table.append(
            {
                "column": test.column,
                "kind": test.kind,
                "method": test.method,
                "score": test.score,
                "threshold": threshold,
                "p_value": test.p_value,
                "q_value": rate,
                "effect_size": test.effect,
                "least_effect": test.least,
                "is_drifted": test.score >= threshold,
                "reference_rows": rows[0],
                "current_rows": rows[1],
                "reference_null_share": before,
                "current_null_share": now,
            }
        )
    scores = pl.DataFrame(table, schema=SCORES_SCHEMA)
    samples = {
        column: of_column.sample
        for column, of_column in found.items()
        if of_column.sample is not None
    }
    return WindowDrift(window, kinds, scores, samples, budget, rows)
