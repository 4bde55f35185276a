"""Train a challenger and hold it against the champion and the baselines: one call, no Dagster.

The way through: days are parted, rows are held against the guard, the model is trained and saved,
everything after that is measured on the artifact as read back, and the gates say what they think.
Belongs here: that way. Does not belong here: each measure (its own module), recording (`registry`),
and where rows come from (the component).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from analytics_platform.modeling.gates import GateResult
from analytics_platform.modeling.split import Fold

MEASURES = ("roc_auc", "average_precision", "brier", "log_loss", "expected_calibration_error")
BEATEN = ("roc_auc", "brier", "log_loss")
HISTORICAL, LOGISTIC, CHAMPION = "historical rate", "logistic regression", "champion"
SINGLE_ROWS = 500
"""Rows that are predicted one by one; the parity of thousands is held by a test."""
TIMED_ROWS, TIMINGS = 1000, 5
"""Scoring is timed on so many rows, so often; the median counts, because machines are noisy."""


@dataclass(frozen=True)
class ChallengePlan:
    """What a training is to do, as declared and as asked for.

    Attributes:
        trainer_path: The trainer's dotted path, for the fresh process.
        time_column: The date column.
        key: The column that identifies a row.
        known_through: The last day whose outcomes are known, the last of the hold-out.
        first_day: The first day to learn from.
        holdout_days: Days of the hold-out.
        valid_days: Days before it, for stopping early and for calibration.
        known_after_days: Days between an outcome's day and the day on which it is known.
        folds: Cut-offs of the backtest; 0 for none.
        test_days: Days of each of its tests.
        baseline: Columns by whose historical rate the model is measured.
        ablation: Patterns of the columns without which it is trained once more.
        slices: Columns, or `month`, by which the hold-out is cut into slices.
        slice_rows: Fewest rows of a slice.
        slice_worse: The most by which the metric of a slice may be worse.
        metric: By which the champion must be beaten.
        level: Of the paired bootstrap.
        calibration_error: The most.
        seconds_per_1000: The most.
        artifact_bytes: The most.
        onnx_difference: The most.
        seed: Of everything drawn by chance.
    """

    trainer_path: str
    time_column: str
    key: str
    known_through: Any
    first_day: Any
    holdout_days: int
    valid_days: int
    known_after_days: int
    folds: int
    test_days: int
    baseline: Sequence[str]
    ablation: Sequence[str]
    slices: Sequence[str]
    slice_rows: int
    slice_worse: float
    metric: str
    level: float
    calibration_error: float
    seconds_per_1000: float
    artifact_bytes: int
    onnx_difference: float
    seed: int


@dataclass(frozen=True)
class Challenge:
    """A trained challenger, and all that was found out about it.

    Attributes:
        artifact: The model as saved.
        fold: The days it learned from and was judged on.
        features: The columns it learned from.
        metrics: What was measured, as JSON can hold it.
        gates: What each gate said.
        holdout: The rows it was judged on.
        scores: The probabilities of these rows, by whose they are: the model's, each baseline's,
            and the champion's where there is one.
        backtest: A row per fold and score.
        slices: A row per slice.
        importance: Columns `feature` and `gain`; empty where the trainer does not explain.
        onnx: The model as ONNX; None where the trainer offers none.
    """

    artifact: bytes
    fold: Fold
    features: list[str]
    metrics: dict[str, Any]
    gates: tuple[GateResult, ...]
    holdout: pl.DataFrame
    scores: Mapping[str, pl.Series]
    backtest: pl.DataFrame
    slices: pl.DataFrame
    importance: pl.DataFrame
    onnx: bytes | None = field(default=None, repr=False)


Say = Callable[[str], None]


def challenge(
    trainer: Trainer[Any, Any],
    plan: ChallengePlan,
    frame: pl.DataFrame,
    params: Any,
    champion: Any | None,
    single: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
    say: Say = lambda line: None,
) -> Challenge:
    """Train a challenger on labelled rows, and find out all that its gates ask for.

    Args:
        trainer: The trainer.
        plan: What to do.
        frame: Labelled feature rows of all days from the first through `known_through`.
        params: The trainer's parameters.
        champion: The fitted champion; None where there is none.
        single: Gives the features of some rows of `frame` as a service makes them, for parity;
            None where the product serves batches only.
        say: Is told of progress.

    Raises:
        NumbersError: If a number went wrong on the way; names the feature, epoch or score.
        SplitError: If the days do not suffice.
    """
    fold = _main_fold(plan)
    rows = fold_rows(frame, plan.time_column, fold)
    features = trainer.features(frame.columns)
    check_rows(pl.concat([rows.train, rows.valid]), features, trainer.label)
    say(f"Training on {rows.train.height:,} rows of {fold.train}, judging on {fold.test}")
    with guarded(f"training {plan.trainer_path}"):
        fitted = trainer.fit(rows.train, rows.valid, params, plan.seed)
    check_model(trainer, fitted)
    artifact = trainer.save(fitted)
    model = trainer.load(artifact)
    label, day = rows.test[trainer.label], rows.test[plan.time_column]
    scores = {"model": _scored(trainer, model, rows.test)}
    scores |= _baselines(plan, trainer.label, rows)
    if champion is not None:
        scores[CHAMPION] = _scored(trainer, champion, rows.test)
    measured = {name: binary_metrics(label, score) for name, score in scores.items()}
    intervals = day_intervals(day, label, scores["model"], MEASURES, seed=plan.seed)
    say("Looking back: " + ", ".join(str(f.cutoff) for f in _back_folds(plan, fold)))
    back = _backtest(trainer, plan, frame, fold, params)
    rival = CHAMPION if champion is not None else HISTORICAL
    cut = _cut(rows.test, plan.slices, plan.time_column)
    by_slice = slices(
        cut, plan.slices, trainer.label, {"model": scores["model"], rival: scores[rival]},
        least_rows=plan.slice_rows,
    )  # fmt: skip
    without = _ablated(trainer, plan, rows, params, label, features)
    seconds = _seconds_per_1000(trainer, model, rows.test)
    say("Comparing the artifact in a fresh process, and row by row")
    onnx = trainer.to_onnx(fitted) if isinstance(trainer, ExportsOnnx) else None
    results = (
        demands.better_than_baseline(measured["model"], measured[HISTORICAL], BEATEN),
        _better_than_champion(plan, day, label, scores),
        demands.no_slice_is_worse(_worst(by_slice, plan.metric, rival), plan.slice_worse, rival),
        demands.is_calibrated(
            measured["model"]["expected_calibration_error"], plan.calibration_error
        ),
        demands.is_fast_and_small(
            seconds, plan.seconds_per_1000, len(artifact), plan.artifact_bytes
        ),
        demands.features_are_produced(features, frame.columns),
        *_parities(trainer, plan, artifact, model, onnx, rows.test, scores["model"], single),
    )
    return Challenge(
        artifact=artifact,
        fold=fold,
        features=features,
        metrics={
            "holdout": measured["model"],
            "window": str(fold.test),
            "intervals": {name: [one.low, one.high] for name, one in intervals.items()},
            "baselines": {
                name: values for name, values in measured.items() if name not in {"model", CHAMPION}
            },
            **({CHAMPION: measured[CHAMPION]} if CHAMPION in measured else {}),
            "ablation": without,
            "backtest": back.select(
                pl.exclude(pl.Date), pl.col(pl.Date).cast(pl.String)
            ).to_dicts(),
            "features": features,
            "rows": {
                "train": rows.train.height,
                "valid": rows.valid.height,
                "holdout": rows.test.height,
            },
            "seconds_per_1000_rows": seconds,
            "artifact_bytes": len(artifact),
        },
        gates=tuple(results),
        holdout=rows.test,
        scores=scores,
        backtest=back,
        slices=by_slice,
        importance=_importance(trainer, fitted),
        onnx=onnx,
    )


def _main_fold(plan: ChallengePlan) -> Fold:
    """The days to learn from and the hold-out, as a fold whose test is the hold-out."""
    cutoff = plan.known_through - dt.timedelta(days=plan.holdout_days - 1)
    return rolling_folds(
        plan.first_day,
        [cutoff],
        known_after_days=plan.known_after_days,
        valid_days=plan.valid_days,
        test_days=plan.holdout_days,
    )[0]


def _back_folds(plan: ChallengePlan, main: Fold) -> list[Fold]:
    """Earlier cut-offs, the newest of which is tested up to the hold-out.

    Those that would have nothing to learn from yet are left out.
    """
    first = plan.first_day + dt.timedelta(days=plan.valid_days + plan.known_after_days + 1)
    cutoffs = [
        main.test.first - dt.timedelta(days=plan.test_days * back)
        for back in range(1, plan.folds + 1)
    ]
    standing = [cutoff for cutoff in cutoffs if cutoff > first]
    if not standing:
        return []
    return rolling_folds(
        plan.first_day,
        standing,
        known_after_days=plan.known_after_days,
        valid_days=plan.valid_days,
        test_days=plan.test_days,
        holdout=main.test,
    )


def _scored(trainer: Trainer[Any, Any], model: Any, frame: pl.DataFrame) -> pl.Series:
    with guarded("scoring the hold-out"):
        scores = trainer.predict(model, frame)
    check_scores(scores)
    return scores


def _baselines(plan: ChallengePlan, label: str, rows: FoldRows) -> dict[str, pl.Series]:
    """What a simple rate and a simple model give, learned from the same days."""
    known = pl.concat([rows.train, rows.valid])
    return {
        HISTORICAL: historical_rate_baseline(known, rows.test, keys=plan.baseline, label=label),
        LOGISTIC: logistic_baseline(known, rows.test, columns=plan.baseline, label=label),
    }


def _better_than_champion(
    plan: ChallengePlan, day: pl.Series, label: pl.Series, scores: Mapping[str, pl.Series]
) -> GateResult:
    if CHAMPION not in scores:
        return GateResult(demands.BETTER_THAN_CHAMPION, True, {"champion": "none yet"})
    found = paired_bootstrap(
        day, label, scores[CHAMPION], scores["model"], plan.metric, plan.level, seed=plan.seed
    )
    return GateResult(demands.BETTER_THAN_CHAMPION, found.is_better, asdict(found))


def _cut(frame: pl.DataFrame, names: Sequence[str], time_column: str) -> pl.DataFrame:
    """The rows with the columns that slices are cut by; `month` is the day's."""
    if "month" in names and "month" not in frame.columns:
        return frame.with_columns(pl.col(time_column).dt.strftime("%Y-%m").alias("month"))
    return frame


def _worst(table: pl.DataFrame, metric: str, rival: str) -> dict[str, Any] | None:
    """The slice in which the model is furthest behind its rival."""
    sign = -1.0 if metric in demands.HIGHER_IS_BETTER else 1.0
    ours, theirs = pl.col(f"model_{metric}"), pl.col(f"{rival}_{metric}")
    judged = table.with_columns(worse_by=sign * (ours - theirs)).drop_nulls("worse_by")
    if judged.is_empty():
        return None
    worst = judged.sort("worse_by", descending=True).row(0, named=True)
    return {
        "slice": f"{worst['slice']} = {worst['value']}",
        "rows": worst["rows"],
        "worse_by": worst["worse_by"],
        "metric": metric,
        "slices": judged.height,
    }


def _ablated(
    trainer: Trainer[Any, Any],
    plan: ChallengePlan,
    rows: FoldRows,
    params: Any,
    label: pl.Series,
    features: Sequence[str],
) -> dict[str, Any]:
    """The metrics of the model without the columns that were declared; empty where none are."""
    left_out = [name for name in features if any(fnmatchcase(name, one) for one in plan.ablation)]
    if not left_out:
        return {}
    kept = FoldRows(*(part.drop(left_out) for part in (rows.train, rows.valid, rows.test)))
    fitted = trainer.fit(kept.train, kept.valid, params, plan.seed)
    return {
        "without": left_out,
        "holdout": binary_metrics(label, trainer.predict(fitted, kept.test)),
    }


def _seconds_per_1000(trainer: Trainer[Any, Any], model: Any, frame: pl.DataFrame) -> float:
    rows = frame.head(TIMED_ROWS)
    taken: list[float] = []
    for _ in range(TIMINGS):
        began = time.perf_counter()
        trainer.predict(model, rows)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000 / rows.height


def _importance(trainer: Trainer[Any, Any], fitted: Any) -> pl.DataFrame:
    if isinstance(trainer, Explains):
        return trainer.importance(fitted)
    return pl.DataFrame(schema={"feature": pl.String, "gain": pl.Float64})
