"""The scores of all rows against Evidently's own functions, which are the independent oracle."""

from __future__ import annotations

import warnings

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analytics_platform.monitoring.drift import UNIT, DriftColumns, Rows, score_windows
from analytics_platform.monitoring.drift.profiles import CategoricalProfile, NumericProfile
from analytics_platform.monitoring.drift.scores import jensen_shannon, wasserstein
from analytics_platform.monitoring.drift.windows import Window

GENERATOR = np.random.default_rng(2013)


def evidently_score(method: str, before: list, after: list) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently.legacy.calculations.stattests import jensenshannon as js
        from evidently.legacy.calculations.stattests import wasserstein_distance_norm as wd
        from evidently.legacy.core import ColumnType

        if method == "wasserstein":
            clean = [
                pd.Series(side, dtype=float).replace([-np.inf, np.inf], np.nan).dropna()
                for side in (before, after)
            ]
            return wd._wasserstein_distance_norm(*clean, ColumnType.Numerical, 0.1)[0]
        clean = [pd.Series(side, dtype=object).dropna() for side in (before, after)]
        return js._jensenshannon(*clean, ColumnType.Categorical, 0.1)[0]


def our_score(kind: str, before: list, after: list, parts: int = 7) -> float:
    """By the path that a run takes: rows in DuckDB, in units, in no order."""
    units = [*(np.arange(len(before)) % parts), *(parts + np.arange(len(after)) % parts)]
    dtype = pl.Float64 if kind == "numeric" else pl.String
    frame = pl.DataFrame(
        {"x": pl.Series([*before, *after], dtype=dtype, strict=False), UNIT: units}
    ).sample(fraction=1.0, shuffle=True, seed=1)
    with duckdb.connect() as con:
        con.register("compared", frame.to_arrow())
        rows = Rows(con, "SELECT * FROM compared", range(2 * parts), "test")
        window = Window("now", np.unique(units[len(before) :]), np.arange(parts), "before")
        (found,) = score_windows(rows, [window], DriftColumns(**{kind: ["x"]}))
    return found.scores.filter(pl.col("method") != "null_share")["score"][0]


NUMBERS = {
    "normal": (GENERATOR.normal(0, 1, 5000), GENERATOR.normal(0.3, 1.4, 900)),
    "heavy tail": (GENERATOR.standard_cauchy(4000), GENERATOR.standard_cauchy(700) * 2),
    "delays with ties": (
        np.round(GENERATOR.exponential(30, 6000)) - 10,
        np.round(GENERATOR.exponential(36, 800)) - 10,
    ),
    "booleans": (GENERATOR.integers(0, 2, 3000), GENERATOR.integers(0, 2, 500)),
    "large offset": (1e9 + GENERATOR.normal(0, 1, 3000), 1e9 + GENERATOR.normal(1, 1, 300)),
    "constant before": ([5.0] * 300, GENERATOR.normal(5, 1, 100)),
    "constant both": ([5.0] * 300, [7.5] * 100),
    "nothing moved": ([1.0, 2.0, 3.0] * 100, [1.0, 2.0, 3.0] * 20),
    "nulls and infinities": (
        np.where(GENERATOR.random(3000) < 0.2, np.nan, GENERATOR.normal(0, 1, 3000)),
        np.where(GENERATOR.random(400) < 0.1, np.inf, GENERATOR.normal(1, 1, 400)),
    ),
    "few current rows": (GENERATOR.normal(0, 1, 3000), GENERATOR.normal(2, 1, 8)),
}


@pytest.mark.parametrize(("before", "after"), NUMBERS.values(), ids=NUMBERS)
def test_numeric_scores_are_evidentlys(before, after):
    before, after = list(map(float, before)), list(map(float, after))
    expected = evidently_score("wasserstein", before, after)
    assert our_score("numeric", before, after) == pytest.approx(expected, rel=1e-6, abs=1e-6)


NAMES = {
    "few": (list("aabbc") * 500, list("abbcc") * 90),
    "unseen": (list("ab") * 500, list("abcd") * 50),
    "gone": (list("abcdef") * 200, list("ab") * 100),
    "none in common": (["a"] * 100, ["b"] * 30),
    "the same": (list("abc") * 100, list("cba") * 10),
    "many": (
        [f"N{at}" for at in GENERATOR.integers(0, 90, 5000)],
        [f"N{at}" for at in GENERATOR.integers(0, 95, 800)],
    ),
    "nulls": (["a", None, "b"] * 300, ["b", None, None] * 50),
    "strange": (["", " ", "ä", "'", '"'] * 100, ["ä", "ü"] * 50),
}


@pytest.mark.parametrize(("before", "after"), NAMES.values(), ids=NAMES)
def test_categorical_scores_are_evidentlys(before, after):
    expected = evidently_score("jensenshannon", before, after)
    assert our_score("categorical", before, after) == pytest.approx(expected, abs=1e-6)


finite = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=200, deadline=None)
@given(st.lists(finite, min_size=1, max_size=40), st.lists(finite, min_size=1, max_size=40))
def test_the_distance_is_scipys(before, after):
    found = wasserstein(np.sort(before), np.sort(after))
    assert found == pytest.approx(stats.wasserstein_distance(before, after), rel=1e-9, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=12).filter(any), st.data())
def test_the_shares_distance_is_scipys(counts, data):
    from scipy.spatial import distance

    size = len(counts)
    other = data.draw(st.lists(st.integers(0, 50), min_size=size, max_size=size).filter(any))
    first, second = (np.array(side) / sum(side) for side in (counts, other))
    expected = np.nan_to_num(distance.jensenshannon(first, second))
    assert jensen_shannon(first, second) == pytest.approx(expected, abs=1e-7)


def test_null_windows_are_scored_as_the_window_itself_is():
    # Counting in cells is exact where there are few values, and near where there are many.
    units = np.repeat(np.arange(30), 200)
    few = np.round(GENERATOR.exponential(3, units.size))
    many = GENERATOR.exponential(30, units.size)
    windows = np.array([GENERATOR.permutation(30)[:7] for _ in range(20)])
    for values, exact in ((few, 1e-9), (many, 0.05)):
        profile = NumericProfile(units, values.copy(), 30)
        found = profile.resampled(np.arange(30), windows)
        expected = [
            profile.score(np.setdiff1d(np.arange(30), window), np.sort(window))
            for window in windows
        ]
        assert found == pytest.approx(expected, rel=exact)
        independent = [
            stats.wasserstein_distance(
                values[~np.isin(units, window)], values[np.isin(units, window)]
            )
            / values[~np.isin(units, window)].std()
            for window in windows
        ]
        assert expected == pytest.approx(independent, rel=1e-6)


def test_null_windows_of_shares_are_scored_as_the_window_itself_is():
    counted = pl.DataFrame(
        {
            "unit": np.repeat(np.arange(20), 5),
            "value": list("abcde") * 20,
            "rows": GENERATOR.integers(1, 60, 100),
        }
    )
    profile = CategoricalProfile(counted, 20, most=4)
    windows = np.array([GENERATOR.permutation(20)[:5] for _ in range(20)])
    for window in windows:
        rest = np.setdiff1d(np.arange(20), window)
        found = profile.resampled(np.arange(20), window[None, :])
        assert found[0] == pytest.approx(profile.score(rest, np.sort(window)), abs=1e-9)


def test_which_categories_are_told_apart_does_not_depend_on_which_units_are_the_window():
    # 40 categories of about the same size, of which 9 are told apart. Each null window is scored
    # as it would be if it were the one judged, in whatever company it comes.
    counted = pl.DataFrame(
        {
            "unit": np.repeat(np.arange(20), 40),
            "value": [f"k{at:02}" for at in range(40)] * 20,
            "rows": GENERATOR.integers(1, 9, 800),
        }
    )
    profile = CategoricalProfile(counted, 20, most=10)
    windows = np.array([GENERATOR.permutation(20)[:5] for _ in range(20)])
    expected = [
        profile.score(np.setdiff1d(np.arange(20), window), np.sort(window)) for window in windows
    ]
    assert profile.resampled(np.arange(20), windows) == pytest.approx(expected, abs=1e-9)
    assert profile.resampled(np.arange(20), windows[::-1]) == pytest.approx(
        expected[::-1], abs=1e-9
    )


def test_a_score_of_many_categories_is_evidentlys_of_what_the_report_shows():
    names = GENERATOR.integers(0, 300, 6000)
    counted = (
        pl.DataFrame({"unit": np.arange(6000) % 20, "value": [f"N{name:03}" for name in names]})
        .group_by("unit", "value")
        .agg(rows=pl.len().cast(pl.Int64))
    )
    profile = CategoricalProfile(counted, 20, most=100)
    reference, current = np.arange(15), np.arange(15, 20)
    before, now = profile.sample(reference, current, rows=10_000)
    assert (len(before), len(now)) == (4500, 1500)
    assert len({*before, *now}) == 100
    expected = evidently_score("jensenshannon", before, now)
    assert profile.score(reference, current) == pytest.approx(expected, abs=1e-6)
