"""Evidently's part of a report: its drift table on a page that needs nothing from the net.

Belongs here: Evidently and its page. Does not belong here: scores and thresholds, which Evidently
is given, and what the page says above its table (`report`).
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analytics_platform.monitoring.drift.declared import NULL_SHARE

if TYPE_CHECKING:
    from analytics_platform.monitoring.drift.watch import WindowDrift

_GENERATED_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_DATA_MARK = "<!-- no embedded data -->"
_BODY_MARK = "<body>"
_DASHBOARD = "drift_report"
_NULL_ROWS = 1_000

_DISPLAYED = {
    "wasserstein": "Wasserstein distance (normed), all rows",
    "jensenshannon": "Jensen-Shannon distance, all rows",
    NULL_SHARE: "difference of null shares, all rows",
}


def drift_table(drift: WindowDrift) -> list[Any]:
    """The widgets of Evidently's drift table, with the scores and thresholds of all rows.

    Evidently draws samples; what it says of a column is what the scores say of it.

    Args:
        drift: What was found of a window.

    Raises:
        RuntimeError: If Evidently judges a column differently.
    """
    columns, scores, thresholds, verdicts, methods = _columns(drift)
    if not columns:
        return []
    with warnings.catch_warnings():
        # Evidently's own imports use names that numpy and litestar have deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.legacy.metrics import DataDriftTable

    is_number = {name: columns[name][0].dtype.kind == "f" for name in columns}
    definition = DataDefinition(
        numerical_columns=[name for name in columns if is_number[name]],
        categorical_columns=[name for name in columns if not is_number[name]],
    )
    datasets = [
        Dataset.from_pandas(
            pd.DataFrame({name: pd.Series(columns[name][side]) for name in columns}, copy=False),
            data_definition=definition,
        )
        for side in (0, 1)
    ]
    table = DataDriftTable(
        columns=list(columns),
        per_column_stattest={name: _given(method, scores) for name, method in methods.items()},
        per_column_stattest_threshold=dict(thresholds),
    )
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # A constant column has no correlation with others, and one row no deviation; Evidently
        # computes both for plots only.
        warnings.simplefilter("ignore", RuntimeWarning)
        context = Report([]).run(datasets[1], datasets[0]).context
        # What `DataDriftPreset` draws; the preset scores each column three times.
        result, widgets = context.get_legacy_metric(table, None, None)
    for name in columns:
        found = bool(result.drift_by_columns[name].drift_detected)
        if found != verdicts[name]:
            raise RuntimeError(
                f"Drawing the drift report of {drift.window.name}: expected Evidently to find "
                f"{name!r} {'drifted' if verdicts[name] else 'not drifted'} at score "
                f"{scores[name]} and threshold {thresholds[name]}, found otherwise."
            )
    return list(widgets)


def _columns(
    drift: WindowDrift,
) -> tuple[dict[str, Any], dict[str, float], dict[str, float], dict[str, bool], dict[str, str]]:
    """What Evidently is given for each test: samples, score, threshold, verdict, method."""
    columns: dict[str, Any] = {}
    scores: dict[str, float] = {}
    thresholds: dict[str, float] = {}
    verdicts: dict[str, bool] = {}
    methods: dict[str, str] = {}
    for row in drift.scores.iter_rows(named=True):
        name = row["column"]
        if row["method"] == NULL_SHARE:
            shares = (row["reference_null_share"], row["current_null_share"])
            columns[f"{name}: has a value"] = tuple(map(_has_value, shares))
            name = f"{name}: has a value"
        else:
            kind = float if drift.kinds[name] == "numeric" else object
            columns[name] = tuple(np.array(side, kind) for side in drift.samples[name])
        scores[name], thresholds[name] = row["score"], row["threshold"]
        verdicts[name], methods[name] = row["is_drifted"], row["method"]
    return columns, scores, thresholds, verdicts, methods


def _has_value(null_share: float) -> Any:
    nulls = math.ceil(null_share * _NULL_ROWS)
    return np.array(["no"] * nulls + ["yes"] * (_NULL_ROWS - nulls), object)


def _given(method: str, scores: Mapping[str, float]) -> Any:
    """A test of Evidently's that gives the score computed on all rows."""
    from evidently.legacy.calculation_engine.python_engine import PythonEngine
    from evidently.legacy.calculations.stattests import StatTest
    from evidently.legacy.calculations.stattests.registry import (
        add_stattest_impl,
        create_impl_wrapper,
    )
    from evidently.legacy.core import ColumnType

    def score(reference: Any, _current: Any, _kind: Any, threshold: float) -> tuple[float, bool]:
        found = scores[reference.name]
        return found, found >= threshold

    test = StatTest(
        name=f"{method}_of_all_rows",
        display_name=_DISPLAYED[method],
        allowed_feature_types=[ColumnType.Numerical, ColumnType.Categorical],
    )
    add_stattest_impl(test, PythonEngine, create_impl_wrapper(score))
    return test


def page(title: str, head: str, widgets: Sequence[Any]) -> str:
    """Evidently's page, with its data written by us and our own part above it.

    Evidently leaves a `<` in a category as it is, so that a delivered value could end the script
    and start its own. It gives widgets random ids, so that no report would equal another. And it
    writes the data of nested widgets twice and the same theme into every plot, with 17 digits:
    0.7 MB for 13 columns, where ours is 0.1 MB.

    Args:
        title: The page's title.
        head: HTML to stand above Evidently's part; escaped by whoever made it.
        widgets: As `drift_table` gives them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from evidently.legacy.model.dashboard import DashboardInfo
        from evidently.legacy.renderers.html_widgets import group_widget
        from evidently.legacy.utils import NumpyEncoder
        from evidently.legacy.utils.dashboard import TemplateParams, file_html_template

    dashboard = DashboardInfo(
        name=title, widgets=[group_widget(title="", widgets=list(widgets))] if widgets else []
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
    html = file_html_template(
        TemplateParams(
            dashboard_id=_DASHBOARD,
            dashboard_info=dashboard,
            additional_graphs={},
            embed_data=False,
        )
    ).strip()
    for mark, written in (
        (_BODY_MARK, f"{_BODY_MARK}\n{head}"),
        (_NO_DATA_MARK, f"<script>\n{data}\n</script>"),
    ):
        # The head is written first and may hold no mark: `<` is escaped in it.
        if html.count(mark) != 1:
            raise RuntimeError(
                f"Writing a drift report: expected Evidently's page to hold {mark!r} once, "
                f"found it {html.count(mark)} times. This version of Evidently writes its "
                "page differently; pin the version in requirements.lock or adapt `page`."
            )
        html = html.replace(mark, written)
    return html


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
