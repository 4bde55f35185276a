"""Which days a model may learn from, and which it is judged on.

Belongs here: folds of a rolling-origin backtest as days, their rows, and the proof that none of
them knew the future. Does not belong here: training on them (`backtest.py`).

A fold stands on the evening before its cut-off: it predicts the cut-off's day and those after it,
and knows the outcomes that had arrived by then. An outcome of day d is known `known_after_days`
days later, during the day. With one day, a model made on the evening before 1 June has the outcomes
of 30 May, which arrived on 31 May, and not those of 31 May.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl


class SplitError(ValueError):
    """Days that cannot be split as asked, or rows that a fold may not see."""


@dataclass(frozen=True)
class Days:
    """Days from `first` through `last`, both included.

    Attributes:
        first: The first day.
        last: The last day.
    """

    first: dt.date
    last: dt.date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise SplitError(f"Expected days in order, found {self.first} to {self.last}.")

    def __str__(self) -> str:
        return f"{self.first}/{self.last}"

    @property
    def count(self) -> int:
        """How many days."""
        return (self.last - self.first).days + 1

    def rows(self, frame: pl.DataFrame, time_column: str) -> pl.DataFrame:
        """The rows of these days."""
        return frame.filter(pl.col(time_column).is_between(self.first, self.last))


@dataclass(frozen=True)
class Fold:
    """One look back: what a model made on the evening before `cutoff` knew and had to predict.

    Attributes:
        cutoff: The first day to predict.
        known_after_days: Days between an outcome's day and the day on which it is known.
        train: Days to learn from.
        valid: Later days, also known by then, to stop early on or to choose parameters by.
        test: Days to predict, the cut-off first.
    """

    cutoff: dt.date
    known_after_days: int
    train: Days
    valid: Days
    test: Days

    @property
    def last_known(self) -> dt.date:
        """The last day whose outcomes are known on the evening before the cut-off."""
        return last_known(self.cutoff, self.known_after_days)


@dataclass(frozen=True)
class FoldRows:
    """The rows of a fold.

    Attributes:
        train: Rows to learn from.
        valid: Rows to stop early on.
        test: Rows to predict.
    """

    train: pl.DataFrame
    valid: pl.DataFrame
    test: pl.DataFrame


def last_known(cutoff: dt.date, known_after_days: int) -> dt.date:
    """The last day whose outcomes are known on the evening before a cut-off."""
    if known_after_days < 0:
        raise SplitError(f"Expected a lag of 0 days or more, found {known_after_days}.")
    return cutoff - dt.timedelta(days=known_after_days + 1)


def rolling_folds(
    first: dt.date,
    cutoffs: Sequence[dt.date],
    *,
    known_after_days: int,
    valid_days: int,
    test_days: int,
    holdout: Days | None = None,
    train_days: int | None = None,
) -> list[Fold]:
    """The folds of a backtest, the earliest first.

    Args:
        first: The first day there is.
        cutoffs: The first day to predict of each fold.
        known_after_days: Days between an outcome's day and the day on which it is known.
        valid_days: Days before the last known one, it included, that are kept from training.
        test_days: Days to predict.
        holdout: Days that no fold may touch: every fold ends before them.
        train_days: Days to learn from; all since `first` unless given.

    Raises:
        SplitError: If there are no cut-offs, a fold has no day to learn from, tests of two folds
            overlap, or a fold reaches into the hold-out.
    """
    if not cutoffs or valid_days < 1 or test_days < 1:
        raise SplitError(
            "A backtest needs cut-offs, and at least one day of validation and of test; found "
            f"{len(cutoffs)} cut-offs, {valid_days} days of validation, {test_days} of test."
        )
    day = dt.timedelta(days=1)
    folds: list[Fold] = []
    for cutoff in sorted(cutoffs):
        known = last_known(cutoff, known_after_days)
        train_last = known - valid_days * day
        train_first = (
            first if train_days is None else max(first, train_last - (train_days - 1) * day)
        )
        if train_last < train_first:
            raise SplitError(
                f"The fold of {cutoff} has no day to learn from: outcomes are known through "
                f"{known}, the last {valid_days} days of them are for validation, and the first "
                f"day is {first}. Choose a later cut-off or fewer days of validation."
            )
        test = Days(cutoff, cutoff + (test_days - 1) * day)
        if holdout is not None and test.last >= holdout.first:
            raise SplitError(
                f"The fold of {cutoff} would be tested through {test.last}, and the hold-out "
                f"begins on {holdout.first}: nothing may be chosen by it. Choose an earlier "
                "cut-off or fewer days of test."
            )
        if folds and folds[-1].test.last >= cutoff:
            raise SplitError(
                f"The folds of {folds[-1].cutoff} and {cutoff} are both tested on {cutoff}. Space "
                f"the cut-offs by {test_days} days or more."
            )
        folds.append(
            Fold(
                cutoff=cutoff,
                known_after_days=known_after_days,
                train=Days(train_first, train_last),
                valid=Days(train_last + day, known),
                test=test,
            )
        )
    return folds


def fold_rows(frame: pl.DataFrame, time_column: str, fold: Fold) -> FoldRows:
    """The rows of a fold, shown to be honest.

    Args:
        frame: Labelled rows with a date column.
        time_column: That column.
        fold: The fold.

    Raises:
        SplitError: If a part has no rows, or one to learn from was not known by the cut-off.
    """
    rows = FoldRows(
        *(part.rows(frame, time_column) for part in (fold.train, fold.valid, fold.test))
    )
    for name in ("train", "valid", "test"):
        if getattr(rows, name).is_empty():
            raise SplitError(
                f"The fold of {fold.cutoff} has no rows of {getattr(fold, name)} ({name}). "
                "Materialise these days, or choose another cut-off."
            )
    assert_known(rows.train, time_column, fold.cutoff, fold.known_after_days)
    assert_known(rows.valid, time_column, fold.cutoff, fold.known_after_days)
    return rows


def assert_known(
    frame: pl.DataFrame, time_column: str, cutoff: dt.date, known_after_days: int
) -> None:
    """Show that every outcome was known on the evening before a cut-off.

    Raises:
        SplitError: If a row is of the cut-off less the lag, or of a later day, or of no day.
    """
    known = last_known(cutoff, known_after_days)
    wrong = frame.filter(pl.col(time_column).is_null() | (pl.col(time_column) > known))
    if wrong.height:
        raise SplitError(
            f"Learning for {cutoff}: expected outcomes through {known} only (known after "
            f"{known_after_days} days), found {wrong.height} rows that were not known, such as one "
            f"of {wrong[time_column].max() or 'no day'}. Leave them out of training."
        )


def assert_apart(frame: pl.DataFrame, time_column: str, holdout: Days) -> None:
    """Show that no row is of the hold-out.

    Raises:
        SplitError: If one is.
    """
    found = holdout.rows(frame, time_column)
    if found.height:
        raise SplitError(
            f"Expected no row of the hold-out {holdout}, found {found.height}, such as one of "
            f"{found[time_column].min()}. What is chosen by a hold-out is not measured by it."
        )
