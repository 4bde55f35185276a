"""How far two windows lie apart: Evidently's measures, computed on all rows.

Belongs here: the measures, of sorted values and of counts. Does not belong here: what is far
(`thresholds`), and where the rows come from (`profiles`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_DEVIATION = 0.001
"""Evidently divides by at least this much."""


_CHUNK = 1 << 18


def wasserstein(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """The first Wasserstein distance, in the values' own unit.

    It is the mean distance between values of the same rank, where the ranks of both windows are
    stretched to the same length (Vallender, Calculation of the Wasserstein distance between
    probability distributions on the line, 1974).

    Args:
        reference: Values in ascending order, at least one.
        current: The same.
    """
    longer, shorter = reference, current
    if longer.size < shorter.size:
        longer, shorter = shorter, longer
    many, few = longer.size, shorter.size
    total = 0.0
    # In pieces that stay in the processor's cache: ten million rows need no copy of themselves.
    for start in range(0, many, _CHUNK):
        values = longer[start : start + _CHUNK]
        # A rank of the longer one covers at most two of the shorter one: `at` and the next, which
        # begins after `before` of `few` parts of it.
        ranks = np.arange(start, start + values.size, dtype=np.int64) * few
        at = ranks // many
        before = np.minimum((at + 1) * many - ranks, few)
        following = np.minimum(at + 1, few - 1)
        apart = np.abs(values - shorter[at]) * before
        apart += np.abs(values - shorter[following]) * (few - before)
        total += float(apart.sum())
    return total / (float(many) * few)


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
