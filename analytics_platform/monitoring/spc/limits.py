"""Phase I: limits estimated on a baseline whose outliers are left out, and told.

Limits are a value of their own: once estimated they are kept, and later points are judged against
them as they are (`judge`). Belongs here: what a baseline says of a process, and what follows for
the centre line and the standard deviation of any point. Does not belong here: where limits are
kept, and who may estimate them again (the `ControlChart` component).

Formulas: Montgomery, *Introduction to Statistical Quality Control*, chapters 6, 7 and 9; Laney,
"Improved Control Charts for Attributes", Quality Engineering 14 (2002); Burr, "Control Charts for
Measurements with Varying Sample Sizes", Journal of Quality Technology 1 (1969), for subgroups of
several sizes.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from analytics_platform.monitoring.spc.chart import (
    RATES,
    SHARES,
    SINGLES,
    SUBGROUPS,
    ChartSpec,
    Period,
    checked_points,
)
from analytics_platform.monitoring.spc.constants import c4, d2, d3
from analytics_platform.monitoring.spc.errors import BaselineError
from analytics_platform.monitoring.spc.rules import Flags, Floats

DAYS_OF_WEEK = 7
# Below this a difference is the rounding of a sum, and no difference.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Excluded:
    """A point of the baseline that limits were estimated without.

    Attributes:
        period: Its period.
        value: Its value as the chart shows it.
        reason: Why, in words.
    """

    period: str
    value: float
    reason: str


@dataclass(frozen=True)
class Limits:
    """What a baseline says of a process.

    Attributes:
        centre: The mean: of values, of the share of items, or of the rate by unit.
        sigma: Standard deviation of single values; 0 where the kind follows from its centre.
        inflation: How much further points vary than the kind's model says, Laney's sigma_z; 1 where
            the kind does not ask.
        spread_inflation: The same for the panel of ranges or standard deviations.
        weekday: Monday's to Sunday's effect: added to values, to log odds of shares, to logs of
            rates. Empty without a season.
        first: The baseline's first period, ISO.
        last: Its last.
        points: How many points the limits are estimated on.
        excluded: The points that were left out.
    """

    centre: float
    sigma: float
    inflation: float = 1.0
    spread_inflation: float = 1.0
    weekday: tuple[float, ...] = ()
    first: str = ""
    last: str = ""
    points: int = 0
    excluded: tuple[Excluded, ...] = ()

    def document(self) -> str:
        """The limits as JSON, all digits kept."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def of_document(cls, document: str) -> Limits:
        """The limits that `document` wrote."""
        held: dict[str, Any] = json.loads(document)
        return cls(
            **{
                **held,
                "weekday": tuple(held["weekday"]),
                "excluded": tuple(Excluded(**one) for one in held["excluded"]),
            }
        )


class Series:
    """The points of a chart that are not missing, as arrays, and what limits say of them.

    Args:
        chart: The chart.
        frame: As `checked_points` gives it.
    """

    def __init__(self, chart: ChartSpec, frame: pl.DataFrame) -> None:
        there = frame.filter(pl.col("value").is_not_null())
        self.chart = chart
        self.periods: list[Period] = there["period"].to_list()
        self.counted: Floats = there["value"].to_numpy()
        self.n: Floats = there["n"].to_numpy()
        self.spread: Floats = there["spread"].to_numpy()

    def __len__(self) -> int:
        return len(self.periods)

    @cached_property
    def days(self) -> np.ndarray:
        """Each point's day of the week, Monday 0."""
        return np.array([period.weekday() for period in self.periods], dtype=np.int64)

    @cached_property
    def values(self) -> Floats:
        """What the chart shows: shares and rates are divided by what was counted."""
        divides = self.chart.kind in {"p", "laney_p", "u", "laney_u"}
        return self.counted / self.n if divides else self.counted

    def centre(self, limits: Limits) -> Floats:
        """The centre line at each point, before it is scaled to the statistic of an np chart."""
        if not limits.weekday:
            return np.full(len(self), limits.centre)
        effect = np.array(limits.weekday)[self.days]
        if self.chart.kind in SHARES:
            if not 0 < limits.centre < 1:
                # Of none or of all no weekday can have less or more.
                return np.full(len(self), limits.centre)
            return 1 / (1 + np.exp(-(_log_odds(limits.centre) + effect)))
        if self.chart.kind in RATES:
            return limits.centre * np.exp(effect)
        return limits.centre + effect

    def model(self, limits: Limits) -> tuple[Floats, Floats]:
        """Centre line and standard deviation of each point by the kind's own model."""
        centre, kind, n = self.centre(limits), self.chart.kind, self.n
        if kind == "np":
            return n * centre, np.sqrt(n * centre * (1 - centre))
        if kind in SHARES:
            return centre, np.sqrt(centre * (1 - centre) / n)
        if kind in RATES:
            return centre, np.sqrt(centre / n)
        return centre, limits.sigma / np.sqrt(n if kind in SUBGROUPS else np.ones(len(self)))

    def spread_model(self, sigma: float) -> tuple[Floats, Floats]:
        """Centre line and standard deviation of each subgroup's spread."""
        middle, deviation = self.spread_factors
        return sigma * middle, sigma * deviation

    @cached_property
    def spread_factors(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of each subgroup's spread, in standard deviations."""
        if self.chart.kind == "xbar_r":
            sizes = [int(size) for size in self.n]
            return np.array([d2(size) for size in sizes]), np.array([d3(size) for size in sizes])
        middle = np.array([c4(size) for size in self.n])
        return middle, np.sqrt(1 - middle**2)


def estimate(chart: ChartSpec, baseline: pl.DataFrame) -> Limits:
    """Estimate limits on a baseline, leaving out what lies beyond them until nothing does.

    Args:
        chart: The chart.
        baseline: The points of the baseline, as `checked_points` takes them.

    Returns:
        The limits, with the points that were left out and why.

    Raises:
        BaselineError: If there are too few points, a weekday of a weekly season has fewer than
            two, or so many points lie beyond the limits that the process was not in control.
        SpcError: If the points are not those of such a chart.
    """
    series = Series(chart, checked_points(chart, baseline))
    _require_enough(chart, len(series), len(series))
    kept = np.ones(len(series), dtype=np.bool_)
    excluded: list[Excluded] = []
    while True:
        limits = _of_kept(series, kept)
        beyond = _beyond(series, limits, kept)
        if not beyond:
            break
        for index, reason in beyond.items():
            kept[index] = False
            excluded.append(
                Excluded(str(series.periods[index]), float(series.values[index]), reason)
            )
        _require_enough(chart, int(kept.sum()), len(series))
    return replace(
        limits,
        first=str(series.periods[0]),
        last=str(series.periods[-1]),
        points=int(kept.sum()),
        excluded=tuple(sorted(excluded, key=lambda one: one.period)),
    )


def standardised(values: Floats, centre: Floats, sigma: Floats) -> Floats:
    """Distances from the centre line in standard deviations.

    Where the standard deviation is 0, as after a baseline in which nothing ever happened, any
    departure is infinitely far.
    """
    away = values - centre
    away = np.where(np.abs(away) <= ROUNDING * np.maximum(np.abs(centre), 1e-300), 0.0, away)
    endless = np.where(away > 0, np.inf, np.where(away < 0, -np.inf, 0.0))
    return np.divide(away, sigma, out=endless, where=sigma > 0)


def _of_kept(series: Series, kept: Flags) -> Limits:
    """The limits that the kept points give."""
    chart, kind = series.chart, series.chart.kind
    weight = series.n[kept]
    values = series.values[kept]
    if kind == "np":
        values = values / weight
    centre = float((weight * values).sum() / weight.sum())
    weekday = _weekday_effects(series, kept, centre) if chart.seasonality == "weekly" else ()
    limits = Limits(centre=centre, sigma=0.0, weekday=weekday)
    # A weekday's own mean lies nearer to its days than the true one does.
    points = int(kept.sum())
    own = math.sqrt(1 - DAYS_OF_WEEK / points) if weekday and points > DAYS_OF_WEEK else 1.0
    if kind in SINGLES:
        residuals = series.values - series.centre(limits)
        limits = replace(limits, sigma=_by_moving_range(residuals, kept) / own)
    elif kind in SUBGROUPS:
        limits = replace(limits, sigma=_by_spread(series, kept))
    if chart.corrects_spread:
        z = standardised(series.values, *series.model(limits))
        limits = replace(limits, inflation=_inflation(z, kept) / own)
    if chart.between:
        z = standardised(series.spread, *series.spread_model(limits.sigma))
        limits = replace(limits, spread_inflation=_inflation(z, kept))
    return limits


def _inflation(z: Floats, kept: Flags) -> float:
    """Laney's sigma_z; 1 where the model gives no standard deviation to compare with."""
    return _by_moving_range(z, kept) if np.isfinite(z[kept]).all() and z[kept].any() else 1.0


def _by_moving_range(values: Floats, kept: Flags) -> float:
    """The standard deviation of single values: the mean moving range by d2 of two.

    A range is taken of two points that stand side by side and are both kept.
    """
    both = kept[1:] & kept[:-1]
    if not both.any():
        raise BaselineError(
            "Estimating limits by the moving range: found no two neighbouring points that are "
            "both kept. Choose a baseline with fewer outliers."
        )
    return float(np.abs(np.diff(values))[both].mean() / d2(2))


def _by_spread(series: Series, kept: Flags) -> float:
    """The standard deviation within subgroups, each weighed by how well it tells.

    For subgroups of one size this is the mean spread by d2 or c4.
    """
    middle, deviation = (factors[kept] for factors in series.spread_factors)
    weight = (middle / deviation) ** 2
    return float((weight * series.spread[kept] / middle).sum() / weight.sum())


def _weekday_effects(series: Series, kept: Flags, centre: float) -> tuple[float, ...]:
    """What each weekday adds, on the scale on which effects of that kind add."""
    effects: list[float] = []
    for day in range(DAYS_OF_WEEK):
        of_day = kept & (series.days == day)
        if of_day.sum() < 2:
            raise BaselineError(
                f"Estimating a weekly season: expected at least 2 points of each weekday, found "
                f"{int(of_day.sum())} of weekday {day + 1} (Monday is 1). Lengthen the baseline, "
                "or declare `seasonality: none`."
            )
        n, counted = series.n[of_day].sum(), series.counted[of_day].sum()
        if series.chart.kind in SHARES:
            # None or all of a weekday has no log odds: half an item is added on either side.
            some = 0.5 if counted in {0, n} else 0.0
            effects.append(
                _log_odds((counted + some) / (n + 2 * some)) - _log_odds(centre)
                if 0 < centre < 1
                else 0.0
            )
        elif series.chart.kind in RATES:
            rate = (counted or 0.5) / n
            effects.append(math.log(rate / centre) if centre > 0 else 0.0)
        else:
            weight = series.n[of_day]
            effects.append(float((weight * series.values[of_day]).sum() / n - centre))
    return tuple(effects)


def _beyond(series: Series, limits: Limits, kept: Flags) -> dict[int, str]:
    """The kept points that lie beyond the limits they gave, with the reason."""
    width = series.chart.width
    centre, sigma = series.model(limits)
    sigma = sigma * limits.inflation
    z = standardised(series.values, centre, sigma)
    beyond: dict[int, str] = {}
    for index in np.flatnonzero(kept & (np.abs(z) > width)).tolist():
        low, high = centre[index] - width * sigma[index], centre[index] + width * sigma[index]
        low = max(low, 0.0) if series.chart.kind in SHARES | RATES else low
        beyond[index] = (
            f"{series.values[index]:.6g} is beyond the baseline's own limits, {low:.6g} to "
            f"{high:.6g}"
        )
    if series.chart.kind in SUBGROUPS:
        middle, deviation = series.spread_model(limits.sigma)
        z = standardised(series.spread, middle, deviation * limits.spread_inflation)
        for index in np.flatnonzero(kept & (np.abs(z) > width)).tolist():
            beyond.setdefault(
                index,
                f"its spread {series.spread[index]:.6g} is beyond the limits of spreads around "
                f"{middle[index]:.6g}",
            )
    return beyond


def _require_enough(chart: ChartSpec, kept: int, points: int) -> None:
    if points - kept > chart.most_excluded * points:
        raise BaselineError(
            f"Estimating the limits of a chart of kind {chart.kind}: {points - kept} of {points} "
            f"points lie beyond the limits, more than {chart.most_excluded:.0%}. The process was "
            "not in control: choose another baseline, or a kind that holds more variation (Laney's "
            "p' and u', `between`, a weekly season)."
        )
    if kept < chart.minimum_points:
        without = f" after {points - kept} outliers were left out" if kept < points else ""
        raise BaselineError(
            f"Estimating the limits of a chart of kind {chart.kind}: expected at least "
            f"{chart.minimum_points} points in the baseline, found {kept}{without}. Wait for more, "
            "or declare a longer baseline."
        )


def _log_odds(share: float) -> float:
    return math.log(share / (1 - share))
