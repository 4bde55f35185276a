"""The page that people open: what drifted, by how much, why, and Evidently's plots below.

Belongs here: what the page says and how it looks. Does not belong here: any finding; and Evidently,
whose part is `evidently_page`. Whatever was delivered is escaped before it stands in the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import polars as pl

from analytics_platform.monitoring.drift import evidently_page
from analytics_platform.monitoring.drift.causes import DAY, FILE, Cause, Part
from analytics_platform.monitoring.drift.contributions import SHOWN, PredictionChange
from analytics_platform.monitoring.drift.declared import (
    JENSEN_SHANNON,
    NULL_SHARE,
    WASSERSTEIN,
)
from analytics_platform.monitoring.drift.watch import WindowDrift

_STYLE = """
.drift-head{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:#1d2733;
max-width:1180px;margin:32px auto 8px;padding:0 24px;line-height:1.45;font-size:15px}
.drift-head h1{font-size:26px;margin:0 0 4px}.drift-head h2{font-size:19px;margin:34px 0 6px}
.drift-head h3{font-size:15px;margin:0 0 4px;font-weight:600}
.drift-head p{margin:4px 0 10px;max-width:820px}.drift-head .quiet{color:#5b6875}
.drift-head .verdict{display:inline-block;padding:8px 14px;border-radius:6px;font-weight:600;
margin:12px 0 8px;background:#e6f2ea;color:#1d5c34}
.drift-head .verdict.drifted{background:#fbe9e3;color:#8f2d0f}
.drift-head table{border-collapse:collapse;width:100%;font-size:14px;margin:6px 0 4px}
.drift-head th{text-align:left;font-weight:500;color:#5b6875;border-bottom:1px solid #cfd6dd;
padding:5px 10px 5px 0;vertical-align:bottom}
.drift-head td{border-bottom:1px solid #edf0f3;padding:5px 10px 5px 0;vertical-align:middle}
.drift-head .n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.drift-head tr.drifted td:first-child{font-weight:600;color:#8f2d0f}
.drift-head .bar{display:inline-block;height:9px;border-radius:2px;background:#7f93a8}
.drift-head tr.drifted .bar,.drift-head .bar.up{background:#c8532a}
.drift-head .bar.down{background:#3f78ad}
.drift-head .rail{position:relative;display:inline-block;width:150px;height:14px;
background:#f1f4f7;border-radius:2px}.drift-head .rail .bar{position:absolute;left:0;top:2px}
.drift-head .rail i{position:absolute;left:75px;top:0;width:1px;height:14px;background:#1d2733}
.drift-head td:last-child{white-space:nowrap}
.drift-head .causes{display:grid;grid-template-columns:repeat(auto-fill,minmax(350px,1fr));
gap:14px 34px}.drift-head .causes td:first-child{overflow-wrap:anywhere}
.drift-head code{font-size:13px}
"""
_WORDS = {
    WASSERSTEIN: "values",
    JENSEN_SHANNON: "shares",
    NULL_SHARE: "missing",
}


@dataclass(frozen=True)
class Column:
    """A column of a table on the page."""

    title: str
    is_number: bool = False


def render(
    drift: WindowDrift,
    title: str,
    *,
    causes: Sequence[Cause] = (),
    change: PredictionChange | None = None,
    blocks: str = "day",
) -> str:
    """The report of a window as one page; the same findings give the same bytes.

    Args:
        drift: What was found of the window.
        title: The heading.
        causes: What moved the drifted columns.
        change: Why the mean prediction is another.
        blocks: What went together when null windows were made.
    """
    sections = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="quiet">{escape(drift.window.name)} ({drift.rows[1]:,} rows), compared with '
        f"{escape(drift.window.reference_name)} ({drift.rows[0]:,} rows)</p>",
        _verdict(drift),
        _explained(drift, blocks),
        _scores(drift),
        *_causes(causes),
        _change(change),
    ]
    widgets = evidently_page.drift_table(drift)
    if widgets:
        sections.append(
            "<h2>How the values are distributed</h2>"
            '<p class="quiet">Drawn by Evidently from evenly spaced values of every day; scores '
            "and verdicts are those of all rows, as above. Open a row for a larger plot.</p>"
        )
    head = f'<style>{_STYLE}</style><div class="drift-head">{"".join(sections)}</div>'
    return evidently_page.page(title, head, widgets)


def _verdict(drift: WindowDrift) -> str:
    drifted = drift.drifted
    of = f"{len(drifted)} of {len(drift.kinds)} columns drifted"
    said = f"{of}: {', '.join(drifted)}" if drifted else f"No column drifted ({of})"
    kind = "verdict drifted" if drifted else "verdict"
    return f'<div class="{kind}">{escape(said)}</div>'


def _explained(drift: WindowDrift, blocks: str) -> str:
    drawn = (
        "windows made of days of the reference"
        if blocks == "day"
        else "whole windows out of the reference"
    )
    return (
        "<p>A column has drifted when its distance from the reference is both more than chance "
        f"gives and large enough to matter. Chance is what {drawn} show among themselves: of "
        f"windows in which nothing drifted, at most {drift.budget * 100:g} % name a column. The "
        "bar shows the distance; at the line in its middle the column drifts.</p>"
    )


def _scores(drift: WindowDrift) -> str:
    rows = drift.scores.with_columns(times=pl.col("score") / pl.col("threshold")).sort(
        ["is_drifted", "times", "column"], descending=[True, True, False]
    )
    cells = []
    marks = []
    for row in rows.iter_rows(named=True):
        marks.append("drifted" if row["is_drifted"] else "")
        width = min(max(row["times"], 0.0), 2.0) * 75
        cells.append(
            [
                escape(row["column"]),
                _WORDS[row["method"]],
                f'<span class="rail"><span class="bar" style="width:{width:.0f}px"></span>'
                "<i></i></span>",
                f"{row['score']:.3f}",
                _number(row["threshold"]),
                _percent(row["p_value"]),
                _percent(row["q_value"]),
                escape(_effect(row)),
                f"{row['reference_null_share']:.1%} → {row['current_null_share']:.1%}",
                "drifted" if row["is_drifted"] else "as before",
            ]
        )
    return (
        "<h2>Every column</h2>"
        + _table(
            [
                Column("column"),
                Column("compared"),
                Column("distance"),
                Column("score", True),
                Column("drifts from", True),
                Column("chance", True),
                Column("for all columns", True),
                Column("what changed", True),
                Column("missing", True),
                Column(""),
            ],
            cells,
            marks,
        )
        + (
            '<p class="quiet">Chance: how often a window without drift scores as much. For all '
            "columns: corrected for their number (Benjamini and Hochberg's false discovery rate). "
            "Score: the Wasserstein distance in standard deviations (sd) of the reference for "
            "values, the Jensen-Shannon distance for shares, and for what is missing the "
            "difference of the null shares.</p>"
            + "".join(
                f"<p class=\"quiet\">'{escape(name)}' is not drawn below: one window has no "
                f"value of it. Null share {before:.1%} before, {now:.1%} now "
                f"({'drifted' if is_drifted else 'not drifted'}).</p>"
                for name, before, now, is_drifted in _without_values(drift)
            )
        )
    )


def _without_values(drift: WindowDrift) -> list[tuple[str, float, float, bool]]:
    return [
        (
            row["column"],
            row["reference_null_share"],
            row["current_null_share"],
            row["is_drifted"],
        )
        for row in drift.scores.iter_rows(named=True)
        if row["method"] == NULL_SHARE and row["column"] not in drift.samples
    ]


def _effect(row: dict[str, Any]) -> str:
    if row["method"] == WASSERSTEIN:
        return f"mean {row['effect_size']:+.2f} sd"
    if row["method"] == NULL_SHARE:
        return f"{row['effect_size'] * 100:+.1f} points"
    return f"a share {row['effect_size'] * 100:+.1f} points"


def _causes(causes: Sequence[Cause]) -> Iterable[str]:
    groups: dict[tuple[str, str], list[Cause]] = {}
    for cause in causes:
        groups.setdefault((cause.column, cause.method), []).append(cause)
    if not groups:
        return
    yield (
        "<h2>What moved the drifted columns</h2><p>Each part's share of the score, the largest "
        "first; all parts of a kind add up to 100 %. A part that always differed from the others "
        "adds nothing. Below zero it moved against the drift.</p>"
    )
    for (column, method), of_column in groups.items():
        yield f"<h2>{escape(column)}: {_WORDS[method]}</h2>"
        yield '<div class="causes">'
        for cause in of_column:
            by = {DAY: "by day", FILE: "files of these days"}.get(cause.by, f"by {cause.by}")
            yield f"<div><h3>{escape(by)}</h3>{_parts(cause.parts)}</div>"
        yield "</div>"


def _parts(parts: Sequence[Part]) -> str:
    with_before = any(part.rows_share_before is not None for part in parts)
    cells = []
    for part in parts:
        width = min(abs(part.share), 1.0) * 90
        way = "up" if part.share >= 0 else "down"
        cells.append(
            [
                escape(part.group),
                f'<span class="bar {way}" style="width:{width:.0f}px"></span>',
                f"{part.share:.0%}",
                f"{part.rows:,}",
                *(
                    [f"{part.rows_share_before or 0:.1%} → {part.rows_share_now:.1%}"]
                    if with_before
                    else []
                ),
            ]
        )
    columns = [Column(""), Column(""), Column("of the score", True), Column("rows", True)]
    if with_before:
        columns.append(Column("of all rows", True))
    return _table(columns, cells)


def _change(change: PredictionChange | None) -> str:
    if change is None:
        return ""
    most = max((abs(feature.change) for feature in change.features), default=0.0) or 1.0
    cells = [
        [
            escape(feature.feature),
            f'<span class="bar {"up" if feature.change >= 0 else "down"}" '
            f'style="width:{abs(feature.change) / most * 150:.0f}px"></span>',
            f"{feature.change:+.3f}",
            f"{feature.before:+.3f}",
            f"{feature.now:+.3f}",
        ]
        for feature in change.features[:SHOWN]
    ]
    rest = sum(feature.change for feature in change.features[SHOWN:])
    cells.append([f"the other {max(len(change.features) - SHOWN, 0)}", "", f"{rest:+.3f}", "", ""])
    return (
        "<h2>What moved the predictions</h2>"
        f"<p>{escape(change.model)}: the mean log-odds of the prediction went from "
        f"{change.before:+.3f} to {change.now:+.3f} ({change.now - change.before:+.3f}). Each "
        "feature's part of that change, which add up to it, on "
        f"{change.rows[0]:,} rows of the reference and {change.rows[1]:,} of the window.</p>"
        + _table(
            [
                Column("feature"),
                Column(""),
                Column("change", True),
                Column("mean before", True),
                Column("mean now", True),
            ],
            cells,
        )
    )


def _table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], marks: Sequence[str] = ()
) -> str:
    """A table of HTML that is escaped already."""

    def cell(tag: str, column: Column, content: str) -> str:
        kind = ' class="n"' if column.is_number else ""
        return f"<{tag}{kind}>{content}</{tag}>"

    head = "".join(cell("th", column, column.title) for column in columns)
    body = []
    for at, row in enumerate(rows):
        mark = f' class="{marks[at]}"' if marks and marks[at] else ""
        body.append(
            f"<tr{mark}>"
            + "".join(cell("td", column, value) for column, value in zip(columns, row, strict=True))
            + "</tr>"
        )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else f"{share:.0e}"


def _number(value: float) -> str:
    return "never" if value == float("inf") else f"{value:.3f}"
