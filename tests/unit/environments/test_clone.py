"""A clone shares the origin's files, stands on its own, and remembers where it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from analytics_platform.environments import (
    Base,
    EnvironmentExistsError,
    NotACloneError,
    clone,
    origin_of,
)
from analytics_platform.lake import FileStore, Lake, LakeError
from analytics_platform.lake.catalog import referenced_files
from analytics_platform.release import ReleasedProduct, ReleaseLog, publish
from tests.unit.lake.writing import FIRST, REQUIRED, SECOND, by_hand, frame, hashes, rows, write


@pytest.fixture
def staging(lake: Lake) -> Lake:
    return Lake(lake.folder.parent / "staging")


def data_files(home: Path) -> set[Path]:
    return set(home.rglob("*.parquet"))


def test_a_clone_has_all_that_the_origin_has_and_copies_no_data(
    lake: Lake, staging: Lake, store: FileStore, home: Path
) -> None:
    write(lake, frame(FIRST, 1, 2), FIRST)
    release = publish(lake, store, "p", REQUIRED, "run").release
    write(lake, frame(SECOND, 3), SECOND)
    write(lake, frame(FIRST, 9), FIRST, product="q")
    by_hand(lake, "CREATE VIEW lake.p.seen AS FROM lake.p.t")
    head = ReleaseLog(lake, store, "p").head()
    before, origin_state = data_files(home), hashes(lake.folder)

    origin = clone(lake, staging)

    assert data_files(home) == before, "no data file was made or copied"
    assert not [path for path in before if path.stat().st_nlink != 1]
    assert hashes(lake.folder) == origin_state
    assert referenced_files(staging.catalog) == referenced_files(lake.catalog)
    for table in ("p.t", "p.seen", "q.t", "ops.writes", "ops.checks"):
        assert rows(staging, table) == rows(lake, table)
    log = ReleaseLog(staging, store, "p")
    assert log.serving() == release
    with ReleasedProduct(log.serving(), store) as reader:
        assert reader.execute("SELECT value FROM t ORDER BY 1").fetchall() == [(1,), (2,)]

    assert origin == origin_of(staging)
    snapshot = lake.snapshot()
    assert (origin.environment, origin.place, origin.snapshot) == (
        "local",
        lake.place.name,
        snapshot,
    )
    assert origin.bases == {"p": Base(snapshot, snapshot, head)}
    assert origin.base("q") == Base(snapshot, snapshot, "")


def test_both_go_their_own_ways(lake: Lake, staging: Lake, store: FileStore) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    publish(lake, store, "p", REQUIRED, "run")
    clone(lake, staging)
    write(staging, frame(FIRST, 2), FIRST)
    write(lake, frame(FIRST, 3), FIRST)
    assert publish(staging, store, "p", REQUIRED, "run").release.number == 2
    assert (rows(lake), rows(staging)) == ([(FIRST, 3)], [(FIRST, 2)])
    assert ReleaseLog(lake, store, "p").serving().number == 1


def test_what_stands_is_given_up_only_when_said(lake: Lake, staging: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    write(staging, frame(FIRST, 7), FIRST)
    with pytest.raises(EnvironmentExistsError, match=r"local into staging: .* Give --replace"):
        clone(lake, staging)
    assert rows(staging) == [(FIRST, 7)]
    replaced = staging.place
    with staging.reader() as con:
        clone(lake, staging, replace=True)
        assert con.execute("SELECT value FROM lake.p.t").fetchall() == [(7,)], "an open reader"
    assert rows(staging) == [(FIRST, 1)]
    assert staging.place != replaced
    assert replaced.is_dir(), "its files go with the next upkeep"


def test_neither_itself_nor_nothing_is_cloned(lake: Lake, staging: Lake) -> None:
    with pytest.raises(LakeError, match="local has no lake yet"):
        clone(lake, staging)
    assert not lake.exists
    assert not staging.exists
    write(lake, frame(FIRST, 1), FIRST)
    with pytest.raises(LakeError, match="cannot be cloned into itself"):
        clone(lake, Lake(lake.folder), replace=True)
    with pytest.raises(NotACloneError, match=r"local is no clone .* `ap clone`"):
        origin_of(lake)


def test_a_clone_that_fails_leaves_what_stood(
    lake: Lake, staging: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    write(lake, frame(FIRST, 1), FIRST)
    write(staging, frame(FIRST, 7), FIRST)
    stood = staging.place

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    module = sys.modules["analytics_platform.environments.clone"]
    monkeypatch.setattr(module, "write_origin", fail)
    with pytest.raises(OSError, match="No space left"):
        clone(lake, staging, replace=True)
    assert staging.place == stood
    assert rows(staging) == [(FIRST, 7)]
