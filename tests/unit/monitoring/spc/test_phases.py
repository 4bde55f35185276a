"""Limits are frozen: what comes later never moves what was said."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from analytics_platform.monitoring.spc import (
    Baseline,
    ChartSpec,
    SpcError,
    average_run_length,
    estimate_again,
    run_chart,
)
from tests.unit.monitoring.spc.points import series

CHART = ChartSpec("individuals", rules="western_electric")
BASELINE = Baseline(first="2024-01-01", last="2024-01-30")
VALUES = np.random.default_rng(1).normal(100, 5, 400).tolist()


def test_later_points_do_not_move_the_limits_or_what_was_said() -> None:
    early = run_chart(CHART, BASELINE, series(VALUES[:60]))
    moved = [*VALUES[:60], *(value + 40 for value in VALUES[60:])]
    late = run_chart(CHART, BASELINE, series(moved), early.frozen)

    assert late.frozen == early.frozen
    assert late.estimated == ()
    assert late.judgement.points.filter(pl.col("period") < pl.datetime(2024, 3, 1)).equals(
        early.judgement.points
    )
    assert late.judgement.points.tail(300)["is_out_of_control"].any()


def test_a_corrected_baseline_does_not_move_limits_that_are_kept() -> None:
    kept = run_chart(CHART, BASELINE, series(VALUES[:60])).frozen
    corrected = series([value + 20 for value in VALUES[:60]])
    assert run_chart(CHART, BASELINE, corrected, kept).frozen == kept
    assert run_chart(CHART, BASELINE, corrected).frozen != kept


def test_judging_day_by_day_says_what_judging_at_once_does() -> None:
    baseline = Baseline(points=30, reestimate_after=25)
    at_once = run_chart(CHART, baseline, series(VALUES[:140]))
    known = ()
    for days in range(25, 141, 3):
        charted = run_chart(CHART, baseline, series(VALUES[:days]), known)
        known = charted.frozen
    charted = run_chart(CHART, baseline, series(VALUES[:140]), known)
    assert charted.frozen == at_once.frozen
    assert len(known) == 5
    assert charted.judgement.points.equals(at_once.judgement.points)


def test_a_baseline_that_is_not_complete_judges_nothing_and_says_so() -> None:
    charted = run_chart(CHART, BASELINE, series(VALUES[:29]))
    assert (charted.frozen, charted.judgement.points.height) == ((), 0)
    assert "2024-01-01 to 2024-01-30; the newest point is of 2024-01-29" in charted.notes[0]
    none = run_chart(CHART, Baseline(points=30), series([]))
    assert "30 points, of which there are 0; there are no points" in none.notes[0]


def test_limits_that_cannot_be_estimated_anew_stay_and_are_told() -> None:
    # Half of the days around 100, half around 160: no baseline.
    wild = [*VALUES[:60], *([100.0, 100.5] * 8 + [160.0, 160.5] * 7)]
    charted = run_chart(CHART, Baseline(points=60, reestimate_after=30), series(wild))
    assert len(charted.frozen) == 1
    assert "2024-03-01 to 2024-03-30 and stay as they are" in charted.notes[0]
    assert "more than 25%" in charted.notes[0]


def test_a_person_estimates_anew_and_the_past_stays_as_it_was() -> None:
    moved = series([*VALUES[:60], *(value + 40 for value in VALUES[60:120])])
    before = run_chart(CHART, BASELINE, moved)
    asked = estimate_again(CHART, moved, "2024-03-01", "2024-03-31", "a new timetable")
    after = run_chart(CHART, BASELINE, moved, [*before.frozen, asked])

    new = pl.col("period") >= pl.datetime(2024, 4, 1)
    assert after.judgement.points.filter(~new).equals(before.judgement.points.filter(~new))
    assert before.judgement.points.filter(new)["is_out_of_control"].sum() > 25
    assert after.judgement.points.filter(new)["is_out_of_control"].sum() <= 3
    assert asked.reason == "a new timetable"


def test_a_pattern_does_not_reach_over_new_limits() -> None:
    # Four points low before, four after: eight only if counted together.
    values = [*VALUES[:30], *([99.0] * 4), *([99.0] * 4)]
    baseline = Baseline(points=30)
    frozen = run_chart(CHART, baseline, series(VALUES[:30])).frozen
    both = run_chart(ChartSpec("individuals", rules=["WE4"]), baseline, series(values), frozen)
    assert both.judgement.signals.height >= 1
    cut = estimate_again(CHART, series(values), "2024-01-01", "2024-02-03", "test")
    split = run_chart(
        ChartSpec("individuals", rules=["WE4"]), baseline, series(values), [*frozen, cut]
    )
    assert split.judgement.signals.filter(pl.col("phase") == "monitoring").height == 0


def test_sums_and_patterns_begin_anew_after_what_is_acknowledged() -> None:
    chart = ChartSpec("cusum", rules="limits")
    points = series([*VALUES[:60], 400.0, *VALUES[61:100]])
    frozen = run_chart(chart, BASELINE, points).frozen
    bad_day = dt.datetime(2024, 3, 1)  # noqa: DTZ001 - periods of charts have no zone
    later = pl.col("period") > bad_day
    week = later & (pl.col("period") <= bad_day + dt.timedelta(days=7))

    before = run_chart(chart, BASELINE, points, frozen).judgement.points
    after = run_chart(chart, BASELINE, points, frozen, [bad_day]).judgement.points
    assert after.filter(~later).equals(before.filter(~later)), "what was said stays said"
    assert before.filter(week, pl.col("panel") == "cusum up")["is_out_of_control"].all()
    assert not after.filter(week)["is_out_of_control"].any()


def test_the_false_alarm_rate_of_frozen_limits_is_near_the_declared_one() -> None:
    # Limits estimated on 300 points, 12,000 later ones: once in 370, as with known limits.
    chart = ChartSpec("individuals", rules="limits", width=3.0)
    values = np.random.default_rng(2).normal(0, 1, 300 + 12_000).tolist()
    points = series(values).with_columns(
        period=pl.datetime(2024, 1, 1) + pl.duration(minutes=pl.int_range(pl.len()))
    )
    judged = run_chart(chart, Baseline(points=300), points).judgement.points
    rate = judged.filter(pl.col("panel") == "value", pl.col("phase") == "monitoring")[
        "is_out_of_control"
    ].mean()
    assert rate == pytest.approx(1 / average_run_length(chart, seed=3).mean, rel=0.5)


@pytest.mark.parametrize(
    "declared",
    [{}, {"first": "2024-01-01"}, {"first": "2024-01-01", "last": "2024-01-02", "points": 3}],
)
def test_a_baseline_is_days_or_a_number_of_points(declared) -> None:
    with pytest.raises(SpcError, match="`first` and `last`, or `points`"):
        Baseline(**declared)
