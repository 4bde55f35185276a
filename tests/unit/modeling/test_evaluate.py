"""Metrics against scikit-learn, a second implementation, and against cases worked by hand."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from analytics_platform.modeling.evaluate import (
    EvaluationError,
    binary_metrics,
    calibration_table,
    historical_rate_baseline,
    logistic_regression_baseline,
    slice_losses,
    slices,
    worst_slices,
)

SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5000001, 0.9, 1.0])


@given(st.lists(st.tuples(st.booleans(), SCORES), min_size=2, max_size=60))
@settings(deadline=None, max_examples=150)
def test_metrics_agree_with_scikit_learn_ties_and_all(rows: list[tuple[bool, float]]) -> None:
    label, score = pl.Series([r[0] for r in rows]), pl.Series([r[1] for r in rows])
    if label.n_unique() == 1:
        with pytest.raises(EvaluationError, match="both outcomes"):
            binary_metrics(label, score)
        return
    found = binary_metrics(label, score)
    y, p = label.to_numpy(), score.to_numpy()
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(y, p))
    assert found["average_precision"] == pytest.approx(reference.average_precision_score(y, p))
    assert found["brier"] == pytest.approx(reference.brier_score_loss(y, p))
    bounded = np.clip(p, 1e-15, 1 - 1e-15)
    assert found["log_loss"] == pytest.approx(reference.log_loss(y, bounded))


def test_calibration_error_by_hand() -> None:
    # Two bins of five: scores 0.2 with one of five true, scores 0.8 with two of five true.
    label = pl.Series([True] + [False] * 4 + [True, True] + [False] * 3)
    score = pl.Series([0.2] * 5 + [0.8] * 5)
    table = calibration_table(label, score, bins=2)
    assert table.rows() == [
        (1, 5, pytest.approx(0.2), pytest.approx(0.2)),
        (2, 5, pytest.approx(0.8), pytest.approx(0.4)),
    ]
    # Ten bins of one row: each is off by its score or by one less its score.
    error = (0.8 + 4 * 0.2 + 2 * 0.2 + 3 * 0.8) / 10
    assert binary_metrics(label, score)["expected_calibration_error"] == pytest.approx(error)


@pytest.mark.parametrize(
    ("label", "score", "said"),
    [
        ([], [], "some"),
        ([True], [0.5, 0.5], "as many labels"),
        ([True, None], [0.5, 0.5], "1 among the labels"),
        ([True, False], [0.5, None], "1 among the scores"),
        ([True, False], [0.5, float("nan")], "outside 0 to 1"),
        ([True, False], [0.5, 1.5], "outside 0 to 1"),
        ([True, True], [0.5, 0.5], "both outcomes"),
    ],
)
def test_what_cannot_be_evaluated_is_said(
    label: list[bool | None], score: list[float | None], said: str
) -> None:
    with pytest.raises(EvaluationError, match=said):
        binary_metrics(pl.Series(label, dtype=pl.Boolean), pl.Series(score, dtype=pl.Float64))


def test_the_historical_rate_by_hand() -> None:
    train = pl.DataFrame({"carrier": ["A", "A", "B", None], "late": [True, True, False, False]})
    test = pl.DataFrame({"carrier": ["B", "C", "A", None]})
    # Overall 0.5 with the weight of two rows: A (2+1)/4, B (0+1)/3, none (0+1)/3, C unseen.
    rate = historical_rate_baseline(train, test, keys=["carrier"], label="late", prior_rows=2)
    assert rate.to_list() == pytest.approx([1 / 3, 0.5, 0.75, 1 / 3])


def test_the_logistic_regression_is_that_of_scikit_learn_on_columns_made_by_hand() -> None:
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({"x": rng.normal(5, 3, 400), "k": rng.choice(["u", "v"], 400)})
    odds = frame["x"].to_numpy() / 3 - 2 + (frame["k"] == "u").to_numpy()
    frame = frame.with_columns(late=pl.Series(rng.random(400) < 1 / (1 + np.exp(-odds))))
    train, test = frame[:300], frame[300:]

    def by_hand(rows: pl.DataFrame) -> np.ndarray:
        x = (rows["x"].to_numpy() - train["x"].mean()) / train["x"].std(ddof=0)
        return np.column_stack([x, (rows["k"] == "u").to_numpy(), (rows["k"] == "v").to_numpy()])

    fitted = LogisticRegression().fit(by_hand(train), train["late"].to_numpy())
    found = logistic_regression_baseline(train, test, columns=["x", "k"], label="late")
    assert found.to_numpy() == pytest.approx(fitted.predict_proba(by_hand(test))[:, 1], abs=1e-5)


@pytest.fixture
def flights() -> pl.DataFrame:
    """Two carriers of 300 flights, one ranked well and one at random, and a third of two."""
    rng = np.random.default_rng(3)
    late = rng.random(602) < 0.3
    good = np.clip(late * 0.4 + rng.random(602) * 0.5, 0, 1)
    chance = rng.random(602)
    carrier = np.array(["AA"] * 300 + ["BB"] * 300 + ["CC"] * 2)
    late[600:] = True
    return pl.DataFrame(
        {
            "carrier": carrier,
            "month": [*([2, 10] * 300), 2, None],
            "late": late,
            "first": np.where(carrier == "BB", chance, good),
            "second": np.where(carrier == "AA", chance, good),
        }
    )


def test_slices_have_the_metrics_of_their_rows_and_the_worst_is_named(
    flights: pl.DataFrame,
) -> None:
    found = slices(flights, ["carrier", "month"], "late", ["first", "second"], least_rows=100)
    for row in found.filter("has_enough_rows").iter_rows(named=True):
        rows = flights.filter(pl.col(row["key"]).cast(pl.String) == row["value"])
        whole = binary_metrics(rows["late"], rows[row["score"]])
        assert row["rows"] == rows.height
        for metric in ("roc_auc", "brier", "log_loss", "calibration_in_the_large"):
            assert row[metric] == pytest.approx(whole[metric])
    # Months in their order and not that of their text; a slice of one outcome has no ROC AUC.
    assert found.filter((pl.col("key") == "month") & (pl.col("score") == "first"))[
        "value"
    ].to_list() == ["missing", "2", "10"]
    (few,) = found.filter((pl.col("value") == "CC") & (pl.col("score") == "first")).to_dicts()
    assert (few["rows"], few["roc_auc"], few["has_enough_rows"]) == (2, None, False)
    both = flights.tail(2)
    assert few["brier"] == pytest.approx(((both["first"] - 1) ** 2).mean())
    worst = worst_slices(found, "first")
    assert worst.row(0, named=True)["value"] == "BB"
    assert sorted(worst["key"]) == ["carrier", "month"]
    assert worst_slices(found, "second").row(0, named=True)["value"] == "AA"
    with pytest.raises(EvaluationError, match="worst slice by 'accuracy'"):
        worst_slices(found, "first", "accuracy")


@pytest.mark.parametrize("metric", ["roc_auc", "brier", "log_loss"])
def test_a_challenger_that_loses_on_a_slice_is_named(flights: pl.DataFrame, metric: str) -> None:
    found = slices(flights, ["carrier"], "late", ["first", "second"], least_rows=100)
    losses = slice_losses(found, "first", "second", metric)
    worst, best = losses.row(0, named=True), losses.row(-1, named=True)
    assert (worst["value"], best["value"]) == ("AA", "BB")
    assert worst["loss"] > 0 > best["loss"]
    assert abs(worst["loss"]) == pytest.approx(abs(worst["champion"] - worst["challenger"]))


def test_slices_may_be_computed(flights: pl.DataFrame) -> None:
    found = slices(flights, {"half": pl.col("month") > 6}, "late", ["first"])
    assert found["value"].to_list() == ["missing", "False", "True"]
    assert found["rows"].to_list() == [1, 301, 300]
