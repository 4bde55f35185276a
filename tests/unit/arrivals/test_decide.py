"""What should become of each file, in pure functions."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.arrivals.decide import BEING_WRITTEN, Decision, decide, to_hash
from analytics_platform.arrivals.expected import missing_partitions
from analytics_platform.arrivals.landing import LandingFolder
from analytics_platform.arrivals.zone import SeenFile
from analytics_platform.lake.ledger import KnownFile, LedgerEntry

NOW = 1_000_000.0
SALES = LandingFolder(
    product="p",
    name="sales",
    folder="in",
    pattern="sales_{partition}*.csv",
    first_day=dt.date(2013, 1, 1),
    end_day=dt.date(2013, 2, 1),
)
STOCK = LandingFolder(product="p", name="stock", folder="in", pattern="stock.csv")
SOURCES = [SALES, STOCK]


def seen(path: str, size: int = 10, version: str = "v1", **changes: object) -> SeenFile:
    return dataclasses.replace(SeenFile(path, size, version, NOW - 100), **changes)  # type: ignore[arg-type]


def entry(path: str, status: str = "loaded", sha256: str = "", **changes: object) -> LedgerEntry:
    file = LedgerEntry("p", "sales", path[9:19], path, status, 10, "v1", sha256)  # type: ignore[arg-type]
    return dataclasses.replace(file, **changes)  # type: ignore[arg-type]


def known(*entries: LedgerEntry, seconds: float = 0.0) -> dict[str, KnownFile]:
    return {
        one.path: KnownFile(one, seconds, one if one.status == "loaded" else None)
        for one in entries
    }


def one(decisions: Sequence[Decision]) -> Decision:
    (decision,) = decisions
    return decision


A, B = "in/sales_2013-01-01.csv", "in/sales_2013-01-02.csv"


def test_a_new_file_is_due_and_told() -> None:
    decision = one(decide("p", SOURCES, [seen(A)], {}, {}, NOW))
    assert (decision.is_due, decision.is_new) == (True, True)
    assert (decision.entry.source, decision.entry.partition) == ("sales", "2013-01-01")
    assert decision.entry.status == "waiting"


@pytest.mark.parametrize("status", ["loaded", "rejected"])
def test_what_is_done_and_unchanged_is_left_alone(status: str) -> None:
    decision = one(decide("p", SOURCES, [seen(A)], known(entry(A, status, "x")), {}, NOW))
    assert (decision.is_due, decision.is_new) == (False, False)


@pytest.mark.parametrize("stands", [True, False])
def test_a_duplicate_is_left_alone_while_its_original_stands(stands: bool) -> None:
    files = known(entry(B, "duplicate", "x"), *([entry(A, "loaded", "x")] if stands else []))
    lying = [seen(B), *([seen(A)] if stands else [])]
    decision = {d.entry.path: d for d in decide("p", SOURCES, lying, files, {}, NOW)}[B]
    assert decision.is_due is decision.is_new is not stands


@pytest.mark.parametrize("status", ["waiting", "unmatched", "out_of_range", "vanished"])
def test_what_is_not_done_is_due_whatever_the_ledger_said(status: str) -> None:
    """As when a source's pattern or the product's days were mended, or a file came back."""
    decision = one(decide("p", SOURCES, [seen(A)], known(entry(A, status)), {}, NOW))
    assert decision.is_due
    assert decision.is_new == (status != "waiting")


def test_a_touched_file_is_told_and_not_loaded() -> None:
    files = known(entry(A, "loaded", "x"))
    decision = one(decide("p", SOURCES, [seen(A, version="v2")], files, {A: "x"}, NOW))
    assert (decision.is_due, decision.is_new) == (False, True)
    assert (decision.entry.status, decision.entry.version) == ("loaded", "v2")


def test_another_content_is_due_even_if_an_older_one_was_the_same() -> None:
    files = {A: KnownFile(entry(A, "loaded", "y"), 0, entry(A, "loaded", "y"))}
    assert one(decide("p", SOURCES, [seen(A, version="v2")], files, {A: "x"}, NOW)).is_due


def test_the_same_content_under_another_name_is_a_duplicate() -> None:
    files = known(entry(A, "loaded", "x"))
    decisions = decide("p", SOURCES, [seen(A), seen(B)], files, {B: "x"}, NOW)
    decision = {d.entry.path: d for d in decisions}[B]
    assert (decision.entry.status, decision.is_due) == ("duplicate", False)
    assert A in decision.entry.reason


def test_what_takes_the_place_of_a_renamed_file_is_no_duplicate() -> None:
    """Two files swap their names: each content stands where the other is about to be."""
    files = known(entry(A, "loaded", "x"), entry(B, "loaded", "y"))
    lying = [seen(A, version="v2"), seen(B, version="v2")]
    decisions = decide("p", SOURCES, lying, files, {A: "y", B: "x"}, NOW)
    assert [d.is_due for d in decisions] == [True, True]


def test_a_content_of_another_source_is_no_duplicate() -> None:
    files = known(entry(A, "loaded", "x"))
    path = "in/stock.csv"
    decisions = decide("p", SOURCES, [seen(A), seen(path)], files, {path: "x"}, NOW)
    assert {d.entry.path: d.is_due for d in decisions} == {A: False, path: True}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("in/sales_2013-02-30.csv", "unmatched"),
        ("in/sales_2013-1-1.csv", "unmatched"),
        ("in/Sales_2013-01-01.csv", "unmatched"),
        ("in/deeper/sales_2013-01-01.csv", "unmatched"),
        ("sales_2013-01-01.csv", "unmatched"),
        ("in/sales_2013-01-01.csv\n", "unmatched"),
        ("in/sales_2013-01-01\n.csv", "unmatched"),
        ("in/sales_2013-01-01'\"; drop é 🛫.csv", "waiting"),
        ("in/sales_2013-01-01" + "x" * 200 + ".csv", "waiting"),
        ("in/sales_2012-12-31.csv", "out_of_range"),
        ("in/sales_2013-02-01.csv", "out_of_range"),
        ("in/sales_2013-01-31.csv", "waiting"),
        ("in/stock.csv", "waiting"),
    ],
)
def test_names_are_matched_reported_and_bounded(path: str, status: str) -> None:
    decision = one(decide("p", SOURCES, [seen(path)], {}, {}, NOW))
    assert decision.entry.status == status
    assert decision.is_due == (status == "waiting")
    assert bool(decision.entry.reason) == (status != "waiting")


def test_a_file_that_may_be_of_two_sources_is_loaded_by_neither() -> None:
    both = [*SOURCES, LandingFolder(product="p", name="all", folder="in", pattern="*.csv")]
    for sources in (both, both[::-1]):
        found = decide("p", sources, [seen(A)], {}, {}, NOW)
        assert to_hash(sources, [seen(A)], known(entry(B, "loaded", "x"))) == []
        decision = one(found)
        assert (decision.entry.status, decision.is_due) == ("unmatched", False)
        assert {"sales", "all"} <= set(decision.entry.reason.split())


@pytest.mark.parametrize(
    ("kind", "path", "status"),
    [
        ("link", A, "rejected"),
        ("link", "in/other", "unmatched"),
        ("folder", A, "rejected"),
        ("other", A, "rejected"),
    ],
)
def test_what_is_no_file_is_told_and_never_opened(kind: str, path: str, status: str) -> None:
    file = seen(path, kind=kind, fault="it is no file")
    assert to_hash(SOURCES, [file], known(entry(B, "loaded", "x"))) == []
    decision = one(decide("p", SOURCES, [file], {}, {}, NOW))
    assert (decision.entry.status, decision.is_due) == (status, False)
    assert "it is no file" in decision.entry.reason


def test_a_folder_of_another_name_is_nothing() -> None:
    assert decide("p", SOURCES, [seen("in", kind="folder", fault="f")], {}, {}, NOW) == []


@pytest.mark.parametrize("status", ["waiting", "rejected", "unmatched", "out_of_range"])
def test_a_file_that_was_not_loaded_and_is_gone_has_vanished(status: str) -> None:
    decision = one(decide("p", SOURCES, [], known(entry(A, status)), {}, NOW))
    assert (decision.entry.status, decision.is_new) == ("vanished", True)
    assert status.replace("_", " ") in decision.entry.reason


@pytest.mark.parametrize("status", ["loaded", "duplicate", "vanished"])
def test_a_file_that_is_done_may_be_tidied_away(status: str) -> None:
    assert decide("p", SOURCES, [], known(entry(A, status, "x")), {}, NOW) == []


def settling(seconds: float) -> list[LandingFolder]:
    return [dataclasses.replace(SALES, settle_seconds=seconds)]


@pytest.mark.parametrize(
    ("age", "seen_before", "is_due"),
    [
        (4, None, False),
        (6, None, True),
        # A clock ahead of this one: it must have stood since it was seen.
        (-1000, None, False),
        (-1000, 4, False),
        (-1000, 6, True),
    ],
)
def test_a_file_is_due_once_it_stands_still(
    age: float, seen_before: float | None, is_due: bool
) -> None:
    before = (
        known(entry(A, "waiting", reason=BEING_WRITTEN), seconds=seen_before) if seen_before else {}
    )
    decision = one(decide("p", settling(5), [seen(A, modified_at=NOW - age)], before, {}, NOW))
    assert decision.is_due == is_due
    assert decision.entry.reason == ("" if is_due else BEING_WRITTEN)


def test_a_file_that_goes_on_growing_is_not_due() -> None:
    before = known(entry(A, "waiting", reason=BEING_WRITTEN), seconds=60)
    file = seen(A, size=11, version="v2", modified_at=NOW - 1)
    assert not one(decide("p", settling(5), [file], before, {}, NOW)).is_due


def test_a_file_waits_for_its_own_marker_and_for_no_older_one() -> None:
    sources = [dataclasses.replace(SALES, marker="{file}.done", settle_seconds=1e9)]
    file, marker = seen(A), seen(f"{A}.done")
    (decision,) = decide("p", sources, [file], {}, {}, NOW)
    assert not decision.is_due
    assert decision.entry.reason == f"it waits for its marker {A}.done"
    (decision,) = decide("p", sources, [file, marker], {}, {}, NOW)
    assert decision.is_due, "the marker says it is complete, however young it is"
    corrected = seen(A, version="v2", modified_at=NOW - 1)
    decisions = decide("p", sources, [corrected, marker], known(entry(A, "loaded", "x")), {}, NOW)
    assert not any(d.is_due for d in decisions)


def test_only_files_of_a_known_size_are_hashed() -> None:
    files = known(entry(A, "loaded", "x"))
    lying = [seen(A), seen(B), seen("in/sales_2013-01-03.csv", size=11), seen("in/else", size=10)]
    assert [file.path for file in to_hash(SOURCES, lying, files)] == [B]


def test_a_waiting_file_is_hashed_once() -> None:
    files = known(entry(A, "loaded", "x"), entry(B, "waiting", "y"))
    assert to_hash(SOURCES, [seen(A), seen(B)], files) == []


def days(*numbers: int) -> list[str]:
    return [f"2013-01-{number:02}" for number in numbers]


@pytest.mark.parametrize(
    ("came", "due_hours", "now", "missing"),
    [
        ([], None, "2026-01-01T00:00", []),
        (days(1, 2, 4), None, "2026-01-01T00:00", days(3)),
        (days(3), None, "2012-01-01T00:00", days(1, 2)),
        ([], 30, "2013-01-02T05:59", []),
        ([], 30, "2013-01-02T06:00", days(1)),
        (days(1), 30, "2013-01-04T06:00", days(2, 3)),
        # Delivered the evening before: day 3 is due on the 2nd at 18:00.
        (days(1, 2), -6, "2013-01-02T17:59", []),
        (days(1, 2), -6, "2013-01-02T18:00", days(3)),
        (days(*range(1, 31)), 0, "2026-01-01T00:00", days(31)),
    ],
)
def test_files_that_should_be_there_are_named(
    came: list[str], due_hours: float | None, now: str, missing: list[str]
) -> None:
    source = dataclasses.replace(SALES, due_hours=due_hours)
    moment = dt.datetime.fromisoformat(now).replace(tzinfo=dt.UTC)
    assert missing_partitions(source, came, moment) == missing


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz"), st.integers(1, 3)), max_size=4
    ),
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz")), max_size=4),
)
def test_every_file_is_decided_once_and_a_second_look_has_no_news(
    lie: list[tuple[str, str, int]], stood: list[tuple[str, str]]
) -> None:
    """Whatever lies there and is known: nothing is skipped, and telling it again is no news."""

    def path(name: str) -> str:
        return f"in/sales_2013-01-01{name}.csv"

    lying = {path(name): (seen(path(name), version=f"v{v}"), sha) for name, sha, v in lie}
    files = known(*(entry(path(name), "loaded", sha) for name, sha in dict(stood).items()))
    here = [file for file, _ in lying.values()]
    hashes = {file.path: lying[file.path][1] for file in to_hash(SOURCES, here, files)}

    decisions = decide("p", SOURCES, here, files, hashes, NOW)

    assert sorted(d.entry.path for d in decisions) == sorted(lying)
    for decision in decisions:
        assert not (decision.is_due and decision.entry.status != "waiting")
    after = {
        **files,
        **{
            d.entry.path: KnownFile(
                d.entry,
                0,
                files[d.entry.path].standing if d.entry.path in files else None,
            )
            for d in decisions
        },
    }
    again_hashes = {file.path: lying[file.path][1] for file in to_hash(SOURCES, here, after)}
    again = decide("p", SOURCES, here, after, again_hashes, NOW)
    assert not any(d.is_new for d in again)
    assert {d.entry.path for d in again if d.is_due} == {
        d.entry.path for d in decisions if d.is_due
    }
