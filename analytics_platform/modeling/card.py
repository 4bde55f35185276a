"""The card of a model: one page that says what it is for, how good it is, and where it is not.

Belongs here: the content of a card as a type, and its page. Does not belong here: how the content
is found (the component), and the pictures (`plots.py`).

The page is one file that needs no network and no script, prints on paper, and has the same bytes
for the same content: its hash says whether two cards differ. It holds no time of its own making.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import polars as pl

from analytics_platform.modeling.evaluate import slice_losses, worst_slices
from analytics_platform.modeling.intervals import Interval
from analytics_platform.modeling.split import Days
from analytics_platform.pictures import image

LOWER_IS_BETTER = frozenset({"brier", "log_loss", "expected_calibration_error"})
HIGHER_IS_BETTER = frozenset({"roc_auc", "average_precision"})


@dataclass(frozen=True)
class Upstream:
    """A table or file that the model was made from.

    Attributes:
        asset: Its asset, as `product/name`.
        role: What it gave, such as `features`.
        snapshot: The lake's snapshot that was read.
        rows: Rows read, where counted.
    """

    asset: str
    role: str
    snapshot: int
    rows: int | None = None


@dataclass(frozen=True)
class Gate:
    """A check of the model, with its evidence.

    Attributes:
        name: The check's name.
        passed: Whether it held.
        evidence: What it saw, as values that JSON holds.
        description: What it protects from.
        blocking: Whether a promotion needs it to hold.
    """

    name: str
    passed: bool
    evidence: Mapping[str, Any]
    description: str = ""
    blocking: bool = True


@dataclass(frozen=True)
class PastVersion:
    """A line of the model's history.

    Attributes:
        version: The version.
        role: What it was or is, such as `champion`, `challenger`, `retired`.
        trained_on: Days it learned from.
        metrics: A few metrics of its hold-out.
        since: When the role began.
        reason: Why.
    """

    version: int
    role: str
    trained_on: str
    metrics: Mapping[str, float]
    since: dt.datetime | None = None
    reason: str = ""


@dataclass(frozen=True)
class Ablation:
    """The model without some of its columns.

    Attributes:
        name: What was left out, such as `without the weather`.
        columns: Columns left out.
        metrics: The metrics of the same hold-out, with their intervals.
    """

    name: str
    columns: Sequence[str]
    metrics: Mapping[str, Interval]


@dataclass(frozen=True)
class Pictures:
    """The pictures of a card, as SVG; one that is empty is left out.

    Attributes:
        calibration: `plots.calibration_plot`.
        roc: `plots.roc_plot`.
        importance: `plots.importance_plot`.
        scores: `plots.score_plot`.
        backtest: `plots.backtest_plot`.
        slices: `plots.slices_plot`.
    """

    calibration: bytes = b""
    roc: bytes = b""
    importance: bytes = b""
    scores: bytes = b""
    backtest: bytes = b""
    slices: bytes = b""


@dataclass(frozen=True)
class CardContent:
    """What a card says.

    Attributes:
        product: The product.
        model: The model's name.
        version: Its version.
        role: `champion`, `challenger` or what else it is.
        purpose: What it predicts, for whom, and how the answer is meant to be used.
        not_for: What it must not be used for.
        limits: What is known to fall short, one sentence each.
        trained_at: When it was trained, in UTC.
        snapshot: The lake's snapshot that it learned from.
        code_version: The version of the code that trained it.
        trainer: The trainer's dotted path.
        artifact_sha256: The content hash of its artifact.
        artifact_bytes: The artifact's size.
        seed: The seed.
        params: The parameters.
        features: The columns it learned from.
        training: Days of training.
        training_rows: Their rows.
        holdout: Days it was evaluated on, which nothing was chosen by.
        holdout_rows: Their rows.
        known_after_days: Days between an outcome's day and the day on which it is known.
        metrics: The metrics of the hold-out with intervals, by score: the model first, then the
            baselines.
        folds: As `Backtest.folds`; None without a backtest.
        slices: As `evaluate.slices`, of the same scores; None without slices.
        ablations: The model without some columns.
        lineage: What it was made from.
        gates: The checks with their evidence.
        history: The versions, newest first.
        pictures: The pictures.
    """

    product: str
    model: str
    version: int
    role: str
    purpose: str
    not_for: Sequence[str]
    limits: Sequence[str]
    trained_at: dt.datetime
    snapshot: int
    code_version: str
    trainer: str
    artifact_sha256: str
    artifact_bytes: int
    seed: int
    params: Mapping[str, Any]
    features: Sequence[str]
    training: Days
    training_rows: int
    holdout: Days
    holdout_rows: int
    known_after_days: int
    metrics: Mapping[str, Mapping[str, Interval]]
    folds: pl.DataFrame | None = None
    slices: pl.DataFrame | None = None
    ablations: Sequence[Ablation] = ()
    lineage: Sequence[Upstream] = ()
    gates: Sequence[Gate] = ()
    history: Sequence[PastVersion] = ()
    pictures: Pictures = field(default_factory=Pictures)


def card_html(content: CardContent) -> bytes:
    """The card as one HTML page in UTF-8, without network, script or time of day of its own."""
    title = f"{content.model}, version {content.version}"
    sections = [
        _section("What it is for", _purpose(content)),
        _section("How good it is", _performance(content)),
        _section("Where it is weak", _weakness(content)),
        _section("How it would have done before", _backtest(content)),
        _section("What it looks at", _inputs(content)),
        _section("Gates", _gates(content.gates)),
        _section("What it was made from", _origin(content)),
        _section("Versions", _history(content.history)),
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Nothing may be fetched or run, whatever a description holds.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{_header(content)}\n<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )
    return page.encode()


def _header(content: CardContent) -> str:
    failed = [gate for gate in content.gates if not gate.passed]
    held = f"{len(content.gates) - len(failed)} of {len(content.gates)} gates hold"
    first = next(iter(content.metrics.values()), {})
    tiles = "".join(
        f'<div class="tile"><b>{_number(interval.value)}</b><span>{escape(_words(name))}</span>'
        f"<small>{_number(interval.low)} to {_number(interval.high)}</small></div>"
        for name, interval in first.items()
        if name in ("roc_auc", "brier", "expected_calibration_error", "calibration_in_the_large")
    )
    return (
        f'<header><p class="kind">Model card · {escape(content.product)}</p>'
        f"<h1>{escape(content.model)} <small>version {content.version}</small></h1>"
        f'<p class="badges"><span class="badge">{escape(content.role)}</span>'
        f'<span class="badge {"bad" if failed else "good"}">{held}</span></p>'
        f'<div class="tiles">{tiles}</div>'
        f'<p class="note">On the hold-out {_days(content.holdout)}, '
        f"{content.holdout_rows:,} rows.</p></header>"
    )


def _purpose(content: CardContent) -> str:
    facts = {
        "learned from": f"{_days(content.training)}, {content.training_rows:,} rows",
        "evaluated on": f"{_days(content.holdout)}, {content.holdout_rows:,} rows; "
        "nothing was chosen by them",
        "an outcome is known": f"{content.known_after_days} days after its day"
        if content.known_after_days != 1
        else "1 day after its day",
        "trained at": f"{content.trained_at:%Y-%m-%d %H:%M} UTC",
        "snapshot of the lake": str(content.snapshot),
        "code": content.code_version,
    }
    return (
        f"<p>{escape(content.purpose)}</p>{_facts(facts)}"
        f"{_listed('Not for', content.not_for)}{_listed('Limits', content.limits)}"
    )


def _performance(content: CardContent) -> str:
    names = list(dict.fromkeys(name for found in content.metrics.values() for name in found))
    rows = []
    for metric in names:
        values = {
            score: found[metric].value
            for score, found in content.metrics.items()
            if metric in found
        }
        best = (
            max(values, key=lambda score: values[score])
            if metric in HIGHER_IS_BETTER
            else min(values, key=lambda score: values[score])
            if metric in LOWER_IS_BETTER
            else None
        )
        cells = "".join(
            f'<td class="number{" best" if score == best else ""}">{_interval(found.get(metric))}'
            "</td>"
            for score, found in content.metrics.items()
        )
        rows.append(f"<tr><th>{escape(_words(metric))}</th>{cells}</tr>")
    heads = "".join(f'<th class="number">{escape(score)}</th>' for score in content.metrics)
    any_interval = next((i for found in content.metrics.values() for i in found.values()), None)
    note = (
        f'<p class="note">Intervals at {any_interval.level:.0%}, from {any_interval.resamples:,} '
        f"resamples of the {any_interval.days} days, each drawn whole. The best of each "
        "row is in bold. The calibration error is never below 0, so that chance alone raises it "
        "and its interval. Calibration in the large is the mean score less the share that came "
        "true.</p>"
        if any_interval
        else ""
    )
    return (
        f"<table><thead><tr><th>metric</th>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>{note}"
        + _pictures(
            ("Calibration on the hold-out", content.pictures.calibration),
            ("ROC on the hold-out", content.pictures.roc),
            ("Distribution of scores on the hold-out", content.pictures.scores),
        )
    )


def _weakness(content: CardContent) -> str:
    if content.slices is None or content.slices.is_empty():
        return "<p>No slices were made.</p>"
    scores = list(content.metrics)
    model = scores[0] if scores else str(content.slices["score"][0])
    worst = worst_slices(content.slices, model)
    parts: list[str] = []
    if worst.height:
        named = worst.row(0, named=True)
        parts.append(
            f"<p>The worst slice is <b>{escape(named['key'])} {escape(named['value'])}</b>: ROC "
            f"AUC {_number(named['roc_auc'])} on {named['rows']:,} rows. The worst of each key:</p>"
        )
        rows = "".join(
            f"<tr><th>{escape(row['key'])}</th><td>{escape(row['value'])}</td>"
            f'<td class="number">{row["rows"]:,}</td>'
            f'<td class="number">{row["positive_share"]:.1%}</td>'
            f'<td class="number">{_number(row["roc_auc"])}</td>'
            f'<td class="number">{_number(row["brier"])}</td>'
            f'<td class="number">{row["calibration_in_the_large"]:+.4f}</td></tr>'
            for row in worst.iter_rows(named=True)
        )
        parts.append(
            "<table><thead><tr><th>key</th><th>value</th>"
            + "".join(
                f'<th class="number">{name}</th>'
                for name in ("rows", "share true", "ROC AUC", "Brier score", "in the large")
            )
            + f"</tr></thead><tbody>{rows}</tbody></table>"
        )
    if len(scores) > 1:
        losses = slice_losses(content.slices, scores[1], model).filter(pl.col("loss") > 0)
        named = ", ".join(
            f"{escape(row['key'])} {escape(row['value'])} (by {row['loss']:.4f}, {row['rows']:,} "
            "rows)"
            for row in losses.head(5).iter_rows(named=True)
        )
        parts.append(
            f"<p>Behind the {escape(scores[1])} by ROC AUC on {losses.height} "
            f"{'slice' if losses.height == 1 else 'slices'}"
            f"{': ' + named if named else ''}.</p>"
        )
    small = content.slices.filter((pl.col("score") == model) & ~pl.col("has_enough_rows"))
    if small.height:
        names = ", ".join(
            f"{escape(row['key'])} {escape(row['value'])} ({row['rows']})"
            for row in small.iter_rows(named=True)
        )
        parts.append(f'<p class="note">Too few rows to judge: {names}.</p>')
    parts.append(_pictures(("ROC AUC by slice", content.pictures.slices)))
    return "".join(parts)


def _backtest(content: CardContent) -> str:
    if content.folds is None or content.folds.is_empty():
        return "<p>No backtest was made.</p>"
    rows = "".join(
        f"<tr><td>{row['cutoff']}</td><td>{escape(row['score'])}</td>"
        f"<td>{row['train_first']} to {row['train_last']}</td>"
        f"<td>to {row['test_last']}</td>"
        f'<td class="number">{row["test_rows"]:,}</td>'
        f'<td class="number">{row["positive_share"]:.1%}</td>'
        f'<td class="number">{_ends(row["roc_auc"], row["roc_auc_low"], row["roc_auc_high"])}</td>'
        f'<td class="number">{_number(row["brier"])}</td>'
        f'<td class="number">{_number(row["expected_calibration_error"])}</td></tr>'
        for row in content.folds.iter_rows(named=True)
    )
    heads = "".join(
        f"<th{kind}>{name}</th>"
        for name, kind in (
            ("predicts from", ""),
            ("score", ""),
            ("learned from", ""),
            ("predicts", ""),
            ("rows", ' class="number"'),
            ("share true", ' class="number"'),
            ("ROC AUC", ' class="number"'),
            ("Brier score", ' class="number"'),
            ("calibration error", ' class="number"'),
        )
    )
    return (
        "<p>Trained anew for each cut-off, on what was known on the evening before it.</p>"
        + _pictures(("Backtest", content.pictures.backtest))
        + f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _inputs(content: CardContent) -> str:
    ablations = "".join(
        f"<tr><th>{escape(found.name)}</th>"
        f'<td class="number">{len(found.columns)}</td>'
        + "".join(
            f'<td class="number">{_interval(found.metrics.get(name))}</td>'
            for name in ("roc_auc", "brier", "expected_calibration_error")
        )
        + "</tr>"
        for found in content.ablations
    )
    table = (
        '<table><thead><tr><th>left out</th><th class="number">columns</th>'
        '<th class="number">ROC AUC</th><th class="number">Brier score</th>'
        f'<th class="number">calibration error</th></tr></thead><tbody>{ablations}</tbody></table>'
        if ablations
        else ""
    )
    return (
        _pictures(("Importance of the features", content.pictures.importance))
        + table
        + f"<details><summary>All {len(content.features)} features</summary>"
        f'<p class="codes">{" ".join(f"<code>{escape(n)}</code>" for n in content.features)}</p>'
        "</details>"
    )


def _gates(gates: Sequence[Gate]) -> str:
    if not gates:
        return "<p>No gate has looked at this version.</p>"
    rows = "".join(
        f'<tr><td><span class="badge {"good" if gate.passed else "bad"}">'
        f"{'holds' if gate.passed else 'fails'}</span></td>"
        f"<th>{escape(_words(gate.name))}"
        f"{'' if gate.blocking else ' <small>(warns only)</small>'}"
        f"{f'<br><small>{escape(gate.description)}</small>' if gate.description else ''}</th>"
        f"<td>{_evidence(gate.evidence)}</td></tr>"
        for gate in gates
    )
    return (
        "<table><thead><tr><th></th><th>gate</th><th>evidence</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _origin(content: CardContent) -> str:
    rows = "".join(
        f"<tr><th><code>{escape(found.asset)}</code></th><td>{escape(found.role)}</td>"
        f'<td class="number">{found.snapshot}</td>'
        f'<td class="number">{"" if found.rows is None else f"{found.rows:,}"}</td></tr>'
        for found in content.lineage
    )
    table = (
        '<table><thead><tr><th>asset</th><th>role</th><th class="number">snapshot</th>'
        f'<th class="number">rows</th></tr></thead><tbody>{rows}</tbody></table>'
        if rows
        else ""
    )
    facts = {
        "trainer": content.trainer,
        "seed": str(content.seed),
        "artifact": f"{content.artifact_sha256} ({content.artifact_bytes:,} bytes)",
        **{f"parameter {name}": str(value) for name, value in content.params.items()},
    }
    return table + _facts(facts)


def _history(history: Sequence[PastVersion]) -> str:
    if not history:
        return "<p>This is the first version.</p>"
    names = list(dict.fromkeys(name for past in history for name in past.metrics))
    rows = "".join(
        f"<tr><th>{past.version}</th><td>{escape(past.role)}</td>"
        f"<td>{'' if past.since is None else f'{past.since:%Y-%m-%d %H:%M}'}</td>"
        f"<td>{escape(past.trained_on.replace('/', ' to '))}</td>"
        + "".join(f'<td class="number">{_number(past.metrics.get(name))}</td>' for name in names)
        + f"<td>{escape(past.reason)}</td></tr>"
        for past in history
    )
    heads = "".join(f'<th class="number">{escape(_words(name))}</th>' for name in names)
    return (
        "<table><thead><tr><th>version</th><th>role</th><th>since</th><th>learned from</th>"
        f"{heads}<th>reason</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>\n"


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items()
    )
    return f"<dl>{rows}</dl>"


def _listed(title: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    return f"<h3>{title}</h3><ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def _evidence(evidence: Mapping[str, Any]) -> str:
    return "<br>".join(
        f"{escape(_words(str(name)))}: <b>{escape(_value(value))}</b>"
        for name, value in evidence.items()
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(found)}" for name, found in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(found) for found in value)
    return str(value)


def _pictures(*pictures: tuple[str, bytes]) -> str:
    shown = "".join(image(picture, name) for name, picture in pictures if picture)
    return f'<div class="pictures">{shown}</div>' if shown else ""


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else _ends(interval.value, interval.low, interval.high)


def _ends(value: float | None, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return _number(value)
    return f"{_number(value)}<small>{_number(low)} to {_number(high)}</small>"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    # Differences of probabilities as small as parity's would read 0.0000.
    return f"{value:.1e}" if 0 < abs(value) < 5e-4 else f"{value:.4f}"


def _days(days: Days) -> str:
    return f"{days.first} to {days.last}"


_NAMES = {
    "roc_auc": "ROC AUC",
    "brier": "Brier score",
    "expected_calibration_error": "calibration error",
}


def _words(name: str) -> str:
    return _NAMES.get(name, name.replace("_", " "))


_STYLE = """
:root { --ink: #1d2733; --soft: #5b6773; --line: #dde3ea; --blue: #1f5fa8; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 32px 24px 64px; color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; background: #fff; }
header { border-bottom: 2px solid var(--ink); padding-bottom: 12px; }
h1 { margin: 0; font-size: 30px; } h1 small { color: var(--soft); font-weight: 400; }
h2 { font-size: 20px; margin: 36px 0 10px; padding-bottom: 4px;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 15px; margin: 16px 0 4px; }
.kind, .note { color: var(--soft); margin: 4px 0; } .note { font-size: 13px; }
.badges { margin: 8px 0; }
.badge { display: inline-block; padding: 1px 10px; border-radius: 10px; background: #e6edf6;
  color: var(--blue); font-size: 13px; margin-right: 6px; white-space: nowrap; }
.good { background: #e2f1e5; color: #22662f; } .bad { background: #fae3df; color: #9c2b16; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 12px 0 4px; }
.tile { border: 1px solid var(--line); border-radius: 8px; padding: 10px 16px; min-width: 150px; }
.tile b { display: block; font-size: 24px; } .tile span { display: block; }
.tile small { color: var(--soft); }
table { border-collapse: collapse; width: 100%; margin: 10px 0; font-size: 14px; }
th, td { text-align: left; vertical-align: top; padding: 5px 12px 5px 0;
  border-bottom: 1px solid var(--line); font-weight: 400; }
thead th { color: var(--soft); font-size: 13px; vertical-align: bottom; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.number small { display: block; color: var(--soft); font-size: 12px; }
th small { color: var(--soft); } .best { font-weight: 700; } .best small { font-weight: 400; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 10px 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.pictures { display: flex; flex-wrap: wrap; gap: 12px; margin: 12px 0; }
.pictures img { width: min(100%, 506px); height: auto; align-self: flex-start;
  border: 1px solid var(--line); border-radius: 6px; }
.pictures img:only-child { width: min(100%, 720px); }
.codes code { white-space: nowrap; } code { font-size: 13px; overflow-wrap: anywhere; }
@media print {
  body { max-width: none; padding: 0; font-size: 11px; }
  table, .pictures img, .tile { break-inside: avoid; } h2 { break-after: avoid; }
  table { font-size: 10px; } details::details-content { content-visibility: visible; }
  .good, .bad, .badge { border: 1px solid currentColor; }
}
"""
