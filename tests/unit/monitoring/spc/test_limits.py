"""Limits against hand-worked cases, second ways to compute them, and data made with known truth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_platform.monitoring.spc import (
    BaselineError,
    ChartSpec,
    Limits,
    SpcError,
    estimate,
    judge,
)
from tests.unit.monitoring.spc.points import panel, series


def test_laney_p_is_a_chart_of_individuals_on_z_scores() -> None:
    # Laney's own derivation: sigma_z is what an individuals chart of the z-scores gives.
    generator = np.random.default_rng(4)
    n = generator.integers(650, 950, 60)
    bad = generator.binomial(n, np.clip(generator.normal(0.2, 0.05, 60), 0.05, 0.4))
    points = series(bad.tolist(), n=n.tolist())
    chart = ChartSpec("laney_p", rules="limits", width=6)
    share = bad.sum() / n.sum()
    z = (bad / n - share) / np.sqrt(share * (1 - share) / n)
    of_z = estimate(ChartSpec("individuals", width=6), series(z.tolist()))

    limits = estimate(chart, points)
    upper = judge(chart, limits, points).points["upper"].to_numpy()

    assert limits.inflation == pytest.approx(of_z.sigma, rel=1e-12)
    expected = share + 6 * np.sqrt(share * (1 - share) / n) * limits.inflation
    assert upper == pytest.approx(np.minimum(expected, 1))
    # Without it the p chart would call nearly half the days out of control.
    plain = judge(ChartSpec("p", rules="limits"), Limits(share, 0.0), points).points
    assert plain["is_out_of_control"].mean() > 0.3


def test_laney_finds_no_extra_variation_where_there_is_none() -> None:
    generator = np.random.default_rng(5)
    points = series(generator.binomial(900, 0.2, 4000).tolist(), n=900)
    counts = series(generator.poisson(40, 4000).tolist(), n=2)
    assert estimate(ChartSpec("laney_p", width=6), points).inflation == pytest.approx(1, abs=0.03)
    assert estimate(ChartSpec("laney_u", width=6), counts).inflation == pytest.approx(1, abs=0.03)


def test_between_is_a_chart_of_the_means_where_subgroups_are_of_one_size() -> None:
    generator = np.random.default_rng(6)
    means = generator.normal(10, 8, 50)
    points = series(means.tolist(), n=900, spread=generator.normal(40, 6, 50).tolist())
    chart = ChartSpec("xbar_s", rules="limits", between=True, width=6)
    of_means = estimate(ChartSpec("individuals", width=6), series(means.tolist()))

    judged = panel(judge(chart, estimate(chart, points), points).points, "mean")

    assert judged["upper"][0] == pytest.approx(of_means.centre + 6 * of_means.sigma, rel=1e-9)


def test_subgroups_of_several_sizes_have_limits_of_their_own() -> None:
    generator = np.random.default_rng(7)
    sizes = generator.integers(3, 12, 3000)
    samples = [generator.normal(5, 2, size) for size in sizes]
    points = series(
        [float(one.mean()) for one in samples],
        n=sizes.tolist(),
        spread=[float(one.std(ddof=1)) for one in samples],
    )
    chart = ChartSpec("xbar_s", rules="limits", minimum_points=10)
    limits = estimate(ChartSpec("xbar_s", width=9), points)
    judged = panel(judge(chart, limits, points).points, "mean")

    assert limits.sigma == pytest.approx(2, rel=0.01)
    half = (judged["upper"] - judged["centre"]).to_numpy()
    assert half * np.sqrt(sizes) == pytest.approx(np.full(3000, 3 * limits.sigma))
    # Outside 3 sigma lie 0.27 % of normal means, whatever their size.
    assert judged["is_out_of_control"].mean() == pytest.approx(0.0027, abs=0.003)


WEEK = np.array([1.0, 1.1, 1.2, 1.1, 1.3, 0.6, 0.5])


@pytest.mark.parametrize(
    ("kind", "draw", "n"),
    [
        pytest.param("individuals", lambda g, d: g.normal(900 * WEEK[d], 20), None, id="values"),
        pytest.param("c", lambda g, d: g.poisson(400 * WEEK[d]), None, id="counts"),
        pytest.param("u", lambda g, d: g.poisson(2000 * 0.3 * WEEK[d]), 2000, id="rates"),
        pytest.param("p", lambda g, d: g.binomial(900, 0.2 * WEEK[d]), 900, id="shares"),
    ],
)
def test_a_weekly_season_is_taken_off(kind, draw, n) -> None:
    generator = np.random.default_rng(8)
    days = np.arange(7 * 60) % 7
    values = draw(generator, days).tolist()
    points = series(values, **({"n": n} if n else {}))
    baseline, later = points.head(7 * 30), points.tail(7 * 30)
    plain = ChartSpec(kind, rules="limits", most_excluded=0.9)
    weekly = ChartSpec(kind, rules="limits", seasonality="weekly")

    limits = estimate(weekly, baseline)
    judged = judge(weekly, limits, later).points

    # Each weekday has its own centre line, near the truth.
    centre = judged.group_by("panel", maintain_order=True).first()["panel"][0]
    lines = panel(judged, centre)["centre"].head(7).to_numpy()
    assert lines / lines[0] == pytest.approx(WEEK / WEEK[0], rel=0.03)
    assert judged["is_out_of_control"].mean() < 0.02
    # A Saturday's value on a Wednesday is out of control, and was not without the season.
    wednesday = later.with_columns(
        value=pl.when(pl.col("period") == later["period"][2])
        .then(later["value"][5])
        .otherwise("value")
    )
    assert judge(weekly, limits, wednesday).points["is_out_of_control"][2]
    if kind == "individuals":
        assert not judge(plain, estimate(plain, baseline), wednesday).points["is_out_of_control"][2]


def test_the_season_does_not_make_limits_too_tight() -> None:
    # Five weeks and seven effects: without a correction sigma would be 11 % too small.
    generator = np.random.default_rng(9)
    chart = ChartSpec("individuals", seasonality="weekly", width=9)
    found = [
        estimate(chart, series((100 + generator.normal(0, 10, 35)).tolist())).sigma
        for _ in range(400)
    ]
    assert np.mean(found) == pytest.approx(10, rel=0.02)


def test_outliers_are_left_out_and_told() -> None:
    generator = np.random.default_rng(10)
    values = generator.normal(50, 1, 40).tolist()
    values[7], values[20] = 90.0, 58.0
    limits = estimate(ChartSpec("individuals"), series(values))

    assert [one.period[:10] for one in limits.excluded] == ["2024-01-08", "2024-01-21"]
    assert "90 is beyond the baseline's own limits" in limits.excluded[0].reason
    assert (limits.points, limits.first[:10], limits.last[:10]) == (38, "2024-01-01", "2024-02-09")
    clean = [value for index, value in enumerate(values) if index not in {7, 20}]
    assert limits.centre == pytest.approx(np.mean(clean))
    # No range is taken across a point that was left out.
    ranges = [
        abs(b - a)
        for index, (a, b) in enumerate(itertools.pairwise(values))
        if not {index, index + 1} & {7, 20}
    ]
    assert limits.sigma == pytest.approx(np.mean(ranges) * math.sqrt(math.pi) / 2)


def test_missing_points_stay_in_their_place_and_are_passed_over() -> None:
    values: list[float | None] = [10.0, 11.0, None, 9.0, math.nan, 10.0, 30.0]
    chart = ChartSpec("individuals", rules="limits")
    judged = panel(judge(chart, Limits(10.0, 1.0), series(values)).points, "moving range")
    assert judged["value"].to_list() == [None, 1.0, None, 2.0, None, 1.0, 20.0]

    # Nine points on one side, with gaps between them, are nine points.
    gaps = [10.5, None] * 9
    nine = judge(ChartSpec("individuals", rules=["N2"]), Limits(10.0, 1.0), series(gaps)).signals
    assert nine["period"].dt.strftime("%Y-%m-%d").to_list() == ["2024-01-17"]


def test_nothing_counted_is_missing() -> None:
    points = series([3, 0, 5], n=[100, 0, 100])
    judged = judge(ChartSpec("p", rules="limits"), Limits(0.04, 0.0), points).points
    assert judged["value"].to_list() == [0.03, None, 0.05]
    assert judged["upper"].is_null().to_list() == [False, True, False]


def test_what_never_happened_is_a_signal_when_it_does() -> None:
    chart = ChartSpec("p", rules="western_electric")
    limits = estimate(chart, series([0] * 30, n=900))
    judged = judge(chart, limits, series([0] * 10 + [1], n=900))
    assert (limits.centre, judged.points["upper"][0]) == (0.0, 0.0)
    assert judged.signals.select("code", "side").rows() == [("WE1", 1)]


def test_a_constant_baseline_makes_any_departure_a_signal_and_no_running_sum() -> None:
    # 0.1 has no exact binary value, and the mean of many differs in the last digit.
    points = series([0.1] * 33)
    limits = estimate(ChartSpec("individuals"), points)
    chart = ChartSpec("individuals", rules="limits")
    assert not judge(chart, limits, points).points["is_out_of_control"].any()
    assert judge(chart, limits, series([0.1, 0.2])).points["is_out_of_control"].to_list()[:2] == [
        False,
        True,
    ]
    with pytest.raises(SpcError, match=r"cusum.*a baseline that varies.*individuals"):
        judge(ChartSpec("cusum"), limits, points)


def test_least_departure_keeps_a_trifle_from_being_an_alarm() -> None:
    limits = Limits(centre=900.0, sigma=2.0)
    tight = ChartSpec("individuals", rules="limits")
    wide = ChartSpec("individuals", rules="limits", least_departure=60)
    points = series([930, 961])
    assert judge(tight, limits, points).points["is_out_of_control"].to_list()[:2] == [True, True]
    judged = judge(wide, limits, points).points
    assert judged["is_out_of_control"].to_list()[:2] == [False, True]
    assert (judged["lower"][0], judged["upper"][0]) == pytest.approx((840.0, 960.0))


@given(
    values=st.lists(st.floats(0, 1000), min_size=25, max_size=60),
    shift=st.floats(-1000, 1000),
    scale=st.sampled_from([0.5, 2.0, 64.0]),
)
def test_limits_move_with_the_unit(values: list[float], shift: float, scale: float) -> None:
    # Whole numbers, so that moving and scaling are exact and outliers are the same.
    values, shift = [float(round(value)) for value in values], float(round(shift))
    chart = ChartSpec("individuals", most_excluded=0.9, minimum_points=2, width=4)
    try:
        limits = estimate(chart, series(values))
    except BaselineError:
        return
    moved = estimate(chart, series([scale * (value + shift) for value in values]))
    assert moved.centre == pytest.approx(scale * (limits.centre + shift), abs=1e-6)
    assert moved.sigma == pytest.approx(scale * limits.sigma, abs=1e-6)


def test_limits_survive_being_kept() -> None:
    values = [*np.random.default_rng(3).normal(0.1, 1 / 3, 40).tolist(), 9.0]
    limits = estimate(ChartSpec("individuals", seasonality="weekly"), series(values))
    assert limits.excluded
    assert limits.weekday
    assert Limits.of_document(limits.document()) == limits


@pytest.mark.parametrize(
    ("chart", "points", "error", "message"),
    [
        (ChartSpec("individuals"), series([1.0] * 9), BaselineError, "at least 20 .* found 9"),
        (
            ChartSpec("individuals", seasonality="weekly", minimum_points=5),
            series([1.0] * 13),
            BaselineError,
            "found 1 of weekday 7",
        ),
        (
            ChartSpec("p"),
            series([5, 300] * 20, n=900),
            BaselineError,
            "of 40 points lie beyond the limits, more than 25%.*Laney",
        ),
        (ChartSpec("p"), series([5.0] * 30), SpcError, "expected columns period, value, n"),
        (ChartSpec("p"), series([9, 8], n=[10, 7]), SpcError, "at most `n` in 2024-01-02"),
        (ChartSpec("c"), series([9, -1]), SpcError, "0 or more in 2024-01-02"),
        (ChartSpec("individuals"), series([1.0, math.inf]), SpcError, "a finite number"),
        (
            ChartSpec("xbar_r"),
            series([1.0], n=30, spread=2.0),
            SpcError,
            "`n` of at most 25",
        ),
        (
            ChartSpec("individuals"),
            pl.concat([series([1.0]), series([2.0])]),
            SpcError,
            "one point a period, found 2 of 2024-01-01",
        ),
        (
            ChartSpec("individuals"),
            pl.DataFrame({"period": ["2024-01-01"], "value": [1.0]}),
            SpcError,
            "a date or time, found String",
        ),
    ],
)
def test_what_cannot_be_charted_is_refused_by_name(chart, points, error, message) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        estimate(chart, points)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"kind": "pareto"}, "`kind` to be one of individuals"),
        ({"kind": "p", "between": True}, "`between`"),
        ({"kind": "ewma", "ewma_weight": 0.0}, "`ewma_weight` to be above 0 to 1, found 0.0"),
        ({"kind": "cusum", "least_departure": 1.0}, "`least_departure`"),
        ({"kind": "p", "width": 0.0}, "`width` to be more than 0"),
        ({"kind": "p", "rules": "nelsen"}, "found nelsen"),
    ],
)
def test_a_chart_that_means_nothing_is_refused(declared, message) -> None:
    with pytest.raises(SpcError, match=message):
        ChartSpec(**declared)


@pytest.mark.parametrize("kind", ["p", "np", "laney_p"])
@pytest.mark.parametrize("of_all", [False, True])
def test_a_season_of_shares_where_nothing_ever_happened(kind: str, of_all: bool) -> None:
    # A quarantined share: none in the baseline, and one day with some. Or every row, and one less.
    usual, unusual = (900, 897) if of_all else (0, 3)
    chart = ChartSpec(kind, rules="limits", seasonality="weekly")
    points = series([*[usual] * 42, unusual, usual], n=900)
    judged = judge(chart, estimate(chart, points.head(35)), points).points
    assert judged["is_out_of_control"].arg_true().to_list() == [42]
