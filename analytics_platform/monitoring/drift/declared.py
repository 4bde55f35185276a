"""What a person declares of a drift monitor: columns, effects worth a look, how often it may err.

Belongs here: what is declared, checked when it is made, and the shape of the table of scores. Does
not belong here: how any of it is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

Kind = Literal["numeric", "categorical"]
Method = Literal["wasserstein", "jensenshannon", "null_share"]
Blocks = Literal["day", "window"]
"""What goes together: the rows of a day, or all the rows of a window."""

WASSERSTEIN: Method = "wasserstein"
"""The first Wasserstein distance over the standard deviation of the reference, as Evidently has it:
0.2 is what a shift by a fifth of a standard deviation gives."""
JENSEN_SHANNON: Method = "jensenshannon"
"""The Jensen-Shannon distance of the shares with natural logarithms, as Evidently has it: from 0
(the same shares) to 0.833 (no category in common)."""
NULL_SHARE: Method = "null_share"
"""The difference of the null shares, from 0 to 1."""
METHODS: dict[Kind, Method] = {"numeric": WASSERSTEIN, "categorical": JENSEN_SHANNON}

OTHER_CATEGORY = "(other)"

SCORES_SCHEMA = pl.Schema(
    {
        "column": pl.String,
        "kind": pl.String,
        "method": pl.String,
        "score": pl.Float64,
        "threshold": pl.Float64,
        "p_value": pl.Float64,
        "q_value": pl.Float64,
        "effect_size": pl.Float64,
        "least_effect": pl.Float64,
        "is_drifted": pl.Boolean,
        "reference_rows": pl.Int64,
        "current_rows": pl.Int64,
        "reference_null_share": pl.Float64,
        "current_null_share": pl.Float64,
    }
)
"""One row per test of a window: a column's values, and its null share where there are nulls."""


class DriftError(ValueError):
    """Drift cannot be scored between these windows, or not for this column."""


@dataclass(frozen=True)
class DriftColumns:
    """The columns to compare.

    Attributes:
        numeric: Columns compared by value: numbers and booleans.
        categorical: Columns compared by the share of each value: strings, booleans, integers.
    """

    numeric: Sequence[str] = ()
    categorical: Sequence[str] = ()

    @property
    def kinds(self) -> dict[str, Kind]:
        """The kind of each column, numeric ones first.

        Raises:
            DriftError: If no column is named, or one is named twice.
        """
        names = [*self.numeric, *self.categorical]
        if not names:
            raise DriftError("Choosing columns for drift: expected at least one, found none.")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DriftError(
                f"Choosing columns for drift: expected each column once, found {twice} more than "
                "once; list a column either as numeric or as categorical."
            )
        numeric: dict[str, Kind] = dict.fromkeys(self.numeric, "numeric")
        categorical: dict[str, Kind] = dict.fromkeys(self.categorical, "categorical")
        return numeric | categorical


@dataclass(frozen=True)
class LeastEffects:
    """The least scores that matter, however sure one is of them.

    A million rows make a trifle certain; none of these measures grows with the rows.

    Attributes:
        numeric: Least normed Wasserstein distance. A tenth of a standard deviation is half of what
            Cohen calls small (Statistical Power Analysis for the Behavioral Sciences, 1988, 2.2).
        categorical: Least Jensen-Shannon distance: 0.035 is what five points of a share of 50 %
            give, and 0.045 five points of one of 30 %.
        null_share: Least difference of null shares: two points.
        columns: Least scores of single columns' values, instead of those of their kind.
    """

    numeric: float = 0.1
    categorical: float = 0.03
    null_share: float = 0.02
    columns: Mapping[str, float] = field(default_factory=dict)

    def of(self, column: str, method: Method) -> float:
        """The least score of a column by a method."""
        if method == NULL_SHARE:
            return self.null_share
        kind = self.numeric if method == WASSERSTEIN else self.categorical
        return self.columns.get(column, kind)


@dataclass(frozen=True)
class Calibration:
    """How sure a monitor must be.

    Attributes:
        false_alarm_budget: The share of windows without any drift that may name a column. Where
            some columns have drifted, it is the expected share of false ones among those named
            (the false discovery rate).
        blocks: What goes together. `day`: days of the same weekday may change places between the
            window and the reference. `window`: they may not, because a week's days resemble one
            another (weather, season); whole windows are compared.
        draws: Null windows drawn where days may change places; raised where the budget over the
            number of columns needs more.
        seed: Of these draws.
        maximum_categories: Categories scored one by one; those with the fewest rows in the window
            and its reference together become "(other)", which can only lower the score.
    """

    false_alarm_budget: float = 0.01
    blocks: Blocks = "day"
    draws: int = 2000
    seed: int = 0
    maximum_categories: int = 100

    def __post_init__(self) -> None:
        """Refuse a budget that is no probability.

        Raises:
            DriftError: If it is none, or so small that drawing cannot show it.
        """
        if not 1e-4 <= self.false_alarm_budget < 1:
            raise DriftError(
                "Setting up drift: expected a false-alarm budget from 0.0001 to below 1, found "
                f"{self.false_alarm_budget}."
            )
        if self.maximum_categories < 2:
            raise DriftError(
                "Setting up drift: expected at least 2 categories to be told apart, found "
                f"{self.maximum_categories}."
            )
