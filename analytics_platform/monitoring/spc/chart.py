"""What a control chart is: its kind, its rules, its season; and the points it is drawn of.

Belongs here: the declaration and the shape of points. Does not belong here: limits (`limits`) and
what is out of control (`judge`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import polars as pl

from analytics_platform.monitoring.spc.constants import MOST_IN_A_RANGE
from analytics_platform.monitoring.spc.errors import SpcError
from analytics_platform.monitoring.spc.rules import RuleSet, rules_of

Kind = Literal[
    "individuals",
    "xbar_r",
    "xbar_s",
    "p",
    "np",
    "c",
    "u",
    "laney_p",
    "laney_u",
    "ewma",
    "cusum",
]
"""Single values with their moving range; means of subgroups with their range, or with their
standard deviation; share or number of nonconforming items; number of nonconformities, or their
rate; share and rate where they vary by more than chance (Laney's p' and u'); exponentially weighted
moving average; tabular cumulative sum."""

Seasonality = Literal["none", "weekly"]

SHARES: frozenset[Kind] = frozenset({"p", "np", "laney_p"})
RATES: frozenset[Kind] = frozenset({"c", "u", "laney_u"})
SUBGROUPS: frozenset[Kind] = frozenset({"xbar_r", "xbar_s"})
SINGLES: frozenset[Kind] = frozenset({"individuals", "ewma", "cusum"})
_NEEDS_N = frozenset({"p", "np", "u", "laney_p", "laney_u", "xbar_r", "xbar_s"})

Period = dt.date | dt.datetime


@dataclass(frozen=True)
class ChartSpec:
    """A control chart, declared.

    Attributes:
        kind: Which chart.
        rules: Which patterns are signals: a set by its name, or codes such as `("WE1", "N2")`.
            Ranges, standard deviations, EWMA and CUSUM have one rule: beyond the limit.
        seasonality: `weekly` judges each point against its own weekday; the weekdays' effects are
            estimated on the baseline.
        between: For `xbar_r` and `xbar_s`: whether limits hold the variation between subgroups
            too, and not only what the spread within them explains. With hundreds of values in a
            subgroup the latter is far too little, as it is for a plain p chart.
        width: Distance of the control limits from the centre line, in standard deviations.
        least_departure: The smallest departure from the centre line that matters, in the unit of
            what is charted: limits are never nearer, so that a process which hardly varies does not
            alarm on a trifle. Not for EWMA and CUSUM, whose points are no single departures.
        minimum_points: The fewest points that limits are estimated on.
        most_excluded: The largest share of the baseline that may be left out as outliers.
        ewma_weight: For `ewma`: the weight of the newest point, λ, above 0 to 1.
        ewma_steady: For `ewma`: whether limits are those of an endless series from the first point
            on, and not narrower at the start.
        cusum_reference: For `cusum`: k, in standard deviations; half the shift to be found.
        cusum_limit: For `cusum`: the decision interval h, in standard deviations.
        cusum_head_start: For `cusum`: where both sums start, as a share of h; 0.5 is the fast
            initial response of Lucas and Crosier (1982).
    """

    kind: Kind
    rules: RuleSet | Sequence[str] = "western_electric"
    seasonality: Seasonality = "none"
    between: bool = False
    width: float = 3.0
    least_departure: float = 0.0
    minimum_points: int = 20
    most_excluded: float = 0.25
    ewma_weight: float = 0.2
    ewma_steady: bool = False
    cusum_reference: float = 0.5
    cusum_limit: float = 5.0
    cusum_head_start: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what means nothing.

        Raises:
            SpcError: With the attribute, what was expected and what was found.
        """
        rules_of(self.rules, self.width)
        wanted: list[tuple[str, bool, str]] = [
            ("kind", self.kind in get_args(Kind), f"one of {', '.join(get_args(Kind))}"),
            ("seasonality", self.seasonality in get_args(Seasonality), "none or weekly"),
            ("between", not self.between or self.kind in SUBGROUPS, "false but for xbar charts"),
            ("width", self.width > 0, "more than 0"),
            (
                "least_departure",
                self.least_departure >= 0
                and not (self.least_departure and self.kind in {"ewma", "cusum"}),
                "0 or more, and 0 for ewma and cusum",
            ),
            ("minimum_points", self.minimum_points >= 2, "2 or more"),
            ("most_excluded", 0 <= self.most_excluded < 1, "0 to below 1"),
            ("ewma_weight", 0 < self.ewma_weight <= 1, "above 0 to 1"),
            ("cusum_reference", self.cusum_reference >= 0, "0 or more"),
            ("cusum_limit", self.cusum_limit > 0, "more than 0"),
            ("cusum_head_start", 0 <= self.cusum_head_start < 1, "0 to below 1"),
        ]
        for name, holds, expected in wanted:
            if not holds:
                raise SpcError(
                    f"Declaring a control chart: expected `{name}` to be {expected}, found "
                    f"{getattr(self, name)!r}."
                )

    @property
    def corrects_spread(self) -> bool:
        """Whether limits are scaled by how far points really vary, as Laney's charts are."""
        return self.between or self.kind in {"laney_p", "laney_u"}


POINTS = {"period": "a date or time", "value": "a number", "n": "a number", "spread": "a number"}


def checked_points(chart: ChartSpec, points: pl.DataFrame) -> pl.DataFrame:
    """The points of a chart in order, as floats, with missing ones made null.

    A point is missing where its value is null or not a number, where nothing was counted
    (`n` is 0 or null), and, in a subgroup, where its spread is missing or it has one value only.

    Args:
        chart: The chart.
        points: Columns `period`, `value` and, by kind, `n` and `spread`: p, np and Laney's p' take
            the number of nonconforming items and of items inspected; u and Laney's u' the number of
            nonconformities and of units; xbar-R and xbar-S the mean, the number of values, and
            their range or standard deviation.

    Returns:
        Columns `period`, `value`, `n` and `spread`; the last two are 1 and 0 where the kind has
        none.

    Raises:
        SpcError: If a column is missing, a period is null or comes twice, or a value cannot be
            what it should be; names the period.
    """
    needed = ["period", "value"]
    needed += ["n"] if chart.kind in _NEEDS_N else []
    needed += ["spread"] if chart.kind in SUBGROUPS else []
    lacking = [name for name in needed if name not in points.columns]
    if lacking:
        raise SpcError(
            f"Reading the points of a chart of kind {chart.kind}: expected columns "
            f"{', '.join(needed)}, found {', '.join(points.columns) or 'none'}. Give "
            f"{', '.join(lacking)}: {', '.join(POINTS[name] for name in lacking)}."
        )
    if not points.schema["period"].is_temporal() and points.height:
        raise SpcError(
            f"Reading the points of a chart: expected `period` to be a date or time, found "
            f"{points.schema['period']}. Cast it in the metric's SQL."
        )
    frame = points.select(
        "period",
        pl.col("value").cast(pl.Float64).fill_nan(None),
        n=pl.col("n").cast(pl.Float64) if "n" in needed else pl.lit(1.0),
        spread=pl.col("spread").cast(pl.Float64).fill_nan(None)
        if "spread" in needed
        else pl.lit(0.0),
    ).sort("period")
    if frame["period"].null_count():
        raise SpcError(
            f"Reading the points of a chart: found {frame['period'].null_count()} without a "
            "period. Leave them out in the metric's SQL."
        )
    twice = frame.filter(pl.col("period").is_duplicated())
    if twice.height:
        raise SpcError(
            f"Reading the points of a chart: expected one point a period, found "
            f"{twice.filter(pl.col('period') == twice['period'][0]).height} of "
            f"{twice['period'][0]}. Group the metric's SQL by period."
        )
    _require_possible(chart, frame)
    least = 2 if chart.kind in SUBGROUPS else 0
    exists = (pl.col("n") >= least) & (pl.col("n") > 0)
    if chart.kind in SUBGROUPS:
        exists &= pl.col("spread").is_not_null()
    return frame.with_columns(value=pl.when(exists).then("value"))


def _require_possible(chart: ChartSpec, frame: pl.DataFrame) -> None:
    count = pl.col("value")
    impossible: list[tuple[pl.Expr, str]] = [
        (~pl.col("value").is_finite(), "a finite number"),
        (pl.col("n") < 0, "`n` of 0 or more"),
        (pl.col("spread") < 0, "`spread` of 0 or more"),
    ]
    if chart.kind in SHARES | RATES:
        impossible.append((count < 0, "a count of 0 or more"))
    if chart.kind in SHARES:
        impossible.append((count > pl.col("n"), "a count of at most `n`"))
    if chart.kind == "xbar_r":
        impossible.append((pl.col("n") > MOST_IN_A_RANGE, f"`n` of at most {MOST_IN_A_RANGE}"))
    for wrong, expected in impossible:
        found = frame.filter(wrong)
        if found.height:
            row = found.row(0, named=True)
            raise SpcError(
                f"Reading the points of a chart of kind {chart.kind}: expected {expected} in "
                f"{row['period']}, found value {row['value']}, n {row['n']}, spread "
                f"{row['spread']}. Correct the metric's SQL."
            )
