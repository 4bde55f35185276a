"""The page: stable bytes, nothing from the net, nothing delivered becomes markup, same verdicts."""

from __future__ import annotations

import re
import socket
import sys
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from analytics_platform.monitoring.drift import DriftColumns, drift_report, evidently_page

ATTACK = "</script><script src=//evil.example></script>"


def normal(rows: int, seed: int, mean: float = 0.0) -> list[float]:
    return np.random.default_rng(seed).normal(mean, 1.0, rows).tolist()


class Elements(HTMLParser):
    """The elements of a page: every address one loads from, its scripts and its tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.scripts = 0
        self.cells: list[str] = []
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.addresses += [value for name, value in attrs if name in ("src", "href", "data")]
        if tag == "td":
            self.cells.append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        self._in_cell = self._in_cell and tag != "td"

    def handle_data(self, data):
        if self._in_cell:
            self.cells[-1] += data


def test_the_same_windows_give_the_same_bytes():
    before = pl.DataFrame({"x": normal(3000, 1), "c": ["a", "b", "c"] * 1000})
    after = pl.DataFrame({"x": normal(900, 2, 1.0), "c": ["a", "b", "d"] * 300})
    columns = DriftColumns(["x"], ["c"])

    first = drift_report(before, after, columns, segments=["c"], sample_rows=500)
    second = drift_report(before, after, columns, segments=["c"], sample_rows=500)

    assert first.html == second.html
    assert first.scores.equals(second.scores)
    # What is drawn is a sample; what is said is of all rows.
    larger = drift_report(before, after, columns, sample_rows=900)
    assert larger.html != first.html
    assert larger.scores.equals(first.scores)


def test_the_report_is_one_page_that_loads_nothing_and_sends_nothing(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a drift report opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    names = [f"column_{i}" for i in range(20)]
    before = pl.DataFrame({name: normal(2000, i) for i, name in enumerate(names)})

    page = drift_report(before, before.reverse(), DriftColumns(names), title="Week 7 <2013>").html

    assert "evidently.telemetry" not in sys.modules
    assert Elements(page).addresses == []
    assert "url(http" not in page
    assert len(page.encode()) < 4_000_000
    assert "Week 7 \\u003c2013>" in page
    assert "Week 7 &lt;2013&gt;" in page


def test_what_was_delivered_cannot_start_a_script():
    before = pl.DataFrame({"c": ["a", "b"] * 100, "s": ["x", "y"] * 100})
    attack = pl.DataFrame({"c": [ATTACK] * 200, "s": [ATTACK, "y"] * 100})
    columns = DriftColumns(categorical=["c"])

    clean, attacked = (
        Elements(drift_report(before, after, columns, segments=["s"]).html)
        for after in (before, attack)
    )

    assert attacked.scripts == clean.scripts
    assert attacked.addresses == []
    # It is shown, as text, where the causes are.
    assert ATTACK in attacked.cells


def test_a_column_name_cannot_start_a_script_either():
    frame = pl.DataFrame({ATTACK: [1.0, 2.0] * 50, "s": ["x", "y"] * 50})
    moved = frame.with_columns(pl.col(ATTACK) + 5)
    page = drift_report(frame, moved, DriftColumns([ATTACK]), title=ATTACK, segments=["s"]).html
    assert Elements(page).addresses == []
    assert (
        Elements(page).scripts
        == Elements(drift_report(frame, moved, DriftColumns([], ["s"])).html).scripts
    )


def test_a_column_without_values_is_named_in_the_report_beside_the_others():
    before = pl.DataFrame({"gust": [1.0, 2.0] * 50, "speed": [1.0, 2.0] * 50})
    after = before.with_columns(gust=pl.lit(None, pl.Float64))

    result = drift_report(before, after, DriftColumns(["gust", "speed"]))

    assert result.scores["method"].to_list() == ["null_share", "wasserstein"]
    assert result.drifted == ["gust"]
    assert "'gust' is not drawn below" in result.html
    assert "100.0% now (drifted)" in result.html


def test_evidently_is_given_the_thresholds_and_finds_what_the_table_says():
    generator = np.random.default_rng(3)
    names = [f"n{at}" for at in range(6)]
    before = pl.DataFrame(
        {name: generator.normal(0, 1, 4000) for name in names}
        | {"c": generator.choice(["a", "b"], 4000), "holes": [1.0, None] * 2000}
    )
    after = pl.DataFrame(
        {name: generator.normal(at * 0.05, 1, 1000) for at, name in enumerate(names)}
        | {"c": generator.choice(["a", "b"], 1000, p=[0.6, 0.4]), "holes": [1.0] * 1000}
    )

    result = drift_report(before, after, DriftColumns([*names, "holes"], ["c"]))

    # Evidently's own summary, from its own verdicts by column.
    said = re.search(
        r"Drift is detected for [\d.]+% of columns \((\d+) out of (\d+)\)", result.html
    )
    assert said is not None
    drawn = result.scores
    assert (int(said[1]), int(said[2])) == (int(drawn["is_drifted"].sum()), drawn.height)
    assert 0 < int(said[1]) < int(said[2])


def test_a_report_that_evidently_judges_differently_is_refused(monkeypatch):
    given = evidently_page._given

    def otherwise(method, scores):
        return given(method, {name: score + 10 for name, score in scores.items()})

    monkeypatch.setattr(evidently_page, "_given", otherwise)
    frame = pl.DataFrame({"x": normal(500, 1)})
    with pytest.raises(RuntimeError, match="expected Evidently to find 'x' not drifted"):
        drift_report(frame, frame, DriftColumns(["x"]))
