"""What is behind, worked out by hand on a small product: raw → table → features, model, week."""

import datetime as dt
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from analytics_platform.lake.records import WHOLE
from analytics_platform.planning import History, Node, ProductState, SourceState, next_run

DAYS = [f"2013-01-{day:02d}" for day in range(1, 32)]
NODES = [
    Node("raw", "daily", "source", ()),
    Node("reference", "whole", "source", ()),
    Node("table", "daily", "table", ("raw",)),
    Node("features", "daily", "table", ("table", "reference")),
    Node("mart", "whole", "table", ("table",)),
    Node(
        "challenger",
        "whole",
        "challenger",
        ("features",),
        (dt.date(2013, 1, 1), dt.date(2013, 1, 3)),
    ),
    Node("model", "whole", "champion", ("challenger",)),
    Node("predictions", "daily", "table", ("features", "model")),
    Node("drift", "weekly", "table", ("features",)),
    Node("release", "whole", "release", ("raw", "table", "features", "mart", "drift")),
]
DECIDED: dict[str, Any] = {"trained": {"challenger": 4}, "decided": {"model": 5}}
"""A challenger was trained, and whether it is champion has been decided."""


def written(*assets: str, days: list[str], snapshot: int = 5) -> dict[str, dict[str, int]]:
    whole = {"reference", "mart", "model"}
    return {
        asset: {WHOLE: snapshot} if asset in whole else dict.fromkeys(days, snapshot)
        for asset in assets
    }


def waiting(*days: str) -> dict[str, SourceState]:
    return {"raw": SourceState({day: (f"hash of {day}",) for day in days})}


def all_planned(
    nodes: list[Node], state: ProductState, most_partitions: int | None = None
) -> list[tuple[tuple[str, ...], str, str]]:
    """Every run that one look at a state would start, if each were passed over in turn."""
    found: list[tuple[tuple[str, ...], str, str]] = []
    passed_over: set[str] = set()
    while (planned := next_run(nodes, state, passed_over, most_partitions)) is not None:
        passed_over.add(planned.fingerprint)
        found.append((planned.assets, planned.first, planned.last))
    return found


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
    assert planned.assets == ("challenger", "model")
    tables |= written("model", days=[], snapshot=6)
    planned = next_run(NODES, ProductState(tables, {}, judged_snapshot=6, **DECIDED))
    assert planned is not None
    assert planned.assets == ("predictions",)
    assert (planned.first, planned.last) == (DAYS[0], DAYS[2])


def test_a_corrected_day_goes_through_alone() -> None:
    everything = written(
        "raw", "reference", "table", "features", "mart", "model", "predictions", days=DAYS[:3]
    )
    planned = next_run(
        NODES, ProductState(everything, waiting(DAYS[1]), judged_snapshot=5, **DECIDED)
    )
    assert planned is not None
    assert (planned.first, planned.last) == (DAYS[1], DAYS[1])
    assert planned.assets == ("raw", "table", "features", "predictions")


def test_a_new_reference_does_not_remake_the_past() -> None:
    everything = written(
        "raw", "reference", "table", "features", "mart", "model", "predictions", days=DAYS[:3]
    )
    everything["reference"] = {WHOLE: 9}
    assert next_run(NODES, ProductState(everything, {}, judged_snapshot=9, **DECIDED)) is None


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
    planned = next_run(NODES, ProductState(everything, {}, judged_snapshot=4, **DECIDED))
    assert planned is not None
    assert planned.assets == ("release",)
    assert next_run(NODES, ProductState(everything, {}, judged_snapshot=5, **DECIDED)) is None


def test_failed_work_is_passed_over_until_the_state_changes() -> None:
    state = ProductState(written("reference", days=[]), waiting(DAYS[0]))
    planned = next_run(NODES, state)
    assert planned is not None
    assert next_run(NODES, state, {planned.fingerprint}) != planned
    corrected = ProductState(state.writes, {"raw": SourceState({DAYS[0]: ("another hash",)})})
    again = next_run(NODES, corrected, {planned.fingerprint})
    assert again is not None
    assert again.assets == planned.assets


# Features of a day look back on the table from four days before to two days before.
LOOKING_BACK = [
    Node("table", "daily", "source", ()),
    Node("plan", "daily", "source", ()),
    Node("features", "daily", "table", ("plan",), history=(History("table", -4, -2),)),
    Node("predictions", "daily", "table", ("features",)),
]


def test_a_corrected_day_reaches_the_days_that_look_back_on_it_and_no_others() -> None:
    everything = written("table", "plan", "features", "predictions", days=DAYS[:20])
    correction = ProductState(everything, {"table": SourceState({DAYS[9]: ("corrected",)})})
    assert all_planned(LOOKING_BACK, correction) == [(("table",), DAYS[9], DAYS[9])]
    everything["table"][DAYS[9]] = 6
    loaded = ProductState(everything, {})
    assert all_planned(LOOKING_BACK, loaded) == [(("features", "predictions"), DAYS[11], DAYS[13])]
    for table, snapshot in (("features", 7), ("predictions", 8)):
        everything[table] |= dict.fromkeys(DAYS[11:14], snapshot)
    assert next_run(LOOKING_BACK, ProductState(everything, {})) is None


def test_only_days_that_stand_look_back() -> None:
    everything = written("table", "plan", "features", "predictions", days=DAYS[:20])
    everything["table"][DAYS[18]] = 6
    assert next_run(LOOKING_BACK, ProductState(everything, {})) is None


def test_what_was_written_in_the_same_moment_is_no_newer_past() -> None:
    everything = written("table", "plan", "features", "predictions", days=DAYS[:20], snapshot=5)
    assert next_run(LOOKING_BACK, ProductState(everything, {})) is None


def test_all_the_past_is_a_window_that_begins_before_any_day() -> None:
    nodes = [
        *LOOKING_BACK[:2],
        Node("features", "daily", "table", ("plan",), history=(History("table", -(10**6), -2),)),
    ]
    everything = written("table", "plan", "features", days=DAYS)
    everything["table"][DAYS[0]] = 6
    planned = all_planned(nodes, ProductState(everything, {}))
    assert planned == [(("features",), DAYS[2], DAYS[-1])]


def test_days_are_not_built_on_a_past_that_fails() -> None:
    nodes = [
        Node("table", "daily", "source", ()),
        Node("plan", "daily", "source", ()),
        Node("features", "daily", "table", ("plan",), history=(History("table", -9, -1),)),
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


def test_a_past_that_fails_bars_the_days_that_look_back_on_it_and_no_others() -> None:
    state = ProductState(
        written("table", "plan", days=DAYS[:20]), {}, {"table": frozenset({DAYS[5], DAYS[12]})}
    )
    assert [(first, last) for _, first, last in all_planned(LOOKING_BACK, state)] == [
        (DAYS[0], DAYS[6]),
        (DAYS[10], DAYS[13]),
        (DAYS[17], DAYS[19]),
    ]


def test_a_long_range_goes_in_several_runs_the_earliest_first() -> None:
    arrived = waiting(*DAYS[:5], *DAYS[7:9])
    state = ProductState(written("reference", days=[]), arrived)
    ranges = [planned[1:] for planned in all_planned(NODES, state, most_partitions=2)]
    assert ranges == [
        (DAYS[0], DAYS[1]),
        (DAYS[2], DAYS[3]),
        (DAYS[4], DAYS[4]),
        (DAYS[7], DAYS[8]),
        (WHOLE, WHOLE),
    ]
    planned = next_run(NODES, state, most_partitions=5)
    assert planned is not None
    assert (planned.first, planned.last) == (DAYS[0], DAYS[4])


def test_weeks_are_cut_as_days_are() -> None:
    nodes = [node for node in NODES if node.name in {"raw", "features", "drift"}]
    state = ProductState(written("raw", "features", days=DAYS[:27]), {}, judged_snapshot=5)
    planned = next_run(nodes, state, most_partitions=2)
    assert planned is not None
    assert (planned.first, planned.last) == ("2013-01-07", "2013-01-14")


def test_marts_and_the_model_wait_for_the_last_range() -> None:
    everything = written("raw", "reference", "table", "features", days=DAYS[:4])
    state = ProductState(everything, waiting(*DAYS[4:7]))
    assert [planned[1:] for planned in all_planned(NODES, state, most_partitions=2)] == [
        (DAYS[4], DAYS[5]),
        (DAYS[6], DAYS[6]),
        (WHOLE, WHOLE),
    ], "two ranges and the gate's decision"
    everything = written("raw", "reference", "table", "features", days=DAYS[:7])
    whole = [assets for assets, _, _ in all_planned(NODES, ProductState(everything, {}))]
    assert whole == [("mart",), ("challenger", "model"), ("release",)]


def test_a_file_for_another_day_does_not_start_failed_work_again() -> None:
    state = ProductState(written("reference", days=[]), waiting(DAYS[0]))
    planned = next_run(NODES, state)
    assert planned is not None
    more = ProductState(state.writes, waiting(DAYS[0], DAYS[5]))
    other = next_run(NODES, more, {planned.fingerprint})
    assert other is not None
    assert other.first == DAYS[5]


def test_what_was_written_and_not_checked_is_made_again() -> None:
    everything = written(
        "raw", "reference", "table", "features", "mart", "model", "predictions", days=DAYS[:3]
    )
    state = ProductState(
        everything, {}, unverified={"features": frozenset({DAYS[1]})}, judged_snapshot=5, **DECIDED
    )
    planned = next_run(NODES, state)
    assert planned is not None
    assert (planned.first, planned.last) == (DAYS[1], DAYS[1])
    assert planned.assets == ("features", "predictions")


def test_a_champion_that_was_recorded_and_not_checked_is_decided_on_again() -> None:
    everything = written(
        "raw", "reference", "table", "features", "mart", "model", "predictions", days=DAYS[:3]
    )
    state = ProductState(
        everything, {}, unverified={"model": frozenset({WHOLE})}, judged_snapshot=5, **DECIDED
    )
    planned = next_run(NODES, state)
    assert planned is not None
    assert planned.assets == ("model",)


def test_a_challenger_is_decided_on_and_by_itself_changes_nothing() -> None:
    everything = written(
        "raw", "reference", "table", "features", "mart", "model", "predictions", days=DAYS[:3]
    )
    trained = {"trained": {"challenger": 9}, "decided": {"model": 5}}
    state = ProductState(everything, {}, judged_snapshot=5, **trained)
    assert [assets for assets, _, _ in all_planned(NODES, state)] == [("model",)], "no release"
    refused = {"trained": {"challenger": 9}, "decided": {"model": 10}}
    assert next_run(NODES, ProductState(everything, {}, judged_snapshot=5, **refused)) is None


def test_a_refused_first_challenger_is_not_scored_with() -> None:
    everything = written("raw", "reference", "table", "features", "mart", days=DAYS[:3])
    state = ProductState(everything, {}, judged_snapshot=5, **DECIDED)
    assert next_run(NODES, state) is None


@pytest.mark.parametrize("case", ["nothing stands", "a day is corrected", "gaps, and failed runs"])
def test_the_work_of_planning_grows_with_the_days_and_no_faster(case: str) -> None:
    """Counted in lines run, which a busy machine does not change; 10,000 days are 27 years."""
    few, many = _long_product(case, 2_500), _long_product(case, 10_000)
    assert lines_run(lambda: next_run(*many)) < 5 * lines_run(lambda: next_run(*few))

    tracemalloc.start()
    assert next_run(*many) is not None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


def _long_product(case: str, days_of_it: int) -> tuple[list[Node], ProductState, set[str], int]:
    """What to ask `next_run` of a product with every kind of edge and as many days."""
    days = [str(dt.date(1990, 1, 1) + dt.timedelta(days=day)) for day in range(days_of_it)]
    nodes = [
        Node("outcomes", "daily", "source", ()),
        Node("plan", "daily", "source", ()),
        Node("staged", "daily", "table", ("outcomes", "plan")),
        Node("facts", "daily", "table", ("staged",)),
        Node("features", "daily", "table", ("plan",), history=(History("facts", -(10**6), -2),)),
        Node("predictions", "daily", "table", ("features",)),
        Node("scored", "daily", "table", ("predictions", "facts")),
        Node("performance", "daily", "table", ("scored",)),
        Node("drift", "weekly", "table", ("features",)),
        Node("mart", "whole", "table", ("facts",)),
    ]
    names = [node.name for node in nodes[:8]]
    everything = {name: dict.fromkeys(days, 1) for name in names} | {"mart": {WHOLE: 9}}
    failed: set[str] = set()
    if case == "nothing stands":
        waits = {name: SourceState({day: (f"{day}" * 6,) for day in days}) for name in names[:2]}
        state = ProductState({}, waits)
    elif case == "a day is corrected":
        everything["facts"][days[0]] = 2
        state = ProductState(everything, {})
    else:
        state = ProductState(everything, {"plan": SourceState(dict.fromkeys(days[::2], ("f",)))})
        for _ in range(20):
            planned = next_run(nodes, state, failed, 400)
            assert planned is not None
            failed.add(planned.fingerprint)
    return nodes, state, failed, 400


def lines_run(call: Callable[[], object]) -> int:
    """How many lines of Python a call runs."""
    count = 0

    def trace(_frame: FrameType, event: str, _arg: object) -> Callable[..., Any]:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def test_what_was_made_of_days_that_were_taken_out_is_behind() -> None:
    """As after a revert of days that no release has: they stand in no daily asset any more."""
    daily = written("raw", "table", "features", days=DAYS[:3])
    rest = written("reference", "mart", days=[])
    removed = {name: {DAYS[3]: 8} for name in ("raw", "table", "features")}
    state = ProductState({**daily, **rest}, {}, judged_snapshot=8, removed=removed)
    nodes = [node for node in NODES if node.name in {*daily, *rest, "release"}]

    planned = next_run(nodes, state)
    assert planned is not None
    assert planned.assets == ("mart",)

    made = {**daily, **rest, "mart": {WHOLE: 9}}
    planned = next_run(nodes, ProductState(made, {}, judged_snapshot=8, removed=removed))
    assert planned is not None
    assert planned.assets == ("release",), "the rest may go out"
    assert next_run(nodes, ProductState(made, {}, judged_snapshot=9, removed=removed)) is None


def test_a_removal_alone_is_a_change_to_be_judged() -> None:
    nodes = [node for node in NODES if node.name in {"raw", "release"}]
    writes = {"raw": {DAYS[0]: 3}}
    removed = {"raw": {DAYS[1]: 8}}
    planned = next_run(nodes, ProductState(writes, {}, judged_snapshot=5, removed=removed))
    assert planned is not None
    assert planned.assets == ("release",)


def test_a_day_taken_out_of_the_history_remakes_those_that_looked_back_on_it() -> None:
    nodes = [
        Node("past", "daily", "source", ()),
        Node("plan", "daily", "source", ()),
        Node("features", "daily", "table", ("plan",), history=(History("past", -5, -1),)),
    ]
    writes = {
        "past": {DAYS[0]: 1},
        "plan": dict.fromkeys(DAYS[:4], 2),
        "features": dict.fromkeys(DAYS[:4], 3),
    }
    state = ProductState(writes, {}, removed={"past": {DAYS[1]: 8}})
    assert all_planned(nodes, state) == [(("features",), DAYS[2], DAYS[3])]
