"""Intervals against a slow resampling of rows, and their coverage in simulated worlds."""

import numpy as np
import polars as pl
import pytest

from analytics_platform.modeling.evaluate import EvaluationError, binary_metrics
from analytics_platform.modeling.intervals import (
    HIGHER_IS_BETTER,
    METRICS,
    auc_interval_of_day,
    day_intervals,
    paired_bootstrap,
    slice_intervals,
)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def some_days(
    rng: np.random.Generator, days: int, rows: int, spread: float
) -> tuple[pl.Series, pl.Series, np.ndarray]:
    """Days whose outcomes share a good or a bad day; the log-odds known beforehand are given."""
    day = np.repeat(np.arange(days), rows)
    known = rng.normal(-1, 1, day.size)
    shared = rng.normal(0, spread, days)[day]
    label = rng.random(day.size) < sigmoid(known + shared)
    return pl.Series(day), pl.Series(label), known


def repeated(
    day: pl.Series, label: pl.Series, score: pl.Series, resamples: int, seed: int
) -> list[dict[str, float]]:
    """The metrics of rows that are really repeated, resample by resample."""
    codes = np.unique(day.to_numpy(), return_inverse=True)[1]
    days = codes.max() + 1
    draws = np.random.default_rng(seed).multinomial(
        days - 1, np.full(days, 1 / days), size=resamples
    )
    return [
        binary_metrics(label[rows], score[rows])
        for rows in (np.repeat(np.arange(codes.size), draw[codes]) for draw in draws)
    ]


@pytest.mark.parametrize("decimals", [1, 15], ids=["many ties", "no ties"])
@pytest.mark.parametrize("metric", METRICS)
def test_an_interval_is_that_of_rows_repeated_by_hand(metric: str, decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    day, label, known = some_days(rng, days=12, rows=9, spread=0.5)
    # The days neither in order nor of one length.
    order = rng.permutation(day.len())[:97]
    day, label = day[order], label[order]
    score = pl.Series(np.round(sigmoid(known[order]), decimals))
    slow = [found[metric] for found in repeated(day, label, score, resamples=60, seed=3)]
    found = day_intervals(day, label, score, [metric], resamples=60, seed=3)[metric]
    assert found.value == pytest.approx(binary_metrics(label, score)[metric], abs=1e-12)
    assert (found.low, found.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=1e-12)


@pytest.mark.parametrize("metric", HIGHER_IS_BETTER)
def test_a_comparison_is_that_of_rows_repeated_by_hand(metric: str) -> None:
    rng = np.random.default_rng(5)
    day, label, known = some_days(rng, days=11, rows=10, spread=0.3)
    champion = pl.Series(sigmoid(known + rng.normal(0, 1, known.size)))
    challenger = pl.Series(sigmoid(known))
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    gains = np.array(
        [
            sign * (after[metric] - before[metric])
            for before, after in zip(
                repeated(day, label, champion, 80, 1),
                repeated(day, label, challenger, 80, 1),
                strict=True,
            )
        ]
    )
    found = paired_bootstrap(
        day, label, champion, challenger, metric, level=0.9, resamples=80, seed=1
    )
    assert (found.low, found.high) == pytest.approx(np.quantile(gains, [0.05, 0.95]), abs=1e-12)
    assert found.p_value == pytest.approx((1 + (gains <= 0).sum()) / 81)
    assert found.probability_better == pytest.approx((gains > 0).mean())
    assert found.gain == pytest.approx(
        sign * (binary_metrics(label, challenger)[metric] - binary_metrics(label, champion)[metric])
    )


SPREAD = 0.8
"""The standard deviation of what the rows of a day share, in log-odds."""


def coverage(metric: str, truth: float, *, by_row: bool, worlds: int) -> float:
    """The share of simulated worlds whose 95% interval holds the true value."""
    held = 0
    for world in range(worlds):
        rng = np.random.default_rng(world)
        day, label, known = some_days(rng, days=40, rows=100, spread=SPREAD)
        cluster = pl.Series(np.arange(day.len())) if by_row else day
        found = day_intervals(
            cluster, label, pl.Series(sigmoid(known)), [metric], resamples=200, seed=world
        )[metric]
        held += found.low <= truth <= found.high
    return held / worlds


def true_value(metric: str) -> float:
    """The metric over a great many days, of one row each: what the intervals should hold."""
    _, label, known = some_days(np.random.default_rng(99), days=1_000_000, rows=1, spread=SPREAD)
    return binary_metrics(label, pl.Series(sigmoid(known)))[metric]


@pytest.mark.parametrize("metric", ["calibration_in_the_large", "brier"])
def test_days_drawn_whole_cover_and_rows_drawn_singly_do_not(metric: str) -> None:
    truth = true_value(metric)
    # Of 300 worlds at 95% all but 1 in 1,000 sets of worlds have between 0.905 and 0.985.
    assert 0.905 <= coverage(metric, truth, by_row=False, worlds=300) <= 0.985
    assert coverage(metric, truth, by_row=True, worlds=20) < 0.75


def test_the_interval_of_the_roc_auc_covers() -> None:
    assert 0.905 <= coverage("roc_auc", true_value("roc_auc"), by_row=False, worlds=300) <= 0.985


@pytest.mark.parametrize("metric", ["roc_auc", "brier"])
def test_of_two_equal_models_the_challenger_wins_about_as_often_as_the_level_allows(
    metric: str,
) -> None:
    worlds, wins = 400, 0
    for world in range(worlds):
        rng = np.random.default_rng(1000 + world)
        day, label, known = some_days(rng, days=40, rows=20, spread=0.5)
        one, other = (pl.Series(sigmoid(known + rng.normal(0, 0.7, known.size))) for _ in range(2))
        wins += paired_bootstrap(
            day, label, one, other, metric, level=0.95, resamples=200, seed=world
        ).is_better
    # One in twenty; three standard errors of 400 worlds are 0.033.
    assert 0.017 <= wins / worlds <= 0.083


def test_a_better_model_wins_and_the_same_model_never_does() -> None:
    rng = np.random.default_rng(8)
    day, label, known = some_days(rng, days=60, rows=60, spread=0.3)
    good, bad = (pl.Series(sigmoid(known + rng.normal(0, noise, known.size))) for noise in (0.1, 2))
    won = paired_bootstrap(day, label, bad, good)
    assert won.is_better
    assert won.low > 0
    assert not paired_bootstrap(day, label, good, bad).is_better
    same = paired_bootstrap(day, label, good, good)
    assert (same.gain, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    assert not same.is_better


def test_the_corrected_interval_of_a_mean_agrees_with_scipy() -> None:
    # SciPy draws n of n, so that the ends agree only about as well as two sets of resamples do.
    from scipy import stats

    rng = np.random.default_rng(2)
    days = 200
    label = rng.random(days) < 0.1
    found = day_intervals(
        pl.Series(np.arange(days)),
        pl.Series(label),
        pl.Series(np.full(days, 0.1)),
        ["positive_share"],
        method="bca",
        resamples=20_000,
    )["positive_share"]
    reference = stats.bootstrap(
        (label.astype(float),), np.mean, n_resamples=20_000, method="BCa", rng=1
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=0.006)


def test_the_correction_lowers_the_calibration_error_of_a_calibrated_model() -> None:
    rng = np.random.default_rng(4)
    day, label, known = some_days(rng, days=60, rows=50, spread=0.0)
    score = pl.Series(sigmoid(known))
    plain, corrected = (
        day_intervals(day, label, score, ["expected_calibration_error"], method=method)[
            "expected_calibration_error"
        ]
        for method in ("percentile", "bca")
    )
    assert corrected.low < plain.low
    assert corrected.high < plain.high


@pytest.mark.parametrize(
    ("days", "metric", "level", "said"),
    [
        (9, "roc_auc", 0.95, "at least 10 days, found 9"),
        (12, "accuracy", 0.95, "no metric 'accuracy'"),
        (12, "roc_auc", 1.0, "below 1, found 1.0"),
    ],
)
def test_what_cannot_be_drawn_is_said(days: int, metric: str, level: float, said: str) -> None:
    label = pl.Series([True, False] * days)
    day = pl.Series(np.repeat(np.arange(days), 2))
    with pytest.raises(EvaluationError, match=said):
        day_intervals(day, label, pl.Series([0.5] * 2 * days), [metric], level=level)


def test_rare_outcomes_and_unknown_days_are_said() -> None:
    day = pl.Series(np.repeat(np.arange(20), 3))
    label = pl.Series([True] + [False] * 59)
    with pytest.raises(EvaluationError, match="one outcome only"):
        day_intervals(day, label, pl.Series([0.1] * 60), ["roc_auc"])
    with pytest.raises(EvaluationError, match="a day for each of the 60 rows, found 59"):
        day_intervals(pl.Series([None, *day[1:]]), label, pl.Series([0.1] * 60))
    with pytest.raises(EvaluationError, match="expected one of roc_auc"):
        paired_bootstrap(day, label, day / 20, day / 20, "positive_share")


def test_slices_have_the_interval_of_their_rows() -> None:
    rng = np.random.default_rng(6)
    day, label, known = some_days(rng, days=30, rows=30, spread=0.3)
    frame = pl.DataFrame({"day": day, "late": label, "model": sigmoid(known)}).with_columns(
        carrier=pl.when(pl.col("day") < 5).then(pl.lit("BB")).otherwise(pl.lit("AA")),
        hour=pl.Series(rng.integers(8, 11, day.len())),
    )
    found = slice_intervals(
        frame, ["carrier", "hour"], "late", ["model"], "day", least_rows=50, resamples=50, seed=2
    )
    for row in found.iter_rows(named=True):
        rows = frame.filter(pl.col(row["key"]).cast(pl.String) == row["value"])
        # Five days are too few to draw from.
        if row["value"] == "BB":
            assert row["low"] is None
            continue
        whole = day_intervals(
            rows["day"], rows["late"], rows["model"], ["roc_auc"], resamples=50, seed=2
        )["roc_auc"]
        assert (row["low"], row["high"]) == (whole.low, whole.high)
    assert found["value"].to_list() == ["AA", "BB", "8", "9", "10"]


def test_the_interval_of_a_day_is_delongs_and_covers() -> None:
    rng = np.random.default_rng(5)
    # By its definition: every pair, one at a time.
    label, score = rng.random(60) < 0.4, rng.normal(size=60).round(1)
    score = 1 / (1 + np.exp(-score - label))
    true, false = score[label], score[~label]
    wins = (true[:, None] > false) + (true[:, None] == false) / 2
    spread = wins.mean(1).var(ddof=1) / true.size + wins.mean(0).var(ddof=1) / false.size
    low, high = auc_interval_of_day(pl.Series(label), pl.Series(score))
    assert (low + high) / 2 == pytest.approx(wins.mean())
    assert (high - low) / 2 == pytest.approx(1.959964 * spread**0.5, rel=1e-6)
    # Normal scores one deviation apart have a ROC AUC of 0.76025.
    covered = 0
    for _ in range(400):
        label = rng.random(300) < 0.2
        score = 1 / (1 + np.exp(-rng.normal(size=300) - label))
        low, high = auc_interval_of_day(pl.Series(label), pl.Series(score))
        covered += low <= 0.7602499 <= high
    assert 0.92 <= covered / 400 <= 0.98
    with pytest.raises(EvaluationError, match="needs each outcome twice"):
        auc_interval_of_day(pl.Series([True, False, False]), pl.Series([0.1, 0.2, 0.3]))
