"""Drift: how far a current window of rows has moved from a reference window.

Belongs here: scoring columns with Evidently, the thresholds that say what counts as drift, and the
report people open. Does not belong here: which columns and windows a product watches, where scores
and reports are kept, and a metric over time (a control chart's matter).
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["numeric", "categorical"]

NULL_SHARE = "null_share"
"""The method of a column that holds no value in one of the windows."""
METHODS: dict[Kind, str] = {"numeric": "wasserstein", "categorical": "jensenshannon"}
"""Evidently's names of the methods.

`wasserstein` is the first Wasserstein distance over the standard deviation of the reference: 0.2
is what a shift by a fifth of a standard deviation gives. `jensenshannon` is the Jensen-Shannon
distance with natural logarithms, from 0 (the same shares) to 0.833 (no category in common).
"""

NUMERIC_THRESHOLD = 0.2
"""A fifth of a standard deviation, the "small" effect of Cohen, Statistical Power Analysis for the
Behavioral Sciences (1988), section 2.2."""
CATEGORICAL_THRESHOLD = 0.1
"""About a ten-point change of a share of 16 %, or a fourteen-point change of a share of 50 %."""
NULL_SHARE_THRESHOLD = 0.1
FALSE_ALARM_RATE = 0.001
"""The share of windows without drift, drawn at random from the reference, that may be flagged."""
SAMPLE_ROWS = 20_000
MAXIMUM_CATEGORIES = 100

OTHER_CATEGORY = "(other)"
SCORES_SCHEMA = pl.Schema(
    {
        "column": pl.String,
        "kind": pl.String,
        "method": pl.String,
        "score": pl.Float64,
        "threshold": pl.Float64,
        "is_drifted": pl.Boolean,
        "reference_rows": pl.Int64,
        "current_rows": pl.Int64,
        "reference_null_share": pl.Float64,
        "current_null_share": pl.Float64,
    }
)

# Evidently divides by at least this much, so a column that varies less would never drift.
_LEAST_DEVIATION = 0.001
_NOISE_DRAWS = 1000
_NOISE_CELLS = 128
_GENERATED_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_DATA_MARK = "<!-- no embedded data -->"
_DASHBOARD = "drift_report"


class DriftError(ValueError):
    """Drift cannot be scored between these windows, or not for this column."""


@dataclass(frozen=True)
class DriftColumns:
    """The columns to compare.

    Attributes:
        numeric: Columns compared by value: numbers and booleans.
        categorical: Columns compared by the share of each value: strings, booleans, integers.
    """

    numeric: Sequence[str] = ()
    categorical: Sequence[str] = ()

    @property
    def kinds(self) -> dict[str, Kind]:
        """The kind of each column, numeric ones first.

        Raises:
            DriftError: If no column is named, or one is named twice.
        """
        names = [*self.numeric, *self.categorical]
        if not names:
            raise DriftError("Choosing columns for drift: expected at least one, found none.")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DriftError(
                f"Choosing columns for drift: expected each column once, found {twice} more than "
                "once; list a column either as numeric or as categorical."
            )
        numeric: dict[str, Kind] = dict.fromkeys(self.numeric, "numeric")
        categorical: dict[str, Kind] = dict.fromkeys(self.categorical, "categorical")
        return numeric | categorical


@dataclass(frozen=True)
class DriftResult:
    """What a comparison of two windows found.

    Attributes:
        html: Evidently's report as one page that needs nothing from the net. The same windows
            give the same bytes.
        scores: One row per column, in the order asked for; columns of `SCORES_SCHEMA`. Shares
            and rows are of the whole windows; scores are of the samples and never null or NaN.
        drifted_share: The share of columns that drifted, from 0 to 1.
    """

    html: str
    scores: pl.DataFrame
    drifted_share: float


@dataclass(frozen=True)
class _Window:
    name: str
    rows: int
    null_shares: dict[str, float]
    sample: pl.DataFrame


@dataclass(frozen=True)
class _Score:
    method: str
    score: float
    threshold: float
    is_drifted: bool


def drift_report(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    columns: DriftColumns,
    *,
    title: str = "Data drift",
    reference_name: str = "reference",
    current_name: str = "current",
    numeric_threshold: float = NUMERIC_THRESHOLD,
    categorical_threshold: float = CATEGORICAL_THRESHOLD,
    null_share_threshold: float = NULL_SHARE_THRESHOLD,
    thresholds: Mapping[str, float] | None = None,
    false_alarm_rate: float = FALSE_ALARM_RATE,
    sample_rows: int = SAMPLE_ROWS,
    maximum_categories: int = MAXIMUM_CATEGORIES,
    seed: int = 0,
) -> DriftResult:
    """Scores, and a report to look at, of how far `current` has moved from `reference`.

    A column drifts when its score reaches its threshold. The threshold is the least effect worth
    a look, or, where the windows are so small that chance alone gives more, the score that
    `false_alarm_rate` of windows without drift would exceed. Nulls, NaN and infinite values are
    left out of the score and counted in the null shares. A column with no value in one of the
    windows is scored by the difference of its null shares (method `null_share`).

    Args:
        reference: Rows to compare with; holds all `columns`.
        current: Rows to judge; holds all `columns`.
        columns: The columns to compare. A date or time is refused: it drifts by itself.
        title: The heading of the report.
        reference_name: What the report and errors call the reference, such as "reference,
            January to August".
        current_name: What they call the current window.
        numeric_threshold: Least Wasserstein distance, in standard deviations of the reference.
            A constant reference has none; there any change of the mean by 0.001 scores 1.
        categorical_threshold: Least Jensen-Shannon distance.
        null_share_threshold: Least difference of null shares, for a column scored by them.
        thresholds: Least scores of single columns, instead of those of their kind.
        false_alarm_rate: See above; from 0.001, as 1,000 windows are drawn.
        sample_rows: Most rows of a window that are scored, drawn by `seed` and kept in order: the
            same rows in the same order give the same result.
        maximum_categories: Categories scored one by one; those with the smallest shares in both
            windows together become "(other)", which can only lower the score.
        seed: Of the sample and of the windows drawn for `false_alarm_rate`.

    Returns:
        The report, the scores and the share of drifted columns.

    Raises:
        DriftError: If a window is empty, lacks a column or holds a type that cannot be scored.
    """
    kinds = columns.kinds
    least = _least_scores(kinds, numeric_threshold, categorical_threshold, thresholds or {})
    if not 1 / _NOISE_DRAWS <= false_alarm_rate < 1:
        raise DriftError(
            f"Setting up drift: expected a false alarm rate from {1 / _NOISE_DRAWS} to below 1, "
            f"found {false_alarm_rate}."
        )
    before = _window(reference, reference_name, kinds, sample_rows, seed)
    after = _window(current, current_name, kinds, sample_rows, seed)

    by_null_share, notes, pairs = _prepare(before, after, kinds, maximum_categories)
    scored: dict[str, Kind] = {name: kinds[name] for name in pairs}
    generator = np.random.default_rng(seed)
    limits = {
        name: max(least[name], _noise(kind, *pairs[name], false_alarm_rate, generator))
        for name, kind in scored.items()
    }
    scores: dict[str, _Score] = {
        name: _null_share_score(name, before, after, null_share_threshold) for name in by_null_share
    }
    widgets: list[Any] = []
    if scored:
        found, widgets = _evidently(scored, pairs, limits)
        scores |= found

    drifted = [name for name in kinds if scores[name].is_drifted]
    share = len(drifted) / len(kinds)
    facts = [
        (f"{before.rows:,}", f"rows in {reference_name}"),
        (f"{after.rows:,}", f"rows in {current_name}"),
        (f"{len(drifted)} of {len(kinds)}", "columns drifted"),
    ]
    notes += [
        f"'{name}' is not in the table: one window has no value of it. Null share "
        f"{before.null_shares[name]:.1%} before, {after.null_shares[name]:.1%} now "
        f"({'drifted' if scores[name].is_drifted else 'not drifted'})."
        for name in by_null_share
    ]
    if max(before.rows, after.rows) > sample_rows:
        notes.append(f"Scores and plots are of a sample of {sample_rows:,} rows of a window.")
    return DriftResult(
        html=_html(title, facts, notes, widgets),
        scores=_scores_frame(kinds, scores, before, after),
        drifted_share=share,
    )


def _least_scores(
    kinds: Mapping[str, Kind],
    numeric_threshold: float,
    categorical_threshold: float,
    thresholds: Mapping[str, float],
) -> dict[str, float]:
    unknown = sorted(set(thresholds) - set(kinds))
    if unknown:
        raise DriftError(
            f"Setting thresholds for drift: expected columns among {list(kinds)}, found {unknown}."
        )
    of_kind = {"numeric": numeric_threshold, "categorical": categorical_threshold}
    return {name: thresholds.get(name, of_kind[kind]) for name, kind in kinds.items()}


def _window(
    frame: pl.DataFrame, name: str, kinds: Mapping[str, Kind], sample_rows: int, seed: int
) -> _Window:
    missing = [column for column in kinds if column not in frame.columns]
    if missing:
        raise DriftError(
            f"Scoring drift of column {missing[0]!r}: expected it in the window {name!r}, "
            f"found only {frame.columns}."
        )
    if frame.is_empty():
        raise DriftError(
            f"Scoring drift: expected rows in the window {name!r}, found none. "
            "Check that its data has arrived, or skip the window."
        )
    values = frame.select(
        _values(column, frame.schema[column], kind, name) for column, kind in kinds.items()
    )
    rows = values.height
    null_shares = {column: values[column].null_count() / rows for column in kinds}
    if rows > sample_rows:
        chosen = np.random.default_rng(seed).choice(rows, sample_rows, replace=False)
        values = values[np.sort(chosen)]
    return _Window(name, rows, null_shares, values)


def _values(column: str, dtype: pl.DataType, kind: Kind, window: str) -> pl.Expr:
    """The column as finite Float64 or as String, nulls kept."""
    values = pl.col(column)
    if dtype == pl.Null:
        return values.cast(pl.Float64 if kind == "numeric" else pl.String)
    if kind == "numeric":
        if dtype.is_numeric() or dtype == pl.Boolean:
            numbers = values.cast(pl.Float64)
            return pl.when(numbers.is_finite()).then(numbers).alias(column)
        hint = "list it as categorical, or make a number of it"
    else:
        if dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum) or dtype.is_integer():
            return values.cast(pl.String)
        hint = "list it as numeric, or make a string of it"
    if dtype.is_temporal():
        hint = "a time drifts by itself: compare its month, weekday or hour instead"
    raise DriftError(
        f"Scoring drift of {kind} column {column!r} in the window {window!r}: found values "
        f"of type {dtype}; {hint}."
    )


def _prepare(
    before: _Window, after: _Window, kinds: Mapping[str, Kind], maximum_categories: int
) -> tuple[list[str], list[str], dict[str, tuple[pl.Series, pl.Series]]]:
    """The columns without values, notes for the reader, and pairs of samples of the others."""
    by_null_share: list[str] = []
    notes: list[str] = []
    pairs: dict[str, tuple[pl.Series, pl.Series]] = {}
    for name, kind in kinds.items():
        old, new = before.sample[name], after.sample[name]
        if old.null_count() == old.len() or new.null_count() == new.len():
            by_null_share.append(name)
        elif kind == "categorical":
            pairs[name] = _fold(old, new, maximum_categories)
        else:
            factor = _scale(old)
            if factor != 1.0:
                notes.append(f"'{name}' is shown times {factor:.0e}, as it varies by little.")
            pairs[name] = (old * factor, new * factor)
    return by_null_share, notes, pairs


def _fold(old: pl.Series, new: pl.Series, most: int) -> tuple[pl.Series, pl.Series]:
    shares = (
        pl.concat(
            [
                side.drop_nulls()
                .value_counts(name="share", normalize=True)
                .rename({side.name: "v"})
                for side in (old, new)
            ]
        )
        .group_by("v")
        .agg(pl.col("share").sum())
        .sort(["share", "v"], descending=[True, False])
    )
    if shares.height <= most:
        return old, new
    kept = shares["v"].head(most - 1).implode()

    def fold(side: pl.Series) -> pl.Series:
        values = pl.col(side.name)
        folded = pl.when(values.is_in(kept) | values.is_null()).then(values)
        return side.to_frame().select(folded.otherwise(pl.lit(OTHER_CATEGORY)))[side.name]

    return fold(old), fold(new)


def _scale(reference: pl.Series) -> float:
    """The power of ten that lifts a small spread above the least one Evidently divides by."""
    deviation = float(np.std(reference.drop_nulls().to_numpy()))
    if deviation == 0.0 or deviation >= _LEAST_DEVIATION:
        return 1.0
    return 10.0 ** math.ceil(math.log10(_LEAST_DEVIATION / deviation))


def _noise(
    kind: Kind,
    reference: pl.Series,
    current: pl.Series,
    false_alarm_rate: float,
    generator: np.random.Generator,
) -> float:
    """The score that `false_alarm_rate` of pairs of windows without drift would exceed.

    Pairs of the same sizes are drawn from both windows put together, as in a parametric bootstrap
    (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 16).
    """
    old, new = reference.drop_nulls(), current.drop_nulls()
    if kind == "categorical":
        draws = _categorical_noise(old, new, generator)
    else:
        draws = _numeric_noise(old.to_numpy(), new.to_numpy(), generator)
    return float(np.quantile(draws, 1 - false_alarm_rate))


def _categorical_noise(
    old: pl.Series, new: pl.Series, generator: np.random.Generator
) -> NDArray[np.float64]:
    counts = pl.concat([old, new]).value_counts().sort(old.name)["count"].to_numpy()
    shares = counts / counts.sum()
    first = generator.multinomial(old.len(), shares, _NOISE_DRAWS) / old.len()
    second = generator.multinomial(new.len(), shares, _NOISE_DRAWS) / new.len()
    middle = (first + second) / 2

    def divergence(side: NDArray[np.float64]) -> NDArray[np.float64]:
        ratio = np.divide(side, middle, out=np.ones_like(side), where=side > 0)
        return (side * np.log(ratio)).sum(axis=1)

    return np.sqrt(np.maximum((divergence(first) + divergence(second)) / 2, 0))


def _numeric_noise(
    old: NDArray[np.float64], new: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Draws of the normed Wasserstein distance, by the Gaussian limit of cell counts.

    The distance is the area between the two cumulative shares (Vallender, 1974). The cells are
    narrow where the values are many and where they are far apart, as the tail of a delay weighs.
    """
    values = np.concatenate([old, new])
    edges = np.unique(
        np.concatenate(
            [
                np.quantile(values, np.linspace(0, 1, _NOISE_CELLS // 2 + 1)),
                np.linspace(values.min(), values.max(), _NOISE_CELLS // 2 + 1),
            ]
        )
    )
    if edges.size < 2:
        return np.zeros(_NOISE_DRAWS)
    # Shares at or below each edge; the last one is the whole and always equal.
    at_most = np.searchsorted(np.sort(values), edges, side="right") / values.size
    shares = np.diff(at_most, prepend=0.0)
    roots = np.sqrt(shares)
    normal = generator.standard_normal((_NOISE_DRAWS, edges.size))
    difference = normal * roots - (normal @ roots)[:, None] * shares
    areas = np.abs(np.cumsum(difference, axis=1)[:, :-1]) @ np.diff(edges)
    deviation = max(float(np.std(old)), _LEAST_DEVIATION)
    return areas * math.sqrt(1 / old.size + 1 / new.size) / deviation


def _evidently(
    kinds: Mapping[str, Kind],
    pairs: Mapping[str, tuple[pl.Series, pl.Series]],
    limits: Mapping[str, float],
) -> tuple[dict[str, _Score], list[Any]]:
    """Evidently's scores of the columns and the widgets of its drift table."""
    with warnings.catch_warnings():
        # Evidently's own imports use names that numpy and litestar have deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.legacy.metrics import DataDriftTable

    definition = DataDefinition(
        numerical_columns=[name for name, kind in kinds.items() if kind == "numeric"],
        categorical_columns=[name for name, kind in kinds.items() if kind == "categorical"],
    )
    datasets = [
        Dataset.from_pandas(
            pd.DataFrame({name: pairs[name][side].to_numpy() for name in kinds}, copy=False),
            data_definition=definition,
        )
        for side in (0, 1)
    ]
    table = DataDriftTable(
        columns=list(kinds),
        per_column_stattest={name: METHODS[kind] for name, kind in kinds.items()},
        per_column_stattest_threshold=dict(limits),
    )
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # A constant column has no correlation with others, and one row no deviation; Evidently
        # computes both for plots only.
        warnings.simplefilter("ignore", RuntimeWarning)
        context = Report([]).run(datasets[1], datasets[0]).context
        # What `DataDriftPreset` draws; the preset scores each column three times (1.0 s against
        # 0.6 s for 13 columns).
        result, widgets = context.get_legacy_metric(table, None, None)
    scores = {}
    for name, kind in kinds.items():
        found = result.drift_by_columns[name]
        # Sums over categories are taken in an order that changes from process to process.
        score = round(float(found.drift_score), 12)
        if not math.isfinite(score):
            raise DriftError(
                f"Scoring drift of {kind} column {name!r}: expected a finite score, found {score}."
            )
        scores[name] = _Score(METHODS[kind], score, limits[name], bool(found.drift_detected))
    return scores, list(widgets)


def _null_share_score(name: str, before: _Window, after: _Window, threshold: float) -> _Score:
    score = abs(after.null_shares[name] - before.null_shares[name])
    return _Score(NULL_SHARE, score, threshold, score >= threshold)


def _scores_frame(
    kinds: Mapping[str, Kind], scores: Mapping[str, _Score], before: _Window, after: _Window
) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "column": name,
                "kind": kind,
                "method": scores[name].method,
                "score": scores[name].score,
                "threshold": scores[name].threshold,
                "is_drifted": scores[name].is_drifted,
                "reference_rows": before.rows,
                "current_rows": after.rows,
                "reference_null_share": before.null_shares[name],
                "current_null_share": after.null_shares[name],
            }
            for name, kind in kinds.items()
        ],
        schema=SCORES_SCHEMA,
    )


def _html(
    title: str,
    facts: Sequence[tuple[str, str]],
    notes: Sequence[str],
    widgets: Sequence[Any],
) -> str:
    """Evidently's page, with its data written by us.

    Evidently leaves a `<` in a category as it is, so that a delivered value could end the script
    and start its own. It gives widgets random ids, so that no report would equal another. And it
    writes the data of nested widgets twice and the same theme into every plot, with 17 digits:
    0.7 MB for 13 columns, where ours is 0.1 MB.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from evidently.legacy.model.dashboard import DashboardInfo
        from evidently.legacy.renderers.html_widgets import (
            CounterData,
            counter,
            group_widget,
            header_text,
        )
        from evidently.legacy.utils import NumpyEncoder
        from evidently.legacy.utils.dashboard import TemplateParams, file_html_template

    head = [
        header_text(label=title),
        counter(counters=[CounterData(label, value) for value, label in facts]),
        *(counter(counters=[CounterData(note, "")]) for note in notes),
    ]
    dashboard = DashboardInfo(
        name=title, widgets=[group_widget(title="", widgets=[*head, *widgets])]
    )
    plain = json.loads(
        json.dumps(dashboard.dict(), cls=NumpyEncoder),
        parse_float=lambda digits: float(f"{float(digits):.7g}"),
    )
    graphs: dict[str, Any] = {}
    _take_graphs(plain["widgets"], graphs)
    themes: list[Any] = []
    for graph in graphs.values():
        theme = graph["params"]["layout"].pop("template", {})
        if theme not in themes:
            themes.append(theme)
        graph["theme"] = themes.index(theme)
    data = _stable_ids(
        f"document.title = {_script_json(title)};\n"
        f"var {_DASHBOARD} = {_script_json(plain)};\n"
        f"var additional_graphs_{_DASHBOARD} = {_script_json(graphs)};\n"
        f"var themes = {_script_json(themes)};\n"
        f"for (const graph of Object.values(additional_graphs_{_DASHBOARD}))\n"
        "  graph.params.layout.template = themes[graph.theme];"
    )
    page = file_html_template(
        TemplateParams(
            dashboard_id=_DASHBOARD,
            dashboard_info=dashboard,
            additional_graphs={},
            embed_data=False,
        )
    )
    if page.count(_NO_DATA_MARK) != 1:
        raise RuntimeError(
            f"Writing a drift report: expected Evidently's page to hold {_NO_DATA_MARK!r} once, "
            f"found it {page.count(_NO_DATA_MARK)} times. This version of Evidently writes its "
            "page differently; pin the version in requirements.lock or adapt `_html`."
        )
    return page.replace(_NO_DATA_MARK, f"<script>\n{data}\n</script>")


def _script_json(value: object) -> str:
    """JSON that can stand inside a script element, whatever strings it holds."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _take_graphs(widgets: Sequence[dict[str, Any]], graphs: dict[str, Any]) -> None:
    """Move the graphs that a widget opens on demand from the widgets into `graphs`, by id."""
    for widget in widgets:
        for graph in widget.pop("additionalGraphs", ()):
            graphs[graph["id"]] = graph
        _take_graphs(widget.get("widgets", ()), graphs)


def _stable_ids(data: str) -> str:
    """Number Evidently's random ids in order of appearance."""
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return f"widget-{numbers.setdefault(match[0], len(numbers))}"

    return _GENERATED_ID.sub(number, data)
