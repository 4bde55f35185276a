"""The drift monitor on a lake of its own: every kind of window and reference, and what blocks."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from dagster._core.errors import DagsterAssetCheckFailedError

from analytics_platform.components.drift_monitor import (
    DriftEffects,
    DriftMonitor,
    DriftReference,
    _build_asset,
    _require_sound,
)
from analytics_platform.components.product_spec import ProductSpec
from analytics_platform.components.state import nodes_of
from analytics_platform.lake import FileStore, Lake
from analytics_platform.lake.io_manager import LakeIOManager, LakeResource
from analytics_platform.modeling import champions
from analytics_platform.modeling.registry import record_version
from analytics_platform.planning import ProductState, next_run
from tests.unit.modeling.test_registry import VERSION

FIRST = dt.date(2013, 1, 7)
DAYS = 84
PRODUCT = ProductSpec(
    name="p", title="A product", owners=["team:p"], first_day=FIRST,
    end_day=FIRST + dt.timedelta(days=365),
)  # fmt: skip


@pytest.fixture
def delays(lake: Lake) -> Lake:
    """Twelve weeks of rows; in the last one delays have moved and half of a carrier is gone."""
    generator = np.random.default_rng(6)
    at = np.repeat(np.arange(DAYS), 60)
    is_moved = at >= DAYS - 7
    frame = pl.DataFrame(
        {
            "day": [FIRST + dt.timedelta(days=int(unit)) for unit in at],
            "number": np.arange(at.size),
            "delay": generator.exponential(20, at.size) + 30 * is_moved,
            "carrier": generator.choice(["A", "B"], at.size, p=[0.6, 0.4]),
            "known": True,
        }
    )
    with lake.transaction("rows") as transaction:
        transaction.replace("p", "delays", frame)
        version = replace(VERSION, product="p", model="model", trained_on="2013-01-07/2013-03-17")
        number = record_version(transaction, version)
        champions.decide(transaction, "p", "model", number, "promoted", "for a test", "r")
    return lake


def monitor(**given: Any) -> DriftMonitor:
    declared = {
        "name": "drift_delays",
        "description": "Whether delays move.",
        "table": "delays",
        "time_column": "day",
        "numeric": ["delay"],
        "categorical": ["carrier"],
        "segments": ["carrier"],
        "reference": DriftReference(first="2013-01-07", last="2013-03-17"),
        **given,
    }
    return DriftMonitor(**declared)


def run(declared: DriftMonitor, first: str | None, last: str | None = None):
    resource = LakeResource()
    tags = {}
    if first and last:
        tags = {
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        }
        first = None
    return dg.materialize(
        [_build_asset(declared, PRODUCT)],
        resources={"lake": resource, "io_manager": LakeIOManager(resource=resource)},
        partition_key=first,
        tags=tags,
    )


def check_of(result) -> dg.AssetCheckEvaluation:
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


WINDOWS = {
    "days": ({"window": "day", "reference": DriftReference(trailing_days=56)}, "2013-03-30"),
    "weeks by day": ({"window": "week"}, "2013-03-25"),
    "weeks whole": ({"window": "week", "blocks": "window"}, "2013-03-25"),
    "weeks after a trailing reference": (
        {"window": "week", "reference": DriftReference(trailing_days=42)},
        "2013-03-25",
    ),
    "weeks after a training set": (
        {"window": "week", "reference": DriftReference(training_set_of="model")},
        "2013-03-25",
    ),
    "rows": (
        {"window": "rows", "window_rows": 420, "row_order": ["number"], "blocks": "window"},
        None,
    ),
}


@pytest.mark.parametrize(("given", "partition"), WINDOWS.values(), ids=WINDOWS)
def test_every_kind_of_window_finds_the_moved_column(delays: Lake, store, given, partition):
    result = run(monitor(**given), partition)

    assert result.success
    found = delays.query('SELECT * FROM lake.p.drift_delays ORDER BY window_start, "column"')
    newest = found.filter(pl.col("window_start") == found["window_start"].max())
    drifted = newest.filter(pl.col("is_drifted"))
    assert drifted["column"].unique().to_list() == ["delay"]
    evaluation = check_of(result)
    assert evaluation.passed is False
    assert evaluation.metadata["drifted_columns"].value == "delay"
    sha256, name = drifted["report_sha256"][0], drifted["report_name"][0]
    assert b"delay" in FileStore(store.root).get(sha256, name)
    assert evaluation.metadata["report"].value == f"/files/{sha256}/{name}"
    recorded = delays.query("SELECT passed, blocking FROM lake.ops.checks")
    assert recorded.rows() == [(False, False)]


def test_quiet_weeks_are_told_and_have_no_report_but_the_newest(delays: Lake):
    result = run(monitor(window="week"), "2013-01-07", "2013-03-11")

    assert check_of(result).passed is True
    found = delays.query(
        "SELECT window_start, bool_or(is_drifted) AS drifted, max(report_name) AS report "
        "FROM lake.p.drift_delays GROUP BY ALL ORDER BY ALL"
    )
    assert found.height == 10
    assert found["drifted"].sum() == 0
    assert found["report"].null_count() == 9
    # The days of a week are not compared with themselves.
    rows = delays.query("SELECT DISTINCT reference_rows, current_rows FROM lake.p.drift_delays")
    assert rows.rows() == [(63 * 60, 7 * 60)]
    # Once a newer window is judged it is the one that counts, whatever is made again after it.
    run(monitor(window="week"), "2013-03-25")
    assert check_of(run(monitor(window="week"), "2013-01-07")).passed is False


def test_a_monitor_that_blocks_fails_its_run(delays: Lake):
    declared = monitor(window="week", action="block")
    (check,) = _build_asset(declared, PRODUCT).check_specs
    assert check.blocking
    with pytest.raises(DagsterAssetCheckFailedError):
        run(declared, "2013-03-25")
    assert delays.query("SELECT passed, blocking FROM lake.ops.checks").rows() == [(False, True)]


def test_a_large_least_effect_keeps_it_quiet(delays: Lake):
    declared = monitor(window="week", least_effects=DriftEffects(columns={"delay": 9.0}))
    assert check_of(run(declared, "2013-03-25")).passed is True


NOT_JUDGED = {
    "nothing lies before the first week": (
        {"reference": DriftReference(trailing_days=42)},
        "2013-01-07",
        r"drift_delays of 2013-01-07 to 2013-01-13 is not judged: its reference 2012-11-26 to "
        r"2013-01-06 holds 0 days, and 14 are needed",
    ),
    "no row of the week is left": (
        {"where": "day < DATE '2013-03-01'"},
        "2013-03-25",
        r"drift_delays of 2013-03-25 to 2013-03-31 is not judged: it has no rows",
    ),
    "no row at all is left": (
        {"where": "NOT known"},
        "2013-03-25",
        r"drift_delays of 2013-03-25 to 2013-03-31 is not judged: it has no rows",
    ),
    "a day of every week is missing": (
        {"blocks": "window", "where": "dayofweek(day) <> 3 OR day >= DATE '2013-03-25'"},
        "2013-03-25",
        r"of 2013-03-25 to 2013-03-31 is not judged: its reference 2013-01-07 to 2013-03-17 holds "
        r"0 windows of 7 days in a row without one that has no rows, and 5 are needed",
    ),
    "a day has too few days of its weekday": (
        {"window": "day", "where": "day < DATE '2013-02-01' OR day >= DATE '2013-03-25'"},
        "2013-03-30",
        r"of 2013-03-30 is not judged: its reference 2013-01-07 to 2013-03-17, Saturdays holds 3 "
        r"days of its weekday, and 5 are needed",
    ),
    "a part of a week has too few days of its weekdays": (
        {"where": "dayofweek(day) IN (0, 6) AND day >= DATE '2013-03-04' OR dayofweek(day) = 1"
         " AND day < DATE '2013-03-25'"},
        "2013-03-25",
        r"of 2013-03-25 to 2013-03-31 is not judged: its reference 2013-01-07 to 2013-03-17 holds "
        r"so few days of its weekdays that only 9 windows can be drawn from both, and 100 are "
        r"needed for a budget of 0.01",
    ),
    "no window of rows is full": (
        {"window": "rows", "window_rows": 100_000, "row_order": ["number"]},
        None,
        r"drift_delays: nothing is judged, because none of the windows of 100,000 rows is full "
        r"yet: p.delays has 5,040 rows",
    ),
    "no row for a window of rows": (
        {"window": "rows", "window_rows": 420, "row_order": ["number"], "where": "NOT known"},
        None,
        r"drift_delays: nothing is judged, .* p.delays has 0 rows",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "partition", "why"), NOT_JUDGED.values(), ids=NOT_JUDGED)
def test_a_window_that_cannot_be_judged_has_no_rows_and_the_log_says_why(
    delays, capfd, given, partition, why
):
    result = run(monitor(**given), partition)

    evaluation = check_of(result)
    assert evaluation.passed is True
    assert evaluation.metadata["windows_judged"].value == 0
    assert evaluation.metadata["window"].value == "none could be judged yet"
    assert delays.query("SELECT count(*) FROM lake.p.drift_delays").item() == 0
    assert re.search(why, capfd.readouterr().err)


@pytest.mark.parametrize(("given", "partition"), [WINDOWS["weeks by day"], WINDOWS["rows"]])
def test_rows_without_a_date_are_left_out_and_the_log_says_how_many(
    delays: Lake, capfd, given, partition
):
    run(monitor(**given), partition)
    of_window = (
        'SELECT * EXCLUDE (report_sha256) FROM lake.p.drift_delays ORDER BY 1, 3, "column", method'
    )
    expected = delays.query(of_window)
    assert "are left out" not in capfd.readouterr().err
    with delays.transaction("rows without a date") as transaction:
        transaction.connection.execute(
            "INSERT INTO lake.p.delays VALUES (NULL, -1, 1e6, 'Z', true), "
            "(NULL, -2, 1e6, 'Z', true), ('infinity', -3, 1e6, 'Z', true)"
        )

    result = run(monitor(**given), partition)

    assert result.success
    assert delays.query(of_window).equals(expected)
    said = capfd.readouterr().err
    assert "3 rows of p.delays are left out, because their day holds no date" in said


def test_a_day_is_compared_with_the_days_of_its_weekday(delays: Lake):
    with delays.transaction("Sundays are always late") as transaction:
        transaction.connection.execute(
            "UPDATE lake.p.delays SET delay = delay + 60 WHERE dayofweek(day) = 0"
        )
    declared = monitor(window="day", reference=DriftReference(trailing_days=49))
    run(declared, "2013-03-11", "2013-03-17")

    found = delays.query(
        "SELECT window_start, max(reference) AS reference, max(reference_rows) AS rows, "
        "bool_or(is_drifted) AS drifted FROM lake.p.drift_delays GROUP BY ALL ORDER BY ALL"
    )
    assert found["drifted"].to_list() == [False] * 7
    assert found["rows"].to_list() == [7 * 60] * 7
    assert found["reference"][6] == "2013-01-27 to 2013-03-16, Sundays"
    # The last Sunday is half an hour later than Sundays are.
    assert check_of(run(declared, "2013-03-31")).metadata["drifted_columns"].value == "delay"


def test_without_a_model_there_is_no_training_set(delays: Lake):
    declared = monitor(reference=DriftReference(training_set_of="other"))
    with pytest.raises(dg.Failure, match="other has no champion yet"):
        run(declared, "2013-03-25")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reference": DriftReference()}, "expected one reference"),
        ({"reference": DriftReference(first="2013-01-07")}, "expected one reference"),
        (
            {"reference": DriftReference(trailing_days=7, training_set_of="model")},
            "expected one reference",
        ),
        ({"window": "rows"}, "expected window_rows with a window of rows"),
        ({"window_rows": 5}, "expected window_rows with a window of rows"),
        ({"name": "delays_moved"}, "a name that begins with drift_"),
        ({"numeric": [], "categorical": []}, "expected at least one, found none"),
        ({"false_alarm_budget": 0.0}, "expected a false-alarm budget"),
        ({"window": "rows", "window_rows": 0}, "expected window_rows of at least 1, found 0"),
        (
            {"reference": DriftReference(trailing_days=0)},
            "expected reference.trailing_days of at least 14 days, .*week.*day.*, found 0",
        ),
        (
            {"reference": DriftReference(trailing_days=34), "blocks": "window"},
            "expected reference.trailing_days of at least 35 days, .*week.*window.*, found 34",
        ),
        (
            {"reference": DriftReference(trailing_days=28), "window": "day"},
            "expected reference.trailing_days of at least 35 days, .*, found 28",
        ),
        (
            {"reference": DriftReference(trailing_days=56), "window": "month"},
            "expected reference.trailing_days of at least 62 days, .*, found 56",
        ),
        (
            {
                "reference": DriftReference(trailing_days=0),
                "window": "rows",
                "window_rows": 9,
            },
            "expected reference.trailing_days of at least 1 days, .*, found 0",
        ),
        (
            {"reference": DriftReference(first="2013-03-17", last="2013-01-07")},
            "expected reference.first on or before reference.last, found 2013-03-17 and 2013-01-07",
        ),
        (
            {"reference": DriftReference(first="2013-01-07", last="2013-01-13")},
            "expected reference.first to reference.last to be at least 14 days, .*, found 7 ",
        ),
        (
            {"reference": DriftReference(first="2013-01-07", last="2013-02-30")},
            "expected a day of the calendar as YYYY-MM-DD in reference.last, found '2013-02-30'",
        ),
        (
            {"reference": DriftReference(first="20130107", last="2013-02-28")},
            "in reference.first, found '20130107'; write 2013-01-07",
        ),
        (
            {"least_effects": DriftEffects(columns={"dealy": 0.2})},
            r"expected least_effects.columns among \['delay', 'carrier'\], found \['dealy'\]",
        ),
        (
            {"least_effects": DriftEffects(numeric=-0.1)},
            "expected least_effects.numeric of at least 0, found -0.1",
        ),
        (
            {"least_effects": DriftEffects(columns={"delay": -1.0})},
            "expected least_effects.columns.delay of at least 0, found -1.0",
        ),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(given, message):
    declared = monitor(**given)
    with pytest.raises(
        ValueError, match=f"Declaring the drift monitor {declared.name}: .*{message}"
    ):
        _require_sound(declared)


@pytest.mark.parametrize(
    "given",
    [
        {"reference": DriftReference(trailing_days=14)},
        {"reference": DriftReference(trailing_days=35), "blocks": "window"},
        {"reference": DriftReference(trailing_days=35), "window": "day"},
        {"reference": DriftReference(trailing_days=62), "window": "month"},
        {"reference": DriftReference(first="2013-01-07", last="2013-01-20")},
        {"reference": DriftReference(training_set_of="model"), "window": "month"},
        {"window": "rows", "window_rows": 1, "least_effects": DriftEffects(columns={"delay": 0})},
    ],
)
def test_the_shortest_reference_that_can_judge_is_taken(given):
    _require_sound(monitor(**given))


def test_months_are_planned_when_they_are_whole() -> None:
    @dg.asset(
        key=["p", "delays"],
        partitions_def=PRODUCT.daily,
        metadata={"role": "table"},
    )
    def delays() -> None: ...

    declared = monitor(window="month", reference=DriftReference(trailing_days=28))
    asset = _build_asset(declared, PRODUCT)
    resource = LakeResource()
    definitions = dg.Definitions(
        assets=[delays, asset],
        resources={"lake": resource, "io_manager": LakeIOManager(resource=resource)},
    )
    graph = definitions.get_repository_def().asset_graph
    nodes = nodes_of(graph, "p")
    assert [(node.name, node.cadence) for node in nodes][-1] == ("drift_delays", "monthly")
    days = {str(FIRST + dt.timedelta(days=at)): 5 for at in range(100)}
    planned = next_run(nodes, ProductState({"delays": days}, {}, judged_snapshot=5))
    assert planned is not None
    # January begins before the first day, and April has not ended.
    assert (planned.cadence, planned.first, planned.last) == ("monthly", "2013-02-01", "2013-03-01")
    written = {"delays": days, "drift_delays": {"2013-02-01": 6, "2013-03-01": 6}}
    assert next_run(nodes, ProductState(written, {}, judged_snapshot=6)) is None
