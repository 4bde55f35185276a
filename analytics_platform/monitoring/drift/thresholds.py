"""When a score is drift: p-values from null windows, and what they mean for many columns.

Belongs here: how likely a score is without drift, the correction for the number of tests, and the
score from which each column drifts. Does not belong here: which windows are null windows
(`windows`), and how scores are computed (`profiles`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from analytics_platform.monitoring.drift.windows import LEAST_BLOCKS, NullWindows

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Windows that all score the same say little of how the next one scores.
_LEAST_DEVIATION = 0.05
_LEAST_INDEPENDENT = 2.0
_LARGEST_EXPONENT = 700.0


class Null(Protocol):
    """How a column's score is distributed where there is no drift."""

    def p_value(self, score: float) -> float:
        """The share of null windows that score as much or more; above 0."""
        ...

    def least_score(self, p_value: float) -> float:
        """The least score of at most this p-value; infinite where none has it."""
        ...


@dataclass(frozen=True)
class Ranked:
    """The rank among drawn windows, itself counted among them, which makes it exact.

    Attributes:
        scores: Of the drawn windows, highest first.
    """

    scores: NDArray[np.float64]

    def p_value(self, score: float) -> float:
        """The window's own rank from the top over the number of windows, itself included."""
        as_much = self.scores.size - int(np.searchsorted(self.scores[::-1], score, side="left"))
        return (1 + as_much) / (1 + self.scores.size)

    def least_score(self, p_value: float) -> float:
        """Above the highest score that too many windows reach."""
        allowed = math.floor(p_value * (1 + self.scores.size) * (1 + 1e-12)) - 1
        if allowed < 0:
            return math.inf
        if allowed >= self.scores.size:
            return 0.0
        return float(np.nextafter(self.scores[allowed], math.inf))


@dataclass(frozen=True)
class Fitted:
    """A tail fitted to few windows, because ranks among few reach no small p-value.

    The logarithm of a score is taken for normal, and the window's own for one more of them. Mean
    and deviation are known from `independent` windows only, so that its departure follows
    Student's t with that many less one (the prediction interval of a normal sample: Hahn and
    Meeker, Statistical Intervals, 1991, section 4.8). Scores whose logarithm has a long lower tail,
    as that of the size of a normal mean has, are judged more mildly than they could be, never more
    harshly.

    Attributes:
        mean: The mean logarithm of the scores above 0.
        deviation: Their standard deviation.
        independent: As many windows above 0 that do not overlap.
        above_zero: The chance of a score above 0.
    """

    mean: float
    deviation: float
    independent: float
    above_zero: float

    @classmethod
    def to(cls, scores: NDArray[np.float64], independent: float) -> Fitted:
        """Fit a tail to the scores of null windows, not all zero.

        Args:
            scores: Of windows that may overlap.
            independent: How many of them do not.
        """
        logarithms = np.log(scores[scores > 0])
        share = logarithms.size / scores.size
        deviation = float(logarithms.std(ddof=1)) if logarithms.size > 1 else 0.0
        return cls(
            float(logarithms.mean()),
            max(deviation, _LEAST_DEVIATION),
            max(independent * share, _LEAST_INDEPENDENT),
            # One more window is above 0, as this one is.
            (independent * share + 1) / (independent + 1),
        )

    @property
    def _scale(self) -> float:
        return self.deviation * math.sqrt(1 + 1 / self.independent)

    def p_value(self, score: float) -> float:
        """The upper tail of Student's t."""
        from scipy.special import stdtr

        if score <= 0:
            return 1.0
        departure = (math.log(score) - self.mean) / self._scale
        return self.above_zero * float(stdtr(self.independent - 1, -departure))

    def least_score(self, p_value: float) -> float:
        """Its inverse."""
        from scipy.special import stdtrit

        share = p_value / self.above_zero
        if share >= 1:
            return 0.0
        departure = -float(stdtrit(self.independent - 1, share))
        exponent = self.mean + departure * self._scale
        return math.exp(exponent) if exponent < _LARGEST_EXPONENT else math.inf


@dataclass(frozen=True)
class Unvaried:
    """A reference in which no window ever differed from the rest, such as one without nulls.

    Attributes:
        chance: The chance that all units that differ fall into the window, where each is as
            likely to be any of the units.
    """

    chance: float

    def p_value(self, score: float) -> float:
        """1 for a window that does not differ either."""
        return self.chance if score > 0 else 1.0

    def least_score(self, p_value: float) -> float:
        """Anything above 0, or nothing."""
        return float(np.nextafter(0.0, 1.0)) if self.chance <= p_value else math.inf


def null_of(scores: NDArray[np.float64], null: NullWindows, odd_units: Callable[[], int]) -> Null:
    """How a column's score is distributed without drift.

    Args:
        scores: Of each of the null windows.
        null: These windows.
        odd_units: Asked where no null window differs from the rest: how many of the window's units
            reference.
    """
    if null.independent is None:
        return Ranked(np.sort(scores[:-1])[::-1])
    if null.independent < LEAST_BLOCKS:
        # Nothing to be ranked among: nothing is drift.
        return Ranked(np.zeros(0))
    if not (scores > 0).any():
        units, odd = null.window_units + null.reference_units, odd_units()
        chance = math.comb(units - odd, null.window_units - odd) / math.comb(
            units, null.window_units
        )
        return Unvaried(chance)
    return Fitted.to(scores, null.independent)


def false_discovery_rates(p_values: Sequence[float]) -> list[float]:
    """The least budget at which each test would be named.

    Benjamini and Hochberg, Controlling the false discovery rate: a practical and powerful approach
    to multiple testing, 1995.
    """
    p = np.asarray(p_values)
    order = np.argsort(-p, kind="stable")
    stepped = p[order] * p.size / np.arange(p.size, 0, -1)
    rates = np.empty(p.size)
    rates[order] = np.minimum(np.minimum.accumulate(stepped), 1.0)
    return rates.tolist()


def deciding_p_value(p_values: Sequence[float], budget: float) -> float:
    """The p-value up to which tests are named; where none is, the one the first would need."""
    rates = false_discovery_rates(p_values)
    named = sum(rate <= budget for rate in rates)
    return budget * max(named, 1) / len(p_values)
