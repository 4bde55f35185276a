"""Pictures of a model for people, as SVG, drawn by Altair without a browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from analytics_platform.pictures import WIDTH, svg, values

CURVE_POINTS = 200
MOST_FEATURES = 20
NAMES = {
    "roc_auc": "ROC AUC",
    "brier": "Brier score",
    "log_loss": "log loss",
    "calibration_in_the_large": "mean score less share that came true",
}
COLORS = ["#1f5fa8", "#c4721a", "#3d8a4f"]


def calibration_plot(table: pl.DataFrame) -> bytes:
    """Observed share against mean score; on the diagonal a probability means what it says.

    Args:
        table: As `calibration_table` gives it.
    """
    import altair as alt

    most = max(table["mean_score"].max() or 0, table["observed_share"].max() or 0, 0.01)  # type: ignore[type-var]
    diagonal = alt.Chart(values(pl.DataFrame({"x": [0.0, most], "y": [0.0, most]})))
    bins = alt.Chart(values(table)).encode(
        x=alt.X("mean_score:Q", title="mean predicted probability", axis=alt.Axis(format=".0%")),
        y=alt.Y("observed_share:Q", title="share that came true", axis=alt.Axis(format=".0%")),
    )
    chart = (
        diagonal.mark_line(color="#9aa0a6", strokeDash=[4, 4]).encode(x="x:Q", y="y:Q")
        + bins.mark_line(color="#1f5fa8")
        + bins.mark_point(color="#1f5fa8", filled=True, size=60)
    )
    return svg(chart, "Calibration on the hold-out, ten bins of equal count")


def roc_plot(label: pl.Series, scores: Mapping[str, pl.Series]) -> bytes:
    """The ROC curve of one or more scores of the same rows.

    Args:
        label: What happened, boolean.
        scores: A probability series by the name to show.
    """
    import altair as alt

    curves = pl.concat(
        _roc_points(label, score).with_columns(score=pl.lit(name)) for name, score in scores.items()
    )
    lines = (
        alt.Chart(values(curves))
        .mark_line()
        .encode(
            x=alt.X("false_share:Q", title="share of the others flagged"),
            y=alt.Y("true_share:Q", title="share of the true found"),
            color=alt.Color(
                "score:N",
                title=None,
                sort=list(scores),
                scale=alt.Scale(range=COLORS),
                legend=alt.Legend(orient="bottom-right"),
            ),
            order="false_share:Q",
        )
    )
    chance = (
        alt.Chart(values(pl.DataFrame({"x": [0.0, 1.0], "y": [0.0, 1.0]})))
        .mark_line(color="#9aa0a6", strokeDash=[4, 4])
        .encode(x="x:Q", y="y:Q")
    )
    return svg(chance + lines, "ROC on the hold-out")


def importance_plot(importance: pl.DataFrame) -> bytes:
    """The features that helped most.

    Args:
        importance: Columns `feature` and `gain`.
    """
    import altair as alt

    shares = (
        importance.with_columns(share=pl.col("gain") / pl.col("gain").sum())
        .sort("share", descending=True)
        .head(MOST_FEATURES)
    )
    chart = (
        alt.Chart(values(shares))
        .mark_bar(color="#1f5fa8")
        .encode(
            # Whole per cents only: half ones would be labelled 1%, 1%, 2%, 2%.
            x=alt.X(
                "share:Q",
                title="share of total gain",
                axis=alt.Axis(format=".0%", tickMinStep=0.01),
            ),
            y=alt.Y("feature:N", title=None, sort="-x", axis=alt.Axis(labelLimit=320)),
        )
    )
    return svg(chart, f"The {shares.height} most useful features", height=20 * shares.height)


def backtest_plot(folds: pl.DataFrame) -> bytes:
    """The ROC AUC of each fold, with its interval, beside the baselines.

    Args:
        folds: As `Backtest.folds` holds them.
    """
    import altair as alt

    names = folds["score"].unique(maintain_order=True).to_list()
    shown = folds.select("score", "roc_auc", "roc_auc_low", "roc_auc_high").with_columns(
        cutoff=folds["cutoff"].cast(pl.String)
    )
    base = alt.Chart(values(shown)).encode(
        x=alt.X("cutoff:O", title="first day predicted", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("score:N", sort=names),
        color=alt.Color(
            "score:N",
            title=None,
            sort=names,
            scale=alt.Scale(range=COLORS),
            legend=alt.Legend(orient="bottom"),
        ),
    )
    scale = alt.Scale(zero=False, padding=8)
    chart = base.mark_rule(strokeWidth=2).encode(
        y=alt.Y("roc_auc_low:Q", title="ROC AUC", scale=scale), y2="roc_auc_high:Q"
    ) + base.mark_point(filled=True, size=70, opacity=1).encode(y=alt.Y("roc_auc:Q", scale=scale))
    return svg(chart, "Backtest: trained anew for each cut-off, with intervals by day")


def slices_plot(slices: pl.DataFrame, score: str, metric: str = "roc_auc") -> bytes:
    """A metric of every slice with enough rows, one panel per key, and the metric of all rows.

    Args:
        slices: As `evaluate.slices` gives them; columns `low` and `high`, if there, are drawn.
        score: The score to show.
        metric: The metric.
    """
    import altair as alt

    kept = slices.filter((pl.col("score") == score) & pl.col("has_enough_rows"))
    panels = []
    has_intervals = {"low", "high"} <= set(kept.columns)
    ends = [kept[name] for name in ("low", "high") if has_intervals]
    every = pl.concat([kept[metric], *(end.alias(metric) for end in ends)]).drop_nulls()
    # One scale for all panels, so that they can be compared.
    domain: Any = [every.min(), every.max()]
    scale = alt.Scale(domain=domain, nice=True) if every.len() else alt.Scale(zero=False)
    for key in kept["key"].unique(maintain_order=True):
        rows = kept.filter(pl.col("key") == key)
        base = alt.Chart(values(rows)).encode(
            y=alt.Y("value:N", title=key, sort=rows["value"].to_list()),
        )
        points = base.mark_point(filled=True, size=50, opacity=1, color="#1f5fa8").encode(
            x=alt.X(f"{metric}:Q", title=NAMES.get(metric, metric), scale=scale)
        )
        layers = (
            base.mark_rule(color="#1f5fa8").encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
            + points
            if has_intervals
            else points
        )
        panels.append(layers.properties(width=WIDTH, height=alt.Step(16)))
    title = f"{NAMES.get(metric, metric)} by slice, {score}"
    return svg(alt.vconcat(*panels), title, width=None)


def score_plot(label: pl.Series, score: pl.Series, bins: int = 50) -> bytes:
    """How many rows got which probability, by what happened.

    Args:
        label: What happened, boolean.
        score: The probability given to it.
        bins: Bars between 0 and 1.
    """
    import altair as alt

    counted = (
        pl.DataFrame({"label": label.cast(pl.Boolean), "score": score})
        .with_columns(at=(pl.col("score") * bins).floor().clip(0, bins - 1) / bins)
        .group_by("label", "at")
        .len("rows")
        .sort("label", "at")
        .with_columns(
            until=pl.col("at") + 1 / bins,
            outcome=pl.when("label").then(pl.lit("true")).otherwise(pl.lit("false")),
        )
    )
    chart = (
        alt.Chart(values(counted))
        .mark_bar()
        .encode(
            x=alt.X(
                "at:Q", bin="binned", title="predicted probability", axis=alt.Axis(format=".0%")
            ),
            x2="until:Q",
            y=alt.Y("rows:Q", title="rows", stack="zero"),
            color=alt.Color(
                "outcome:N",
                title="what happened",
                scale=alt.Scale(domain=["false", "true"], range=["#9cb8d8", "#c4721a"]),
                legend=alt.Legend(orient="top-right"),
            ),
        )
    )
    return svg(chart, "Distribution of the scores")


def _roc_points(label: pl.Series, score: pl.Series) -> pl.DataFrame:
    """The curve's corners, thinned to what a picture can show."""
    corners = (
        pl.DataFrame({"label": label.cast(pl.Int64), "score": score})
        .group_by("score")
        .agg(true=pl.col("label").sum(), rows=pl.len())
        .sort("score", descending=True)
        .select(
            true_share=pl.col("true").cum_sum() / pl.col("true").sum(),
            false_share=(pl.col("rows") - pl.col("true")).cum_sum()
            / (pl.col("rows") - pl.col("true")).sum(),
        )
    )
    step = max(1, corners.height // CURVE_POINTS)
    start = pl.DataFrame({"true_share": [0.0], "false_share": [0.0]})
    return pl.concat([start, corners.gather_every(step), corners.tail(1)])
