"""Two frames compared: hand-computed cases, awkward columns, and refusals that name the column."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import polars as pl
import pytest

from analytics_platform.monitoring.drift import (
    SCORES_SCHEMA,
    Calibration,
    DriftColumns,
    DriftError,
    LeastEffects,
    drift_report,
)
from analytics_platform.monitoring.drift.declared import NULL_SHARE

LARGEST_JENSEN_SHANNON = math.sqrt(math.log(2))


def normal(rows: int, seed: int, mean: float = 0.0) -> list[float]:
    return np.random.default_rng(seed).normal(mean, 1.0, rows).tolist()


def row_of(result, column: str, method: str | None = None) -> dict:
    rows = result.scores.filter(pl.col("column") == column)
    if method:
        rows = rows.filter(pl.col("method") == method)
    return rows.row(0, named=True)


def test_scores_are_those_computed_by_hand():
    # A shift by half a standard deviation moves every value by half a standard deviation. The
    # shares 0.5 and 0.5 become 0.25 and 0.75: the divergence from their middle is by definition.
    values = np.linspace(-1, 1, 2000)
    before = pl.DataFrame({"number": values, "letter": ["a", "b"] * 1000})
    after = pl.DataFrame(
        {"number": values + values.std() / 2, "letter": ["a", "b", "b", "b"] * 500}
    )

    result = drift_report(before, after, DriftColumns(["number"], ["letter"]))

    divergence = 0.5 * (
        0.5 * math.log(0.5 / 0.375)
        + 0.5 * math.log(0.5 / 0.625)
        + 0.25 * math.log(0.25 / 0.375)
        + 0.75 * math.log(0.75 / 0.625)
    )
    assert result.scores.schema == SCORES_SCHEMA
    assert result.scores["method"].to_list() == ["wasserstein", "jensenshannon"]
    assert result.scores["score"].to_list() == pytest.approx([0.5, math.sqrt(divergence)])
    # The mean moved by half a standard deviation, and each share by 25 points.
    assert result.scores["effect_size"][0] == pytest.approx(0.5)
    assert abs(result.scores["effect_size"][1]) == pytest.approx(0.25)
    assert result.scores["is_drifted"].to_list() == [True, True]
    assert result.drifted == ["letter", "number"] or result.drifted == ["number", "letter"]


def test_small_batches_without_drift_are_not_flagged():
    # Evidently's defaults flag 5 of 10 such batches.
    generator = np.random.default_rng(7)
    columns = DriftColumns(["delay", "distance"], ["carrier", "destination"])

    def batch(rows: int) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "delay": generator.exponential(30, rows),
                "distance": generator.integers(80, 5000, rows),
                "carrier": generator.choice(list("ABCDEFGHIJ"), rows),
                "destination": generator.integers(0, 90, rows),
            }
        )

    reference = batch(5000)
    results = [drift_report(reference, batch(200), columns) for _ in range(10)]
    assert [result.drifted for result in results] == [[]] * 10

    moved = batch(200).with_columns(pl.col("delay") * 2, pl.lit("A").alias("carrier"))
    found = drift_report(reference, moved, columns)
    assert found.scores["is_drifted"].to_list() == [True, False, True, False]


@pytest.mark.parametrize(
    ("before", "after", "kind", "method", "score", "is_drifted"),
    [
        pytest.param([5.0] * 100, [5.0] * 100, "numeric", "wasserstein", 0, False, id="constant"),
        pytest.param([5.0] * 100, [6.0] * 100, "numeric", "wasserstein", 1000, True, id="moved"),
        pytest.param(
            [False, True] * 50, [True] * 100, "numeric", "wasserstein", 1.0, True, id="boolean"
        ),
        pytest.param(
            [False] * 100,
            [True] * 100,
            "categorical",
            "jensenshannon",
            LARGEST_JENSEN_SHANNON,
            True,
            id="boolean-category",
        ),
        pytest.param(
            ["a"] * 100,
            ["b"] * 100,
            "categorical",
            "jensenshannon",
            LARGEST_JENSEN_SHANNON,
            True,
            id="unseen-category",
        ),
        pytest.param(
            [1e-6, 3e-6] * 500, [2e-6, 4e-6] * 500, "numeric", "wasserstein", 1.0, True, id="tiny"
        ),
        pytest.param(
            [1.0, 2.0, math.nan, math.inf] * 50,
            [1.0, 2.0, None, None] * 50,
            "numeric",
            "wasserstein",
            0.0,
            False,
            id="not-finite",
        ),
        pytest.param(
            [1.0, 2.0, 3.0, 4.0] * 50, [None] * 90, "numeric", NULL_SHARE, 1.0, True, id="all-null"
        ),
        pytest.param(
            [None] * 20, ["a"] + [None] * 19, "categorical", NULL_SHARE, 0.05, False, id="was-null"
        ),
        pytest.param([None] * 9, [None] * 9, "numeric", NULL_SHARE, 0.0, False, id="never-a-value"),
        pytest.param([1.0, 3.0] * 50, [2.0], "numeric", "wasserstein", 1.0, False, id="one-row"),
        pytest.param([1.0], [2.0] * 50, "numeric", "wasserstein", 1000, False, id="one-before"),
    ],
)
def test_awkward_columns_get_a_finite_score(before, after, kind, method, score, is_drifted):
    columns = DriftColumns(**{kind: ["x"]})
    result = drift_report(pl.DataFrame({"x": before}), pl.DataFrame({"x": after}), columns)

    found = row_of(result, "x")
    assert found["method"] == method
    assert found["score"] == pytest.approx(score, abs=1e-9)
    assert found["is_drifted"] is is_drifted
    assert result.drifted == (["x"] if is_drifted else [])
    assert result.scores.null_count().sum_horizontal().item() == 0
    assert not result.scores.select(pl.selectors.float().is_nan().any()).row(0).count(True)


def test_null_shares_and_rows_are_of_the_whole_windows():
    before = pl.DataFrame({"x": [1.0, 2.0, 3.0, None] * 1000})
    after = pl.DataFrame({"x": [1.0, 2.0] * 300})

    result = drift_report(before, after, DriftColumns(["x"]), sample_rows=50)
    found = row_of(result, "x", NULL_SHARE)

    assert (found["reference_rows"], found["current_rows"]) == (4000, 600)
    assert (found["reference_null_share"], found["current_null_share"]) == (0.25, 0.0)
    assert (found["score"], found["effect_size"]) == (0.25, -0.25)
    assert found["is_drifted"] is True


def test_rare_categories_are_scored_together_but_a_new_large_one_alone():
    before = pl.DataFrame({"tail": [f"N{i:04}" for i in range(5000)]})
    after = before.with_columns(
        tail=pl.when(pl.int_range(pl.len()) < 2500).then(pl.lit("NEW")).otherwise("tail")
    )

    result = drift_report(
        before,
        after,
        DriftColumns(categorical=["tail"]),
        calibration=Calibration(maximum_categories=10),
    )

    assert row_of(result, "tail")["is_drifted"] is True
    assert '"NEW"' in result.html
    assert '"(other)"' in result.html
    assert '"N4999"' not in result.html


def test_least_effects_are_set_by_kind_and_by_column():
    before = pl.DataFrame({"a": normal(5000, 1), "b": normal(5000, 2)})
    after = pl.DataFrame({"a": normal(5000, 3, 0.5), "b": normal(5000, 4, 0.5)})

    result = drift_report(
        before,
        after,
        DriftColumns(["a", "b"]),
        effects=LeastEffects(numeric=0.3, columns={"b": 0.9}),
    )

    # Both are as good as certain; only one is large enough.
    assert result.scores["q_value"].max() < 0.01
    assert result.scores["threshold"].to_list() == [0.3, 0.9]
    assert result.scores["is_drifted"].to_list() == [True, False]
    assert result.drifted == ["a"]


def test_a_trifle_in_many_rows_is_certain_and_no_alarm():
    before = pl.DataFrame({"x": normal(400_000, 1)})
    after = pl.DataFrame({"x": normal(400_000, 2, 0.02)})

    found = row_of(drift_report(before, after, DriftColumns(["x"])), "x")

    assert found["p_value"] < 0.001
    assert found["is_drifted"] is False


def test_a_day_that_both_frames_hold_is_two_days():
    days = [date(2013, 1, 1 + at) for at in range(20)]
    before = pl.DataFrame({"day": days * 50, "x": normal(1000, 1)})
    after = pl.DataFrame({"day": days[:7] * 50, "x": normal(350, 2, 1.0)})

    result = drift_report(before, after, DriftColumns(["x"]), time_column="day")

    found = row_of(result, "x")
    assert (found["reference_rows"], found["current_rows"]) == (1000, 350)
    assert found["is_drifted"] is True
    assert {part.group for cause in result.causes for part in cause.parts} <= {
        str(day) for day in days[:7]
    }


ROWS = pl.DataFrame({"x": [1.0, 2.0], "name": ["a", "b"], "day": [date(2013, 2, 8)] * 2})


@pytest.mark.parametrize(
    ("before", "after", "columns", "message"),
    [
        pytest.param(
            ROWS, ROWS.head(0), DriftColumns(["x"]), "rows in the window 'current', found none"
        ),
        pytest.param(
            ROWS.head(0), ROWS, DriftColumns(["x"]), "rows in the window 'reference', found none"
        ),
        pytest.param(
            ROWS, ROWS.drop("x"), DriftColumns(["x"]), "column 'x': expected it in .* 'current'"
        ),
        pytest.param(ROWS, ROWS, DriftColumns(["day"]), "'day' .*DATE; a time drifts by itself"),
        pytest.param(ROWS, ROWS, DriftColumns([], ["day"]), "'day' .*a time drifts by itself"),
        pytest.param(
            ROWS, ROWS, DriftColumns(["name"]), "'name' .*VARCHAR; list it as categorical"
        ),
        pytest.param(ROWS, ROWS, DriftColumns([], ["x"]), "'x' .*DOUBLE; list it as numeric"),
        pytest.param(ROWS, ROWS, DriftColumns(["x"], ["x"]), r"found \['x'\] more than once"),
        pytest.param(ROWS, ROWS, DriftColumns(), "expected at least one, found none"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(before, after, columns, message):
    with pytest.raises(DriftError, match=f"(?s){message}"):
        drift_report(before, after, columns)


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(DriftError, match=r"expected columns among \['x'\], found \['y'\]"):
        drift_report(ROWS, ROWS, DriftColumns(["x"]), effects=LeastEffects(columns={"y": 0.1}))
    with pytest.raises(DriftError, match=r"budget from 0.0001 to below 1, found 1e-05"):
        Calibration(false_alarm_budget=1e-5)
    with pytest.raises(DriftError, match="expected a date in every row's 'day', found 1"):
        drift_report(
            ROWS,
            ROWS.with_columns(day=pl.Series([date(2013, 1, 1), None])),
            DriftColumns(["x"]),
            time_column="day",
        )
