"""The constants of control charts for normal data, computed rather than copied from a table.

Formulas: Montgomery, *Introduction to Statistical Quality Control*, chapter 6 and Appendix VI. The
moments of the range are integrals of its distribution, which Gauss and Legendre's rule gives to
more digits than any table prints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from analytics_platform.monitoring.spc.errors import SpcError

MOST_IN_A_RANGE = 25
"""Beyond this the range wastes what a subgroup knows, and no table goes further."""

# A standard normal value lies outside once in 10^15, a range of 25 of them still more seldom.
_FARTHEST = 9.0
_NODES = 240


@dataclass(frozen=True)
class ChartConstants:
    """The constants for subgroups of one size, by their usual names.

    Attributes:
        d2: Mean of the range, in standard deviations.
        d3: Standard deviation of the range, in standard deviations.
        c4: Mean of the sample standard deviation, in standard deviations.
        a2: Limits of a mean by the mean range.
        a3: Limits of a mean by the mean standard deviation.
        b3: Lower limit of the standard deviation by its mean.
        b4: Upper limit of the standard deviation by its mean.
        lower_d3: `D3`, lower limit of the range by its mean.
        upper_d4: `D4`, upper limit of the range by its mean.
    """

    d2: float
    d3: float
    c4: float
    a2: float
    a3: float
    b3: float
    b4: float
    lower_d3: float
    upper_d4: float


def chart_constants(size: int) -> ChartConstants:
    """The constants of 3-sigma charts for subgroups of a size.

    Args:
        size: Values in a subgroup, 2 to 25.

    Raises:
        SpcError: If the size is outside.
    """
    mean, deviation, shrink = d2(size), d3(size), c4(size)
    root = math.sqrt(size)
    of_range, of_deviation = 3 * deviation / mean, 3 * math.sqrt(1 - shrink**2) / shrink
    return ChartConstants(
        d2=mean,
        d3=deviation,
        c4=shrink,
        a2=3 / (mean * root),
        a3=3 / (shrink * root),
        b3=max(0.0, 1 - of_deviation),
        b4=1 + of_deviation,
        lower_d3=max(0.0, 1 - of_range),
        upper_d4=1 + of_range,
    )


def c4(size: float) -> float:
    """The mean of the sample standard deviation of a normal sample, in standard deviations.

    `sqrt(2/(n-1)) gamma(n/2) / gamma((n-1)/2)`; by logarithms, so that subgroups of a thousand
    flights do not overflow.

    Args:
        size: Values in the sample, at least 2.

    Raises:
        SpcError: If there are fewer.
    """
    if size < 2:
        raise SpcError(
            f"Computing c4 for a subgroup of {size:g}: expected at least 2 values, because one "
            "value has no standard deviation. Chart single values as `individuals`."
        )
    return math.sqrt(2 / (size - 1)) * math.exp(math.lgamma(size / 2) - math.lgamma((size - 1) / 2))


@cache
def d2(size: int) -> float:
    """The mean of the range of a normal sample, in standard deviations.

    Args:
        size: Values in the sample, 2 to 25.

    Raises:
        SpcError: If the size is outside.
    """
    return _range_moments(size)[0]


@cache
def d3(size: int) -> float:
    """The standard deviation of the range of a normal sample, in standard deviations.

    Args:
        size: Values in the sample, 2 to 25.

    Raises:
        SpcError: If the size is outside.
    """
    mean, square = _range_moments(size)
    return math.sqrt(square - mean**2)


@cache
def _range_moments(size: int) -> tuple[float, float]:
    """Mean and mean square of the range: E[R] = ∫ P(R > r) dr and E[R²] = 2 ∫ r P(R > r) dr.

    The range's distribution is n ∫ φ(x) (Φ(x + r) - Φ(x))ⁿ⁻¹ dx.
    """
    if not 2 <= size <= MOST_IN_A_RANGE:
        raise SpcError(
            f"Computing the range constants for a subgroup of {size}: expected 2 to "
            f"{MOST_IN_A_RANGE} values. Chart larger subgroups as `xbar_s`."
        )
    from scipy.special import ndtr

    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    x, x_weights = nodes * _FARTHEST, weights * _FARTHEST
    r, r_weights = (nodes + 1) * _FARTHEST, weights * _FARTHEST
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    between = ndtr(x[None, :] + r[:, None]) - ndtr(x)[None, :]
    within = size * (between ** (size - 1)) @ (density * x_weights)
    beyond = (1 - within) * r_weights
    return float(beyond.sum()), float(2 * (r * beyond).sum())
