"""Upkeep removes what nothing needs, and nothing that anything needs."""

from __future__ import annotations

import datetime as dt
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from analytics_platform.environments import Freed, clone, keep_up, missing_files
from analytics_platform.lake import FileRecord, FileStore, Lake, LakeError
from analytics_platform.release import (
    GateRefusedError,
    Release,
    ReleasedProduct,
    ReleaseLog,
    publish,
)
from tests.unit.lake.writing import FIRST, REQUIRED, SECOND, by_hand, frame, rows, write

NOW, WEEK = dt.timedelta(0), dt.timedelta(days=7)
NOTHING = Freed(0, 0, 0, 0, 0, 0)


def release(lake: Lake, store: FileStore, value: int) -> Release:
    write(lake, frame(FIRST, value), FIRST)
    return publish(lake, store, "p", REQUIRED, "run").release


def read(release: Release, store: FileStore) -> list[tuple[int]]:
    with ReleasedProduct(release, store) as reader:
        return reader.execute("SELECT value FROM t ORDER BY ALL").fetchall()


def parquet(lake: Lake) -> set[Path]:
    return set(lake.folder.rglob("*.parquet"))


def age(folder: Path, days: int = 30) -> None:
    """Make every file below a folder look old."""
    then = time.time() - days * 86400
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


def snapshots(lake: Lake) -> list[int]:
    return lake.query("SELECT snapshot_id FROM lake.snapshots() ORDER BY 1")[
        "snapshot_id"
    ].to_list()


def test_what_no_release_reads_goes_and_it_says_how_much(lake: Lake, store: FileStore) -> None:
    first = release(lake, store, 1)
    write(lake, frame(FIRST, 50), FIRST)
    between = parquet(lake)
    last = release(lake, store, 2)
    before = {path: path.stat().st_size for path in parquet(lake)}
    count = len(snapshots(lake))

    assert keep_up(lake, store, WEEK).snapshots == 0, "all of it is young"
    assert parquet(lake) == set(before)
    time.sleep(0.05)
    expired = keep_up(lake, store, NOW)
    assert parquet(lake) == set(before), "a query planned before may open its files yet"
    assert expired.snapshots == count - len(snapshots(lake)) > 0
    time.sleep(1.1)
    done = keep_up(lake, store, NOW)

    gone = set(before) - parquet(lake)
    assert len(gone) == 1, "the state between the releases"
    assert gone <= between
    assert (done.data_files, done.bytes) == (1, sum(before[path] for path in gone))
    assert (read(first, store), read(last, store), rows(lake)) == ([(1,)], [(2,)], [(FIRST, 2)])
    assert missing_files(lake, store) == []
    assert not publish(lake, store, "p", REQUIRED, "run").is_new, "upkeep is no change of data"
    again = keep_up(lake, store, NOW)
    assert (again.data_files, again.stored_files, again.bytes) == (0, 0, 0)


def test_small_files_become_one_and_the_rows_stay(lake: Lake, store: FileStore) -> None:
    for n in range(1, 5):
        day = dt.date(2013, 1, n)
        write(lake, frame(day, n), day)
    made = publish(lake, store, "p", REQUIRED, "run").release
    stood = rows(lake)
    done = keep_up(lake, store, WEEK)
    assert done.merged == 4
    assert lake.query("FROM ducklake_list_files('lake', 't', schema => 'p')").height == 1
    assert (rows(lake), read(made, store)) == (stood, [(1,), (2,), (3,), (4,)])
    assert not publish(lake, store, "p", REQUIRED, "run").is_new
    write(lake, frame(FIRST, 9), FIRST)
    assert publish(lake, store, "p", REQUIRED, "run").release.number == 2
    assert missing_files(lake, store) == []


def test_what_a_clone_needs_stays_and_goes_with_it(lake: Lake, store: FileStore) -> None:
    release(lake, store, 1)
    write(lake, frame(FIRST, 50), FIRST)
    staging = Lake(lake.folder.parent / "staging")
    clone(lake, staging)
    release(lake, store, 2)
    time.sleep(0.05)
    assert keep_up(lake, store, NOW).data_files == 0
    assert rows(staging) == [(FIRST, 50)]
    assert missing_files(staging, store) == []

    write(staging, frame(FIRST, 60), FIRST)
    replaced = staging.place
    clone(lake, staging, replace=True)
    time.sleep(0.05)
    assert keep_up(lake, store, NOW).data_files == 1, "the origin's file that only it needed"
    done = keep_up(staging, store, NOW)
    assert (done.data_files, done.lakes) == (1, 1)
    assert not replaced.exists()
    assert rows(staging) == [(FIRST, 2)]


def test_a_replaced_lake_stays_while_another_names_its_files(lake: Lake, store: FileStore) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    staging, third = (Lake(lake.folder.parent / name) for name in ("staging", "third"))
    clone(lake, staging)
    write(staging, frame(FIRST, 5), FIRST)
    clone(staging, third)
    replaced = staging.place
    clone(lake, staging, replace=True)
    time.sleep(0.05)
    assert keep_up(staging, store, NOW).lakes == 0
    assert replaced.is_dir()
    assert rows(third) == [(FIRST, 5)]
    clone(lake, third, replace=True)
    time.sleep(0.05)
    assert keep_up(staging, store, NOW).lakes == 1
    assert not replaced.exists()


def test_orphans_go_when_they_are_old(lake: Lake, store: FileStore) -> None:
    release(lake, store, 1)
    orphan = lake.data / "p" / "t" / "left-by-a-killed-run.parquet"
    orphan.write_bytes(b"x" * 1000)
    assert keep_up(lake, store, WEEK).data_files == 0
    age(orphan.parent)
    done = keep_up(lake, store, WEEK)
    assert (done.data_files, done.bytes) == (1, 1000)
    assert not orphan.exists()
    assert rows(lake) == [(FIRST, 1)], "old files that are needed stay"


def test_an_installation_that_was_moved_loses_nothing(lake: Lake, store: FileStore) -> None:
    release(lake, store, 1)
    home, moved = lake.folder.parent, lake.folder.parent.with_name("moved")
    home.rename(moved)
    age(moved)
    there, files = Lake(moved / lake.folder.name), FileStore(moved / store.root.name)
    before = parquet(there)
    with pytest.raises(LakeError, match=f"made with its data in {home}/.* lies in {moved}/"):
        keep_up(there, files, WEEK)
    assert parquet(there) == before

    home.symlink_to(moved)
    write(there, frame(FIRST, 50), FIRST)
    last = release(there, files, 2)
    age(moved)
    with suppress(RuntimeError), there.writer("fail after a commit") as con:
        con.execute("INSERT INTO lake.p.t VALUES ('2013-01-02', 3)")
        raise RuntimeError
    keep_up(there, files, WEEK)
    assert rows(there) == [(FIRST, 2), (SECOND, 3)]
    assert read(last, files) == [(2,)]
    assert missing_files(there, files) == []


def test_an_open_reader_within_the_retention_finds_its_files(lake: Lake, store: FileStore) -> None:
    release(lake, store, 1)
    with lake.reader(snapshot=lake.snapshot()) as con:
        release(lake, store, 2)
        age(lake.data, days=6)
        keep_up(lake, store, WEEK)
        assert con.execute("SELECT value FROM lake.p.t").fetchall() == [(1,)]


def test_a_lake_that_was_given_up_stays_for_the_retention(lake: Lake, store: FileStore) -> None:
    staging = Lake(lake.folder.parent / "staging")
    write(staging, frame(FIRST, 7), FIRST)
    age(staging.folder)
    release(lake, store, 1)
    with staging.reader() as con:
        clone(lake, staging, replace=True)
        kept = keep_up(staging, store, WEEK)
        assert (kept.data_files, kept.lakes) == (0, 0), "its files are old, but were in use"
        assert con.execute("SELECT value FROM lake.p.t").fetchall() == [(7,)]
    time.sleep(0.05)
    done = keep_up(staging, store, NOW)
    assert (done.data_files > 0, done.lakes) == (True, 1)
    assert rows(staging) == [(FIRST, 1)]


def test_a_reader_of_a_given_up_clone_finds_its_origins_files(lake: Lake, store: FileStore) -> None:
    write(lake, frame(FIRST, 7), FIRST)
    staging = Lake(lake.folder.parent / "staging")
    clone(lake, staging)
    for value in (1, 2):
        release(lake, store, value)
        time.sleep(1.1)
        keep_up(lake, store, NOW)
    with staging.reader() as con:
        clone(lake, staging, replace=True)
        age(lake.data)
        keep_up(lake, store, WEEK)
        assert con.execute("SELECT value FROM lake.p.t").fetchall() == [(7,)]
    time.sleep(0.05)
    assert keep_up(lake, store, NOW).data_files == 1, "and no longer than the retention"


def test_what_no_release_has_judged_is_kept(lake: Lake, store: FileStore) -> None:
    release(lake, store, 1)
    judged = lake.snapshot()
    changed = by_hand(lake, "UPDATE lake.p.t SET value = 9")
    write(lake, frame(FIRST, 1), FIRST, product="q")
    publish(lake, store, "q", REQUIRED, "run")
    time.sleep(0.05)
    keep_up(lake, store, NOW)
    assert {judged, changed} <= set(snapshots(lake))
    with pytest.raises(GateRefusedError, match=f"changed at snapshot {changed}, outside"):
        publish(lake, store, "p", REQUIRED, "run")
    write(lake, frame(FIRST, 2), FIRST, product="r")
    time.sleep(0.05)
    assert keep_up(lake, store, NOW).snapshots == 0, "a product without a release keeps all"


def test_stored_files_go_when_nothing_names_them_and_they_are_old(
    lake: Lake, store: FileStore
) -> None:
    named, other = store.put(b"report", "drift.html"), store.put(b"stray", "stray.html")
    write(lake, frame(SECOND, 1), SECOND)
    with lake.transaction("report") as transaction:
        record = FileRecord("p", "t", str(SECOND), named.name, named.sha256, named.size)
        transaction.record_files([record])
    made = release(lake, store, 1)
    assert keep_up(lake, store, NOW).stored_files == 0, "a run may be about to record it"
    assert other.path.exists()
    age(store.root)
    young = store.put(b"young", "young.html")
    done = keep_up(lake, store, WEEK)
    assert (done.stored_files, done.bytes) == (1, len(b"stray"))
    assert not other.path.exists()
    assert young.path.exists()
    assert store.get(named.sha256, named.name) == b"report"
    log = ReleaseLog(lake, store, "p")
    assert log.release(1) == made, "documents, catalogs and manifests are needed"
    assert read(made, store) == [(1,), (1,)]
    assert store.put(b"stray", "stray.html").path.exists(), "and it may come again"


@pytest.mark.parametrize(
    "what",
    [
        "data",
        "catalog",
        "manifest",
        "report",
    ],
)
def test_a_deleted_file_is_found_missing(lake: Lake, store: FileStore, what: str) -> None:
    report = store.put(b"report", "drift.html")
    with lake.transaction("report") as transaction:
        record = FileRecord("p", "t", str(FIRST), report.name, report.sha256, report.size)
        transaction.record_files([record])
    made = release(lake, store, 1)
    assert missing_files(lake, store) == []
    (table,) = (lake.data / "p" / "t").glob("*.parquet")
    if what == "data":
        path, name = table, str(table)
    elif what == "report":
        path, name = report.path, f"{report.sha256}/{report.name}"
    else:
        address = getattr(made, what)
        path = store.path(address.sha256, address.name)
        name = f"{address.sha256}/{address.name}"
    path.unlink()
    assert missing_files(lake, store) == [name]


def test_an_empty_environment_needs_no_upkeep(lake: Lake, store: FileStore) -> None:
    assert keep_up(lake, store, NOW) == NOTHING
