"""The constants against the printed table, and against their closed forms."""

from __future__ import annotations

import math

import pytest

from analytics_platform.monitoring.spc import SpcError, chart_constants
from analytics_platform.monitoring.spc.constants import c4, d2, d3

# Montgomery, Appendix VI, factors for constructing variables control charts. Per size: A2, A3, c4,
# B3, B4, d2, d3, D3, D4.
TABLE = {
    2: "1.880 2.659 0.7979 0     3.267 1.128 0.853 0     3.267",
    3: "1.023 1.954 0.8862 0     2.568 1.693 0.888 0     2.574",
    4: "0.729 1.628 0.9213 0     2.266 2.059 0.880 0     2.282",
    5: "0.577 1.427 0.9400 0     2.089 2.326 0.864 0     2.114",
    6: "0.483 1.287 0.9515 0.030 1.970 2.534 0.848 0     2.004",
    7: "0.419 1.182 0.9594 0.118 1.882 2.704 0.833 0.076 1.924",
    8: "0.373 1.099 0.9650 0.185 1.815 2.847 0.820 0.136 1.864",
    9: "0.337 1.032 0.9693 0.239 1.761 2.970 0.808 0.184 1.816",
    10: "0.308 0.975 0.9727 0.284 1.716 3.078 0.797 0.223 1.777",
    11: "0.285 0.927 0.9754 0.321 1.679 3.173 0.787 0.256 1.744",
    12: "0.266 0.886 0.9776 0.354 1.646 3.258 0.778 0.283 1.717",
    13: "0.249 0.850 0.9794 0.382 1.618 3.336 0.770 0.307 1.693",
    14: "0.235 0.817 0.9810 0.406 1.594 3.407 0.763 0.328 1.672",
    15: "0.223 0.789 0.9823 0.428 1.572 3.472 0.756 0.347 1.653",
    16: "0.212 0.763 0.9835 0.448 1.552 3.532 0.750 0.363 1.637",
    17: "0.203 0.739 0.9845 0.466 1.534 3.588 0.744 0.378 1.622",
    18: "0.194 0.718 0.9854 0.482 1.518 3.640 0.739 0.391 1.608",
    19: "0.187 0.698 0.9862 0.497 1.503 3.689 0.734 0.403 1.597",
    20: "0.180 0.680 0.9869 0.510 1.490 3.735 0.729 0.415 1.585",
    21: "0.173 0.663 0.9876 0.523 1.477 3.778 0.724 0.425 1.575",
    22: "0.167 0.647 0.9882 0.534 1.466 3.819 0.720 0.434 1.566",
    23: "0.162 0.633 0.9887 0.545 1.455 3.858 0.716 0.443 1.557",
    24: "0.157 0.619 0.9892 0.555 1.445 3.895 0.712 0.451 1.548",
    25: "0.153 0.606 0.9896 0.565 1.435 3.931 0.708 0.459 1.541",
}
NAMES = ("a2", "a3", "c4", "b3", "b4", "d2", "d3", "lower_d3", "upper_d4")
# Printed from factors that were themselves rounded: one unit off in the last digit.
PRINTED_ONE_OFF = {
    (3, "upper_d4"), (18, "upper_d4"), (19, "upper_d4"), (19, "lower_d3"), (19, "d3"),
    (22, "upper_d4"), (22, "lower_d3"), (24, "lower_d3"),
}  # fmt: skip


@pytest.mark.parametrize("size", TABLE)
def test_constants_are_those_of_the_printed_table(size: int) -> None:
    constants = chart_constants(size)
    differ = set()
    for name, printed in zip(NAMES, TABLE[size].split(), strict=True):
        digits = len(printed.partition(".")[2]) or 3
        value = getattr(constants, name)
        if round(value, digits) != float(printed):
            differ.add((size, name))
            assert abs(value - float(printed)) < 1.5 * 10**-digits, (name, value, printed)
    assert differ == {one for one in PRINTED_ONE_OFF if one[0] == size}


def test_two_values_have_closed_forms() -> None:
    # The range of two is the absolute value of a normal difference.
    assert d2(2) == pytest.approx(2 / math.sqrt(math.pi), rel=1e-12)
    assert d3(2) == pytest.approx(math.sqrt(2 - 4 / math.pi), rel=1e-10)
    assert c4(2) == pytest.approx(math.sqrt(2 / math.pi), rel=1e-12)
    # Known for three values too: E[R] = 3 / sqrt(pi).
    assert d2(3) == pytest.approx(3 / math.sqrt(math.pi), rel=1e-12)


def test_large_subgroups_have_a_deviation_but_no_range() -> None:
    # Series of Kenney and Keeping: c4 = 1 - 1/(4n) - 7/(32n^2) - 19/(128n^3).
    n = 900.0
    assert c4(n) == pytest.approx(1 - 1 / (4 * n) - 7 / (32 * n**2) - 19 / (128 * n**3), abs=1e-12)
    with pytest.raises(SpcError, match="xbar_s"):
        d2(26)
    with pytest.raises(SpcError, match="individuals"):
        c4(1)
