"""What the delay model is once it has learned: trees, a line, and the categories it knows.

Belongs here: the numbers that a trained model consists of. Does not belong here: how they are
learned and kept (`trainer.py`), and how they are written as ONNX (`onnx_export.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import lightgbm

LEVEL = "network_excess_lateness_14d"
"""The column of the line."""


@dataclass(frozen=True)
class DelayModel:
    """Trees, the line they stand on, and how a frame becomes the matrix they read.

    Attributes:
        booster: LightGBM's trees, whose raw score is in log-odds.
        tree_features: The trees' columns, in their order.
        categories: The values seen in training of each categorical column, sorted; a value's number
            is its position.
        level_weight: Log-odds for one unit of the column `LEVEL`.
        intercept: Log-odds where the trees and that column are 0.
        history: The loss by round: `epoch` from 1, `part` (`train` or `valid`), `loss` in nats.
            Empty in a model that was loaded.
    """

    booster: lightgbm.Booster
    tree_features: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    level_weight: float
    intercept: float
    history: pl.DataFrame = field(compare=False)

    @property
    def features(self) -> tuple[str, ...]:
        """All columns read, in the order of the ONNX input: the trees' first, then `LEVEL`."""
        return (*self.tree_features, LEVEL)
