"""Publishing, taking back and going on, and the log that remembers it."""

from __future__ import annotations

import sys

import pytest

from analytics_platform.lake import FileRecord, FileStore, Lake, LakeError
from analytics_platform.release import (
    GateRefusedError,
    NoReleaseError,
    OnHoldError,
    Release,
    ReleasedProduct,
    ReleaseLog,
    publish,
    resume,
    rollback,
)
from tests.unit.lake.writing import FIRST, REQUIRED, by_hand, frame, write


@pytest.fixture
def log(lake: Lake, store: FileStore) -> ReleaseLog:
    return ReleaseLog(lake, store, "p")


def release(log: ReleaseLog, value: int) -> Release:
    """Write a value, and release it."""
    write(log.lake, frame(FIRST, value), FIRST)
    return publish(log.lake, log.store, "p", REQUIRED, f"run of {value}").release


def seen(log: ReleaseLog) -> list[tuple[int]]:
    """What readers of the product read now."""
    with ReleasedProduct(log.serving(), log.store) as reader:
        return reader.execute("SELECT value FROM t").fetchall()


def kinds(log: ReleaseLog) -> list[str]:
    return [decision.kind for decision in log.decisions()]


def test_releases_are_numbered_and_remembered_the_newest_first(log: ReleaseLog) -> None:
    assert log.newest() is None
    assert log.judged_snapshot() == -1
    assert log.releases() == []
    for refused in (log.serving, lambda: log.release(1), lambda: rollback(log)):
        with pytest.raises(NoReleaseError):
            refused()

    first, second = release(log, 1), release(log, 2)
    assert (first.number, second.number) == (1, 2)
    assert log.releases() == [second, first]
    assert log.release(1) == first
    assert log.serving() == second
    with pytest.raises(NoReleaseError, match=r"^p has no release 7; there are: 1, 2\.$"):
        log.release(7)
    newest, oldest = log.decisions()
    assert newest == log.newest()
    assert (oldest.previous, newest.previous) == ("", oldest.address)
    assert (newest.run_id, newest.latest_number, newest.serving) == ("run of 2", 2, second)
    assert log.judged_snapshot() == second.snapshot
    assert second.held == 1
    assert newest.moment == second.moment >= oldest.moment
    assert ReleaseLog(log.lake, log.store, "q").newest() is None


def test_an_unchanged_state_is_not_released_twice(log: ReleaseLog) -> None:
    made = publish_one(log)
    write(log.lake, frame(FIRST, 1), FIRST, product="q")
    again = publish(log.lake, log.store, "p", REQUIRED, "again")
    assert (again.release, again.is_new) == (made, False)
    assert kinds(log) == ["release"]


def publish_one(log: ReleaseLog) -> Release:
    write(log.lake, frame(FIRST, 1), FIRST)
    made = publish(log.lake, log.store, "p", {**REQUIRED, "model": ["beats"]}, "run", "a note")
    assert made.is_new
    newest = log.newest()
    assert newest is not None
    assert (newest.absent, newest.note) == (("model",), "a note")
    return made.release


def test_a_refusal_is_recorded_and_readers_keep_what_they_have(log: ReleaseLog) -> None:
    made = release(log, 1)
    write(log.lake, frame(FIRST, 2), FIRST, passed=False)
    with pytest.raises(GateRefusedError, match=r"readers keep what they have\.\n  - t · sound"):
        publish(log.lake, log.store, "p", REQUIRED, "bad run")
    refusal = log.newest()
    assert refusal is not None
    assert (refusal.kind, refusal.run_id, refusal.serving) == ("refusal", "bad run", made)
    assert refusal.problems[0].startswith("t · sound [2013-01-01]: failed")
    assert log.judged_snapshot() == refusal.snapshot == log.lake.snapshot()
    assert seen(log) == [(1,)]
    assert log.releases() == [made]
    assert release(log, 3).number == 2, "a refusal takes no number"


def test_a_first_refusal_serves_nothing(log: ReleaseLog) -> None:
    write(log.lake, frame(FIRST, 2), FIRST, passed=False)
    with pytest.raises(GateRefusedError, match=r"correct the file and `ap run p`$"):
        publish(log.lake, log.store, "p", REQUIRED, "run")  # there is nothing to revert to
    assert kinds(log) == ["refusal"]
    with pytest.raises(NoReleaseError, match=r"`ap run p`, or `ap status p`"):
        log.serving()


def test_what_names_a_missing_file_is_not_released(log: ReleaseLog) -> None:
    kept = log.store.put(b"<html>", "drift.html")
    write(log.lake, frame(FIRST, 1), FIRST)
    with log.lake.transaction("report") as transaction:
        record = FileRecord("p", "t", str(FIRST), kept.name, kept.sha256, kept.size)
        transaction.record_files([record])
    kept.path.unlink()
    with pytest.raises(LakeError, match=r"Releasing p: No file 'drift\.html' .* Materialise"):
        publish(log.lake, log.store, "p", REQUIRED, "run")
    assert log.newest() is None
    log.store.put(b"<html>", "drift.html")
    assert publish(log.lake, log.store, "p", REQUIRED, "run").is_new


def test_rolling_back_holds_further_releases_until_a_person_resumes(log: ReleaseLog) -> None:
    for value in (1, 2, 3):
        release(log, value)
    assert rollback(log).number == 2
    assert seen(log) == [(2,)]
    assert rollback(log, to=3, note="it was right").number == 3
    assert seen(log) == [(3,)]
    assert rollback(log, to=3).number == 3, "the same again only holds"
    assert rollback(log, to=1).number == 1
    assert seen(log) == [(1,)]
    with pytest.raises(NoReleaseError, match=r"^p has no release before 1 to go back to\.$"):
        rollback(log)
    with pytest.raises(NoReleaseError, match=r"there are: 1, 2, 3\."):
        rollback(log, to=9)
    assert kinds(log)[:4] == ["rollback"] * 4
    assert [decision.note for decision in log.decisions()][:4] == ["", "", "it was right", ""]

    write(log.lake, frame(FIRST, 4), FIRST)
    with pytest.raises(OnHoldError, match=r"`ap release resume p`"):
        publish(log.lake, log.store, "p", REQUIRED, "run")
    newest = log.newest()
    assert newest is not None
    assert (newest.kind, newest.on_hold, newest.latest_number) == ("refusal", True, 3)
    assert seen(log) == [(1,)]

    resumed = resume(log, "mended")
    assert (resumed.kind, resumed.on_hold, resumed.note) == ("resume", False, "mended")
    assert log.judged_snapshot() == -1, "a judgement is due, although nothing was written"
    assert seen(log) == [(1,)], "resuming itself releases nothing"
    assert publish(log.lake, log.store, "p", REQUIRED, "run").release.number == 4
    assert seen(log) == [(4,)]
    assert [made.number for made in log.releases()] == [4, 3, 2, 1]
    with pytest.raises(NoReleaseError, match="nothing to resume"):
        resume(log)


def test_a_rollback_does_not_give_back_what_a_rollback_took_away(log: ReleaseLog) -> None:
    for value in (1, 2, 3):
        release(log, value)
    rollback(log)
    resume(log)
    assert release(log, 4).number == 4
    assert rollback(log).number == 2, "readers saw 2 before 4; 3 was found wrong"
    assert rollback(log).number == 1


def test_a_rollback_waits_for_no_writer(log: ReleaseLog) -> None:
    release(log, 1)
    release(log, 2)
    with log.lake.writing("a build of an hour"):
        impatient = ReleaseLog(Lake(log.lake.folder, 0.1), log.store, "p")
        assert rollback(impatient).number == 1
    assert seen(log) == [(1,)]


def test_a_rollback_while_a_release_is_made_wins(
    log: ReleaseLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package names the function of that name, not the module.
    module = sys.modules["analytics_platform.release.publish"]
    release(log, 1)
    release(log, 2)
    write(log.lake, frame(FIRST, 3), FIRST)
    real = module.write_manifest

    def meanwhile(*arguments: object) -> object:
        rollback(log)
        return real(*arguments)

    monkeypatch.setattr(module, "write_manifest", meanwhile)
    with pytest.raises(OnHoldError):
        publish(log.lake, log.store, "p", REQUIRED, "run")
    assert seen(log) == [(1,)]
    assert kinds(log)[:2] == ["refusal", "rollback"]


def test_a_change_by_hand_is_refused_after_a_release(log: ReleaseLog) -> None:
    release(log, 1)
    by_hand(log.lake, "UPDATE lake.p.t SET value = 5")
    with pytest.raises(GateRefusedError, match="outside any recorded run"):
        publish(log.lake, log.store, "p", REQUIRED, "run")
    assert seen(log) == [(1,)]
