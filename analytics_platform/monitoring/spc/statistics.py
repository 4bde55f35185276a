"""The statistics with a memory: EWMA and CUSUM, over the last axis of arrays of any shape.

Charts give one series; run lengths are simulated on thousands at once. Formulas: Montgomery,
*Introduction to Statistical Quality Control*, chapter 9.
"""

from __future__ import annotations

import numpy as np

from analytics_platform.monitoring.spc.rules import Floats


def ewma(values: Floats, weight: float, start: Floats | float = 0.0) -> Floats:
    """z_i = λ x_i + (1 - λ) z_{i-1}.

    Args:
        values: Values, in order along the last axis.
        weight: λ.
        start: z_0, one for each series.
    """
    smooth = np.empty_like(values)
    state = np.broadcast_to(np.asarray(start, dtype=np.float64), values.shape[:-1])
    for index in range(values.shape[-1]):
        state = weight * values[..., index] + (1 - weight) * state
        smooth[..., index] = state
    return smooth


def ewma_factor(weight: float, points: int, *, steady: bool = False, after: int = 0) -> Floats:
    """The standard deviation of each EWMA point, in that of a single value.

    Args:
        weight: λ.
        points: How many points.
        steady: Whether to give that of an endless series for all.
        after: How many points lie before the first.
    """
    age = np.arange(after + 1, after + points + 1)
    shrunk = np.zeros(points) if steady else (1 - weight) ** (2 * age)
    return np.sqrt(weight / (2 - weight) * (1 - shrunk))


def cusum(values: Floats, reference: float, start: Floats | float = 0.0) -> Floats:
    """C_i = max(0, x_i - K + C_{i-1}), the upward sum; the downward one is that of -x.

    Args:
        values: Distances from the target, in order along the last axis.
        reference: K.
        start: C_0, one for each series: the head start.
    """
    sums = np.empty_like(values)
    state = np.broadcast_to(np.asarray(start, dtype=np.float64), values.shape[:-1])
    for index in range(values.shape[-1]):
        state = np.maximum(0.0, values[..., index] - reference + state)
        sums[..., index] = state
    return sums
