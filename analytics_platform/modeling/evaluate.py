"""How good a classifier's probabilities are, and what a simple historical rate would give.

Belongs here: metrics of labels and scores, calibration, slices, baselines. Does not belong here:
pictures of them (`plots.py`), and whether they are good enough (checks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import numpy as np

BINS = 10
PRIOR_ROWS = 20.0
LEAST_ROWS = 200
"""A slice of fewer rows is shown, and none is named the worst by it."""
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


def logistic_regression_baseline(
    train: pl.DataFrame,
    test: pl.DataFrame,
    *,
    columns: Sequence[str],
    label: str,
) -> pl.Series:
    """Score each test row by a logistic regression on a few columns.

    What a linear model of the plainest columns gives: a model that does no better has learned
    nothing worth its trees. Text becomes a column per value, numbers are brought to one scale,
    missing ones are filled with the median beside a flag.

    Args:
        train: Rows with `columns` and the boolean `label`.
        test: Rows with `columns`.
        columns: The columns to learn from.
        label: The label's column.

    Returns:
        One probability per row of `test`, in its order.
    """
    from sklearn.linear_model import LogisticRegression

    from analytics_platform.modeling.sklearn_trainer import NoParams, SklearnTrainer

    trainer = SklearnTrainer(
        label, NoParams, lambda _params, _seed: LogisticRegression(max_iter=500)
    )
    model = trainer.fit(train.select(*columns, label), test.clear(), NoParams(), seed=0)
    return trainer.predict(model, test)


SLICE_METRICS = ("roc_auc", "brier", "log_loss", "calibration_in_the_large")


def slices(
    frame: pl.DataFrame,
    keys: Mapping[str, pl.Expr] | Sequence[str],
    label: str,
    scores: Sequence[str],
    least_rows: int = LEAST_ROWS,
) -> pl.DataFrame:
    """Metrics of every value of every key, for every score.

    Args:
        frame: One row per prediction whose outcome is known.
        keys: Columns to slice by, or expressions by the name to show, such as
            `{"month": pl.col("flight_date").dt.month()}`.
        label: The boolean column.
        scores: Columns of probabilities.
        least_rows: Slices of fewer rows are marked.

    Returns:
        Columns `key`, `value` (as text), `score`, `rows`, `positive_share`, the `SLICE_METRICS`
        (`roc_auc` is null where only one outcome occurred) and `has_enough_rows`; sorted by key,
        value and score as they were given.
    """
    chosen = keys if isinstance(keys, Mapping) else {name: pl.col(name) for name in keys}
    rows: list[tuple[object, ...]] = []
    for name, expression in chosen.items():
        # By the value itself: as text the tenth month would come before the second.
        named = frame.with_columns(expression.alias("__value")).sort("__value", maintain_order=True)
        for (value,), group in named.group_by("__value", maintain_order=True):
            for score in scores:
                found = _slice_metrics(group[label], group[score])
                rows.append(
                    (
                        name,
                        "missing" if value is None else str(value),
                        score,
                        group.height,
                        group[label].cast(pl.Float64).mean(),
                        *(found.get(metric) for metric in SLICE_METRICS),
                        group.height >= least_rows and "roc_auc" in found,
                    )
                )
    return pl.DataFrame(
        rows,
        schema={
            "key": pl.String,
            "value": pl.String,
            "score": pl.String,
            "rows": pl.Int64,
            "positive_share": pl.Float64,
            **dict.fromkeys(SLICE_METRICS, pl.Float64),
            "has_enough_rows": pl.Boolean,
        },
        orient="row",
    )


def worst_slices(found: pl.DataFrame, score: str, metric: str = "roc_auc") -> pl.DataFrame:
    """The worst slice of each key for a score, the worst of all first.

    Args:
        found: As `slices` gives it.
        score: The score.
        metric: `roc_auc` (lowest), `brier` or `log_loss` (highest), or `calibration_in_the_large`
            (furthest from 0).
    """
    badness = {
        "roc_auc": -pl.col("roc_auc"),
        "brier": pl.col("brier"),
        "log_loss": pl.col("log_loss"),
        "calibration_in_the_large": pl.col("calibration_in_the_large").abs(),
    }
    if metric not in badness:
        raise EvaluationError(
            f"Naming the worst slice by {metric!r}: expected one of {', '.join(badness)}."
        )
    return (
        found.filter((pl.col("score") == score) & pl.col("has_enough_rows"))
        .sort(badness[metric], descending=True, maintain_order=True)
        .unique("key", keep="first", maintain_order=True)
    )


def slice_losses(
    found: pl.DataFrame, champion: str, challenger: str, metric: str = "roc_auc"
) -> pl.DataFrame:
    """How much worse a challenger is than the champion on each slice, the worst first.

    Args:
        found: As `slices` gives it, with both scores.
        champion: The champion's score.
        challenger: The challenger's.
        metric: As in `worst_slices`.

    Returns:
        Columns `key`, `value`, `rows`, `champion`, `challenger` and `loss`, which is positive where
        the challenger is worse; only slices with enough rows.
    """
    value = pl.col(metric).abs() if metric == "calibration_in_the_large" else pl.col(metric)
    kept = found.filter("has_enough_rows").select("key", "value", "score", "rows", measured=value)
    both = kept.filter(pl.col("score") == champion).join(
        kept.filter(pl.col("score") == challenger), on=["key", "value"], maintain_order="left"
    )
    sign = 1 if metric == "roc_auc" else -1
    return both.select(
        "key",
        "value",
        "rows",
        champion=pl.col("measured"),
        challenger=pl.col("measured_right"),
        loss=sign * (pl.col("measured") - pl.col("measured_right")),
    ).sort("loss", descending=True, maintain_order=True)


def _slice_metrics(label: pl.Series, score: pl.Series) -> dict[str, float]:
    """The metrics of a slice; without the ROC AUC where only one outcome occurred."""
    import numpy as np

    if label.n_unique() == 2:
        return binary_metrics(label, score)
    y, p = checked(label, score)
    bounded = np.clip(p, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return {
        "brier": float(np.mean((p - y) ** 2)),
        "log_loss": float(-np.mean(y * np.log(bounded) + (1 - y) * np.log1p(-bounded))),
        "calibration_in_the_large": float(np.mean(p - y)),
    }


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
