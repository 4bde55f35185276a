"""Metrics against scikit-learn, a second implementation, and against cases worked by hand."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from analytics_platform.modeling.evaluate import (
    EvaluationError,
    binary_metrics,
    calibration_table,
    historical_rate_baseline,
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
