"""Looking, and writing down what was seen, beside others who do the same."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from analytics_platform.arrivals import files_left_aside, look, missing_files, write_down
from analytics_platform.arrivals.local_zone import LocalZone
from analytics_platform.arrivals.observe import Look
from analytics_platform.lake import FileStore, Lake, WriterBusyError
from tests.unit.arrivals.sales import D1, D2, D3, Shop


def seen(shop: Shop, **options: float) -> Look:
    with shop.lake.reader() as con:
        return look(con, shop.zone, "p", [shop.source], **options)  # type: ignore[arg-type]


def test_a_file_is_told_to_the_ledger_once(shop: Shop) -> None:
    shop.day(D1, ("a", 1))
    assert write_down(shop.lake, seen(shop)) == 1
    assert write_down(shop.lake, seen(shop)) == 0
    row = shop.ledger().row(0, named=True)
    assert (row["status"], row["partition"], row["path"]) == (
        "waiting",
        D1,
        f"sales/sales_{D1}.csv",
    )
    first_seen = row["first_seen_at"]

    shop.load(D1, run_id="r1")

    (row,) = shop.ledger().rows(named=True)
    assert row["first_seen_at"] == first_seen < row["recorded_at"]
    assert (row["status"], row["run_id"]) == ("loaded", "r1")
    assert (row["rows_in_file"], row["rows_loaded"], row["rows_quarantined"]) == (1, 1, 0)
    assert row["size_bytes"] == shop.path(f"sales_{D1}.csv").stat().st_size
    assert shop.store.has(row["content_sha256"], row["stored_name"])


def test_a_look_that_is_late_does_not_undo_a_load(shop: Shop) -> None:
    shop.day(D1, ("a", 1))
    late = seen(shop)
    shop.load(D1)
    assert write_down(shop.lake, late) == 0
    assert shop.status() == {f"sales_{D1}.csv": "loaded"}
    assert shop.run() == []


def test_many_looks_at_once_tell_a_file_once(shop: Shop) -> None:
    for day in (D1, D2, D3):
        shop.day(day, ("a", 1))
    looks = [seen(shop) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda one: write_down(Lake(shop.lake.folder), one), looks))
    assert sorted(told) == [0, 0, 0, 3]


def test_a_look_goes_on_where_the_time_of_the_one_before_ended(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(tmp_path, lake, store, pattern="sales_{partition}*.csv")
    for day in (D1, D2, D3):
        shop.day(day, ("a", 1))
    shop.run()
    for day in (D1, D2, D3):
        os.utime(shop.path(f"sales_{day}.csv"))
    whole = []
    for _ in range(3):
        found = seen(shop, hashing_seconds=0)
        assert found.due == {}, "a file that was touched is not loaded again"
        whole.append(found.is_whole)
        assert write_down(shop.lake, found) == 1
    assert whole == [False, False, True]
    assert write_down(shop.lake, seen(shop)) == 0


def test_a_file_that_may_not_be_read_is_rejected_with_the_reason(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    shop.day(D1, ("a", 1))
    shop.run()
    shop.day(D2, ("b", 1))
    with monkeypatch.context() as patch:
        patch.setattr(LocalZone, "chunks", refuse)
        assert shop.run() == [D2]
        assert shop.run() == []
    row = shop.ledger().filter(partition=D2).row(0, named=True)
    assert (row["status"], row["reason"]) == (
        "rejected",
        f"sales/sales_{D2}.csv: it may not be read: Permission denied. Let it be read.",
    )
    shop.path(f"sales_{D2}.csv").chmod(0o600)
    assert shop.run() == [D2], "to let it be read is a change"


def test_a_far_file_that_is_forbidden_is_read_once_it_is_allowed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("Opening s3://bucket/p: it is not allowed (Forbidden).")

    shop.day(D1, ("a", 1))
    with monkeypatch.context() as patch:
        # To allow it changes nothing that a listing shows.
        patch.setattr(LocalZone, "shows_rights", False)
        patch.setattr(LocalZone, "chunks", refuse)
        shop.look()
        report = shop.load(D1)
        assert "could not be read now: Opening s3://bucket/p" in report.errors[0]
    assert shop.status() == {f"sales_{D1}.csv": "waiting"}
    assert shop.run() == [D1]
    assert shop.rows() == [(D1, "a", 1)]


def test_a_content_that_takes_too_long_is_taken_for_new(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object) -> Iterator[bytes]:
        for read in range(1000):
            assert read < 10, "it goes on beyond its time"
            time.sleep(0.01)
            yield b"x"

    path = shop.day(D1, ("a", 1))
    shop.run()
    os.utime(path)
    with monkeypatch.context() as patch:
        patch.setattr(LocalZone, "chunks", slow)
        found = seen(shop, file_seconds=0.02)
    assert list(found.due["sales"]) == [D1]
    assert found.is_whole, "the next look would fare no better"
    shop.load(D1, is_planned=True)
    assert seen(shop).due == {}


def test_who_cannot_tell_the_ledger_finds_the_same_again(shop: Shop) -> None:
    shop.day(D1, ("a", 1))
    impatient = Lake(shop.lake.folder, writer_wait_seconds=0.2)
    with (
        shop.lake.writing("something long"),
        ThreadPoolExecutor(1) as pool,
        pytest.raises(WriterBusyError, match="something long"),
    ):
        pool.submit(write_down, impatient, seen(shop)).result()
    assert list(shop.look()) == [D1]


def test_a_landing_zone_that_is_not_there_is_empty(shop: Shop) -> None:
    assert shop.look() == {}


def test_markers_and_links_in_the_landing_zone(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(tmp_path, lake, store, marker="{file}.ok")
    secret = tmp_path / "secret.csv"
    secret.write_text(f"day,shop,pieces\n{D2},a,1\n")
    shop.path(f"sales_{D2}.csv").symlink_to(secret)
    shop.path(f"sales_{D3}.csv").mkdir()
    shop.day(D1, ("a", 1))
    assert shop.run() == []
    assert shop.status() == {
        f"sales_{D1}.csv": "waiting",
        f"sales_{D2}.csv": "rejected",
        f"sales_{D3}.csv": "rejected",
    }
    report = shop.load(D1, D2, D3)
    assert list(report.written) == []
    assert [error.partition(": ")[0] for error in report.errors] == [
        f"sales/sales_{D1}.csv waits for its marker sales/sales_{D1}.csv.ok.",
        f"sales/sales_{D2}.csv",
        f"sales/sales_{D3}.csv",
    ]
    assert not list(store.root.rglob("*")), "nothing of what is linked was read"

    shop.path(f"sales_{D1}.csv.ok").touch()
    assert shop.run() == [D1]
    assert shop.rows() == [(D1, "a", 1)]
    assert f"sales_{D1}.csv.ok" not in shop.status(), "a marker is no arrival"


def test_a_rejected_file_that_is_gone_is_told_once(shop: Shop) -> None:
    shop.put(f"sales_{D1}.csv", "no day")
    shop.run()
    shop.path(f"sales_{D1}.csv").unlink()
    assert write_down(shop.lake, seen(shop)) == 1
    assert shop.status() == {f"sales_{D1}.csv": "vanished"}
    assert write_down(shop.lake, seen(shop)) == 0


def test_a_day_that_is_none_of_the_products_makes_no_other_day_missing(shop: Shop) -> None:
    shop.day(D1, ("a", 1))
    shop.day("2103-01-02", ("a", 2))
    shop.run()
    with shop.lake.reader() as con:
        assert missing_files(con, shop.source) == []
        (aside,) = files_left_aside(con, shop.source)
    assert aside.startswith("sales/sales_2103-01-02.csv: 2103-01-02 is not from")


def aside(shop: Shop) -> list[str]:
    with shop.lake.reader() as con:
        return files_left_aside(con, shop.source)


def test_what_is_no_file_and_named_like_one_is_left_aside(shop: Shop, tmp_path: Path) -> None:
    shop.day(D1, ("a", 1))
    shop.path(f"sales_{D2}.csv").symlink_to(tmp_path / "elsewhere.csv")
    shop.path(f"sales_{D3}.csv").mkdir()
    shop.run()
    assert [text.partition(": ")[2] for text in aside(shop)] == [
        f"sales/sales_{D2}.csv: it is a link, and links are not followed",
        f"sales/sales_{D3}.csv: it is a folder",
    ]
    shop.path(f"sales_{D2}.csv").unlink()
    shop.day(D2, ("b", 1))
    shop.path(f"sales_{D3}.csv").rmdir()
    shop.put(f"sales_{D3}.csv", "no day")
    shop.run()
    assert aside(shop) == [], "what a load refuses fails a check of its own"


def test_a_day_of_which_only_another_days_content_came_is_left_aside(shop: Shop) -> None:
    first = shop.day(D1, ("a", 1))
    shop.run()
    shop.path(f"sales_{D2}.csv").write_bytes(first.read_bytes())
    shop.run()
    assert aside(shop) == [
        f"sales/sales_{D2}.csv: the same content as sales/sales_{D1}.csv, which is loaded"
    ]
    shop.day(D2, ("b", 1))
    shop.run()
    assert aside(shop) == []


def test_a_file_that_came_twice_is_no_news(tmp_path: Path, lake: Lake, store: FileStore) -> None:
    shop = Shop(tmp_path, lake, store, pattern="sales_{partition}*.csv")
    first = shop.day(D1, ("a", 1))
    shop.run()
    shop.path(f"sales_{D1}_again.csv").write_bytes(first.read_bytes())
    shop.run()
    assert shop.status()[f"sales_{D1}_again.csv"] == "duplicate"
    assert aside(shop) == []


def test_what_was_of_no_use_may_be_tidied_away_and_what_was_not_may_not(shop: Shop) -> None:
    wrong, before = shop.put("sales_2013-1-2.csv"), shop.day("2012-12-31", ("a", 1))
    refused = shop.put(f"sales_{D2}.csv", "no day")
    link = shop.path(f"sales_{D3}.csv")
    link.symlink_to(refused)
    shop.run()
    waits = shop.day(D1, ("a", 1))
    shop.look()
    assert len(aside(shop)) == 3
    for path in (wrong, before, refused, link, waits):
        path.unlink()
    shop.look()
    assert aside(shop) == [f"sales/sales_{D1}.csv: it is gone; before, it was waiting"]
    shop.day("2013-01-04", ("a", 1))
    shop.run()
    with shop.lake.reader() as con:
        missing = missing_files(con, shop.source)
    assert missing == [f"sales/sales_{day}.csv" for day in (D1, D2, D3)]


def test_a_marker_is_told_only_while_its_file_never_came(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(tmp_path, lake, store, marker="{file}.ok")
    markers = [shop.path(f"sales_{day}.csv.ok") for day in (D1, D2)]
    markers[0].touch()
    shop.run()
    assert [text.partition(":")[0] for text in aside(shop)] == [f"sales/sales_{D1}.csv.ok"]

    files = [shop.day(day, ("a", n)) for n, day in enumerate((D1, D2))]
    for marker in markers:
        marker.touch()
    assert shop.run() == [D1, D2]
    assert aside(shop) == []
    for file in files:
        file.unlink()
    shop.run()
    assert aside(shop) == [], "it may outlast its file"
    assert f"sales_{D2}.csv.ok" not in shop.status()
    for marker in markers:
        marker.unlink()
    shop.run()
    assert aside(shop) == []
