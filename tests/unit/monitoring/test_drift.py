"""Drift scores against hand-computed cases, and reports that need nothing from the net."""

from __future__ import annotations

import math
import socket
import sys
from datetime import date
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from analytics_platform.monitoring.drift import (
    NULL_SHARE,
    OTHER_CATEGORY,
    SCORES_SCHEMA,
    DriftColumns,
    DriftError,
    drift_report,
)

LARGEST_JENSEN_SHANNON = math.sqrt(math.log(2))


def normal(rows: int, seed: int, mean: float = 0.0) -> list[float]:
    return np.random.default_rng(seed).normal(mean, 1.0, rows).tolist()


def row_of(result, column: str) -> dict:
    return result.scores.row(by_predicate=pl.col("column") == column, named=True)


class Elements(HTMLParser):
    """The elements of a page: every address one loads from, and how many scripts there are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.scripts = 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.addresses += [value for name, value in attrs if name in ("src", "href", "data")]


def test_scores_are_those_computed_by_hand():
    # A shift by half a standard deviation moves every value by half a standard deviation. The
    # shares 0.5 and 0.5 become 0.25 and 0.75: the divergence from their middle is by definition.
    values = np.linspace(-1, 1, 2000)
    before = pl.DataFrame({"number": values, "letter": ["a", "b"] * 1000})
    after = pl.DataFrame(
        {"number": values + values.std() / 2, "letter": ["a", "b", "b", "b"] * 500}
    )

    result = drift_report(before, after, DriftColumns(["number"], ["letter"]))

    divergence = 0.5 * (
        0.5 * math.log(0.5 / 0.375)
        + 0.5 * math.log(0.5 / 0.625)
        + 0.25 * math.log(0.25 / 0.375)
        + 0.75 * math.log(0.75 / 0.625)
    )
    assert result.scores.schema == SCORES_SCHEMA
    assert result.scores["method"].to_list() == ["wasserstein", "jensenshannon"]
    assert result.scores["score"].to_list() == pytest.approx([0.5, math.sqrt(divergence)])
    assert result.scores["is_drifted"].to_list() == [True, True]
    assert result.drifted_share == 1.0


def test_small_batches_without_drift_are_not_flagged():
    # Evidently's defaults flag 5 of 10 such batches.
    generator = np.random.default_rng(7)
    columns = DriftColumns(["delay", "distance"], ["carrier", "destination"])

    def batch(rows: int) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "delay": generator.exponential(30, rows),
                "distance": generator.integers(80, 5000, rows),
                "carrier": generator.choice(list("ABCDEFGHIJ"), rows),
                "destination": generator.integers(0, 90, rows),
            }
        )

    reference = batch(5000)
    results = [drift_report(reference, batch(200), columns) for _ in range(10)]
    assert [result.drifted_share for result in results] == [0.0] * 10

    moved = batch(200).with_columns(pl.col("delay") * 2, pl.lit("A").alias("carrier"))
    assert drift_report(reference, moved, columns).scores["is_drifted"].to_list() == [
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("before", "after", "kind", "method", "score", "is_drifted"),
    [
        pytest.param([5.0] * 100, [5.0] * 100, "numeric", "wasserstein", 0, False, id="constant"),
        pytest.param([5.0] * 100, [6.0] * 100, "numeric", "wasserstein", 1000, True, id="moved"),
        pytest.param(
            [False, True] * 50, [True] * 100, "numeric", "wasserstein", 1.0, True, id="boolean"
        ),
        pytest.param(
            [False] * 100,
            [True] * 100,
            "categorical",
            "jensenshannon",
            LARGEST_JENSEN_SHANNON,
            True,
            id="boolean-category",
        ),
        pytest.param(
            ["a"] * 100,
            ["b"] * 100,
            "categorical",
            "jensenshannon",
            LARGEST_JENSEN_SHANNON,
            True,
            id="unseen-category",
        ),
        pytest.param(
            [1e-6, 3e-6] * 500, [2e-6, 4e-6] * 500, "numeric", "wasserstein", 1.0, True, id="tiny"
        ),
        pytest.param(
            [1.0, 2.0, math.nan, math.inf] * 50,
            [1.0, 2.0, None, None] * 50,
            "numeric",
            "wasserstein",
            0.0,
            False,
            id="not-finite",
        ),
        pytest.param(
            [1.0, None, 2.0, 3.0], [None] * 9, "numeric", NULL_SHARE, 0.75, True, id="now-all-null"
        ),
        pytest.param(
            [None] * 20, ["a"] + [None] * 19, "categorical", NULL_SHARE, 0.05, False, id="was-null"
        ),
        pytest.param([None] * 5, [None] * 5, "numeric", NULL_SHARE, 0.0, False, id="never-a-value"),
        pytest.param([1.0, 3.0] * 50, [2.0], "numeric", "wasserstein", 1.0, False, id="one-row"),
    ],
)
def test_awkward_columns_get_a_finite_score(before, after, kind, method, score, is_drifted):
    columns = DriftColumns(**{kind: ["x"]})
    result = drift_report(pl.DataFrame({"x": before}), pl.DataFrame({"x": after}), columns)

    found = row_of(result, "x")
    assert found["method"] == method
    assert found["score"] == pytest.approx(score, abs=1e-9)
    assert found["is_drifted"] is is_drifted
    assert result.drifted_share == float(is_drifted)
    assert result.scores.null_count().sum_horizontal().item() == 0
    assert not result.scores.select(pl.selectors.float().is_nan().any()).row(0).count(True)


def test_a_column_without_values_is_named_in_the_report_beside_the_others():
    before = pl.DataFrame({"gust": [1.0, 2.0] * 50, "speed": [1.0, 2.0] * 50})
    after = before.with_columns(gust=pl.lit(None, pl.Float64))

    result = drift_report(before, after, DriftColumns(["gust", "speed"]))

    assert result.scores["method"].to_list() == [NULL_SHARE, "wasserstein"]
    assert result.drifted_share == 0.5
    assert "'gust' is not in the table" in result.html
    assert "Null share 0.0% before, 100.0% now (drifted)" in result.html


def test_null_shares_and_rows_are_of_the_whole_windows():
    before = pl.DataFrame({"x": [1.0, 2.0, 3.0, None] * 1000})
    after = pl.DataFrame({"x": [1.0, 2.0] * 300})

    found = row_of(drift_report(before, after, DriftColumns(["x"]), sample_rows=500), "x")

    assert (found["reference_rows"], found["current_rows"]) == (4000, 600)
    assert (found["reference_null_share"], found["current_null_share"]) == (0.25, 0.0)


def test_rare_categories_are_scored_together_but_a_new_large_one_alone():
    before = pl.DataFrame({"tail": [f"N{i:04}" for i in range(5000)]})
    after = before.with_columns(
        tail=pl.when(pl.int_range(pl.len()) < 2500).then(pl.lit("NEW")).otherwise("tail")
    )

    result = drift_report(before, after, DriftColumns(categorical=["tail"]), maximum_categories=10)

    assert row_of(result, "tail")["is_drifted"] is True
    assert '"NEW"' in result.html
    assert f'"{OTHER_CATEGORY}"' in result.html
    assert '"N4999"' not in result.html


def test_thresholds_can_be_set_by_kind_and_by_column():
    before = pl.DataFrame({"a": normal(5000, 1), "b": normal(5000, 2)})
    after = pl.DataFrame({"a": normal(5000, 3, 0.5), "b": normal(5000, 4, 0.5)})

    result = drift_report(
        before, after, DriftColumns(["a", "b"]), numeric_threshold=0.3, thresholds={"b": 0.9}
    )

    assert result.scores["threshold"].to_list() == [0.3, 0.9]
    assert result.scores["is_drifted"].to_list() == [True, False]
    assert result.drifted_share == 0.5


ROWS = pl.DataFrame({"x": [1.0, 2.0], "name": ["a", "b"], "day": [date(2013, 2, 8)] * 2})


@pytest.mark.parametrize(
    ("before", "after", "columns", "message"),
    [
        pytest.param(
            ROWS, ROWS.head(0), DriftColumns(["x"]), "rows in the window 'current', found none"
        ),
        pytest.param(
            ROWS.head(0), ROWS, DriftColumns(["x"]), "rows in the window 'reference', found none"
        ),
        pytest.param(
            ROWS, ROWS.drop("x"), DriftColumns(["x"]), "column 'x': expected it in .* 'current'"
        ),
        pytest.param(
            ROWS, ROWS, DriftColumns(["day"]), "'day' .*'reference'.*Date; a time drifts by itself"
        ),
        pytest.param(ROWS, ROWS, DriftColumns([], ["day"]), "'day' .*a time drifts by itself"),
        pytest.param(ROWS, ROWS, DriftColumns(["name"]), "'name' .*String; list it as categorical"),
        pytest.param(ROWS, ROWS, DriftColumns([], ["x"]), "'x' .*Float64; list it as numeric"),
        pytest.param(ROWS, ROWS, DriftColumns(["x"], ["x"]), r"found \['x'\] more than once"),
        pytest.param(ROWS, ROWS, DriftColumns(), "expected at least one, found none"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(before, after, columns, message):
    with pytest.raises(DriftError, match=f"(?s){message}"):
        drift_report(before, after, columns)


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(DriftError, match=r"expected columns among \['x'\], found \['y'\]"):
        drift_report(ROWS, ROWS, DriftColumns(["x"]), thresholds={"y": 0.1})
    with pytest.raises(DriftError, match=r"false alarm rate from 0.001 to below 1, found 1e-05"):
        drift_report(ROWS, ROWS, DriftColumns(["x"]), false_alarm_rate=1e-5)


def test_the_same_windows_give_the_same_bytes():
    before = pl.DataFrame({"x": normal(3000, 1), "c": ["a", "b", "c"] * 1000})
    after = pl.DataFrame({"x": normal(900, 2), "c": ["a", "b", "d"] * 300})
    columns = DriftColumns(["x"], ["c"])

    first = drift_report(before, after, columns, sample_rows=500)
    second = drift_report(before, after, columns, sample_rows=500)
    other = drift_report(before, after, columns, sample_rows=500, seed=1)

    assert first.html == second.html
    assert first.scores.equals(second.scores)
    assert row_of(first, "x")["score"] != row_of(other, "x")["score"]


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


def test_a_delivered_value_cannot_start_a_script():
    before = pl.DataFrame({"c": ["a", "b"] * 100})
    attack = before.with_columns(c=pl.lit("</script><script src=//evil.example></script>"))
    columns = DriftColumns(categorical=["c"])

    clean, attacked = (
        Elements(drift_report(before, after, columns).html) for after in (before, attack)
    )

    assert attacked.scripts == clean.scripts
    assert attacked.addresses == []
