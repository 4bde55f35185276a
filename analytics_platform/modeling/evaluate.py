"""How good a classifier's probabilities are, and what a simple historical rate would give.

Belongs here: metrics of labels and scores, calibration, baselines. Does not belong here: pictures
of them (`plots.py`), and whether they are good enough (checks).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import numpy as np

BINS = 10
PRIOR_ROWS = 20.0
LEAST_PROBABILITY = 1e-15


class EvaluationError(ValueError):
    """Labels and scores that cannot be evaluated; the message says which and why."""


def binary_metrics(label: pl.Series, score: pl.Series) -> dict[str, float]:
    """Measure probabilities of a binary outcome.

    Args:
        label: What happened, boolean, without nulls.
        score: The probability given to it, 0 to 1, as long as `label`.

    Returns:
        `roc_auc` (the probability that a late flight is ranked above one on time, ties half:
        Mann and Whitney 1947), `average_precision` (precision summed over steps of recall),
        `brier` (Brier 1950), `log_loss` in nats, `expected_calibration_error` (mean distance of
        score and share over ten bins of equal count), `calibration_in_the_large` (mean score less
        the share that came true), `rows`, and `positive_share`.

    Raises:
        EvaluationError: If there are no rows, one class only, or a score that is no probability.
    """
    import numpy as np

    y, p = checked(label, score)
    positives = float(y.sum())
    negatives = y.size - positives
    if not positives or not negatives:
        raise EvaluationError(
            f"Evaluating {y.size} rows: expected both outcomes, found only {bool(positives)}. "
            "Evaluate a longer window."
        )
    order = np.argsort(p, kind="stable")
    _, first, counts = np.unique(p[order], return_index=True, return_counts=True)
    ranks = np.empty(y.size)
    ranks[order] = np.repeat(first + (counts + 1) / 2, counts)
    above = ranks[y == 1].sum() - positives * (positives + 1) / 2

    falling = np.argsort(-p, kind="stable")
    # One threshold per distinct score, at the last row that has it.
    last = np.append(np.nonzero(np.diff(p[falling]))[0], y.size - 1)
    found = np.cumsum(y[falling])[last]
    recall = np.append(0.0, found / positives)

    bounded = np.clip(p, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    table = calibration_table(label, score)
    distance = (table["mean_score"] - table["observed_share"]).abs()
    return {
        "roc_auc": float(above / (positives * negatives)),
        "average_precision": float(np.sum(np.diff(recall) * found / (last + 1))),
        "brier": float(np.mean((p - y) ** 2)),
        "log_loss": float(-np.mean(y * np.log(bounded) + (1 - y) * np.log1p(-bounded))),
        "expected_calibration_error": float((distance * table["rows"]).sum() / y.size),
        "calibration_in_the_large": float(np.mean(p - y)),
        "rows": float(y.size),
        "positive_share": float(y.mean()),
    }


def calibration_table(label: pl.Series, score: pl.Series, bins: int = BINS) -> pl.DataFrame:
    """Mean score and observed share in bins of equal count, lowest scores first.

    Returns:
        Columns `bin` (from 1), `rows`, `mean_score`, `observed_share`; fewer than `bins` rows where
        there are fewer scores.
    """
    import numpy as np

    y, p = checked(label, score)
    parts = np.array_split(np.argsort(p, kind="stable"), bins)
    return pl.DataFrame(
        [
            (position, part.size, float(p[part].mean()), float(y[part].mean()))
            for position, part in enumerate(parts, start=1)
            if part.size
        ],
        schema={
            "bin": pl.Int64,
            "rows": pl.Int64,
            "mean_score": pl.Float64,
            "observed_share": pl.Float64,
        },
        orient="row",
    )


def historical_rate_baseline(
    train: pl.DataFrame,
    test: pl.DataFrame,
    *,
    keys: Sequence[str],
    label: str,
    prior_rows: float = PRIOR_ROWS,
) -> pl.Series:
    """Score each test row by how often the label was true for its keys in training.

    The rate of a small group is drawn toward the overall rate as if it had `prior_rows` more rows
    of it; a group unseen in training gets the overall rate.

    Args:
        train: Rows with `keys` and the boolean `label`.
        test: Rows with `keys`.
        keys: The columns that make a group.
        label: The label's column.
        prior_rows: The weight of the overall rate.

    Returns:
        One probability per row of `test`, in its order.

    Raises:
        EvaluationError: If `train` has no rows.
    """
    overall = train[label].cast(pl.Float64).mean()
    if not isinstance(overall, float):
        raise EvaluationError("The historical rate needs at least one labelled row to learn from.")
    rates = train.group_by(keys).agg(
        rate=(pl.col(label).sum() + prior_rows * overall) / (pl.len() + prior_rows)
    )
    joined = test.select(keys).join(
        rates, on=list(keys), how="left", maintain_order="left", nulls_equal=True
    )
    return joined["rate"].fill_null(overall)


def checked(label: pl.Series, score: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores as numbers, after a look at both.

    Raises:
        EvaluationError: If they are not as many, one is null, or a score is no probability.
    """
    import numpy as np

    if label.len() != score.len() or not label.len():
        raise EvaluationError(
            f"Expected as many labels as scores, and some; found {label.len()} labels and "
            f"{score.len()} scores."
        )
    if label.null_count() or score.null_count():
        raise EvaluationError(
            f"Expected no nulls; found {label.null_count()} among the labels and "
            f"{score.null_count()} among the scores."
        )
    y = label.cast(pl.Float64).to_numpy()
    p = score.cast(pl.Float64).to_numpy()
    wrong = ~((p >= 0) & (p <= 1))
    if wrong.any():
        raise EvaluationError(
            f"Expected probabilities; found {int(wrong.sum())} scores outside 0 to 1, "
            f"such as {p[wrong][0]}."
        )
    if not np.isin(y, (0.0, 1.0)).all():
        raise EvaluationError("Expected labels of true and false; found other values.")
    return y, p
