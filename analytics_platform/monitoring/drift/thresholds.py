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

_MOST_FREEDOM = 200.0


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

    A squared score is near a weighted sum of squares, so it is taken for a scaled chi-square with
    the mean and variance of the null windows (Satterthwaite, An approximate distribution of
    estimates of variance components, 1946). Its mean is known from `independent` windows only, so
    that the ratio of a new window's squared score to it follows an F distribution.

    Attributes:
        mean_square: The mean of the squared scores.
        freedom: Degrees of freedom of one squared score; few where some windows lie far out.
        independent: Windows that do not overlap.
    """

    mean_square: float
    freedom: float
    independent: float

    @classmethod
    def to(cls, scores: NDArray[np.float64], independent: float) -> Fitted:
        """Fit a tail to the scores of null windows, not all zero."""
        squares = scores**2
        mean = float(squares.mean())
        variance = float(squares.var(ddof=1)) if squares.size > 1 else 0.0
        by_moments = 2 * mean * mean / variance if variance > 0 else math.inf
        above = squares[squares > 0]
        # The maximum-likelihood shape of a gamma distribution, by Minka's closed approximation
        # (Estimating a Gamma distribution, 2002). The smaller of the two has the heavier tail.
        gap = math.log(above.mean()) - float(np.log(above).mean())
        root = math.sqrt((gap - 3) ** 2 + 24 * gap)
        by_likelihood = (3 - gap + root) / (6 * gap) if gap > 0 else math.inf
        return cls(mean, min(by_moments, by_likelihood, _MOST_FREEDOM), independent)

    def p_value(self, score: float) -> float:
        """The upper tail of the F distribution."""
        from scipy.stats import f

        ratio = score * score / self.mean_square
        return float(f.sf(ratio, self.freedom, self.freedom * self.independent))

    def least_score(self, p_value: float) -> float:
        """Its inverse."""
        from scipy.stats import f

        ratio = float(f.isf(p_value, self.freedom, self.freedom * self.independent))
        return math.sqrt(self.mean_square * ratio)


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
