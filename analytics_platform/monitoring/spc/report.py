"""All charts of a declaration on one HTML page that loads nothing from elsewhere."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import polars as pl

from analytics_platform.monitoring.spc.phases import MONITORING, Charted, Frozen
from analytics_platform.pictures import image

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #202124; max-width: 1080px; margin: 2em auto;
  padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2.2em; }
table { border-collapse: collapse; font-size: 13px; margin: .6em 0; }
th, td { border-bottom: 1px solid #dadce0; padding: 3px 12px 3px 0; text-align: left;
  vertical-align: top; }
img { width: min(100%, 976px); } .note { color: #5f6368; } .out { color: #c0392b; }
"""


@dataclass(frozen=True)
class Section:
    """One chart on the page.

    Attributes:
        name: The chart's name.
        title: What is charted.
        says: How: kind, rules, unit, metric.
        charted: The judged points.
        picture: The SVG; None where nothing was judged.
        problem: Why there is nothing to show, or empty.
    """

    name: str
    title: str
    says: str
    charted: Charted | None
    picture: bytes | None
    problem: str = ""


def report_page(title: str, description: str, sections: Sequence[Section]) -> str:
    """The page.

    Args:
        title: Of the page.
        description: What is watched and why.
        sections: The charts, in order.
    """
    overview = "".join(
        f'<tr><td><a href="#{escape(one.name)}">{escape(one.title)}</a></td>'
        f"<td>{escape(_state(one))}</td></tr>"
        for one in sections
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>{escape(description)}</p>"
        f"<table><tr><th>chart</th><th>newest points</th></tr>{overview}</table>"
        + "".join(_section(one) for one in sections)
        + "</body></html>\n"
    )


def moment_text(moment: dt.datetime | str) -> str:
    """A period for people: midnight is the day itself."""
    if isinstance(moment, str):
        moment = dt.datetime.fromisoformat(moment)
    return f"{moment:%Y-%m-%d}" if moment.time() == dt.time() else f"{moment:%Y-%m-%d %H:%M}"


def _state(section: Section) -> str:
    if section.charted is None or not section.charted.frozen:
        return "not judged yet"
    signals = section.charted.judgement.signals.filter(pl.col("phase") == MONITORING)
    if not signals.height:
        return "in control since the baseline"
    newest = signals.sort("period").row(-1, named=True)
    return f"last out of control on {moment_text(newest['period'])}: {newest['rule']}"


def _section(one: Section) -> str:
    said = [
        f'<h2 id="{escape(one.name)}">{escape(one.title)}</h2>',
        f'<p class="note">{escape(one.says)}</p>',
    ]
    if one.problem:
        said.append(f"<p><strong>{escape(one.problem)}</strong></p>")
    if one.picture is not None:
        said.append(image(one.picture, one.title))
    if one.charted is not None:
        said += [f'<p class="note">{escape(note)}</p>' for note in one.charted.notes]
        said += [_limits(one.charted), _signals(one.charted)]
    return "".join(said)


def _limits(charted: Charted) -> str:
    if not charted.frozen:
        return ""
    rows = "".join(
        f"<tr><td>{escape(moment_text(one.limits.first))} to "
        f"{escape(moment_text(one.limits.last))}</td><td>{one.limits.points}</td>"
        f"<td>{one.limits.centre:.5g}</td>"
        f"<td>{escape(one.reason)}</td><td>{_excluded(one)}</td></tr>"
        for one in charted.frozen
    )
    return (
        "<table><tr><th>limits of</th><th>points</th><th>centre</th><th>why then</th>"
        f"<th>left out</th></tr>{rows}</table>"
    )


def _excluded(one: Frozen) -> str:
    limits = one.limits
    return (
        "<br>".join(
            f"{escape(moment_text(point.period))}: {escape(point.reason)}"
            for point in limits.excluded
        )
        or "none"
    )


def _signals(charted: Charted) -> str:
    signals = charted.judgement.signals.filter(pl.col("phase") == MONITORING)
    if not signals.height:
        return ""
    rows = "".join(
        f"<tr><td>{escape(moment_text(row['period']))}</td><td>{escape(row['panel'])}</td>"
        f'<td>{row["value"]:.5g}</td><td class="out">{escape(row["rule"])}</td>'
        f"<td>{escape(covered(row['covers']))}</td></tr>"
        for row in signals.sort("period", descending=True, maintain_order=True).iter_rows(
            named=True
        )
    )
    return (
        f"<details open><summary>{signals.height} signals since the baseline, the newest "
        "first</summary><table><tr><th>period</th><th>panel</th><th>value</th><th>rule</th>"
        f"<th>points</th></tr>{rows}</table></details>"
    )


def covered(moments: Sequence[dt.datetime]) -> str:
    """The points of a pattern: one, or the first and the last with their number."""
    if len(moments) == 1:
        return moment_text(moments[0])
    return f"{len(moments)} points, {moment_text(moments[0])} to {moment_text(moments[-1])}"
