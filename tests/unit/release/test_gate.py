"""The gate on a real lake: what counts as held, case by case."""

import json

import pytest

from analytics_platform.lake import CheckRecord, Lake, WriteRecord
from analytics_platform.lake.records import WHOLE
from analytics_platform.release import (
    GateRefusedError,
    NoReleaseError,
    last_decision,
    latest_release,
    publish,
    released,
)

REQUIRED = {"t": ["sound"]}


def write(lake: Lake, value: int, *, partition: str = WHOLE, record: bool = True) -> None:
    with lake.transaction("test") as transaction:
        con = transaction.connection
        con.execute("CREATE SCHEMA IF NOT EXISTS lake.p")
        con.execute("CREATE TABLE IF NOT EXISTS lake.p.t (value INTEGER)")
        con.execute("DELETE FROM lake.p.t")
        con.execute("INSERT INTO lake.p.t SELECT ? FROM range(100)", [value])
        if record:
            transaction.record_writes([WriteRecord("p", "t", partition, "run", 1)])


def check(lake: Lake, *, passed: bool = True, partition: str = WHOLE) -> None:
    with lake.transaction("test") as transaction:
        transaction.record_checks(
            [CheckRecord("p", "t", "sound", partition, passed, True, "run", {"seen": 1})],
            transaction.snapshot_id - 1,
        )


def test_what_was_checked_after_its_write_is_released(lake: Lake) -> None:
    write(lake, 1)
    check(lake)
    release = publish(lake, "p", REQUIRED, "run")
    assert (release.number, release.held) == (1, 1)
    with released(lake, "p") as con:
        assert con.execute("SELECT DISTINCT value FROM t").fetchall() == [(1,)]


def test_readers_keep_the_release_while_the_working_state_moves(lake: Lake) -> None:
    write(lake, 1)
    check(lake)
    publish(lake, "p", REQUIRED, "run")
    write(lake, 2)
    with released(lake, "p") as con:
        assert con.execute("SELECT DISTINCT value FROM t").fetchall() == [(1,)]


def _failed(lake: Lake) -> None:
    write(lake, 1)
    check(lake, passed=False)


def _older(lake: Lake) -> None:
    write(lake, 1)
    check(lake)
    write(lake, 2)


def _never_ran(lake: Lake) -> None:
    write(lake, 1)


def _other_partition(lake: Lake) -> None:
    write(lake, 1, partition="2013-01-01")
    check(lake, partition="2013-01-02")


def _failed_again_after_holding(lake: Lake) -> None:
    write(lake, 1)
    check(lake)
    check(lake, passed=False)


def _changed_by_hand(lake: Lake) -> None:
    write(lake, 1)
    check(lake)
    write(lake, 2, record=False)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (_failed, "failed"),
        (_older, "older than the data"),
        (_never_ran, "did not run"),
        (_other_partition, "did not run"),
        (_failed_again_after_holding, "failed"),
        (_changed_by_hand, "outside any recorded run"),
    ],
)
def test_anything_less_is_refused_and_recorded(lake: Lake, state: object, reason: str) -> None:
    state(lake)  # type: ignore[operator]
    with pytest.raises(GateRefusedError, match=reason):
        publish(lake, "p", REQUIRED, "run")
    assert latest_release(lake, "p") is None
    decision = last_decision(lake, "p")
    assert decision is not None
    assert reason in decision.refusal


def test_a_whole_table_check_speaks_for_each_partition(lake: Lake) -> None:
    write(lake, 1, partition="2013-01-01")
    check(lake)
    assert publish(lake, "p", REQUIRED, "run").number == 1


def test_an_unchanged_state_is_not_released_twice(lake: Lake) -> None:
    write(lake, 1)
    check(lake)
    first = publish(lake, "p", REQUIRED, "run")
    again = publish(lake, "p", REQUIRED, "run")
    assert (again.number, again.snapshot_id, again.is_new) == (1, first.snapshot_id, False)
    write(lake, 2)
    check(lake)
    assert publish(lake, "p", REQUIRED, "run").number == 2


def test_an_asset_that_was_never_written_is_said_to_be_absent(lake: Lake) -> None:
    write(lake, 1)
    check(lake)
    publish(lake, "p", {**REQUIRED, "model": ["beats"]}, "run")
    evidence = json.loads(lake.query("SELECT evidence FROM lake.ops.releases").item())
    assert evidence["absent"] == ["model"]


def test_without_a_release_there_is_nothing_to_read(lake: Lake) -> None:
    with pytest.raises(NoReleaseError, match="ap run p"):
        released(lake, "p")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM t",
        "CREATE TABLE lake.p.u (value INTEGER)",
        "SELECT * FROM read_csv('/etc/hostname')",
        "SET enable_external_access = true",
        "COPY t TO '{catalog}.csv'",
    ],
)
def test_a_reader_of_a_release_can_reach_nothing_else(lake: Lake, statement: str) -> None:
    import duckdb

    write(lake, 1)
    check(lake)
    publish(lake, "p", REQUIRED, "run")
    with released(lake, "p") as con, pytest.raises(duckdb.Error):
        con.execute(statement.format(catalog=lake.catalog))


def test_unverified_partitions_are_found_until_tries_run_out(lake: Lake) -> None:
    from analytics_platform.lake import records

    def found() -> dict[str, set[str]]:
        with lake.reader() as con:
            return records.unverified(con, "p", [("t", "sound")], tries=2)

    day = "2013-01-01"
    assert found() == {}
    write(lake, 1, partition=day)
    assert found() == {"t": {day}}
    check(lake, partition=day)
    assert found() == {}
    write(lake, 2, partition=day)
    write(lake, 3, partition=day)
    assert found() == {"t": {day}}
    write(lake, 4, partition=day)
    assert found() == {}, "written three times in vain"
    check(lake, passed=False)
    assert found() == {}, "a check that failed has run"
