"""Train a challenger and hold it against the champion and the baselines: one call, no Dagster.

The way through: days are parted, rows are held against the guard, the model is trained and saved,
everything after that is measured on the artifact as read back, and the gates say what they think.
Belongs here: that way. Does not belong here: each measure (its own module), recording (`registry`),
and where rows come from (the component).
"""

from __future__ import annotations

import datetime as dt
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import polars as pl

from analytics_platform.modeling import gates as demands
from analytics_platform.modeling import parity
from analytics_platform.modeling.artifacts import LoadedModel
from analytics_platform.modeling.backtest import (
    HISTORICAL_RATE,
    MODEL,
    Backtest,
    Baselines,
    run_backtest,
)
from analytics_platform.modeling.card import Ablation
from analytics_platform.modeling.evaluate import (
    SLICE_METRICS,
    binary_metrics,
    slice_losses,
    slices,
)
from analytics_platform.modeling.gates import GateResult
from analytics_platform.modeling.guard import guarded_fit, guarded_predict
from analytics_platform.modeling.intervals import Interval, day_intervals, paired_bootstrap
from analytics_platform.modeling.onnx_export import is_installed
from analytics_platform.modeling.parity import Parity
from analytics_platform.modeling.serving import FeatureService
from analytics_platform.modeling.split import Fold, FoldRows, fold_rows, rolling_folds
from analytics_platform.modeling.trainer import Explains, ExportsOnnx, Trainer

MEASURES = ("roc_auc", "average_precision", "brier", "log_loss", "expected_calibration_error")
BEATEN = ("roc_auc", "brier", "log_loss")
CHAMPION = "champion"
MONTH = "month"
SERVED_DAYS, SERVED_ALONE = 3, 20
"""Days whose rows are all served, and how many of these rows are served alone: building the
features of one takes some 0.1 s."""
TIMED_ROWS, TIMINGS = 1000, 5
"""Scoring is timed on so many rows, so often; the median counts, because machines are noisy."""

Say = Callable[[str], None]


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
        baseline: Columns by whose historical rate, and in a logistic regression, the model is
            measured.
        ablation: Patterns of the columns without which it is trained once more.
        slices: Columns, or `month`, by which the hold-out is cut into slices.
        slice_rows: Fewest rows of a slice.
        slice_worse: The most by which the metric of a slice may be worse.
        metric: By which the champion must be beaten.
        level: Of the paired bootstrap.
        calibration_error: The most.
        seconds_per_1000: The most.
        artifact_bytes: The most.
        seed: Of everything drawn by chance.
    """

    trainer_path: str
    time_column: str
    key: str
    known_through: dt.date
    first_day: dt.date
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
    seed: int


@dataclass(frozen=True)
class Rival:
    """The champion, as a challenger meets it.

    Attributes:
        version: Its number.
        learned_through: The last day it learned from.
        features: The columns it learned from.
        loaded: Its model; None where it cannot be loaded.
        unusable: Why it cannot.
    """

    version: int
    learned_through: dt.date
    features: Sequence[str]
    loaded: LoadedModel | None
    unusable: str = ""


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
        intervals: Their metrics with intervals.
        ablation: The model without the declared columns; None where none are.
        backtest: What earlier cut-offs gave; None where there is none.
        slices: A row per slice and score.
        importance: Columns `feature` and `gain`; empty where the trainer does not explain.
        onnx: The model as ONNX; None where the trainer offers none or the extra is not installed.
    """

    artifact: bytes
    fold: Fold
    features: list[str]
    metrics: dict[str, Any]
    gates: tuple[GateResult, ...]
    holdout: pl.DataFrame
    scores: Mapping[str, pl.Series]
    intervals: Mapping[str, Mapping[str, Interval]]
    ablation: Ablation | None
    backtest: Backtest | None
    slices: pl.DataFrame
    importance: pl.DataFrame
    onnx: bytes | None = field(default=None, repr=False)


def challenge(
    trainer: Trainer[Any, Any],
    plan: ChallengePlan,
    frame: pl.DataFrame,
    params: Any,
    *,
    champion: Rival | None = None,
    service: FeatureService | None = None,
    say: Say,
) -> Challenge:
    """Train a challenger on labelled rows, and find out all that its gates ask for.

    Args:
        trainer: The trainer.
        plan: What to do.
        frame: Labelled feature rows of all days from the first through `known_through`.
        params: The trainer's parameters.
        champion: The champion; None where there is none. One that cannot be loaded, or cannot
            score these rows, is no rival: the baseline is, and the gate's evidence says why.
        service: Makes features of single rows, for parity; None where the product serves batches
            only.
        say: Is told of progress.

    Raises:
        NumbersError: If a number went wrong on the way; names the feature, epoch or score.
        SplitError: If the days do not suffice.
        ParityError: If a way to the prediction could not be gone at all.
    """
    fold = _main_fold(plan)
    rows = fold_rows(frame, plan.time_column, fold)
    features = trainer.features(frame.columns)
    say(f"Training on {rows.train.height:,} rows of {fold.train}, judging on {fold.test}")
    fitted = guarded_fit(trainer, rows.train, rows.valid, params, plan.seed)
    artifact = trainer.save(fitted)
    model = trainer.load(artifact)
    label, day = rows.test[trainer.label], rows.test[plan.time_column]
    baselines = Baselines(plan.baseline, plan.baseline)
    # The baselines need no rows to stop by, so they learn from all that was known.
    known = pl.concat([rows.train, rows.valid])
    scores = {
        MODEL: guarded_predict(trainer, model, rows.test),
        **baselines.scores(known, rows.test, trainer.label),
    }
    theirs, unusable = _champion_scores(champion, rows.test)
    if unusable:
        say(f"The champion cannot be compared with: {unusable}")
    knows_holdout = champion is not None and champion.learned_through >= fold.test.first
    if theirs is not None and not knows_holdout:
        scores[CHAMPION] = theirs
    measured = {name: binary_metrics(label, score) for name, score in scores.items()}
    sure = {
        name: day_intervals(day, label, score, MEASURES, seed=plan.seed)
        for name, score in scores.items()
    }
    folds = _back_folds(plan, fold)
    say(f"Looking back from {', '.join(str(one.cutoff) for one in folds) or 'nowhere'}")
    back = _look_back(trainer, plan, frame, params, fold, folds, baselines)
    rival = CHAMPION if CHAMPION in scores else HISTORICAL_RATE
    by_slice = _slices(plan, trainer.label, rows.test, scores)
    without = _ablated(trainer, plan, rows, params, features)
    seconds = _seconds_per_1000(trainer, model, rows.test)
    say("Comparing the artifact in a fresh process, and row by row")
    exported = None
    if isinstance(trainer, ExportsOnnx) and is_installed():
        exported = trainer.to_onnx(model)
    gates = (
        demands.better_than_baseline(measured[MODEL], measured[HISTORICAL_RATE], BEATEN),
        _better_than_champion(plan, fold, day, label, scores, champion, unusable),
        demands.no_slice_is_worse(
            _worst(by_slice, plan.metric, rival), plan.slice_worse, rival, plan.slices
        ),
        demands.is_calibrated(
            measured[MODEL]["expected_calibration_error"], plan.calibration_error
        ),
        demands.is_fast_and_small(
            seconds, plan.seconds_per_1000, len(artifact), plan.artifact_bytes
        ),
        *_parities(trainer, plan, artifact, model, exported, rows.test, scores[MODEL]),
        *_served(trainer, plan, model, rows.test, features, service),
    )
    return Challenge(
        artifact=artifact,
        fold=fold,
        features=features,
        metrics={
            "holdout": measured[MODEL],
            "window": str(fold.test),
            "intervals": {name: [one.low, one.high] for name, one in sure[MODEL].items()},
            "baselines": {
                name: values for name, values in measured.items() if name not in {MODEL, CHAMPION}
            },
            **({CHAMPION: measured[CHAMPION]} if CHAMPION in measured else {}),
            "ablation": {
                "without": without.columns,
                "holdout": {name: one.value for name, one in without.metrics.items()},
            }
            if without is not None
            else {},
            "backtest": _plain(back.folds) if back is not None else [],
            "features": features,
            "rows": {
                "train": rows.train.height,
                "valid": rows.valid.height,
                "holdout": rows.test.height,
            },
            "seconds_per_1000_rows": seconds,
            "artifact_bytes": len(artifact),
        },
        gates=gates,
        holdout=rows.test,
        scores=scores,
        intervals=sure,
        ablation=without,
        backtest=back,
        slices=by_slice,
        importance=_importance(trainer, model),
        onnx=exported,
    )


def exports_onnx(trainer: Trainer[Any, Any]) -> bool:
    """Whether a model can be exported here: its trainer offers it, and the extra is installed."""
    return isinstance(trainer, ExportsOnnx) and is_installed()


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


def _look_back(
    trainer: Trainer[Any, Any],
    plan: ChallengePlan,
    frame: pl.DataFrame,
    params: Any,
    main: Fold,
    folds: Sequence[Fold],
    baselines: Baselines,
) -> Backtest | None:
    if not folds:
        return None
    return run_backtest(
        frame.filter(pl.col(plan.time_column) < main.test.first),
        plan.time_column,
        trainer,
        params,
        folds,
        baselines,
        seed=plan.seed,
        holdout=main.test,
    )


def _champion_scores(champion: Rival | None, holdout: pl.DataFrame) -> tuple[pl.Series | None, str]:
    """The champion's probabilities of the hold-out, or None and why there are none."""
    if champion is None:
        return None, ""
    if champion.loaded is None:
        return None, champion.unusable
    gone = [name for name in champion.features if name not in holdout.columns]
    if gone:
        return None, f"it learned from {', '.join(gone)}, which the features no longer have"
    try:
        return guarded_predict(champion.loaded.trainer, champion.loaded.model, holdout), ""
    except (OSError, MemoryError):
        raise
    except Exception as error:  # as in `load_version`: the trainer may be another product's past
        return None, f"scoring the hold-out: {type(error).__name__}: {error}"


def _better_than_champion(
    plan: ChallengePlan,
    fold: Fold,
    day: pl.Series,
    label: pl.Series,
    scores: Mapping[str, pl.Series],
    champion: Rival | None,
    unusable: str,
) -> GateResult:
    """The comparison, and whom it was with: the decision asks whether that is still the champion.

    Who has learned from days of the hold-out is not compared on them; it would nearly always win.
    """
    name = demands.BETTER_THAN_CHAMPION
    if champion is None:
        return GateResult(name, True, {"champion": demands.NONE_YET})
    met = {demands.CHAMPION_VERSION: champion.version}
    if CHAMPION not in scores and not unusable:
        reason = (
            f"champion {champion.version} learned through {champion.learned_through}; "
            f"hold-out begins {fold.test.first}"
        )
        return GateResult(name, False, met | {"not_compared": reason})
    rival = HISTORICAL_RATE if unusable else CHAMPION
    found = paired_bootstrap(
        day, label, scores[rival], scores[MODEL], plan.metric, plan.level, seed=plan.seed
    )
    instead = {"compared_with": rival, "champion_unusable": unusable} if unusable else {}
    return GateResult(name, found.is_better, met | instead | asdict(found))


def _slices(
    plan: ChallengePlan, label: str, holdout: pl.DataFrame, scores: Mapping[str, pl.Series]
) -> pl.DataFrame:
    """The hold-out cut by the declared columns; `month` is the day's."""
    keys = {
        name: pl.col(plan.time_column).dt.strftime("%Y-%m")
        if name == MONTH and MONTH not in holdout.columns
        else pl.col(name)
        for name in plan.slices
    }
    scored = holdout.with_columns(score.alias(_column(name)) for name, score in scores.items())
    found = slices(scored, keys, label, [_column(name) for name in scores], plan.slice_rows)
    return found.with_columns(pl.col("score").str.strip_prefix(_column("")))


def _column(score: str) -> str:
    """A column for a score that no feature has."""
    return f"score of {score}"


def _worst(table: pl.DataFrame, metric: str, rival: str) -> dict[str, Any] | None:
    """The slice in which the model is furthest behind its rival; None where none is large enough.

    The metric is the gate's where slices have it, and log loss otherwise.
    """
    metric = metric if metric in SLICE_METRICS else "log_loss"
    judged = slice_losses(table, rival, MODEL, metric).drop_nulls("loss")
    if judged.is_empty():
        return None
    worst = judged.row(0, named=True)
    return {
        "slice": f"{worst['key']} = {worst['value']}",
        "rows": worst["rows"],
        "worse_by": worst["loss"],
        "metric": metric,
        "slices": judged.height,
    }


def _ablated(
    trainer: Trainer[Any, Any],
    plan: ChallengePlan,
    rows: FoldRows,
    params: Any,
    features: Sequence[str],
) -> Ablation | None:
    """The metrics of the model without the columns that were declared; None where none are."""
    left_out = [name for name in features if any(fnmatchcase(name, one) for one in plan.ablation)]
    if not left_out:
        return None
    train, valid, test = (part.drop(left_out) for part in (rows.train, rows.valid, rows.test))
    fitted = guarded_fit(trainer, train, valid, params, plan.seed)
    scores = guarded_predict(trainer, fitted, test)
    found = day_intervals(
        test[plan.time_column], test[trainer.label], scores, MEASURES, seed=plan.seed
    )
    return Ablation(f"without {len(left_out)} columns", left_out, found)


def _seconds_per_1000(trainer: Trainer[Any, Any], model: Any, frame: pl.DataFrame) -> float:
    rows = frame.head(TIMED_ROWS)
    taken: list[float] = []
    for _ in range(TIMINGS):
        began = time.perf_counter()
        trainer.predict(model, rows)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000 / rows.height


def _importance(trainer: Trainer[Any, Any], model: Any) -> pl.DataFrame:
    if isinstance(trainer, Explains):
        return trainer.importance(model)
    return pl.DataFrame(schema={"feature": pl.String, "gain": pl.Float64})


def _parities(
    trainer: Trainer[Any, Any],
    plan: ChallengePlan,
    artifact: bytes,
    model: Any,
    exported: bytes | None,
    holdout: pl.DataFrame,
    scores: pl.Series,
) -> list[GateResult]:
    """The other ways to the same predictions: a fresh process, rows one by one, ONNX."""
    fresh = parity.fresh_process(plan.trainer_path, artifact, holdout, plan.key, scores)
    alone = parity.single_rows(trainer, model, holdout, plan.key, scores)
    found = [_parity_gate(demands.PARITY, fresh), _parity_gate(demands.ROWS_PARITY, alone)]
    if exported is not None:
        single = parity.onnx(trainer, model, holdout, plan.key, scores, exported)
        found.append(_parity_gate(demands.ONNX, single))
    return found


def _served(
    trainer: Trainer[Any, Any],
    plan: ChallengePlan,
    model: Any,
    holdout: pl.DataFrame,
    features: Sequence[str],
    service: FeatureService | None,
) -> list[GateResult]:
    """Features and predictions of a few whole days as a service makes them, and of rows alone."""
    if service is None:
        return []
    days = holdout[plan.time_column].unique().sort()
    chosen = days.gather_every(max(1, days.len() // SERVED_DAYS)).head(SERVED_DAYS).to_list()
    standing = holdout.filter(pl.col(plan.time_column).is_in(chosen))
    columns = [plan.key, *features]
    made = service.features(service.rows_of(standing)).select(columns)
    compared = parity.features(standing.select(columns), made, plan.key)
    alone = standing.gather_every(max(1, standing.height // SERVED_ALONE))
    singles = [service.features([row]).select(columns) for row in service.rows_of(alone)]
    single = parity.features(alone.select(columns), pl.concat(singles), plan.key)
    scores = trainer.predict(model, standing)
    served = standing.select(plan.key).join(made, on=plan.key, maintain_order="left", how="left")
    predicted = parity.compare(
        "served rows", standing[plan.key], scores, trainer.predict(model, served)
    )
    worst = max((compared, single, predicted), key=lambda one: one.largest_difference)
    evidence = worst.evidence() | {"rows": compared.rows, "rows_alone": single.rows}
    return [GateResult(demands.FEATURES_PARITY, worst.holds, evidence)]


def _parity_gate(name: str, found: Parity) -> GateResult:
    return GateResult(name, found.holds, found.evidence())


def _plain(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.with_columns(pl.col(pl.Date).cast(pl.String)).to_dicts()
