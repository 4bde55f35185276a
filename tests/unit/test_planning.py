"""What is behind, worked out by hand on a small product: raw → table → features, model, week."""

import datetime as dt

import pytest

from analytics_platform.lake.records import WHOLE
from analytics_platform.planning import Node, ProductState, SourceState, next_run

DAYS = [f"2013-01-{day:02d}" for day in range(1, 32)]
NODES = [
    Node("raw", "daily", "source", ()),
    Node("reference", "whole", "source", ()),
    Node("table", "daily", "table", ("raw",)),
    Node("features", "daily", "table", ("table", "reference")),
    Node("mart", "whole", "table", ("table",)),
    Node("model", "whole", "model", ("features",), (dt.date(2013, 1, 1), dt.date(2013, 1, 3))),
    Node("predictions", "daily", "table", ("features", "model")),
    Node("drift", "weekly", "table", ("features",)),
    Node("release", "whole", "release", ("raw", "table", "features", "mart", "drift")),
]


def written(*assets: str, days: list[str], snapshot: int = 5) -> dict[str, dict[str, int]]:
    whole = {"reference", "mart", "model"}
    return {
        asset: {WHOLE: snapshot} if asset in whole else dict.fromkeys(days, snapshot)
        for asset in assets
    }


def waiting(*days: str) -> dict[str, SourceState]:
    return {"raw": SourceState({day: (f"hash of {day}",) for day in days})}


def test_nothing_arrived_nothing_runs() -> None:
    assert next_run(NODES, ProductState({}, {})) is None


def test_arrivals_start_one_run_for_all_that_follows() -> None:
    state = ProductState(written("reference", days=[]), waiting(*DAYS[:3]))
    planned = next_run(NODES, state)
    assert planned is not None
    assert (planned.cadence, planned.first, planned.last) == ("daily", DAYS[0], DAYS[2])
    assert planned.assets == ("raw", "table", "features")


def test_references_go_first_and_marts_after_their_days() -> None:
    state = ProductState({}, waiting(DAYS[0]) | {"reference": SourceState({WHOLE: ("hash",)})})
    planned = next_run(NODES, state)
    assert planned is not None
    assert planned.assets == ("reference",)
    state = ProductState(written("raw", "reference", "table", "features", days=DAYS[:1]), {})
    planned = next_run(NODES, state)
    assert planned is not None
    assert planned.assets == ("mart",)


def test_a_table_waits_for_its_reference() -> None:
    planned = next_run(NODES, ProductState({}, waiting(DAYS[0])))
    assert planned is not None
    assert planned.assets == ("raw", "table")


def test_days_that_are_not_adjacent_are_runs_of_their_own() -> None:
    state = ProductState(written("reference", days=[]), waiting(DAYS[0], DAYS[1], DAYS[5]))
    planned = next_run(NODES, state)
    assert planned is not None
    assert (planned.first, planned.last) == (DAYS[0], DAYS[1])


def test_the_model_is_trained_once_its_days_stand_and_not_again() -> None:
    tables = written("raw", "reference", "table", "features", "mart", days=DAYS[:2])
    assert next_run(NODES, ProductState(tables, {}, judged_snapshot=5)) is None
    tables = written("raw", "reference", "table", "features", "mart", days=DAYS[:3])
    planned = next_run(NODES, ProductState(tables, {}, judged_snapshot=5))
    assert planned is not None
    assert planned.assets == ("model",)
    tables |= written("model", days=[], snapshot=6)
    planned = next_run(NODES, ProductState(tables, {}, judged_snapshot=6))
    assert planned is not None
    assert planned.assets == ("predictions",)
    assert (planned.first, planned.last) == (DAYS[0], DAYS[2])


def test_a_corrected_day_goes_through_alone() -> None:
    everything = written(
        "raw", "reference", "table", "features", "mart", "model", "predictions", days=DAYS[:3]
    )
    planned = next_run(NODES, ProductState(everything, waiting(DAYS[1]), judged_snapshot=5))
    assert planned is not None
    assert (planned.first, planned.last) == (DAYS[1], DAYS[1])
    assert planned.assets == ("raw", "table", "features", "predictions")


def test_a_new_reference_does_not_remake_the_past() -> None:
    everything = written(
        "raw", "reference", "table", "features", "mart", "model", "predictions", days=DAYS[:3]
    )
    everything["reference"] = {WHOLE: 9}
    assert next_run(NODES, ProductState(everything, {}, judged_snapshot=9)) is None


def test_a_failing_day_is_not_built_on_and_the_others_are() -> None:
    state = ProductState(
        written("raw", "reference", days=DAYS[:3]), {}, {"raw": frozenset({DAYS[1]})}
    )
    ranges = []
    failed: set[str] = set()
    while (planned := next_run(NODES, state, failed)) is not None:
        failed.add(planned.fingerprint)
        ranges.append((planned.first, planned.last))
    assert ranges == [(DAYS[0], DAYS[0]), (DAYS[2], DAYS[2]), (WHOLE, WHOLE)], (
        "the good days, and the gate's decision"
    )


def test_a_failing_table_stops_all_that_follows_but_not_the_gates_decision() -> None:
    state = ProductState(
        written("raw", "reference", "table", days=DAYS[:3]), {}, {"table": frozenset({WHOLE})}
    )
    planned = next_run(NODES, state)
    assert planned is not None
    assert planned.assets == ("release",)


def test_a_mended_file_lifts_the_bar() -> None:
    state = ProductState(
        written("raw", "reference", "table", "features", "mart", days=DAYS[:1]),
        waiting(DAYS[1]),
        {"raw": frozenset({DAYS[1]})},
    )
    planned = next_run(NODES, state)
    assert planned is not None
    assert planned.assets == ("raw", "table", "features")


@pytest.mark.parametrize(
    ("last_day", "weeks"),
    [(6, None), (12, None), (13, ("2013-01-07", "2013-01-07")), (27, ("2013-01-07", "2013-01-21"))],
)
def test_weeks_run_when_whole(last_day: int, weeks: tuple[str, str] | None) -> None:
    nodes = [node for node in NODES if node.name in {"raw", "features", "drift"}]
    # The first week of 2013 begins on 31 December 2012, before the first day.
    state = ProductState(written("raw", "features", days=DAYS[:last_day]), {}, judged_snapshot=5)
    planned = next_run(nodes, state)
    assert (None if planned is None else (planned.first, planned.last)) == weeks


def test_the_release_is_decided_once_per_state() -> None:
    everything = written(
        "raw", "reference", "table", "features", "mart", "model", "predictions", days=DAYS[:3]
    )
    planned = next_run(NODES, ProductState(everything, {}, judged_snapshot=4))
    assert planned is not None
    assert planned.assets == ("release",)
    assert next_run(NODES, ProductState(everything, {}, judged_snapshot=5)) is None


def test_failed_work_is_passed_over_until_the_state_changes() -> None:
    state = ProductState(written("reference", days=[]), waiting(DAYS[0]))
    planned = next_run(NODES, state)
    assert planned is not None
    assert next_run(NODES, state, {planned.fingerprint}) != planned
    corrected = ProductState(state.writes, {"raw": SourceState({DAYS[0]: ("another hash",)})})
    again = next_run(NODES, corrected, {planned.fingerprint})
    assert again is not None
    assert again.assets == planned.assets


def test_days_are_not_built_on_a_past_that_fails() -> None:
    nodes = [
        Node("table", "daily", "source", ()),
        Node("plan", "daily", "source", ()),
        Node("features", "daily", "table", ("plan",), history=("table",)),
    ]
    writes = written("table", "plan", days=DAYS[:5])
    planned = next_run(nodes, ProductState(writes, {}, {"table": frozenset({DAYS[2]})}))
    assert planned is not None
    assert (planned.first, planned.last) == (DAYS[0], DAYS[2])
    assert next_run(nodes, ProductState(writes, {}, {"table": frozenset({WHOLE})})) is None
    del writes["table"][DAYS[2]]
    planned = next_run(nodes, ProductState(writes, {}, {"table": frozenset({DAYS[2]})}))
    assert planned is not None
    assert planned.last == DAYS[4], "a day that never came is no reason to stop"


def test_what_was_written_and_not_checked_is_made_again() -> None:
    everything = written(
        "raw", "reference", "table", "features", "mart", "model", "predictions", days=DAYS[:3]
    )
    state = ProductState(
        everything, {}, unverified={"features": frozenset({DAYS[1]})}, judged_snapshot=5
    )
    planned = next_run(NODES, state)
    assert planned is not None
    assert (planned.first, planned.last) == (DAYS[1], DAYS[1])
    assert planned.assets == ("features", "predictions")


def test_a_model_that_was_recorded_and_not_checked_is_trained_again() -> None:
    everything = written(
        "raw", "reference", "table", "features", "mart", "model", "predictions", days=DAYS[:3]
    )
    state = ProductState(
        everything, {}, unverified={"model": frozenset({WHOLE})}, judged_snapshot=5
    )
    planned = next_run(NODES, state)
    assert planned is not None
    assert planned.assets == ("model",)
