"""Processes that race: writers, releases, rollbacks, upkeep, clones and readers at once.

Belongs here: what several live processes do to one installation at the same moment. Does not
belong here: processes that die in the middle of a step (`test_kills`), and histories of one
process (`test_histories`).
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from analytics_platform.environments import keep_up, missing_files
from analytics_platform.lake import WriterBusyError
from analytics_platform.release import OnHoldError, publish, resume, rollback
from tests.faults import race_workers as work
from tests.faults.race_workers import PRODUCT, REQUIRED, Process, Told, Worker

RACE_SECONDS = 15.0
# A spawned interpreter imports DuckDB and Polars first, on a machine that others use too.
START_SECONDS = 60.0
END_SECONDS = 120.0
# Shorter than any wait for a turn that is held from one end of a race to the other.
READ_SECONDS = 5.0
OVERTAKE_ROUNDS = 8


class Race:
    """Processes on one installation, all ended when the test is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.processes: list[Process] = []

    def start(self, name: str, worker: Worker, *arguments: object) -> Process:
        process = work.start(self.root, name, worker, *arguments)
        self.processes.append(process)
        return process

    def told(self, timeout: float) -> dict[str, Told]:
        """What each process did; none may have met anything unexpected."""
        told = {process.name: process.told(timeout) for process in self.processes}
        errors = {name: account.errors for name, account in told.items() if account.errors}
        assert not errors, "\n".join(line for of_one in errors.values() for line in of_one)
        self.processes.clear()
        return told

    def wait_for(self, path: Path) -> None:
        limit = time.monotonic() + START_SECONDS
        while not path.exists() or not path.stat().st_size:
            assert time.monotonic() < limit, f"{path.name} did not appear"
            time.sleep(0.01)

    def end(self) -> None:
        for process in self.processes:
            process.process.kill()
            process.process.join()


@pytest.fixture
def race(tmp_path: Path) -> Iterator[Race]:
    race = Race(tmp_path)
    try:
        yield race
    finally:
        race.end()


@pytest.mark.parametrize(
    ("writers", "each"),
    [
        pytest.param(4, 15, id="60"),
        pytest.param(8, 100, marks=pytest.mark.load, id="800"),
    ],
)
def test_every_transaction_of_many_processes_is_committed_once(
    race: Race, writers: int, each: int, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = work.lake_in(race.root)
    with lake.transaction("prepare") as transaction:
        transaction.connection.execute("CREATE SCHEMA lake.p")
        transaction.connection.execute("CREATE TABLE lake.p.t (number INTEGER)")
    started = time.monotonic()
    for worker in range(writers):
        race.start(f"writer {worker}", work.append_rows, worker, each)
    told = race.told(START_SECONDS + writers * each)
    seconds = time.monotonic() - started
    longest = max(account.longest_seconds for account in told.values())
    with capsys.disabled():
        print(  # noqa: T201 - how long it takes is of interest each time
            f"\n{writers} processes, {writers * each} transactions: {seconds:.1f} s, "
            f"longest wait {longest:.1f} s"
        )
    numbers = lake.query("SELECT number FROM lake.p.t ORDER BY 1")["number"].to_list()
    assert numbers == list(range(writers * each))
    writes = lake.query(f"SELECT * FROM lake.ops.writes WHERE product = '{PRODUCT}'")
    assert sorted(writes["partition"].cast(int)) == numbers
    snapshots = sorted(writes["snapshot_id"])
    assert len(set(snapshots)) == writers * each
    assert sorted(number for account in told.values() for number in account.done) == snapshots


def test_the_turn_of_a_killed_process_is_free(race: Race) -> None:
    work.write_generation(race.root, 1)
    holder = race.start("holder", work.hold_turn, 600.0, "load a year")
    race.wait_for(race.root / "holding")
    holder.process.kill()
    holder.process.join()
    started = time.monotonic()
    with work.lake_in(race.root, wait_seconds=60.0).writing("come after"):
        waited = time.monotonic() - started
    assert waited < 30.0, "half of what it would wait for a living holder"
    work.write_generation(race.root, 2)
    with work.lake_in(race.root).reader() as con:
        assert work.generations_in(con, "lake.p") == {(2, work.ROWS)}


def test_who_waits_is_told_who_holds_the_turn_for_how_long_and_what_for(
    race: Race, caplog: pytest.LogCaptureFixture
) -> None:
    holder = race.start("holder", work.hold_turn, 600.0, "load a year")
    race.wait_for(race.root / "holding")
    pid = int((race.root / "holding").read_text())
    assert pid == holder.process.pid
    time.sleep(1.5)
    lake = work.lake_in(race.root, wait_seconds=3.0)
    started = time.monotonic()
    told = rf"process {pid} for ([1-9]\d*) s \(since \d\d:\d\d:\d\d UTC\) to do: load a year"
    with (
        caplog.at_level(logging.WARNING, "analytics_platform.lake.turn"),
        pytest.raises(WriterBusyError, match=told) as busy,
        lake.writing("load a day"),
    ):
        pass
    assert 2.9 < time.monotonic() - started < 60.0
    assert "to do: load a day" in str(busy.value)
    (message,) = [
        record.getMessage()
        for record in caplog.records
        if record.name == "analytics_platform.lake.turn"
    ]
    assert message.startswith("Waiting to load a day: the turn is held by process")
    assert re.search(told, message)


def test_a_rollback_waits_for_no_writer(race: Race) -> None:
    for number in (1, 2):
        work.write_generation(race.root, number)
        publish(work.lake_in(race.root), work.store_in(race.root), PRODUCT, REQUIRED, "run")
    held = 20.0
    race.start("holder", work.hold_turn, held, "load a year")
    race.wait_for(race.root / "holding")
    started = time.monotonic()
    assert rollback(work.log_in(race.root)).number == 1
    assert work.released_generation(race.root) == 1
    seconds = time.monotonic() - started
    assert race.processes[0].process.is_alive(), "the writer was done before the rollback"
    assert seconds < held / 2


def test_two_publish_at_once_and_one_release_is_made(race: Race) -> None:
    work.write_generation(race.root, 1)
    at = time.time() + 5.0
    for name in ("first", "second"):
        race.start(name, work.publish_once, at)
    told = race.told(START_SECONDS)
    assert sorted(number for account in told.values() for number in account.done) == [1]
    assert [release.number for release in work.log_in(race.root).releases()] == [1]


def test_a_publish_that_a_rollback_overtakes_does_not_undo_it(
    race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rollback comes in the widest gap: the state is judged and frozen, not yet released."""
    # The package gives the function under the module's name.
    module = sys.modules["analytics_platform.release.publish"]
    lake, store, log = work.lake_in(race.root), work.store_in(race.root), work.log_in(race.root)
    for number in (1, 2):
        work.write_generation(race.root, number)
        publish(lake, store, PRODUCT, REQUIRED, "run")
    work.write_generation(race.root, 3)
    write_manifest = module.write_manifest

    def overtaken(*arguments: object) -> object:
        written = write_manifest(*arguments)
        rollback(log)
        return written

    monkeypatch.setattr(module, "write_manifest", overtaken)
    with pytest.raises(OnHoldError):
        publish(lake, store, PRODUCT, REQUIRED, "run")
    newest = log.newest()
    assert newest is not None
    assert (newest.kind, newest.on_hold) == ("refusal", True)
    assert log.serving().number == 1
    assert work.released_generation(race.root) == 1
    monkeypatch.undo()
    resume(log)
    made = publish(lake, store, PRODUCT, REQUIRED, "run")
    assert (made.release.number, made.is_new) == (3, True)


@pytest.mark.load
def test_a_rollback_that_races_with_a_publish_is_not_undone(race: Race) -> None:
    """Wherever in the publish the rollback comes, what it put back is served after both."""
    log = work.log_in(race.root)
    for number in (1, 2):
        work.write_generation(race.root, number)
        publish(log.lake, log.store, PRODUCT, REQUIRED, "run")
    made_before = 0
    for round_ in range(OVERTAKE_ROUNDS):
        work.write_generation(race.root, 3 + round_)
        at = time.time() + 3.0
        process = race.start("publisher", work.publish_once, at)
        time.sleep(max(0.0, at - time.time()) + 0.05 * round_)
        before = rollback(log, to=1)
        told = race.told(START_SECONDS)
        made_before += len(told["publisher"].done)
        assert process.account.exists()
        newest = log.newest()
        assert newest is not None
        assert newest.on_hold
        assert log.serving() == before
        resume(log)
    numbers = [release.number for release in log.releases()]
    assert numbers == list(range(len(numbers), 0, -1))
    assert len(numbers) == 2 + made_before


def decisions_hold(race: Race) -> None:
    """Numbers without gaps, and no release made on hold."""
    decisions = list(work.log_in(race.root).decisions())[::-1]
    numbers = [d.serving.number for d in decisions if d.kind == "release" and d.serving]
    assert numbers == list(range(1, len(numbers) + 1))
    on_hold = False
    for decision in decisions:
        assert not (on_hold and decision.kind == "release"), decision
        on_hold = decision.on_hold


@pytest.mark.parametrize(
    "with_rollbacks",
    [
        pytest.param(False, id="releases", marks=pytest.mark.load),
        pytest.param(True, id="rollbacks"),
    ],
)
def test_readers_never_fail_and_never_see_half(race: Race, with_rollbacks: bool) -> None:
    """Writers, publisher, upkeep, clones and readers at once, and everything adds up after."""
    lake, store = work.lake_in(race.root), work.store_in(race.root)
    for number in (1, 2):
        work.write_generation(race.root, number)
        publish(lake, store, PRODUCT, REQUIRED, "run")
    until = time.time() + RACE_SECONDS
    race.start("first writer", work.write_on, until, 1_000)
    race.start("second writer", work.write_on, until, 2_000)
    race.start("publisher", work.publish_on, until)
    race.start("upkeep", work.keep_up_on, until)
    if with_rollbacks:
        race.start("rollback", work.roll_back_and_resume, until)
    else:
        race.start("clone", work.clone_on, until)
    race.start("reader of releases", work.read_releases, until)
    race.start("open reader", work.read_one_release, until)
    race.start("reader of the working state", work.read_working_state, until)
    told = race.told(RACE_SECONDS + START_SECONDS + END_SECONDS)

    for name, account in told.items():
        assert account.done, f"{name} did nothing"
    readers = {name: account for name, account in told.items() if "reader" in name}
    waits = {name: account.longest_seconds for name, account in readers.items()}
    assert max(waits.values()) < READ_SECONDS, waits
    assert len(set(told["open reader"].done)) == 1

    written = [*told["first writer"].done, *told["second writer"].done]
    recorded = lake.query(
        "SELECT run_id::INTEGER AS generation, count(*) AS n, count(DISTINCT snapshot_id) AS s "
        "FROM lake.ops.writes WHERE product = ? GROUP BY 1 ORDER BY 1",
        [PRODUCT],
    ).rows()
    assert recorded == [(number, 2, 1) for number in sorted([1, 2, *written])]
    snapshots = lake.query("SELECT count(DISTINCT snapshot_id) FROM lake.ops.writes").item()
    assert snapshots == 2 + len(written)

    log = work.log_in(race.root)
    assert [release.number for release in log.releases()] == [*told["publisher"].done[::-1], 2, 1]
    decisions_hold(race)
    if not with_rollbacks:
        assert log.serving().number == told["publisher"].done[-1]
        # What readers saw never went back.
        seen = told["reader of releases"].done
        order = seen[:1]
        for number in seen:
            if number != order[-1]:
                order.append(number)
        assert len(order) == len(set(order)), order

    # The newest state can still be released, everything needed is there, before upkeep and after.
    newest = log.newest()
    if newest is not None and newest.on_hold:
        resume(log)
    publish(lake, store, PRODUCT, REQUIRED, "run")
    standing = lake.query("SELECT DISTINCT generation FROM lake.p.t").item()
    assert work.released_generation(race.root) == standing
    assert missing_files(lake, store) == []
    keep_up(lake, store, work.RETENTION)
    assert missing_files(lake, store) == []
    for release in log.releases():
        with work.ReleasedProduct(release, store) as product:
            assert len(work.generations_in(product.connection, work.RELEASED)) == 1
