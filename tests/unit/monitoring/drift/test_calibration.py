"""The false-alarm budget holds, and p-values and thresholds are what they are said to be.

The null windows of the long tests are 500 and more: made with effects of whole days, and drawn from
the flights of 2013 day by day.
"""

from __future__ import annotations

import datetime as dt
import math
import sys
import zipfile

import duckdb
import numpy as np
import polars as pl
import pytest
from scipy import stats

from analytics_platform.monitoring.drift import (
    UNIT,
    Blocks,
    Calibration,
    DriftColumns,
    LeastEffects,
    Rows,
    Window,
    drift_report,
    score_windows,
)
from analytics_platform.monitoring.drift.thresholds import (
    Fitted,
    Ranked,
    Unvaried,
    deciding_p_value,
    false_discovery_rates,
    null_of,
)
from analytics_platform.monitoring.drift.windows import (
    NullWindows,
    not_judged_because,
    null_windows,
    of_its_weekday,
)
from benchmarks.drift_power import judged, power, simulate

MONDAY = dt.date(2013, 5, 13).toordinal()
NO_LEAST = LeastEffects(0.0, 0.0, 0.0)
SURE = 0.99


def interval(windows: int, budget: float) -> tuple[int, int]:
    """The alarms that a monitor with this budget raises, but for one time in a hundred."""
    low, high = stats.binom.interval(SURE, windows, budget)
    return int(low), int(high)


def alarms(found) -> int:
    return sum(bool((drift.scores["q_value"] <= drift.budget).any()) for drift in found)


def test_null_windows_alarm_as_often_as_the_budget_says():
    # Days differ by half a standard deviation of their rows; 600 windows, a reference each.
    simulated = simulate(
        600,
        reference_days=28,
        window_days=7,
        rows=8,
        generator=np.random.default_rng(11),
        day_effect=0.5,
        numeric=2,
        categorical=2,
    )
    found = judged(simulated, Calibration(0.05, "day", draws=199), NO_LEAST)

    low, high = interval(600, 0.05)
    assert low <= alarms(found) <= high
    # A p-value is uniform where nothing drifted.
    p_values = [row for drift in found for row in drift.scores["p_value"]]
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_rows_taken_one_by_one_would_cry_wolf():
    # The same kind of days, judged as if flights of a day had nothing in common.
    generator = np.random.default_rng(12)
    cried = 0
    for _ in range(10):
        simulated = simulate(
            1,
            reference_days=28,
            window_days=7,
            rows=40,
            generator=generator,
            day_effect=0.5,
            numeric=1,
            categorical=1,
        )
        is_reference = pl.col(UNIT) < 28
        reference, current = (
            simulated.frame.filter(is_reference),
            simulated.frame.filter(~is_reference),
        )
        result = drift_report(reference, current, simulated.columns, effects=NO_LEAST)
        cried += bool(result.drifted)
    assert cried >= 5


def test_whole_windows_alarm_no_more_often_than_the_budget_says():
    # Days that resemble the day before, 84 of them: twelve windows to learn from.
    simulated = simulate(
        300,
        reference_days=84,
        window_days=7,
        rows=6,
        generator=np.random.default_rng(13),
        day_effect=0.5,
        persistence=0.6,
        numeric=2,
        categorical=1,
    )
    budget = 0.05
    found = judged(simulated, Calibration(budget, "window"), NO_LEAST)
    assert alarms(found) <= interval(300, budget)[1]


@pytest.mark.parametrize("blocks", ["day", "window"])
def test_more_categories_than_are_told_apart_alarm_no_more_often_than_the_budget_says(blocks):
    # 60 categories as likely as one another, and 20 told apart; 100 windows, a reference each.
    # Told apart by the shares of the window itself, 31 (days) and 16 (windows) of them alarmed.
    generator = np.random.default_rng(19)
    days, rows, times, budget = 63, 40, 100, 0.05
    units = np.repeat(np.arange(times * days), rows)
    frame = pl.DataFrame(
        {
            "name": pl.Series(generator.integers(0, 60, units.size)).cast(pl.String),
            UNIT: pl.Series(units, dtype=pl.Int32),
        }
    )
    windows = [
        Window("now", np.arange(first + 56, first + 63), np.arange(first, first + 56), "before")
        for first in range(0, times * days, days)
    ]
    with duckdb.connect() as con:
        con.register("drawn", frame.to_arrow())
        found = score_windows(
            Rows(con, "SELECT * FROM drawn", range(times * days), "drawn"),
            windows,
            DriftColumns(categorical=["name"]),
            ordinals=730_000 + np.arange(times * days),
            calibration=Calibration(budget, blocks, draws=199, maximum_categories=20),
            effects=NO_LEAST,
        )
    low, high = interval(times, budget)
    assert alarms(found) <= high
    if blocks == "day":
        assert low <= alarms(found)


FAMILIES = {
    "size of a normal mean": lambda g, size: np.abs(g.standard_normal(size)),
    "with noise": lambda g, size: np.sqrt(
        g.standard_normal(size) ** 2 + 0.3 * g.chisquare(20, size) / 20
    ),
    "chi of 5": lambda g, size: np.sqrt(g.chisquare(5, size)),
    "heavy tail": lambda g, size: np.abs(g.standard_t(5, size)),
    "lognormal": lambda g, size: np.exp(g.standard_normal(size)),
    "skew mean": lambda g, size: np.abs(g.exponential(1, size) - 1),
}


@pytest.mark.parametrize("windows", [12, 35])
@pytest.mark.parametrize("draw", FAMILIES.values(), ids=FAMILIES)
def test_the_fitted_tail_holds_its_budget_whatever_the_scores_are(draw, windows):
    # Ten columns, 1,500 windows, each with null windows of its own.
    generator = np.random.default_rng(14)
    budget, times = 0.05, 1500
    nulls, own = draw(generator, (times, 10, windows)), draw(generator, (times, 10))
    named = 0
    for of_window, scores in zip(nulls, own, strict=True):
        p_values = [
            Fitted.to(null, windows).p_value(score)
            for null, score in zip(of_window, scores, strict=True)
        ]
        named += min(false_discovery_rates(p_values)) <= budget
    # With so few windows, and noise that leaves no score near 0, it may err by a half more.
    assert named <= 1.5 * interval(times, budget)[1]


def test_the_fitted_tail_is_a_prediction_interval():
    # Worked by hand for logarithms 0, 1, 2, 3, 4: mean 2, deviation sqrt(2.5), four freedoms.
    null = Fitted.to(np.exp([0.0, 1.0, 2.0, 3.0, 4.0]), 5)
    at = math.exp(2 + 2.132 * math.sqrt(2.5) * math.sqrt(1.2))
    # Student's t with 4 degrees of freedom has 2.132 as its 95 % point.
    assert null.p_value(at) == pytest.approx(0.05, abs=5e-5)
    assert null.least_score(null.p_value(9.0)) == pytest.approx(9.0)
    assert null.p_value(0.0) == 1.0


def test_a_rank_is_the_share_of_windows_that_score_as_much():
    null = Ranked(np.array([5.0, 4.0, 4.0, 2.0, 1.0, 1.0, 0.0, 0.0, 0.0]))
    assert [null.p_value(score) for score in (6, 5, 4, 3, 0)] == [0.1, 0.2, 0.4, 0.4, 1.0]
    for p_value in (0.1, 0.2, 0.4, 0.5):
        least = null.least_score(p_value)
        assert null.p_value(least) <= p_value < null.p_value(np.nextafter(least, 0))
    assert null.least_score(0.05) == math.inf


def test_days_that_never_differed_are_counted():
    # Two odd days of a window of 7, out of 35 days: both fall into it by chance with 7/35 * 6/34.
    null = NullWindows(np.arange(28), np.zeros((22, 7), int), 5.0, 7, 28)
    found = null_of(np.zeros(22), null, lambda: 2)
    assert isinstance(found, Unvaried)
    assert found.p_value(0.1) == pytest.approx(7 / 35 * 6 / 34)
    assert found.p_value(0.0) == 1.0
    assert found.least_score(0.001) == math.inf


def test_false_discovery_rates_are_scipys():
    generator = np.random.default_rng(15)
    for _ in range(50):
        p_values = generator.random(generator.integers(1, 30)) ** 3
        expected = stats.false_discovery_control(p_values)
        assert false_discovery_rates(p_values) == pytest.approx(expected)
        # Up to the deciding p-value all are named, and above it none.
        deciding = deciding_p_value(p_values, 0.1)
        assert ((expected <= 0.1) == (p_values <= deciding)).all()


def test_null_windows_keep_weekdays():
    days = np.arange(730_000, 730_063)
    window = Window("now", np.arange(56, 63), np.arange(56), "before")
    drawn = null_windows(window, days, "day", 300, seed=1)
    for units in drawn.windows:
        assert sorted(days[units] % 7) == list(range(7))
        assert np.unique(units).size == 7
    # Every day is drawn about as often as any other, the window's own among them.
    counts = np.bincount(drawn.windows[:-1].ravel(), minlength=63)
    assert stats.chisquare(counts).pvalue > 0.001


def test_runs_do_not_cross_a_gap():
    # A reference of 20 days around a window of 4, and a day without rows.
    ordinals = np.array([*range(100, 110), *range(111, 125)])
    current = np.arange(4, 8)
    window = Window("now", current, np.setdiff1d(np.arange(24), current), "before")
    found = null_windows(window, ordinals, "window", 10, seed=1)
    for run in found.windows:
        assert np.diff(ordinals[run]).tolist() == [1, 1, 1]
        assert not np.isin(run, current).any()
    # 100 to 103, 108 and 109, 111 to 124: one run, none, three.
    assert found.independent == 4
    assert len(found.windows) == 1 + 11


@pytest.mark.parametrize("blocks", ["day", "window"])
def test_a_window_of_one_day_is_compared_with_days_of_its_weekday(blocks):
    # Eight weeks, and then a Sunday.
    days = MONDAY + np.arange(63)
    window = Window("now", np.array([62]), np.arange(56), "before")
    found = null_windows(window, days, blocks, 300, seed=1)
    assert found.pool.tolist() == [6, 13, 20, 27, 34, 41, 48, 55]
    assert found.windows.tolist() == [[day] for day in found.pool]
    assert (found.independent, found.window_units, found.reference_units) == (8, 1, 8)
    compared = of_its_weekday(window, days)
    assert compared.reference_name == "before, Sundays"
    assert of_its_weekday(compared, days) is compared
    # A week holds all weekdays, and units that are no days have none.
    week = Window("now", np.arange(56, 63), np.arange(56), "before")
    assert of_its_weekday(week, days) is week
    assert of_its_weekday(window, None) is window


@pytest.mark.parametrize("blocks", ["day", "window"])
def test_days_with_a_weekly_pattern_alarm_no_more_often_than_the_budget_says(blocks):
    # Sundays lie two standard deviations above other days; 420 days, each against the 56 before.
    # Compared with days of all kinds, most Sundays alarm.
    generator = np.random.default_rng(21)
    days, rows = 56 + 420, 40
    ordinals = MONDAY + np.arange(days)
    units = np.repeat(np.arange(days), rows)
    mean = 0.1 * generator.normal(size=days) + 2 * (ordinals % 7 == 0)
    # The last day, a Sunday, is as late as no Sunday was.
    assert ordinals[-1] % 7 == 0
    mean[-1] += 2
    frame = pl.DataFrame(
        {
            "delay": generator.normal(mean[units], 1.0),
            UNIT: pl.Series(units, dtype=pl.Int32),
        }
    )
    windows = [
        Window(f"day {day}", np.array([day]), np.arange(day - 56, day), "before")
        for day in range(56, days)
    ]
    with duckdb.connect() as con:
        con.register("drawn", frame.to_arrow())
        found = score_windows(
            Rows(con, "SELECT * FROM drawn", range(days), "drawn"),
            windows,
            DriftColumns(["delay"]),
            ordinals=ordinals,
            calibration=Calibration(0.02, blocks),
            effects=NO_LEAST,
        )
    assert alarms(found[:-1]) <= interval(419, 0.02)[1]
    assert alarms(found[6:-1:7]) <= interval(59, 0.02)[1]
    assert found[-1].drifted == ["delay"]


def test_a_window_is_not_judged_where_nothing_could_be_drift():
    days = MONDAY + np.arange(63)

    def why(current, reference, blocks: Blocks, ordinals=days) -> str | None:
        window = Window("now", np.array(current, int), np.array(reference, int), "before")
        return not_judged_because(window, ordinals, blocks, 0.02)

    week, before = np.arange(56, 63), np.arange(56)
    assert why([], before, "day") == "it has no rows"
    # Without Thursdays there are six days in a row, and never seven.
    no_thursdays = before[before % 7 != 3]
    assert why(week, before, "window") is None
    assert "holds 0 windows of 7 days in a row" in str(why(week, no_thursdays, "window"))
    assert why(week, no_thursdays, "day") is None
    assert why(week, before[21:], "window") is None
    assert "holds 4 windows of 7 days" in str(why(week, before[22:], "window"))
    assert why(week, before[42:], "day") is None
    assert "holds 13 days, and 14 are needed" in str(why(week, before[43:], "day"))
    # A Saturday and a Sunday beside eight of each give 9 * 9 windows, beside five 6 * 6.
    weekend, weekends = week[5:], before[before % 7 > 4]
    assert why(weekend, weekends, "day") is None
    assert "only 36 windows can be drawn from both, and 50 are needed" in str(
        why(weekend, weekends[-10:], "day")
    )
    assert why(week[6:], before[21:], "day") is None
    assert "before, Sundays holds 4 days" in str(why(week[6:], before[28:], "day"))
    # Units that are no days have no weekday.
    assert why([9], range(5), "day", None) is None
    assert "holds 4 windows, and 5 are needed" in str(why([9], range(4), "day", None))


@pytest.mark.parametrize("blocks", ["day", "window"])
def test_a_threshold_says_what_its_p_value_says(blocks):
    simulated = simulate(
        40,
        reference_days=84,
        window_days=7,
        rows=10,
        generator=np.random.default_rng(16),
        shared_reference=True,
        with_shifts=True,
        numeric=2,
        categorical=2,
    )
    columns = DriftColumns(
        ["x0", "x1", "x0_mean", "x0_variance", "x0_nulls"], ["c0", "c1", "c0_share"]
    )
    found = judged(simulated, Calibration(0.1, blocks, draws=500), NO_LEAST, columns)
    tests = pl.concat([drift.scores for drift in found])
    named = tests["q_value"] <= 0.1
    assert (tests["is_drifted"] == named).all()
    assert ((tests["score"] >= tests["threshold"]) == named).all()
    assert 0 < named.sum() < tests.height


@pytest.mark.slow
def test_the_budget_of_one_in_a_hundred_holds_over_2000_windows():
    simulated = simulate(
        2000,
        reference_days=21,
        window_days=7,
        rows=6,
        generator=np.random.default_rng(17),
        day_effect=0.5,
        numeric=2,
        categorical=2,
    )
    found = judged(simulated, Calibration(0.01, "day", draws=800), NO_LEAST)
    low, high = interval(2000, 0.01)
    assert low <= alarms(found) <= high


@pytest.fixture(scope="module")
def flights() -> pl.DataFrame:
    """The flights of 2013 from their package, with the unit of their day."""
    from assets.flight_delays.delivery import _package_data

    with zipfile.ZipFile(_package_data() / "flights.csv.zip") as archive:
        rows = pl.read_csv(
            archive.read("flights.csv"), null_values=["NA"], infer_schema_length=None
        )
    day = pl.date("year", "month", "day")
    return rows.select(
        "dep_delay", "air_time", "distance", "carrier", "origin", "hour",
        (day.rank("dense") - 1).cast(pl.Int32).alias(UNIT),
    )  # fmt: skip


REAL = DriftColumns(["dep_delay", "air_time", "distance"], ["carrier", "origin", "hour"])
FIRST_DAY = 734_869  # 2013-01-01


def real_drifts(flights: pl.DataFrame, windows: list[Window], calibration: Calibration):
    with duckdb.connect() as con:
        con.register("flights", flights.to_arrow())
        rows = Rows(con, "SELECT * FROM flights", range(365), "flights")
        return score_windows(
            rows,
            windows,
            REAL,
            ordinals=FIRST_DAY + np.arange(365),
            calibration=calibration,
            effects=NO_LEAST,
        )


@pytest.mark.slow
def test_windows_of_real_flights_drawn_by_days_keep_within_the_budget(flights):
    generator = np.random.default_rng(18)
    weekday = (FIRST_DAY + np.arange(365)) % 7
    windows = []
    for at in range(500):
        # Nine days of each weekday: eight weeks to compare with, and one to judge.
        days = np.array(
            [generator.choice(np.flatnonzero(weekday == day), 9, replace=False) for day in range(7)]
        )
        windows.append(
            Window(f"draw {at}", np.sort(days[:, 0]), np.sort(days[:, 1:].ravel()), "draw")
        )
    found = real_drifts(flights, windows, Calibration(0.05, "day", draws=399))
    # Columns of flights move together, so that the correction for their number does more than it
    # must: 10 of 500 windows alarm.
    assert 0 < alarms(found) <= interval(500, 0.05)[1]
    # Each column by itself is as unlikely as it says.
    tests = pl.concat([drift.scores for drift in found])
    low, high = interval(500, 0.05)
    for (column, method), of_column in tests.group_by("column", "method"):
        assert low <= (of_column["p_value"] <= 0.05).sum() <= high, (column, method)


@pytest.mark.slow
def test_weeks_of_real_flights_against_all_others_keep_within_the_budget(flights):
    days = np.arange(365)
    windows = [
        Window(f"week {week}", days[at : at + 7], np.setdiff1d(days, days[at : at + 7]), "others")
        for week, at in enumerate(range(0, 364, 7))
    ]
    found = real_drifts(flights, windows, Calibration(0.05, "window"))
    assert alarms(found) <= interval(len(windows), 0.05)[1]


@pytest.mark.slow
def test_shifts_are_found_and_more_of_them_with_more_rows(capsys):
    small, large = (power(40, 4, rows, Calibration()) for rows in (30, 300))
    with capsys.disabled():
        sys.stdout.write(f"\npower at 30 rows a day {small}, at 300 {large}\n")
    assert all(large[shift] >= small[shift] for shift in small if shift != "nothing")
    assert large["mean + 0.2 sd"] >= 0.7
    assert large["5 % nulls"] >= 0.9
    assert large["variance x 1.5"] >= 0.7
    assert large["nothing"] <= 0.1
