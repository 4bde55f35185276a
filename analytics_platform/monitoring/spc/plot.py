"""A control chart as a picture: points, centre line and limits, and what is out of control."""

from __future__ import annotations

from typing import Any

import polars as pl

from analytics_platform.monitoring.spc.phases import BASELINE, Charted
from analytics_platform.pictures import svg, values

WIDTH = 880
FIRST_PANEL, OTHER_PANEL = 260, 120
MOST_LABELS = 12
"""More would hide the points; the report lists every signal."""

LABEL_ROOM = 0.06
"""The part of the width that a label takes."""

BLUE, RED, GREY = "#1f5fa8", "#c0392b", "#8a9099"


def chart_picture(charted: Charted, *, title: str, unit: str) -> bytes:
    """Draw a judged chart, one panel under the other.

    The baseline is shaded; a point out of control is red, and the farthest carry the short names
    of their rules.

    Args:
        charted: The judged points; at least one.
        title: What is charted.
        unit: Its unit, on the axis of the first panel.

    Returns:
        An SVG.
    """
    import altair as alt

    points = _without_season(charted)
    names = points["panel"].unique(maintain_order=True).to_list()
    has_season = any(one.limits.weekday for one in charted.frozen)
    span = [points["period"].min(), points["period"].max()]
    panels = [
        _panel(
            points.filter(pl.col("panel") == name),
            name=name if index or not unit else unit + _SEASON * has_season,
            height=OTHER_PANEL if index else FIRST_PANEL,
            span=[_iso(moment) for moment in span],
            has_dates=index == len(names) - 1,
        )
        for index, name in enumerate(names)
    ]
    said = charted.judgement.signals.unique("code", maintain_order=True)
    heading = alt.TitleParams(
        title,
        subtitle=[
            "shaded: the baseline; dashed: the limits",
            *(f"{code}: {_bare(name)}" for code, name in said.select("code", "rule").iter_rows()),
        ],
        subtitleColor="#5f6368",
        subtitleFontSize=11,
    )
    return svg(alt.vconcat(*panels, spacing=10), heading, width=None, height=None)


_SEASON = ", weekday taken off"


def _panel(
    points: pl.DataFrame, *, name: str, height: int, span: list[str], has_dates: bool
) -> Any:
    import altair as alt

    first, last = (pl.lit(moment).str.to_datetime(time_unit="us") for moment in span)
    frame = points.with_columns(
        at=((pl.col("period") - first) / (last - first)).fill_nan(0.0),
        period=pl.col("period").dt.strftime("%Y-%m-%dT%H:%M:%S"),
        label=pl.col("rules").list.join(", "),
        **{
            column: pl.col(column).fill_nan(None)
            for column in ("value", "centre", "lower", "upper")
        },
    )
    # Lines are steps: a limit holds for its own point.
    period = alt.X(
        "period:T",
        title=None,
        scale=alt.Scale(domain=span),
        axis=alt.Axis(format="%d %b %Y", labels=has_dates, labelAngle=0, labelOverlap=True),
    )
    height_of = {"scale": alt.Scale(zero=False, nice=True), "axis": alt.Axis(tickCount=5)}
    layers: list[Any] = []
    baseline = frame.filter(pl.col("phase") == BASELINE)
    if baseline.height:
        edges = pl.DataFrame({"from": [baseline["period"][0]], "to": [baseline["period"][-1]]})
        layers.append(
            alt.Chart(values(edges))
            .mark_rect(color="#e8eef5")
            .encode(x=alt.X("from:T", scale=alt.Scale(domain=span)), x2="to:T")
        )
    slim = frame.select("period", "value", "centre", "lower", "upper")
    base = alt.Chart(values(slim))
    for column, dash, colour in (
        ("lower", [5, 4], RED),
        ("upper", [5, 4], RED),
        ("centre", [1, 0], GREY),
    ):
        layers.append(
            base.mark_line(
                interpolate="step", strokeDash=dash, color=colour, strokeWidth=1.1
            ).encode(x=period, y=alt.Y(f"{column}:Q", title=name, **height_of))
        )
    layers.append(
        base.mark_line(color=BLUE, strokeWidth=1).encode(
            x=period, y=alt.Y("value:Q", title=name, **height_of)
        )
    )
    layers.append(
        base.mark_point(color=BLUE, filled=True, size=18, opacity=1).encode(x=period, y="value:Q")
    )
    out = frame.filter("is_out_of_control")
    if out.height:
        red = alt.Chart(values(out.select("period", "value", "label")))
        layers.append(
            red.mark_point(color=RED, filled=True, size=42, opacity=1).encode(x=period, y="value:Q")
        )
        labelled = _farthest(out)
        for rows, away in (
            (labelled.filter(pl.col("value") >= pl.col("centre")), -9),
            (labelled.filter(pl.col("value") < pl.col("centre")), 14),
        ):
            if rows.height:
                layers.append(
                    alt.Chart(values(rows))
                    .mark_text(color=RED, dy=away, fontSize=11)
                    .encode(x=period, y="value:Q", text="label:N")
                )
    return alt.layer(*layers).properties(width=WIDTH, height=height)


def _without_season(charted: Charted) -> pl.DataFrame:
    """The judged points with each weekday's effect taken off value and lines alike.

    Only for the eye: centre lines that jump with the weekday hide the points.
    """
    points = charted.judgement.points
    panel = points["panel"][0]
    level = pl.lit(None, pl.Float64)
    for one in charted.frozen:
        if one.limits.weekday:
            since = pl.lit(one.since).str.to_datetime(time_unit="us")
            # The baseline lies before the first limits hold.
            holds = (
                (pl.col("period") >= since) if one is not charted.frozen[0] else pl.lit(value=True)
            )
            level = pl.when(holds).then(one.limits.centre).otherwise(level)
    moved = pl.when(pl.col("panel") == panel).then(pl.col("centre") - level).fill_null(0.0)
    return points.with_columns(
        pl.col(name) - moved for name in ("value", "centre", "lower", "upper")
    )


def _bare(name: str) -> str:
    """A rule's name without its author's, which its code says."""
    return name.partition(": ")[2] if name.startswith(("Western", "Nelson")) else name


def _farthest(out: pl.DataFrame) -> pl.DataFrame:
    """The points that are labelled: the farthest from their centre, no two on each other."""
    ordered = out.with_columns(away=(pl.col("value") - pl.col("centre")).abs()).sort(
        "away", descending=True
    )
    taken: list[dict[str, Any]] = []
    for row in ordered.iter_rows(named=True):
        room = all(abs(row["at"] - other["at"]) >= LABEL_ROOM for other in taken)
        if room and len(taken) < MOST_LABELS:
            taken.append(row)
    return pl.DataFrame(taken, schema=ordered.schema).select("period", "value", "centre", "label")


def _iso(moment: Any) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S")
