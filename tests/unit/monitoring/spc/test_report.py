"""The report and the pictures: the same bytes of the same points, and nothing from the net."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np

from analytics_platform.monitoring.spc import Baseline, Charted, ChartSpec, run_chart
from analytics_platform.monitoring.spc.plot import chart_picture
from analytics_platform.monitoring.spc.report import Section, report_page
from tests.unit.monitoring.spc.points import series


class Elements(HTMLParser):
    """The elements of a page that load something, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name == "src"]

    def handle_data(self, data):
        self.text += data


def charted() -> Charted:
    values = np.random.default_rng(1).uniform(90, 110, 60).tolist()
    values[9], values[50] = 170.0, 30.0
    baseline = Baseline(first="2024-01-01", last="2024-01-30")
    return run_chart(ChartSpec("individuals"), baseline, series(values))


def page(title: str = "Sold", picture: bytes | None = None) -> str:
    return report_page(
        "Shop", "What it sells.", [Section("sold", title, "by day", charted(), picture)]
    )


def test_the_same_points_give_the_same_bytes() -> None:
    first, second = (chart_picture(charted(), title="Sold", unit="pieces") for _ in range(2))
    assert first == second
    assert first.startswith(b"<svg ")
    assert b">Sold</text>" in first
    assert page(picture=first) == page(picture=second)


def test_the_report_names_signals_limits_and_what_was_left_out() -> None:
    elements = Elements(page())
    assert "2024-02-20value30Western Electric 1: one point beyond 3 sigma" in elements.text
    assert "2024-01-01 to 2024-01-3029" in elements.text
    assert "2024-01-10: 170 is beyond the baseline's own limits" in elements.text
    assert "last out of control on 2024-02-2" in elements.text


def test_the_report_loads_nothing_and_runs_nothing() -> None:
    elements = Elements(page("<script src=//evil.example></script>", b"<svg/>"))
    assert "script" not in elements.tags
    assert [source[:26] for source in elements.sources] == ["data:image/svg+xml;base64,"]
    assert "<script src=//evil.example></script>" in elements.text
