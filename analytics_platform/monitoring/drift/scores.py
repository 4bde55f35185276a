"""How far two windows lie apart: Evidently's measures, computed on all rows.

Belongs here: the measures, of sorted values and of counts. Does not belong here: what is far
(`thresholds`), and where the rows come from (`profiles`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_DEVIATION = 0.001
"""Evidently divides by at least this much."""


@dataclass(frozen=True)
class Distribution:
    """Values in ascending order, each once, and how often each occurs.

    Attributes:
        values: Finite and distinct.
        counts: As many, each above 0.
        total: The sum of the counts.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    total: int

    @classmethod
    def of_sorted(cls, values: NDArray[np.float64]) -> Distribution:
        """The distribution of values that are in order already."""
        if values.size == 0:
            return cls(values, np.zeros(0, np.int64), 0)
        is_first = np.empty(values.size, bool)
        is_first[0] = True
        np.not_equal(values[1:], values[:-1], out=is_first[1:])
        if is_first.all():
            return cls(values, np.ones(values.size, np.int64), values.size)
        starts = np.flatnonzero(is_first)
        return cls(values[starts], np.diff(starts, append=values.size), values.size)


def wasserstein(reference: Distribution, current: Distribution) -> float:
    """The first Wasserstein distance, in the values' own unit.

    It is the area between the two cumulative shares (Vallender, Calculation of the Wasserstein
    distance between probability distributions on the line, 1974). Both windows must hold values.
    """
    values = np.concatenate([reference.values, current.values])
    # A stable sort merges two runs in one pass.
    order = np.argsort(values, kind="stable")
    steps = np.concatenate([reference.counts * current.total, current.counts * -reference.total])
    # In whole numbers, so that ten million small shares add up exactly.
    apart = np.abs(np.cumsum(steps[order])[:-1])
    area = float((apart * np.diff(values[order])).sum())
    return area / (float(reference.total) * float(current.total))


def jensen_shannon(
    reference: NDArray[np.float64], current: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The Jensen-Shannon distance of shares along the last axis, with natural logarithms.

    Args:
        reference: Shares that add up to 1 along the last axis.
        current: As many.
    """
    middle = (reference + current) / 2

    def divergence(side: NDArray[np.float64]) -> NDArray[np.float64]:
        ratio = np.divide(side, middle, out=np.ones_like(middle), where=side > 0)
        return (side * np.log(ratio)).sum(axis=-1)

    return np.sqrt(np.maximum((divergence(reference) + divergence(current)) / 2, 0.0))
