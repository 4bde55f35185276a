"""How much each feature adds to the change of the mean prediction.

Belongs here: the difference of mean contributions between two windows. Does not belong here: how a
model's contributions are computed, which is its trainer's.

Contributions are additive: those of a row add up to its prediction, in log-odds, with the base in a
column of its own (Lundberg and Lee, A unified approach to interpreting model predictions, 2017). So
the change of the mean prediction is the sum of the changes of the mean contributions.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from analytics_platform.monitoring.drift.declared import DriftError

BASE = "base"
SHOWN = 10


@dataclass(frozen=True)
class FeatureChange:
    """What a feature adds to the change of the mean log-odds.

    Attributes:
        feature: The feature.
        before: Its mean contribution in the reference, in log-odds.
        now: Its mean contribution in the window.
    """

    feature: str
    before: float
    now: float

    @property
    def change(self) -> float:
        """How much it moved the mean log-odds."""
        return self.now - self.before


@dataclass(frozen=True)
class PredictionChange:
    """Why the mean prediction of a window is another than the reference's.

    Attributes:
        model: The model and its version, in words.
        before: The mean log-odds in the reference.
        now: The mean log-odds in the window.
        features: All features, those that moved it most first.
        rows: Rows of the reference and of the window that this was computed on.
    """

    model: str
    before: float
    now: float
    features: tuple[FeatureChange, ...]
    rows: tuple[int, int]

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it, with the features that matter most."""
        return {
            "model": self.model,
            "mean_log_odds_before": self.before,
            "mean_log_odds_now": self.now,
            "features": [
                asdict(feature) | {"change": feature.change} for feature in self.features[:SHOWN]
            ],
        }


def prediction_change(
    model: str, reference: pl.DataFrame, current: pl.DataFrame
) -> PredictionChange:
    """Split the change of the mean prediction among the features.

    Args:
        model: The model, in words.
        reference: Contributions by row, a column per feature and `BASE`, in log-odds.
        current: The same of the window.

    Raises:
        DriftError: If the two have not the same columns, or one has no row.
    """
    if reference.columns != current.columns or not reference.height or not current.height:
        raise DriftError(
            f"Explaining the predictions of {model}: expected contributions of the same features "
            f"on both sides, found {reference.height} rows of {reference.columns} and "
            f"{current.height} rows of {current.columns}."
        )
    before, now = reference.mean().row(0, named=True), current.mean().row(0, named=True)
    changes = [
        FeatureChange(name, before[name], now[name]) for name in reference.columns if name != BASE
    ]
    changes.sort(key=lambda change: (-abs(change.change), change.feature))
    return PredictionChange(
        model,
        sum(before.values()),
        sum(now.values()),
        tuple(changes),
        (reference.height, current.height),
    )
