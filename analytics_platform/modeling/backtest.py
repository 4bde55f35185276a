"""How a trainer would have done: trained anew for each cut-off on what was known then.

Belongs here: training and scoring of the folds, beside baselines that learn from the same rows.
Does not belong here: which days a fold has (`split.py`), and single metrics (`evaluate.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from analytics_platform.modeling.evaluate import (
    binary_metrics,
    historical_rate_baseline,
    logistic_regression_baseline,
)
from analytics_platform.modeling.guard import guarded_fit, guarded_predict
from analytics_platform.modeling.intervals import LEAST_DAYS, LEVEL, day_intervals
from analytics_platform.modeling.split import Days, Fold, assert_apart, fold_rows
from analytics_platform.modeling.trainer import Trainer

MODEL = "model"
HISTORICAL_RATE = "historical rate"
LOGISTIC_REGRESSION = "logistic regression"
METRICS = (
    "roc_auc",
    "average_precision",
    "brier",
    "log_loss",
    "expected_calibration_error",
    "calibration_in_the_large",
)
FOLDS: dict[str, Any] = {
    "cutoff": pl.Date,
    "score": pl.String,
    "train_first": pl.Date,
    "train_last": pl.Date,
    "valid_last": pl.Date,
    "test_last": pl.Date,
    "train_rows": pl.Int64,
    "valid_rows": pl.Int64,
    "test_rows": pl.Int64,
    "positive_share": pl.Float64,
    **dict.fromkeys(METRICS, pl.Float64),
    "roc_auc_low": pl.Float64,
    "roc_auc_high": pl.Float64,
}


@dataclass(frozen=True)
class Baselines:
    """What a model is measured against.

    Attributes:
        rate_keys: Columns by whose historical rate a row is scored.
        columns: Columns of the logistic regression; none is made unless given.
    """

    rate_keys: Sequence[str]
    columns: Sequence[str] = ()

    def scores(self, train: pl.DataFrame, test: pl.DataFrame, label: str) -> dict[str, pl.Series]:
        """The probability that each baseline gives to each row of `test`, by its name."""
        found = {
            HISTORICAL_RATE: historical_rate_baseline(train, test, keys=self.rate_keys, label=label)
        }
        if self.columns:
            found[LOGISTIC_REGRESSION] = logistic_regression_baseline(
                train, test, columns=self.columns, label=label
            )
        return found


@dataclass(frozen=True)
class Backtest:
    """What a backtest found.

    Attributes:
        folds: One row per fold and score (`model` and the baselines): its days and rows, the
            metrics of its test days, and the interval of the ROC AUC by days (null where a fold
            has fewer than 10). Columns as in `FOLDS`.
        predictions: Each row tested once: `cutoff`, the time column, what was carried along, the
            label, and a column of probabilities per score.
        level: The level of the intervals.
    """

    folds: pl.DataFrame
    predictions: pl.DataFrame
    level: float


def run_backtest(
    frame: pl.DataFrame,
    time_column: str,
    trainer: Trainer[Any, Any],
    params: Any,
    folds: Sequence[Fold],
    baselines: Baselines,
    *,
    seed: int,
    holdout: Days | None = None,
    carry: Sequence[str] = (),
    level: float = LEVEL,
    resamples: int = 1000,
) -> Backtest:
    """Train and judge the folds, each under the guard.

    Args:
        frame: Labelled feature rows of all days of the folds; none of the hold-out's.
        time_column: Its date column.
        trainer: The trainer.
        params: Its parameters.
        folds: As `rolling_folds` gives them.
        baselines: What the model is measured against; they learn from the same rows.
        seed: Of everything drawn by chance.
        holdout: Days that may not be among the rows.
        carry: Columns to keep beside each prediction, such as the key and those to slice by.
        level: The level of the intervals.
        resamples: Resamples of days for each interval.

    Raises:
        SplitError: If a fold has no rows or would learn from what was not known, or a row is of
            the hold-out.
        NumbersError: If training or scoring gives numbers that may not be used.
    """
    if holdout is not None:
        assert_apart(frame, time_column, holdout)
    summaries: list[dict[str, Any]] = []
    predictions: list[pl.DataFrame] = []
    for fold in folds:
        rows = fold_rows(frame, time_column, fold)
        model = guarded_fit(trainer, rows.train, rows.valid, params, seed)
        # The baselines need no rows to stop by, so they learn from all that was known.
        known = pl.concat([rows.train, rows.valid])
        scores = {
            MODEL: guarded_predict(trainer, model, rows.test),
            **baselines.scores(known, rows.test, trainer.label),
        }
        label, day = rows.test[trainer.label], rows.test[time_column]
        for name, score in scores.items():
            metrics = binary_metrics(label, score)
            ends: dict[str, float] = {}
            if day.n_unique() >= LEAST_DAYS:
                interval = day_intervals(
                    day, label, score, ["roc_auc"], level=level, resamples=resamples, seed=seed
                )["roc_auc"]
                ends = {"roc_auc_low": interval.low, "roc_auc_high": interval.high}
            summaries.append(
                {
                    "cutoff": fold.cutoff,
                    "score": name,
                    "train_first": fold.train.first,
                    "train_last": fold.train.last,
                    "valid_last": fold.valid.last,
                    "test_last": fold.test.last,
                    "train_rows": rows.train.height,
                    "valid_rows": rows.valid.height,
                    "test_rows": rows.test.height,
                    "positive_share": metrics["positive_share"],
                    **{metric: metrics[metric] for metric in METRICS},
                    **ends,
                }
            )
        kept = dict.fromkeys([time_column, *carry, trainer.label])
        predictions.append(
            rows.test.select(pl.lit(fold.cutoff).alias("cutoff"), *kept).with_columns(
                score.alias(name) for name, score in scores.items()
            )
        )
    return Backtest(pl.DataFrame(summaries, schema=FOLDS), pl.concat(predictions), level)
