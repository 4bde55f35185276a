"""How sure a metric is: intervals and comparisons by drawing whole days again.

Belongs here: the bootstrap, and what follows from it. Does not belong here: the metrics of the
rows as they are (`evaluate.py`), and what must hold of a difference (gates).

Flights of one day share its weather and its crowds, so a row tells less than a row drawn by itself
would: an interval that draws rows is too narrow. Here a resample draws days with replacement and
takes each with all its rows (the cluster bootstrap; Davison and Hinkley 1997, section 3.8). It
draws one day fewer than there are: the variance among n - 1 drawn of n is that of the sample
without bias (Rao and Wu 1988), which matters where days are few.

A resample gives each day a whole number as weight, so that nothing is drawn row by row. The ROC
AUC is a quadratic form in these weights: the pairs of a late flight of one day and an on-time
flight of another that are ranked right are counted once, for each two days. Sums per day do for the
Brier score, log loss and calibration in the large. Average precision and the calibration error look
at the sorted rows with their weights. All are exact: each is what `binary_metrics` gives for the
rows repeated as often as their day was drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

from analytics_platform.modeling.evaluate import (
    BINS,
    LEAST_PROBABILITY,
    LEAST_ROWS,
    EvaluationError,
    checked,
    slices,
)

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 1000
LEVEL = 0.95
LEAST_DAYS = 10
"""With fewer days an interval says little, whatever its level."""

Method = Literal["percentile", "bca"]

HIGHER_IS_BETTER = {
    "roc_auc": True,
    "average_precision": True,
    "brier": False,
    "log_loss": False,
    "expected_calibration_error": False,
}
"""Metrics that may be compared, and which way is better."""
METRICS = (*HIGHER_IS_BETTER, "calibration_in_the_large", "positive_share")


@dataclass(frozen=True)
class Interval:
    """A metric with its interval.

    Attributes:
        metric: Its name, one of `METRICS`.
        value: The metric of all rows.
        low: Lower end.
        high: Upper end.
        level: The share of samples whose interval holds the true value, as far as the method goes.
        days: Days drawn from.
        resamples: Resamples used; those with one outcome only have no ROC AUC and are left out.
    """

    metric: str
    value: float
    low: float
    high: float
    level: float
    days: int
    resamples: int


@dataclass(frozen=True)
class Comparison:
    """A challenger against a champion on the same rows and the same resamples.

    Attributes:
        metric: The metric compared.
        champion: Its value for the champion.
        challenger: Its value for the challenger.
        gain: How much better the challenger is; positive is better, whichever way the metric runs.
        low: Lower end of the interval of `gain`.
        high: Upper end.
        level: The level of the interval.
        p_value: Of the hypothesis that the challenger is no better, one-sided: the share of
            resamples without a gain, counting the sample itself as one (Davison and Hinkley 1997,
            section 4.2).
        probability_better: The share of resamples with a gain.
        rows: Rows compared.
        days: Days drawn from.
        resamples: Resamples used.
    """

    metric: str
    champion: float
    challenger: float
    gain: float
    low: float
    high: float
    level: float
    p_value: float
    probability_better: float
    rows: int
    days: int
    resamples: int

    @property
    def is_better(self) -> bool:
        """Whether the challenger is better at the level, one-sided.

        Of two models equally good, the challenger is called better in about `1 - level` of cases.
        """
        return self.p_value <= 1 - self.level


def day_intervals(
    day: pl.Series,
    label: pl.Series,
    score: pl.Series,
    metrics: Sequence[str] = METRICS,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    method: Method = "percentile",
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of the metrics of one score.

    Args:
        day: The day of each row, or another cluster that is drawn as one, such as its week.
        label: What happened, boolean, without nulls.
        score: The probability given to it.
        metrics: Which of `METRICS`.
        level: The level, between 0 and 1.
        resamples: Resamples to draw.
        method: `percentile`, or `bca`: corrected for bias and acceleration (Efron 1987), with the
            jackknife over days. The calibration error cannot be below 0 and grows with noise, so
            that resamples lie above it; `bca` takes that back in part.
        seed: Of the draw.

    Returns:
        The interval of each metric, in the order asked for.

    Raises:
        EvaluationError: If the rows cannot be evaluated, or there are fewer than 10 days.
    """
    import numpy as np

    sample = _Sample(day, label, _level(level))
    drawn = sample.draw(resamples, seed)
    every = np.ones((1, sample.days))
    found: dict[str, Interval] = {}
    for metric in metrics:
        measure = sample.measure(score, metric)
        value = float(measure(every)[0])
        values = _finite(measure(drawn), metric)
        if method == "bca":
            left_out = np.ones((sample.days, sample.days)) - np.eye(sample.days)
            low, high = _bca(values, value, measure(left_out), level)
        else:
            low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
        found[metric] = Interval(
            metric, value, float(low), float(high), level, sample.days, values.size
        )
    return found


def paired_bootstrap(
    day: pl.Series,
    label: pl.Series,
    champion_score: pl.Series,
    challenger_score: pl.Series,
    metric: str = "roc_auc",
    level: float = LEVEL,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Whether a challenger is better than the champion, both on the same rows and resamples.

    Args:
        day: The day of each row.
        label: What happened, boolean, without nulls.
        champion_score: The champion's probability for each row.
        challenger_score: The challenger's.
        metric: One of `HIGHER_IS_BETTER`.
        level: The level of the interval and of `is_better`.
        resamples: Resamples to draw; at 1,000 the p-value is known to about 0.007 around 0.05.
        seed: Of the draw.

    Raises:
        EvaluationError: If the rows cannot be evaluated, the metric has no better end, or there are
            fewer than 10 days.
    """
    import numpy as np

    if metric not in HIGHER_IS_BETTER:
        raise EvaluationError(
            f"Comparing two models by {metric!r}: expected one of {', '.join(HIGHER_IS_BETTER)}."
        )
    sample = _Sample(day, label, _level(level))
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    every = np.ones((1, sample.days))
    drawn = sample.draw(resamples, seed)
    champion = sample.measure(champion_score, metric)
    challenger = sample.measure(challenger_score, metric)
    gains = _finite(sign * (challenger(drawn) - champion(drawn)), metric)
    before, after = float(champion(every)[0]), float(challenger(every)[0])
    low, high = np.quantile(gains, [(1 - level) / 2, (1 + level) / 2])
    return Comparison(
        metric=metric,
        champion=before,
        challenger=after,
        gain=sign * (after - before),
        low=float(low),
        high=float(high),
        level=level,
        p_value=float((1 + np.sum(gains <= 0)) / (1 + gains.size)),
        probability_better=float(np.mean(gains > 0)),
        rows=sample.label.size,
        days=sample.days,
        resamples=gains.size,
    )


def slice_intervals(
    frame: pl.DataFrame,
    keys: Mapping[str, pl.Expr] | Sequence[str],
    label: str,
    scores: Sequence[str],
    day: str,
    *,
    least_rows: int = LEAST_ROWS,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pl.DataFrame:
    """The slices as `evaluate.slices` gives them, with the interval of each ROC AUC.

    Args:
        frame: One row per prediction whose outcome is known.
        keys: As `slices` takes them.
        label: The boolean column.
        scores: Columns of probabilities.
        day: The column of days.
        least_rows: Slices of fewer rows are marked, and have no interval.
        level: The level of the intervals.
        resamples: Resamples for each.
        seed: Of the draw.

    Returns:
        The columns of `slices`, and `low` and `high`, which are null where a slice has too few rows
        or days, or where resamples have one outcome only.
    """
    chosen = keys if isinstance(keys, Mapping) else {name: pl.col(name) for name in keys}
    named = frame.with_columns(expression.alias(f"__{name}") for name, expression in chosen.items())
    found = slices(frame, chosen, label, scores, least_rows)
    ends: list[tuple[float | None, float | None]] = []
    for key, value, score, enough in found.select(
        "key", "value", "score", "has_enough_rows"
    ).iter_rows():
        column = named[f"__{key}"]
        texts = pl.Series(
            ["missing" if one is None else str(one) for one in column.to_list()], dtype=pl.String
        )
        rows = named.filter(texts == value)
        ends.append(
            _slice_ends(rows, label, score, day, level, resamples, seed) if enough else (None, None)
        )
    return found.with_columns(
        low=pl.Series([low for low, _ in ends], dtype=pl.Float64),
        high=pl.Series([high for _, high in ends], dtype=pl.Float64),
    )


def _slice_ends(
    rows: pl.DataFrame,
    label: str,
    score: str,
    day: str,
    level: float,
    resamples: int,
    seed: int,
) -> tuple[float | None, float | None]:
    if rows[day].n_unique() < LEAST_DAYS:
        return None, None
    sample = _Sample(rows[day], rows[label], _level(level))
    values = sample.measure(rows[score], "roc_auc")(sample.draw(resamples, seed))
    if not _mostly_known(values):
        return None, None
    return _ends(values, level)


def auc_interval_of_day(
    label: pl.Series, score: pl.Series, level: float = LEVEL
) -> tuple[float, float]:
    """The interval of the ROC AUC of one day's rows, given the day.

    Of a single day there are no other days to draw, so this says how well the rows of such a day
    tell the AUC, and nothing about other days: DeLong, DeLong and Clarke-Pearson (1988), by ranks
    as Sun and Xu (2014) compute it.

    Args:
        label: What happened, boolean, with both outcomes at least twice.
        score: The probability given to it.
        level: The level.

    Returns:
        Both ends, within 0 and 1.

    Raises:
        EvaluationError: If an outcome occurs less than twice.
    """
    import numpy as np
    from scipy.special import ndtri
    from scipy.stats import rankdata

    y, p = checked(label, score)
    true, false = p[y == 1], p[y == 0]
    if min(true.size, false.size) < 2:
        raise EvaluationError(
            f"The interval of a day's ROC AUC needs each outcome twice; found {true.size} true and "
            f"{false.size} false."
        )
    ranks = rankdata(np.concatenate([true, false]))
    above = (ranks[: true.size] - rankdata(true)) / false.size
    below = 1 - (ranks[true.size :] - rankdata(false)) / true.size
    deviation = np.sqrt(above.var(ddof=1) / true.size + below.var(ddof=1) / false.size)
    auc = above.mean()
    reach = ndtri((1 + _level(level)) / 2) * deviation
    return float(max(0.0, auc - reach)), float(min(1.0, auc + reach))


Measure = Callable[["np.ndarray"], "np.ndarray"]
"""A metric for each row of a matrix of weights, shape (resamples, days)."""


class _Sample:
    """Rows with their days, and metrics of them as functions of the days' weights.

    Args:
        day: The day of each row.
        label: What happened.
        level: The level asked for, already checked.
    """

    def __init__(self, day: pl.Series, label: pl.Series, level: float) -> None:
        import numpy as np

        if day.len() != label.len() or day.null_count():
            raise EvaluationError(
                f"Drawing days: expected a day for each of the {label.len()} rows, found "
                f"{day.len() - day.null_count()}."
            )
        self.source = label
        self.label = label.cast(pl.Float64).to_numpy()
        self.code = day.rank("dense").cast(pl.Int64).to_numpy() - 1
        self.days = int(self.code.max()) + 1 if self.code.size else 0
        if self.days < LEAST_DAYS:
            raise EvaluationError(
                f"Drawing days for an interval at level {level}: expected at least {LEAST_DAYS} "
                f"days, found {self.days}. Evaluate a longer window."
            )
        self.rows_of = np.bincount(self.code, minlength=self.days).astype(float)

    def draw(self, resamples: int, seed: int) -> np.ndarray:
        """How often each day is drawn, shape (resamples, days)."""
        import numpy as np

        chances = np.full(self.days, 1 / self.days)
        rng = np.random.default_rng(seed)
        return rng.multinomial(self.days - 1, chances, size=resamples).astype(float)

    def measure(self, score: pl.Series, metric: str) -> Measure:
        """A metric of these rows as a function of the days' weights."""
        import numpy as np

        y, p = checked(self.source, score)
        if metric == "roc_auc":
            return _roc_auc(y, p, self.code, self.days)
        if metric == "average_precision":
            return _average_precision(y, p, self.code)
        if metric == "expected_calibration_error":
            return _calibration_error(y, p, self.code)
        bounded = np.clip(p, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        terms = {
            "brier": lambda: (p - y) ** 2,
            "log_loss": lambda: -(y * np.log(bounded) + (1 - y) * np.log1p(-bounded)),
            "calibration_in_the_large": lambda: p - y,
            "positive_share": lambda: y,
        }
        if metric not in terms:
            raise EvaluationError(
                f"There is no metric {metric!r} to draw days for. There are {', '.join(METRICS)}."
            )
        sums = np.bincount(self.code, weights=terms[metric](), minlength=self.days)
        return lambda weights: (weights @ sums) / (weights @ self.rows_of)


def _roc_auc(y: np.ndarray, p: np.ndarray, code: np.ndarray, days: int) -> Measure:
    """The ROC AUC as a quotient of two quadratic forms in the weights."""
    import numpy as np

    true = y == 1
    by_score = np.argsort(p[true], kind="stable")
    above, of_day = p[true][by_score], code[true][by_score]
    wins = np.zeros((days, days))
    for other in range(days):
        below = np.sort(p[~true & (code == other)])
        # Twice the pairs ranked right: a tie counts once. Whole numbers, so that sums are exact.
        twice = np.searchsorted(below, above, "left") + np.searchsorted(below, above, "right")
        wins[:, other] = np.bincount(of_day, weights=twice, minlength=days)
    positives = np.bincount(code[true], minlength=days).astype(float)
    negatives = np.bincount(code[~true], minlength=days).astype(float)

    def measure(weights: np.ndarray) -> np.ndarray:
        pairs = (weights @ positives) * (weights @ negatives)
        ranked = np.einsum("bd,bd->b", weights @ wins, weights) / 2
        return np.divide(ranked, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)

    return measure


def _average_precision(y: np.ndarray, p: np.ndarray, code: np.ndarray) -> Measure:
    import numpy as np

    falling = np.argsort(-p, kind="stable")
    # One threshold per distinct score, at the last row that has it.
    last = np.append(np.nonzero(np.diff(p[falling]))[0], y.size - 1)
    true, of_day = y[falling], code[falling]

    def one(weights: np.ndarray) -> float:
        of_row = weights[of_day]
        taken = np.cumsum(of_row)[last]
        found = np.cumsum(of_row * true)[last]
        if not found[-1]:
            return float("nan")
        precision = np.divide(found, taken, out=np.zeros(found.shape), where=taken > 0)
        return float(np.sum(np.diff(found, prepend=0.0) * precision) / found[-1])

    return lambda weights: np.array([one(row) for row in weights])


def _calibration_error(y: np.ndarray, p: np.ndarray, code: np.ndarray) -> Measure:
    import numpy as np

    rising = np.argsort(p, kind="stable")
    gap, of_day = (p - y)[rising], code[rising]

    def one(weights: np.ndarray) -> float:
        of_row = weights[of_day]
        ends = np.cumsum(of_row)
        rows = int(ends[-1])
        # Bins as `np.array_split` cuts the repeated rows: the first ones are longer by one.
        sizes = np.full(BINS, rows // BINS)
        sizes[: rows % BINS] += 1
        cuts = np.cumsum(sizes)
        sums = np.cumsum(of_row * gap)
        at = np.searchsorted(ends, cuts, "left")
        # A row whose repetitions lie on both sides of a cut is parted.
        until = sums[at] - (ends[at] - cuts) * gap[at]
        return float(np.abs(np.diff(until, prepend=0.0)).sum() / rows)

    return lambda weights: np.array([one(row) for row in weights])


def _bca(
    values: np.ndarray, value: float, left_out: np.ndarray, level: float
) -> tuple[float, float]:
    """The ends of Efron's interval, corrected for bias and acceleration."""
    import numpy as np
    from scipy.special import ndtr, ndtri

    below = (np.sum(values < value) + np.sum(values == value) / 2) / values.size
    # A statistic beyond all its resamples has no finite correction; half a resample bounds it.
    shift = ndtri(np.clip(below, 0.5 / values.size, 1 - 0.5 / values.size))
    apart = np.nanmean(left_out) - left_out[~np.isnan(left_out)]
    spread = np.sum(apart**2) ** 1.5
    acceleration = np.sum(apart**3) / (6 * spread) if spread else 0.0
    ends = ndtri(np.array([(1 - level) / 2, (1 + level) / 2])) + shift
    low, high = np.quantile(values, ndtr(shift + ends / (1 - acceleration * ends)))
    return float(low), float(high)


def _finite(values: np.ndarray, metric: str) -> np.ndarray:
    """The resamples that have the metric, which must be nearly all."""
    import numpy as np

    kept = values[~np.isnan(values)]
    if not _mostly_known(values):
        raise EvaluationError(
            f"Drawing days for {metric}: {values.size - kept.size} of {values.size} resamples have "
            "one outcome only. Evaluate a longer window, or one with more of both."
        )
    return kept


def _mostly_known(values: np.ndarray) -> bool:
    """Whether nearly all resamples have the metric."""
    import numpy as np

    return bool(np.mean(np.isnan(values)) <= 0.1)


def _ends(values: np.ndarray, level: float) -> tuple[float, float]:
    import numpy as np

    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _level(level: float) -> float:
    if not 0.5 <= level < 1:
        raise EvaluationError(f"Expected a level of at least 0.5 and below 1, found {level}.")
    return level
