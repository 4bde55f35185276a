"""Phase II: points judged against frozen limits, and the signals among them.

Belongs here: each panel's statistic, lines and signals. Does not belong here: limits (`limits`),
and what is done about a signal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from analytics_platform.monitoring.spc.chart import (
    RATES,
    SHARES,
    SUBGROUPS,
    ChartSpec,
    checked_points,
)
from analytics_platform.monitoring.spc.constants import d2, d3
from analytics_platform.monitoring.spc.errors import SpcError
from analytics_platform.monitoring.spc.limits import Limits, Series, standardised
from analytics_platform.monitoring.spc.rules import (
    Floats,
    Rule,
    beyond_limits,
    rules_of,
    signals,
)
from analytics_platform.monitoring.spc.statistics import cusum, ewma, ewma_factor

INFORMATIVE_PANELS = ("moving range",)
"""Panels whose signals are shown and alarm nobody.

The moving range is made of the very values of the chart beside it. With its limits at 3 sigma, both
panels together signal once in 97 points in control instead of once in 370 (docs/adr/0013).
"""

JUDGED_SCHEMA: dict[str, pl.DataType] = {
    "panel": pl.String(),
    "period": pl.Datetime("us"),
    "value": pl.Float64(),
    "centre": pl.Float64(),
    "lower": pl.Float64(),
    "upper": pl.Float64(),
    "rules": pl.List(pl.String()),
    "is_out_of_control": pl.Boolean(),
}
SIGNALS_SCHEMA: dict[str, pl.DataType] = {
    "panel": pl.String(),
    "period": pl.Datetime("us"),
    "code": pl.String(),
    "rule": pl.String(),
    "side": pl.Int64(),
    "value": pl.Float64(),
    "covers": pl.List(pl.Datetime("us")),
}


@dataclass(frozen=True)
class Judgement:
    """What limits say of points.

    Attributes:
        points: A row per panel and period, in order: `panel`, `period`, `value` (the statistic that
            is shown; null where missing), `centre`, `lower`, `upper`, `rules` (the codes of the
            patterns that this point completes), `is_out_of_control`.
        signals: A row per completed pattern: `panel`, `period` of the point that completes it, the
            rule's `code` and full name (`rule`), `side` (1 above, -1 below, 0 neither), `value`,
            and the periods that it `covers`.
    """

    points: pl.DataFrame
    signals: pl.DataFrame


@dataclass(frozen=True)
class _Panel:
    """One statistic of a chart over the points that are not missing."""

    name: str
    values: Floats
    centre: Floats
    sigma: Floats
    rules: tuple[Rule, ...]
    width: float
    floor: float = -np.inf
    ceiling: float = np.inf

    @property
    def lower(self) -> Floats:
        return np.maximum(self.centre - self.width * self.sigma, self.floor)

    @property
    def upper(self) -> Floats:
        return np.minimum(self.centre + self.width * self.sigma, self.ceiling)


def judge(chart: ChartSpec, limits: Limits, points: pl.DataFrame) -> Judgement:
    """Judge points against limits.

    Missing points are kept with a null value and lines; patterns and running sums pass over them.
    A limit that would lie below 0 or above 1, where no value can, is drawn there.

    Args:
        chart: The chart.
        limits: Its limits, as `estimate` gave them or as they are known.
        points: The points, in any order, as `checked_points` takes them.

    Raises:
        SpcError: If the points are not those of such a chart, or EWMA or CUSUM is asked of a
            process without variation.
    """
    frame = checked_points(chart, points)
    series = Series(chart, frame)
    there = frame.filter(pl.col("value").is_not_null())
    periods = there["period"].cast(pl.Datetime("us")).to_list()
    judged: list[pl.DataFrame] = []
    found: list[dict[str, object]] = []
    for panel in _panels(chart, limits, series):
        there = ~np.isnan(panel.values)
        z = standardised(panel.values[there], panel.centre[there], panel.sigma[there])
        at = np.flatnonzero(there)
        codes: list[list[str]] = [[] for _ in periods]
        for signal in signals(panel.rules, z):
            index = int(at[signal.index])
            if signal.rule.code not in codes[index]:
                codes[index].append(signal.rule.code)
            found.append(
                {
                    "panel": panel.name,
                    "period": periods[index],
                    "code": signal.rule.code,
                    "rule": signal.rule.name,
                    "side": signal.side,
                    "value": float(panel.values[index]),
                    "covers": [periods[int(at[one])] for one in signal.covers],
                }
            )
        judged.append(_with_missing(panel, periods, codes, frame))
    return Judgement(
        pl.concat(judged).select(list(JUDGED_SCHEMA)), pl.DataFrame(found, schema=SIGNALS_SCHEMA)
    )


def _with_missing(
    panel: _Panel, periods: list[object], codes: list[list[str]], frame: pl.DataFrame
) -> pl.DataFrame:
    """The panel's rows, with those of missing points in their places."""
    there = pl.DataFrame(
        {
            "period": periods,
            "value": panel.values,
            "centre": panel.centre,
            "lower": panel.lower,
            "upper": panel.upper,
            "rules": codes,
        },
        schema={name: JUDGED_SCHEMA[name] for name in list(JUDGED_SCHEMA)[1:-1]},
    ).with_columns(pl.col("value").fill_nan(None))
    return (
        frame.select(pl.col("period").cast(pl.Datetime("us")))
        .join(there, on="period", how="left", maintain_order="left")
        .with_columns(
            panel=pl.lit(panel.name),
            rules=pl.col("rules").fill_null([]),
            is_out_of_control=pl.col("rules").list.len().fill_null(0) > 0,
        )
    )


def _panels(chart: ChartSpec, limits: Limits, series: Series) -> list[_Panel]:
    """The statistics of a chart with their lines, main panel first."""
    if chart.kind == "ewma":
        return [_ewma_panel(chart, limits, series)]
    if chart.kind == "cusum":
        return _cusum_panels(chart, limits, series)
    centre, sigma = series.model(limits)
    least = chart.least_departure / chart.width
    main = _Panel(
        _MAIN_PANEL[chart.kind],
        series.values,
        centre,
        np.maximum(sigma * limits.inflation, least),
        rules_of(chart.rules, chart.width),
        chart.width,
        floor=0.0 if chart.kind in SHARES | RATES else -np.inf,
        ceiling=1.0 if chart.kind in {"p", "laney_p"} else np.inf,
    )
    limit = (beyond_limits(chart.width),)
    if chart.kind in SUBGROUPS:
        middle, deviation = series.spread_model(limits.sigma)
        name = "range" if chart.kind == "xbar_r" else "standard deviation"
        deviation = deviation * limits.spread_inflation
        return [main, _Panel(name, series.spread, middle, deviation, limit, chart.width, floor=0.0)]
    if chart.kind == "individuals":
        residuals = series.values - centre
        moving = np.concatenate([np.full(min(1, len(series)), np.nan), np.abs(np.diff(residuals))])
        ones = np.ones(len(series))
        return [
            main,
            _Panel(
                "moving range",
                moving,
                ones * d2(2) * limits.sigma,
                ones * d3(2) * max(limits.sigma, least),
                limit,
                chart.width,
                floor=0.0,
            ),
        ]
    return [main]


_MAIN_PANEL = {
    "individuals": "value",
    "xbar_r": "mean",
    "xbar_s": "mean",
    "p": "share",
    "laney_p": "share",
    "np": "count",
    "c": "count",
    "u": "rate",
    "laney_u": "rate",
}


def _ewma_panel(chart: ChartSpec, limits: Limits, series: Series) -> _Panel:
    _require_variation(chart, limits)
    residuals = series.values - series.centre(limits)
    smooth = limits.centre + ewma(residuals, chart.ewma_weight)
    factor = ewma_factor(chart.ewma_weight, len(series), steady=chart.ewma_steady)
    return _Panel(
        "ewma",
        smooth,
        np.full(len(series), limits.centre),
        limits.sigma * factor,
        (beyond_limits(chart.width, named="EWMA"),),
        chart.width,
    )


def _cusum_panels(chart: ChartSpec, limits: Limits, series: Series) -> list[_Panel]:
    _require_variation(chart, limits)
    residuals = series.values - series.centre(limits)
    reference, decision = (
        chart.cusum_reference * limits.sigma,
        chart.cusum_limit * limits.sigma,
    )
    head_start = chart.cusum_head_start * decision
    zeros = np.zeros(len(series))
    rule = beyond_limits(1.0)
    return [
        _Panel(
            f"cusum {way}",
            cusum(sign * residuals, reference, head_start),
            zeros,
            # The decision interval is the one limit; in units of it the sum is compared with 1.
            np.full(len(series), decision),
            (
                Rule(
                    rule.code,
                    f"CUSUM: the {way}ward sum beyond {chart.cusum_limit:g} sigma",
                    1,
                    (1,),
                    rule.complete,
                    rule.covers,
                ),
            ),
            1.0,
            floor=0.0,
        )
        for way, sign in (("up", 1.0), ("down", -1.0))
    ]


def _require_variation(chart: ChartSpec, limits: Limits) -> None:
    if not limits.sigma > 0:
        raise SpcError(
            f"Judging a chart of kind {chart.kind}: expected a baseline that varies, found a "
            f"standard deviation of {limits.sigma:g} around {limits.centre:g}. Chart a constant "
            "as `individuals`, where any departure is a signal."
        )
