"""Folds by hand, and the property that none of them knew the future."""

import datetime as dt
import itertools

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from analytics_platform.modeling.backtest import Baselines, run_backtest
from analytics_platform.modeling.evaluate import binary_metrics
from analytics_platform.modeling.split import (
    Days,
    Fold,
    SplitError,
    assert_known,
    fold_rows,
    rolling_folds,
)
from tests.unit.modeling import shop

FIRST = dt.date(2024, 1, 1)


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


def test_a_fold_by_hand() -> None:
    # On the evening of 30 April the outcomes of 29 April, told on the 30th, are the last known.
    (fold,) = rolling_folds(
        FIRST, [dt.date(2024, 5, 1)], known_after_days=1, valid_days=7, test_days=31
    )
    assert fold == Fold(
        cutoff=dt.date(2024, 5, 1),
        known_after_days=1,
        train=Days(FIRST, dt.date(2024, 4, 22)),
        valid=Days(dt.date(2024, 4, 23), dt.date(2024, 4, 29)),
        test=Days(dt.date(2024, 5, 1), dt.date(2024, 5, 31)),
    )
    assert fold.last_known == dt.date(2024, 4, 29)


@given(
    cutoffs=st.sets(st.integers(5, 90), min_size=1, max_size=4),
    lag=st.integers(0, 5),
    valid_days=st.integers(1, 10),
    test_days=st.integers(1, 10),
    train_days=st.none() | st.integers(1, 30),
)
@settings(deadline=None, max_examples=150)
def test_no_fold_learns_what_was_not_known(
    cutoffs: set[int], lag: int, valid_days: int, test_days: int, train_days: int | None
) -> None:
    numbers = sorted(cutoffs)
    assume(numbers[0] > lag + valid_days + 1)
    assume(all(b - a >= test_days for a, b in itertools.pairwise(numbers)))
    frame = pl.DataFrame({"day": [day(n) for n in range(120)], "n": range(120)})
    folds = rolling_folds(
        FIRST,
        [day(n) for n in numbers],
        known_after_days=lag,
        valid_days=valid_days,
        test_days=test_days,
        train_days=train_days,
    )
    tested: list[int] = []
    for fold, number in zip(folds, numbers, strict=True):
        rows = fold_rows(frame, "day", fold)
        train, valid, test = (part["n"].to_list() for part in (rows.train, rows.valid, rows.test))
        # An outcome of day n arrives on day n + lag, and the evening before the cut-off has come.
        assert max(train + valid) + lag == number - 1
        assert max(train) + 1 == min(valid)
        assert len(valid) == valid_days
        assert test == list(range(number, number + test_days))
        assert train_days is None or len(train) <= train_days
        tested += test
    assert len(tested) == len(set(tested))


@pytest.mark.parametrize(
    ("cutoffs", "holdout", "said"),
    [
        ([], None, "needs cut-offs"),
        ([6], None, "no day to learn from"),
        ([30, 35], None, "both tested on"),
        ([55], Days(day(60), day(70)), "the hold-out begins on 2024-03-01"),
    ],
)
def test_folds_that_cannot_be_are_refused(
    cutoffs: list[int], holdout: Days | None, said: str
) -> None:
    with pytest.raises(SplitError, match=said):
        rolling_folds(
            FIRST,
            [day(n) for n in cutoffs],
            known_after_days=1,
            valid_days=5,
            test_days=10,
            holdout=holdout,
        )


def test_a_row_that_was_not_known_is_named() -> None:
    frame = pl.DataFrame({"day": [day(1), day(9), None]}, schema={"day": pl.Date})
    with pytest.raises(SplitError, match=r"through 2024-01-10 only .* found 1 rows.* no day"):
        assert_known(frame, "day", day(10), 0)
    with pytest.raises(SplitError, match="found 2 rows that were not known, such as one of 2024"):
        assert_known(frame, "day", day(10), 1)


def test_a_backtest_gives_each_fold_what_a_training_by_hand_gives() -> None:
    orders = shop.orders(days=80)
    holdout = Days(day(75), day(79))
    known = orders.filter(pl.col("day") < holdout.first)
    folds = rolling_folds(
        FIRST,
        [day(40), day(55)],
        known_after_days=2,
        valid_days=5,
        test_days=15,
        holdout=holdout,
    )
    found = run_backtest(
        known,
        "day",
        shop.TREES,
        shop.Params(),
        folds,
        Baselines(["shop"], ["shop", "price"]),
        seed=3,
        holdout=holdout,
        carry=["order_id"],
        resamples=100,
    )
    assert found.folds["score"].to_list() == [
        "model", "historical rate", "logistic regression",
    ] * 2  # fmt: skip
    for number, row in ((40, found.folds.row(0, named=True)), (55, found.folds.row(3, named=True))):
        last = number - 3
        train = orders.filter(pl.col("day") <= day(last - 5))
        valid = orders.filter(pl.col("day").is_between(day(last - 4), day(last)))
        test = orders.filter(pl.col("day").is_between(day(number), day(number + 14)))
        model = shop.TREES.fit(train, valid, shop.Params(), 3)
        by_hand = binary_metrics(test["is_returned"], shop.TREES.predict(model, test))
        assert row["roc_auc"] == by_hand["roc_auc"]
        assert row["roc_auc_low"] < row["roc_auc"] < row["roc_auc_high"]
        assert (row["train_rows"], row["test_rows"]) == (train.height, test.height)
    assert found.predictions.height == 2 * 15 * 40
    assert found.predictions["order_id"].is_unique().all()
    means = found.folds.group_by("score").agg(pl.col("roc_auc").mean())
    best = dict(means.iter_rows())
    # Price makes the outcome: who has it ranks far better than a rate by shop.
    assert best["logistic regression"] > best["historical rate"] + 0.1
    with pytest.raises(SplitError, match="no row of the hold-out"):
        run_backtest(
            orders, "day", shop.TREES, shop.Params(), folds, Baselines(["shop"]), seed=1,
            holdout=holdout,
        )  # fmt: skip
