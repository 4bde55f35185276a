"""Charts against the worked examples that textbooks print."""

from __future__ import annotations

import math
import statistics

import polars as pl
import pytest

from analytics_platform.monitoring.spc import ChartSpec, Limits, estimate, judge
from analytics_platform.monitoring.spc.constants import d2
from tests.unit.monitoring.spc.points import (
    MONTGOMERY_9_1,
    MONTGOMERY_BOARDS,
    MONTGOMERY_JUICE,
    MONTGOMERY_RINGS,
    NIST_DEFECTS,
    NIST_EWMA,
    NIST_FLOWRATE,
    panel,
    series,
)

# The books show first trial limits with all points in; so wide a limit leaves none out.
ALL_IN = {"most_excluded": 0.0, "minimum_points": 2}


def lines(frame: pl.DataFrame, index: int = 0) -> tuple[float, float, float]:
    """Lower limit, centre and upper limit of a point."""
    return frame.select("lower", "centre", "upper").row(index)


def test_nist_individuals_and_moving_range() -> None:
    chart = ChartSpec("individuals", **ALL_IN)
    limits = estimate(chart, series(NIST_FLOWRATE))
    points = judge(chart, limits, series(NIST_FLOWRATE)).points

    moving = panel(points, "moving range")
    assert moving["value"].to_list()[1:] == pytest.approx(
        [2.0, 2.3, 1.4, 3.5, 3.4, 1.4, 0.2, 1.2, 1.5]
    )
    assert moving["value"][0] is None
    lower, centre, upper = lines(panel(points, "value"))
    mean_range = moving["value"].mean()
    assert (round(centre, 2), round(mean_range, 4)) == (50.81, 1.8778)
    # The handbook divides by 1.128, which has four digits; the limits it prints have six.
    by_hand = 3 * 1.8778 / round(d2(2), 3)
    assert (round(50.81 + by_hand, 4), round(50.81 - by_hand, 4)) == (55.8041, 45.8159)
    assert (lower, upper) == pytest.approx((45.8159, 55.8041), abs=0.002)
    # D4 of two is 3.267, and D3 is 0.
    assert lines(moving, 1)[2] == pytest.approx(3.267 * 1.8778, abs=0.002)
    assert lines(moving, 1)[0] == 0
    assert not points["is_out_of_control"].any()


def test_nist_ewma() -> None:
    chart = ChartSpec("ewma", ewma_weight=0.3, ewma_steady=True)
    judged = judge(chart, Limits(centre=50.0, sigma=2.0539), series(NIST_EWMA)).points

    assert [round(value, 2) for value in judged["value"]] == [
        50.60, 49.52, 50.56, 50.18, 50.16, 49.21, 49.75, 49.85, 50.26, 50.33,
        50.11, 49.36, 49.52, 50.05, 49.38, 49.92, 50.73, 51.23, 51.94, 51.99,
    ]  # fmt: skip
    lower, _, upper = lines(judged)
    # The handbook cuts the digits off: 52.58843 and 47.41157.
    assert (math.floor(upper * 1e4), math.floor(lower * 1e4)) == (525884, 474115)
    assert not judged["is_out_of_control"].any()


def test_nist_counts_of_defects() -> None:
    chart = ChartSpec("c", rules="limits", **(ALL_IN | {"most_excluded": 0.5}))
    points = judge(chart, Limits(centre=16.0, sigma=0.0), series(NIST_DEFECTS)).points

    assert statistics.mean(NIST_DEFECTS) == 16
    assert lines(points) == (4.0, 16.0, 28.0)
    # The handbook: the 24th wafer, with 31 defects, is beyond; 28 lies on the limit.
    assert points["is_out_of_control"].arg_true().to_list() == [23]


def test_montgomery_tabular_cusum() -> None:
    chart = ChartSpec("cusum", cusum_reference=0.5, cusum_limit=5.0)
    judged = judge(chart, Limits(centre=10.0, sigma=1.0), series(MONTGOMERY_9_1))

    up, down = panel(judged.points, "cusum up"), panel(judged.points, "cusum down")
    # Table 9.2: the upper sum of periods 22 to 30, and the lower one of periods 1 to 3.
    assert [round(value, 2) for value in up["value"].to_list()[21:]] == [
        0.00, 1.79, 2.79, 2.89, 3.47, 3.35, 4.47, 5.28, 5.30,
    ]  # fmt: skip
    assert [round(value, 2) for value in down["value"].to_list()[:3]] == [0.05, 1.56, 1.77]
    # The book: the upper sum passes 5 in period 29.
    first = judged.signals.filter(pl.col("panel") == "cusum up")["period"].min()
    assert first == up["period"][28]
    assert up["is_out_of_control"].arg_true().to_list()[0] == 28
    assert not down["is_out_of_control"].any()


def test_montgomery_ewma() -> None:
    chart = ChartSpec("ewma", ewma_weight=0.1, width=2.7)
    judged = judge(chart, Limits(centre=10.0, sigma=1.0), series(MONTGOMERY_9_1)).points

    # Example 9.2: z1 = 9.945 and z2 = 9.7495; limits 10.27 and 9.73, then 10.36 and 9.64, and
    # in the end 10.62 and 9.38. The last two points are beyond the upper limit.
    assert [round(value, 4) for value in judged["value"][:2]] == [9.945, 9.7495]
    assert [round(value, 2) for value in judged["upper"][:2]] == [10.27, 10.36]
    assert [round(value, 2) for value in judged["lower"][:2]] == [9.73, 9.64]
    assert (round(judged["upper"][29], 2), round(judged["lower"][29], 2)) == (10.62, 9.38)
    assert judged["is_out_of_control"].arg_true().to_list() == [28, 29]


def test_montgomery_orange_juice_p_chart() -> None:
    points = series(MONTGOMERY_JUICE, n=50)
    all_in = ChartSpec("p", rules="limits", minimum_points=20)
    limits = estimate(all_in, points)

    # Example 7.1: trial limits of all thirty samples are 0.0524 and 0.4102 around 0.2313; samples
    # 15 and 23 are beyond and left out; then 0.0407 and 0.3893 around 0.2150.
    trial = judge(all_in, Limits(centre=347 / 1500, sigma=0.0), points).points
    assert [round(line, 4) for line in lines(trial)] == [0.0524, 0.2313, 0.4102]
    assert trial["is_out_of_control"].arg_true().to_list() == [14, 22]
    revised = judge(all_in, Limits(centre=301 / 1400, sigma=0.0), points).points
    assert [round(line, 4) for line in lines(revised)] == [0.0407, 0.2150, 0.3893]
    # The book then finds sample 21 beyond too, and keeps it because no cause is found. Here the
    # rule is the same for all, so that sample is left out in the next pass.
    assert revised["is_out_of_control"].arg_true().to_list() == [14, 20, 22]
    assert [one.value for one in limits.excluded] == [0.44, 0.40, 0.48]
    assert limits.centre == pytest.approx(281 / 1350)


def test_montgomery_printed_circuit_boards_c_chart() -> None:
    chart = ChartSpec("c", rules="limits")
    points = series(MONTGOMERY_BOARDS)
    trial = judge(chart, Limits(centre=516 / 26, sigma=0.0), points).points
    limits = estimate(chart, points)

    # Example 7.3: 33.22 and 6.48 around 19.85; units 6 and 20 are beyond; without them 32.97 and
    # 6.36 around 19.67.
    assert [round(line, 2) for line in lines(trial)] == [6.48, 19.85, 33.21]
    assert lines(trial)[2] == pytest.approx(33.22, abs=0.01)
    assert [one.value for one in limits.excluded] == [5, 39]
    assert [round(line, 2) for line in lines(judge(chart, limits, points).points)] == [
        6.36,
        19.67,
        32.97,
    ]


def test_montgomery_u_chart() -> None:
    # Example 7.4: nonconformities in twenty samples of five computers; 0.07 and 3.79 around 1.93.
    counts = [10, 12, 8, 14, 10, 16, 11, 7, 10, 15, 9, 5, 7, 11, 12, 6, 8, 10, 7, 5]
    chart = ChartSpec("u", rules="limits")
    limits = estimate(chart, series(counts, n=5))
    points = judge(chart, limits, series(counts, n=5)).points

    assert [round(line, 2) for line in lines(points)] == [0.07, 1.93, 3.79]
    assert not points["is_out_of_control"].any()


def rings(spread: str) -> pl.DataFrame:
    of = {"range": lambda one: max(one) - min(one), "deviation": statistics.stdev}[spread]
    return series(
        [statistics.mean(one) for one in MONTGOMERY_RINGS],
        n=5,
        spread=[of(one) for one in MONTGOMERY_RINGS],
    )


def test_montgomery_piston_rings_mean_and_deviation() -> None:
    # Example 6.3: grand mean 74.001, mean deviation 0.0094; 74.014 and 73.988; 0.0196 and 0.
    chart = ChartSpec("xbar_s", rules="limits", **ALL_IN)
    judged = judge(chart, estimate(chart, rings("deviation")), rings("deviation")).points

    # The book computes from its rounded figures: 74.001 +- 1.427 * 0.0094.
    assert lines(panel(judged, "mean")) == pytest.approx((73.988, 74.001, 74.014), abs=7e-4)
    mean, deviation = round(74.00118, 3), round(lines(panel(judged, "standard deviation"))[1], 4)
    assert round(mean + 1.427 * deviation, 3) == 74.014
    lower, centre, upper = lines(panel(judged, "standard deviation"))
    assert (lower, round(centre, 4), round(upper, 4)) == (0.0, 0.0094, 0.0196)
    assert not judged["is_out_of_control"].any()


def test_piston_rings_mean_and_range() -> None:
    # By the formulas of chapter 6 with the printed A2, D3 and D4 of five.
    chart = ChartSpec("xbar_r", rules="limits", **ALL_IN)
    points = rings("range")
    judged = judge(chart, estimate(chart, points), points).points

    grand, mean_range = points["value"].mean(), points["spread"].mean()
    assert lines(panel(judged, "mean")) == pytest.approx(
        (grand - 0.577 * mean_range, grand, grand + 0.577 * mean_range), abs=2e-5
    )
    assert lines(panel(judged, "range")) == pytest.approx(
        (0.0, mean_range, 2.114 * mean_range), abs=2e-5
    )
