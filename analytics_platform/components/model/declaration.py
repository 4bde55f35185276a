"""What a product declares of a model: its tables, windows, trainer and gates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal

import dagster as dg
from pydantic import Field

from analytics_platform.modeling import challenger_of


class BacktestSpec(dg.Model, dg.Resolvable):
    """Past cut-offs at which a model is trained as it would have been then.

    Attributes:
        folds: How many cut-offs; the newest test window ends where the hold-out begins.
        test_days: Days of each test window, and between two cut-offs.
    """

    folds: int = 4
    test_days: int = 28


class SplitSpec(dg.Model, dg.Resolvable):
    """How days are parted, counted back from the newest whose outcomes are known.

    Attributes:
        first_day: The first day to learn from, ISO.
        ready_on: The first model is trained once all days through this one stand, ISO.
        holdout_days: The newest known days; nothing is fitted or tuned on them.
        valid_days: The days before those: for stopping early and for calibration.
        known_after_days: Days from a day to the evening on which its outcomes can be used.
        backtest: Rolling-origin backtest before the hold-out.
    """

    first_day: str
    ready_on: str
    holdout_days: int
    valid_days: int = 28
    known_after_days: int = 1
    backtest: BacktestSpec = BacktestSpec()


class GateSpec(dg.Model, dg.Resolvable):
    """What a challenger must show before it may be champion.

    Attributes:
        metric: By which it must beat the champion: `log_loss`, `brier`, `roc_auc` or
            `average_precision`.
        level: The level of the paired bootstrap over the hold-out's days, at least 0.5 and below 1.
        slices: Columns of the features by whose values the hold-out is cut into slices; where some
            are declared, one at least must be large enough to be judged.
        slice_rows: Fewest labelled rows of a slice that is judged.
        slice_worse: The most by which the metric of a slice may be worse than the champion's, or
            the baseline's where there is no champion.
        calibration_error: The most that the expected calibration error may be, 0 to 1.
        seconds_per_1000: The most that scoring a thousand rows may take.
        artifact_bytes: The most that the artifact may weigh.
    """

    metric: Literal["log_loss", "brier", "roc_auc", "average_precision"] = "log_loss"
    level: float = Field(default=0.95, ge=0.5, lt=1)
    slices: Sequence[str] = ()
    slice_rows: int = Field(default=500, ge=1)
    slice_worse: float = Field(default=0.02, ge=0, allow_inf_nan=False)
    calibration_error: float = Field(default=0.05, gt=0, le=1)
    seconds_per_1000: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    artifact_bytes: int = Field(default=50_000_000, ge=1)


class CheckRef(dg.Model, dg.Resolvable):
    """An asset check by name.

    Attributes:
        asset: The asset, without the product.
        check: The check.
    """

    asset: str
    check: str


class RetrainSpec(dg.Model, dg.Resolvable):
    """When a model is trained again by itself.

    Attributes:
        cron: When, by the clock (UTC); never unless given.
        when_failing: Checks whose failing asks for a training: performance or drift out of control.
        at_most_every_days: Fewest days between two trainings that were not asked for by a person.
    """

    cron: str | None = None
    when_failing: Sequence[CheckRef] = ()
    at_most_every_days: float = 7.0


class ModelDeclaration(dg.Model, dg.Resolvable):
    """A binary classifier and what follows from it.

    Attributes:
        name: The model's name, which is its champion's asset.
        description: What it predicts, for whom.
        not_for: What it must not be used for; for its card.
        limits: What it does not know and where it falls short; for its card.
        trainer: Dotted path of its trainer (`modeling.trainer.Trainer`).
        features: The daily feature table; one row per `key`.
        labels: The daily table that holds the label once it is known.
        key: The column that identifies a row in both.
        time_column: The date column in both.
        describe: Columns of `features` to carry along with each prediction.
        ablation: Columns of `features`, or their beginnings with a `*`, without which the model is
            also trained, to show what they give.
        baseline: Columns of `features` by whose historical rate the model is measured.
        split: How days are parted.
        gates: What a challenger must show.
        retrain: When it is trained again by itself.
        serving: Dotted path of a function that builds features of single rows as the feature table
            does (`modeling.serving.Builder`); None where the product serves batches only.
        predictions: The table of predictions.
        outcomes: The table of predictions beside what happened.
        performance: The table of each day's measures.
        probability: The column of the predicted probability.
    """

    name: str
    description: str
    not_for: Sequence[str] = ()
    limits: Sequence[str] = ()
    trainer: str
    features: str
    labels: str
    key: str
    time_column: str
    describe: list[str]
    ablation: Sequence[str] = ()
    baseline: list[str]
    split: SplitSpec
    gates: GateSpec = GateSpec()
    retrain: RetrainSpec = RetrainSpec()
    serving: str | None = None
    predictions: str
    outcomes: str
    performance: str
    probability: str

    @property
    def challenger(self) -> str:
        """The challenger's asset."""
        return challenger_of(self.name)

    @property
    def first_day(self) -> dt.date:
        """The first day to learn from."""
        return dt.date.fromisoformat(self.split.first_day)
