"""Partitions put back to what the release has, and nothing else touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from analytics_platform.lake import FileStore, Lake, LakeError, ledger
from analytics_platform.release import NoReleaseError, ReleaseLog, Reverted, publish, revert
from analytics_platform.release.provenance import read_manifest
from tests.unit.lake.writing import FIRST, SECOND, THIRD, by_hand, check, frame, rows, view, write

REQUIRED = {"raw_x": ["sound"], "t": ["sound"], "seen": []}
COLUMNS = {"raw_x": "day", "t": "day", "seen": "day"}
DAY, OTHER, NEW = str(FIRST), str(SECOND), str(THIRD)


def arrive(lake: Lake, store: FileStore, day: Any, content: bytes) -> str:
    """Record the file of a day as loaded; its hash."""
    kept = store.put(content, f"{day}.csv")
    with lake.transaction("load") as transaction:
        entry = ledger.LedgerEntry(
            "p",
            "x",
            str(day),
            f"x/{day}.csv",
            "loaded",
            content_sha256=kept.sha256,
            stored_name=kept.name,
            rows_in_file=2,
            rows_loaded=1,
            rows_quarantined=1,
        )
        ledger.append(transaction.connection, [entry], transaction.snapshot_id)
    return kept.sha256


@pytest.fixture
def log(lake: Lake, store: FileStore) -> ReleaseLog:
    """A product of two days with a release: raw rows, rows kept aside, a table, a view."""
    for day, value in ((FIRST, 1), (SECOND, 2)):
        arrive(lake, store, day, f"{value}".encode())
        for asset in ("raw_x", "t"):
            write(lake, frame(day, value), day, asset=asset)
        write(lake, frame(day, -value), day, asset="quarantine_x", record=False)
        write(lake, frame(day, value), day, asset="raw_x")
    view(lake, "seen", "FROM lake.p.t")
    publish(lake, store, "p", REQUIRED, "run")
    return ReleaseLog(lake, store, "p")


def put_back(log: ReleaseLog, *partitions: str) -> Reverted:
    return revert(log, log.store, REQUIRED, COLUMNS, partitions, "the file was wrong")


def state(lake: Lake) -> dict[str, list[tuple[Any, ...]]]:
    return {table: rows(lake, f"p.{table}") for table in ("raw_x", "quarantine_x", "t", "seen")}


def test_a_released_partition_stands_again_in_every_table(log: ReleaseLog) -> None:
    lake = log.lake
    released, first_file = state(lake), read_manifest(log.store, log.serving().manifest)["arrivals"]
    wrong = arrive(lake, log.store, FIRST, b"wrong")
    for asset in ("raw_x", "t"):
        write(lake, frame(FIRST, 70, 71), FIRST, asset=asset, passed=asset == "t")
    write(lake, frame(FIRST, -70), FIRST, asset="quarantine_x", record=False)
    write(lake, frame(FIRST, 70), FIRST, asset="raw_x", passed=False)
    write(lake, frame(SECOND, 20), SECOND, asset="t")

    done = put_back(log, DAY)

    assert done.release.number == 1
    assert set(done.restored) == {("raw_x", DAY), ("t", DAY)}
    assert done.removed == ()
    assert done.verdict.opens, done.verdict.lines()
    expected = released | {"t": [(FIRST, 1), (SECOND, 20)], "seen": [(FIRST, 1), (SECOND, 20)]}
    assert state(lake) == expected, "the other day keeps what it has since"

    newest = log.newest()
    assert newest is not None
    assert (newest.kind, newest.snapshot) == ("revert", lake.snapshot())
    assert newest.note == "2013-01-01 put back to release 1: the file was wrong"
    assert (newest.serving, newest.latest_number) == (done.release, 1), "readers see what they saw"
    told = lake.query(
        'SELECT "partition", content_sha256, reason FROM lake.ops.arrivals WHERE status = '
        "'reverted'"
    ).rows()
    assert told == [(DAY, first_file[0]["sha256"], "revert to release 1")]
    kinds = lake.query(
        "SELECT asset, \"rows\" FROM lake.ops.writes WHERE kind = 'reverted' ORDER BY 1"
    ).rows()
    assert kinds == [("raw_x", 1), ("t", 1)]

    made = publish(lake, log.store, "p", REQUIRED, "run")
    assert (made.release.number, made.is_new) == (2, True)
    arrivals = read_manifest(log.store, made.release.manifest)["arrivals"]
    assert [file["sha256"] for file in arrivals] == [file["sha256"] for file in first_file]
    assert wrong not in str(arrivals)


def test_a_partition_that_no_release_has_is_taken_out(log: ReleaseLog) -> None:
    before = state(log.lake)
    arrive(log.lake, log.store, THIRD, b"3")
    write(log.lake, frame(THIRD, 3), THIRD, asset="raw_x", passed=False)
    write(log.lake, frame(THIRD, -3), THIRD, asset="quarantine_x", record=False)
    write(log.lake, frame(THIRD, 3), THIRD, asset="raw_x", passed=False)
    done = put_back(log, NEW)
    assert (done.restored, done.removed) == ((), (("raw_x", NEW),))
    assert done.verdict.opens, done.verdict.lines()
    assert state(log.lake) == before
    made = publish(log.lake, log.store, "p", REQUIRED, "run").release
    manifest = read_manifest(log.store, made.manifest)
    assert [file["partition"] for file in manifest["arrivals"]] == [DAY, OTHER]
    assert manifest["writes"]["raw_x"] == {DAY: 1, OTHER: 1}


@pytest.mark.parametrize(("partition", "kind"), [(DAY, "restored"), (NEW, "removed")])
def test_the_failed_check_of_a_rejected_file_is_cleared(
    log: ReleaseLog, partition: str, kind: str
) -> None:
    before = state(log.lake)
    check(log.lake, partition, passed=False, asset="raw_x")
    done = put_back(log, partition)
    assert ("raw_x", partition) in getattr(done, kind)
    assert done.verdict.opens, done.verdict.lines()
    assert state(log.lake) == before


def test_the_ledger_says_of_a_file_again_what_it_said_when_it_was_released(
    log: ReleaseLog,
) -> None:
    with log.lake.transaction("replay") as transaction:
        con = transaction.connection
        standing = ledger.known_files(con, "p")[f"x/{FIRST}.csv"].standing
        assert standing is not None
        told = replace(standing, status="replayed", rows_loaded=2, rows_quarantined=0)
        ledger.append(con, [told], transaction.snapshot_id)

    put_back(log, DAY)

    with log.lake.reader() as con:
        known = ledger.known_files(con, "p")[f"x/{FIRST}.csv"].standing
    assert known is not None
    assert (known.status, known.rows_loaded, known.rows_quarantined) == ("reverted", 1, 1)


def test_what_neither_stands_nor_fails_cannot_be_put_back(log: ReleaseLog) -> None:
    before = log.lake.snapshot(), log.head()
    with pytest.raises(LakeError, match="Nothing of p stands or fails on 2099-01-01"):
        put_back(log, "2099-01-01")
    assert (log.lake.snapshot(), log.head()) == before


def test_without_a_release_nothing_is_put_back(lake: Lake, store: FileStore) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    with pytest.raises(NoReleaseError):
        put_back(ReleaseLog(lake, store, "p"), DAY)
    assert rows(lake) == [(FIRST, 1)]


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(frame(FIRST, 5, kind=pl.Int32), id="narrower"),
        pytest.param(frame(FIRST, 5).drop("value"), id="column-gone"),
    ],
)
def test_a_table_with_other_columns_by_now_is_refused(
    lake: Lake, store: FileStore, now: pl.DataFrame
) -> None:
    """As the docstring of `revert` has it: the rows would not be those that were released."""
    write(lake, frame(FIRST, 3.7, kind=pl.Float64), FIRST)
    required, log = {"t": ["sound"]}, ReleaseLog(lake, store, "p")
    publish(lake, store, "p", required, "run")
    write(lake, now, policy="replace", passed=None, record=False)
    write(lake, now, FIRST)
    with pytest.raises(LakeError, match="value"):
        revert(log, store, required, {"t": "day"}, [DAY])


def test_a_column_that_came_since_is_null_in_what_is_put_back(lake: Lake, store: FileStore) -> None:
    """As it is on the days that were not made again."""
    write(lake, frame(FIRST, 3), FIRST)
    required, log = {"t": ["sound"]}, ReleaseLog(lake, store, "p")
    publish(lake, store, "p", required, "run")
    more = frame(FIRST, 5).with_columns(more=pl.lit(1))
    write(lake, more, FIRST, policy="add_columns", passed=False)
    assert revert(log, store, required, {"t": "day"}, [DAY]).verdict.opens
    assert lake.query("SELECT * FROM lake.p.t").rows() == [(FIRST, 3, None)]


def test_rows_of_a_day_that_no_run_wrote_are_taken_out(log: ReleaseLog) -> None:
    before = state(log.lake)
    by_hand(log.lake, f"INSERT INTO lake.p.t VALUES ('{NEW}', 7)")
    write(log.lake, frame(SECOND, 2), SECOND)
    assert not put_back(log, OTHER).verdict.opens
    done = put_back(log, NEW)
    assert done.removed == (("t", NEW),)
    assert done.verdict.opens, done.verdict.lines()
    assert state(log.lake) == before


def test_a_check_that_came_since_is_not_said_to_have_held(log: ReleaseLog) -> None:
    write(log.lake, frame(FIRST, 70), FIRST, asset="t", passed=False)
    required = {**REQUIRED, "t": ["sound", "new"]}
    done = revert(log, log.store, required, COLUMNS, [DAY])
    assert done.verdict.lines() == (
        f"t · new [{DAY} and 1 more]: did not run. Mend: "
        f"`ap materialize p t --partition {DAY} --through {OTHER}`",
    )


def test_a_partition_that_is_named_twice_is_put_back_once(log: ReleaseLog) -> None:
    write(log.lake, frame(FIRST, 70), FIRST, asset="t", passed=False)
    assert put_back(log, DAY, DAY).restored == (("raw_x", DAY), ("t", DAY))
