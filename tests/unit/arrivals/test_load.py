"""Loading files: what their contracts leave of them, in the lake."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analytics_platform.arrivals.checks import (
    CONSERVED,
    HOLDS,
    READABLE,
    SOURCE_CONSERVED,
)
from analytics_platform.arrivals.local_zone import LocalZone
from analytics_platform.arrivals.zone import SeenFile
from analytics_platform.contracts import FileFormat
from analytics_platform.lake import FileStore, Lake, ledger, records
from tests.unit.arrivals.sales import D1, D2, D3, Shop


def test_a_ragged_row_is_quarantined_and_the_others_are_loaded(shop: Shop) -> None:
    shop.put(f"sales_{D1}.csv", f"{D1},a,1", f"{D1},b,2,", f"{D1},c,3")

    report = shop.load(D1)

    assert all(report.passed.values())
    (file,) = report.files
    assert (file.rows_in_file, file.rows_loaded, file.rows_quarantined) == (3, 2, 1)
    kept = shop.lake.query('SELECT rules, "row", "text", _source_line FROM lake.p.quarantine_sales')
    assert kept.rows() == [("shape", None, f"{D1},b,2,", 3)]


def test_a_quarantine_from_before_the_records_text_gets_the_column(shop: Shop) -> None:
    shop.put(f"sales_{D1}.csv", f"{D1},a,1", f"{D1},b,x")
    shop.load(D1)
    with shop.lake.transaction("as it was") as transaction:
        transaction.connection.execute('ALTER TABLE lake.p.quarantine_sales DROP COLUMN "text"')

    shop.put(f"sales_{D2}.csv", f"{D2},a,1", f"{D2},b,y")
    report = shop.load(D2)

    assert all(report.passed.values())
    kept = shop.lake.query('SELECT day::VARCHAR, "text" FROM lake.p.quarantine_sales ORDER BY day')
    assert kept.rows() == [(D1, None), (D2, f"{D2},b,y")]


def test_the_check_says_how_many_rows_broke_each_rule(shop: Shop) -> None:
    shop.source = Shop(shop.folder, shop.lake, shop.store, max_quarantined_share=0.1).source
    shop.put(f"sales_{D1}.csv", f"{D1},a,1", f"{D1},b,-1", f"{D1},c,x", f"{D2},d,1")
    shop.day(D2, ("a", 1))

    report = shop.load(D1, D2)

    assert not report.passed[HOLDS]
    detail = report.details[HOLDS]
    assert (detail["partitions"], detail["failed_partitions"]) == (2, 1)
    assert detail["first_failed_partition"] == D1
    rules = {"pieces|min": 1, "pieces|type": 1, "partition": 1}
    assert detail["rows_per_rule"] == rules
    assert {name: detail[f"rows that break {name}"] for name in rules} == rules
    assert report.passed[CONSERVED]
    assert report.passed[SOURCE_CONSERVED]


def test_a_bad_file_holds_back_no_other(shop: Shop) -> None:
    for day in (D1, D2, D3):
        shop.day(day, ("a", 1))
    shop.path(f"sales_{D2}.csv").write_bytes(b"day,shop\n")

    report = shop.load(D1, D2, D3)

    assert list(report.written) == [D1, D3]
    assert not report.passed[READABLE]
    assert "pieces" in report.errors[0]
    assert shop.rows() == [(D1, "a", 1), (D3, "a", 1)]
    assert shop.status()[f"sales_{D2}.csv"] == "rejected"
    assert shop.run() == [], "a file that was rejected is not tried again until it changes"
    shop.day(D2, ("a", 2))
    assert shop.run() == [D2]
    assert shop.history()[f"sales_{D2}.csv"] == ["rejected", "loaded"]


def test_a_corrected_file_supersedes_and_a_bad_correction_does_not(shop: Shop) -> None:
    first = shop.day(D1, ("a", 1)).read_bytes()
    shop.run()
    shop.day(D1, ("a", 2))
    assert shop.run() == [D1]
    assert shop.rows() == [(D1, "a", 2)]
    assert shop.history()[f"sales_{D1}.csv"] == ["superseded", "loaded"]

    shop.put(f"sales_{D1}.csv", "no day")
    assert shop.run() == [D1]
    assert shop.rows() == [(D1, "a", 2)], "what stood of it stays"
    assert shop.history()[f"sales_{D1}.csv"] == ["superseded", "loaded", "rejected"]

    old = shop.ledger().filter(status="superseded").row(0, named=True)
    assert shop.store.get(old["content_sha256"], old["stored_name"]) == first
    shop.path(f"sales_{D1}.csv").write_bytes(first)
    assert shop.run() == [D1], "an older content is a correction like any other"
    assert shop.rows() == [(D1, "a", 1)]
    assert shop.history()[f"sales_{D1}.csv"] == ["loaded", "superseded", "rejected"]


def test_several_files_make_one_partition(tmp_path: Path, lake: Lake, store: FileStore) -> None:
    shop = Shop(tmp_path, lake, store, pattern="sales_{partition}*.csv")
    shop.day(D1, ("a", 1), name=f"sales_{D1}_north.csv")
    assert shop.run() == [D1]
    shop.day(D1, ("b", 2), name=f"sales_{D1}_south.csv")
    assert shop.run() == [D1]
    assert shop.rows() == [(D1, "a", 1), (D1, "b", 2)]

    # One part is tidied away, one is corrected, one is bad: the partition has all that is good.
    shop.path(f"sales_{D1}_north.csv").unlink()
    shop.day(D1, ("b", 3), name=f"sales_{D1}_south.csv")
    shop.put(f"sales_{D1}_west.csv", "x")
    shop.look()
    report = shop.load(D1)
    assert list(report.written) == [D1]
    assert len(report.errors) == 1
    assert not report.passed[READABLE]
    assert report.passed[CONSERVED]
    assert report.passed[SOURCE_CONSERVED]
    assert shop.rows() == [(D1, "a", 1), (D1, "b", 3)]

    # A correction that is bad leaves what stood of that part, and takes the good part.
    shop.put(f"sales_{D1}_south.csv", "x")
    shop.day(D1, ("d", 4), name=f"sales_{D1}_east.csv")
    shop.path(f"sales_{D1}_west.csv").unlink()
    shop.look()
    report = shop.load(D1)
    assert report.passed[SOURCE_CONSERVED]
    assert shop.rows() == [(D1, "a", 1), (D1, "b", 3), (D1, "d", 4)]
    assert shop.run() == []


def test_a_key_in_two_files_of_a_partition_is_in_neither(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(tmp_path, lake, store, pattern="sales_{partition}*.csv")
    shop.day(D1, ("a", 1), ("b", 1), name=f"sales_{D1}_1.csv")
    shop.day(D1, ("a", 2), ("c", 1), name=f"sales_{D1}_2.csv")

    report = shop.load(D1)

    assert report.counts == {"primary_key": 2}
    assert shop.rows() == [(D1, "b", 1), (D1, "c", 1)]


@pytest.mark.parametrize("known", [True, False])
def test_the_same_content_under_another_name_runs_nothing(
    tmp_path: Path, lake: Lake, store: FileStore, known: bool
) -> None:
    shop = Shop(tmp_path, lake, store, pattern="sales_{partition}*.csv")
    shop.day(D1, ("a", 1))
    if known:
        assert shop.run() == [D1]
    shop.day(D1, ("a", 1), name=f"sales_{D1} (1).csv")
    assert shop.run() == ([] if known else [D1])
    assert shop.rows() == [(D1, "a", 1)]
    # Of two that come at once, the first by name is the original.
    names = [f"sales_{D1}.csv", f"sales_{D1} (1).csv"]
    original, other = names if known else names[::-1]
    assert shop.status() == {original: "loaded", other: "duplicate"}
    assert shop.run() == []


def test_a_day_of_which_only_a_duplicate_came_is_not_written(shop: Shop) -> None:
    shop.day(D1, ("a", 1))
    shop.run()
    shop.path(f"sales_{D2}.csv").write_bytes(shop.path(f"sales_{D1}.csv").read_bytes())
    assert shop.run() == []
    report = shop.load(D2)
    assert (list(report.written), list(report.errors)) == ([], [])
    assert shop.status()[f"sales_{D2}.csv"] == "duplicate"


def test_a_duplicate_is_loaded_once_its_original_is_corrected(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(tmp_path, lake, store, pattern="sales_{partition}*.csv")
    first, second = f"sales_{D1}.csv", f"sales_{D1}_b.csv"
    shop.day(D1, ("a", 1), name=first)
    shop.run()
    shop.day(D1, ("a", 1), name=second)
    shop.run()
    assert shop.status()[second] == "duplicate"
    shop.day(D1, ("b", 1), name=first)
    assert shop.run() == [D1]
    assert shop.rows() == [(D1, "a", 1), (D1, "b", 1)]
    assert shop.status() == {first: "loaded", second: "loaded"}
    assert shop.run() == []


def test_a_content_whose_correction_is_refused_still_stands_once(shop: Shop) -> None:
    first = shop.day(D1, ("a", 1))
    shop.run()
    shop.path(f"sales_{D2}.csv").write_bytes(first.read_bytes())
    shop.look()
    shop.put(f"sales_{D1}.csv", "no day")
    assert shop.run() == [D1, D2], "the duplicate may be all that is left of its content"
    assert shop.status() == {f"sales_{D1}.csv": "rejected", f"sales_{D2}.csv": "duplicate"}
    assert (shop.rows(), shop.kept()) == ([(D1, "a", 1)], [])
    with shop.lake.reader() as con:
        standing = ledger.standing_files(con, "p")["path"].to_list()
    assert standing == [f"sales/sales_{D1}.csv"]
    assert shop.run() == []


def test_a_file_that_becomes_a_duplicate_takes_its_own_rows_out(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(tmp_path, lake, store, pattern="sales_{partition}*.csv")
    first, second = f"sales_{D1}.csv", f"sales_{D1}_b.csv"
    shop.day(D1, ("a", 1), name=first)
    shop.day(D1, ("b", 1), name=second)
    shop.run()
    shop.day(D1, ("a", 1), name=second)
    assert shop.run() == [D1], "its own rows are no longer what it says"
    assert shop.run() == []
    report = shop.load(D1)
    assert report.passed[CONSERVED]
    assert report.passed[SOURCE_CONSERVED]
    assert shop.rows() == [(D1, "a", 1)]
    assert shop.history() == {first: ["loaded"], second: ["withdrawn", "duplicate"]}


def test_two_files_that_take_each_others_content(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    """One of them bad: what stood of it has come under the other's name."""
    shop = Shop(tmp_path, lake, store, pattern="sales_{partition}*.csv")
    first, second = f"sales_{D1}.csv", f"sales_{D1}_b.csv"
    shop.day(D1, ("a", 1), name=first)
    shop.run()
    shop.put(first, "no day")
    shop.day(D1, ("a", 1), name=second)
    assert shop.run() == [D1]
    report = shop.load(D1)
    assert report.passed[SOURCE_CONSERVED]
    assert shop.rows() == [(D1, "a", 1)]
    assert shop.run() == []


def test_a_file_that_was_tidied_away_is_made_again_from_the_store(shop: Shop) -> None:
    shop.day(D1, ("a", 1)).parent.joinpath(f"sales_{D1}.csv")
    shop.run()
    shop.path(f"sales_{D1}.csv").unlink()
    assert shop.run() == []
    report = shop.load(D1)
    assert list(report.written) == [D1]
    assert shop.rows() == [(D1, "a", 1)]
    assert shop.status() == {f"sales_{D1}.csv": "loaded"}


def test_a_day_that_never_came_is_an_error_that_says_where_it_was_looked_for(shop: Shop) -> None:
    shop.day(D1, ("a", 1))
    report = shop.load(D1, D2)
    assert list(report.written) == [D1]
    (error,) = report.errors
    assert str(shop.folder / "p" / "sales" / f"sales_{D2}.csv") in error


class LosingZone(LocalZone):
    """A landing zone in which something happens between seeing and reading."""

    def __init__(self, folder: Path, happen: str) -> None:
        super().__init__(folder)
        self.happen = happen

    def chunks(self, product: str, file: SeenFile) -> Iterator[bytes]:
        path = self.folder / product / file.path
        if file.path.endswith(f"{D2}.csv"):
            if self.happen == "vanishes":
                path.unlink()
            elif self.happen == "is replaced":
                path.with_name(".new").write_text("day,shop,pieces\n")
                path.with_name(".new").rename(path)
            elif self.happen == "cannot be read":
                raise OSError(5, "Input/output error")
            elif self.happen == "grows while it is read":
                with path.open("a") as end:
                    yield from super().chunks(product, file)
                    end.write(f"{D2},z,9\n")
                os.utime(path)
                yield from super().chunks(product, file)
        yield from super().chunks(product, file)


@pytest.mark.parametrize(
    ("happen", "status"),
    [
        ("vanishes", "vanished"),
        ("is replaced", "waiting"),
        ("grows while it is read", "waiting"),
        ("cannot be read", "waiting"),
    ],
)
def test_what_happens_to_a_file_between_seeing_and_reading(
    shop: Shop, happen: str, status: str
) -> None:
    for day in (D1, D2, D3):
        shop.day(day, ("a", 1))
    shop.look()
    zone, shop.zone = shop.zone, LosingZone(shop.folder, happen)

    report = shop.load(D1, D2, D3)

    assert list(report.written) == [D1, D3]
    assert f"sales_{D2}.csv" in report.errors[0]
    assert shop.rows() == [(D1, "a", 1), (D3, "a", 1)]
    assert shop.status()[f"sales_{D2}.csv"] == status
    shop.zone = zone
    again = shop.run()
    assert again == ([] if happen == "vanishes" else [D2])


def test_a_file_above_the_limit_is_rejected_before_it_is_copied(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(tmp_path, lake, store, file_format=FileFormat("csv", max_bytes=1000))
    with shop.path(f"sales_{D1}.csv").open("wb") as file:
        file.truncate(1 << 34)
    report = shop.load(D1)
    assert "1,000 bytes at the most, found 17,179,869,184" in report.errors[0]
    assert not list(store.root.rglob("*"))


def test_two_runs_of_the_same_days_give_the_rows_once(shop: Shop) -> None:
    shop.day(D1, ("a", 1))
    shop.look()
    shop.load(D1, run_id="one")
    shop.load(D1, run_id="two")
    assert shop.rows() == [(D1, "a", 1)]
    assert shop.history() == {f"sales_{D1}.csv": ["loaded"]}
    assert shop.run() == []


def test_a_whole_source_of_several_files(tmp_path: Path, lake: Lake, store: FileStore) -> None:
    shop = Shop(
        tmp_path,
        lake,
        store,
        pattern="part*.csv",
        partition_column=None,
        first_day=None,
        end_day=None,
    )
    shop.put("part1.csv", f"{D1},a,1", f"{D1},b,x")
    shop.put("part2.csv", f"{D2},a,1")
    assert shop.run() == [""]
    assert shop.rows() == [(D1, "a", 1), (D2, "a", 1)]
    shop.put("part2.csv", f"{D2},a,7")
    assert shop.run() == [""]
    assert shop.rows() == [(D1, "a", 1), (D2, "a", 7)]


def put_back(shop: Shop, day: str, *released: tuple[str, str]) -> None:
    """Revert a day in the ledger and the tables to released files, by name and content's hash."""
    path, files = "sales/{}".format, []
    with shop.lake.transaction("revert") as transaction:
        con = transaction.connection
        con.execute(f"DELETE FROM lake.p.raw_sales WHERE day = '{day}'")
        for name, sha256 in released:
            stored = next((shop.store.root / sha256[:2] / sha256).iterdir())
            con.execute(
                "INSERT INTO lake.p.raw_sales BY NAME SELECT *, ? AS _source_file, "
                f"2 AS _source_line FROM read_csv('{stored}')",
                [path(name)],
            )
            file = {"source": "sales", "partition": day, "path": path(name), "sha256": sha256}
            files.append({**file, "name": stored.name, "rows": 1})
        snapshot = transaction.snapshot_id
        ledger.put_back(con, "p", [("sales", day)], files, snapshot - 1, "revert", snapshot)


def test_what_a_revert_took_out_comes_again_only_when_asked_for(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(tmp_path, lake, store, pattern="sales_{partition}*.csv")
    shop.day(D1, ("a", 1))
    shop.run()
    first = shop.ledger()["content_sha256"][0]
    shop.day(D1, ("a", 999))
    shop.run()
    put_back(shop, D1, (f"sales_{D1}.csv", first))
    assert shop.rows() == [(D1, "a", 1)]
    assert shop.run() == []

    shop.day(D1, ("b", 2), name=f"sales_{D1}_b.csv")
    assert shop.run() == [D1]
    assert shop.rows() == [(D1, "a", 1), (D1, "b", 2)], "a new part brings back nothing else"
    assert shop.load(D1).passed[SOURCE_CONSERVED]
    assert shop.rows() == [(D1, "a", 999), (D1, "b", 2)], "who asks gets what lies there"


def test_a_file_that_a_revert_took_out_whole_stays_out(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(tmp_path, lake, store, pattern="sales_{partition}*.csv")
    shop.day(D1, ("a", 1))
    shop.run()
    put_back(shop, D1)
    shop.day(D1, ("b", 2), name=f"sales_{D1}_b.csv")
    assert shop.run() == [D1]
    assert shop.rows() == [(D1, "b", 2)]


def test_the_right_file_of_a_day_is_loaded_once_the_wrong_one_is_corrected(shop: Shop) -> None:
    shop.source = Shop(shop.folder, shop.lake, shop.store, max_quarantined_share=1.0).source
    shop.put(f"sales_{D3}.csv", f"{D1},a,1")
    shop.run()
    shop.put(f"sales_{D1}.csv", f"{D1},a,1")
    shop.run()
    assert shop.status()[f"sales_{D1}.csv"] == "duplicate"
    shop.day(D3, ("c", 3))
    while shop.run():
        pass
    assert shop.rows() == [(D1, "a", 1), (D3, "c", 3)]


@pytest.mark.parametrize("together", [True, False])
def test_two_days_that_came_swapped_are_mended_together_or_one_by_one(
    shop: Shop, together: bool
) -> None:
    shop.source = Shop(shop.folder, shop.lake, shop.store, max_quarantined_share=1.0).source
    shop.put(f"sales_{D1}.csv", f"{D3},c,3")
    shop.put(f"sales_{D3}.csv", f"{D1},a,1")
    shop.run()
    assert shop.rows() == []
    shop.day(D1, ("a", 1))
    shop.day(D3, ("c", 3))
    assert sorted(shop.look()) == [D1, D3]
    for days in [(D1, D3)] if together else [(D1,), (D3,)]:
        report = shop.load(*days, is_planned=True)
        assert list(report.written) == list(days)
        assert report.passed[SOURCE_CONSERVED]
    assert shop.rows() == [(D1, "a", 1), (D3, "c", 3)]
    assert shop.run() == []


class MeanwhileZone(LocalZone):
    """A landing zone during whose first reading something happens."""

    def __init__(self, folder: Path, happen: Callable[[], object]) -> None:
        super().__init__(folder)
        self.happen: Callable[[], object] | None = happen

    def chunks(self, product: str, file: SeenFile) -> Iterator[bytes]:
        yield from super().chunks(product, file)
        happen, self.happen = self.happen, None
        if happen is not None:
            happen()


def test_a_load_that_is_overtaken_begins_anew(tmp_path: Path, lake: Lake, store: FileStore) -> None:
    shop = Shop(tmp_path, lake, store, pattern="sales_{partition}*.csv")
    other = Shop(tmp_path, lake, store, pattern="sales_{partition}*.csv")

    def another() -> None:
        other.day(D1, ("b", 2), name=f"sales_{D1}_b.csv")
        other.load(D1)

    shop.day(D1, ("a", 1))
    shop.zone = MeanwhileZone(shop.folder, another)
    report = shop.load(D1)
    assert report.passed[SOURCE_CONSERVED]
    assert shop.rows() == [(D1, "a", 1), (D1, "b", 2)]


def test_a_tidied_marker_does_not_make_a_loaded_file_wait(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(tmp_path, lake, store, pattern="sales_{partition}*.csv", marker="{file}.done")
    first, second = f"sales_{D1}_a.csv", f"sales_{D1}_b.csv"
    shop.day(D1, ("a", 1), name=first)
    shop.path(f"{first}.done").touch()
    shop.run()
    shop.path(f"{first}.done").unlink()
    shop.day(D1, ("b", 2), name=second)
    shop.path(f"{second}.done").touch()
    report = shop.load(D1)
    assert report.passed[READABLE]
    assert shop.rows() == [(D1, "a", 1), (D1, "b", 2)]


@pytest.mark.parametrize("harm", ["altered", "gone"])
@pytest.mark.parametrize("lies", [True, False])
def test_a_damaged_copy_is_never_loaded_and_holds_back_no_other(
    shop: Shop, harm: str, lies: bool
) -> None:
    shop.day(D1, ("a", 1))
    shop.run()
    row = shop.ledger().row(0, named=True)
    stored = shop.store.path(row["content_sha256"], row["stored_name"])
    if harm == "gone":
        stored.unlink()
    else:
        stored.chmod(0o644)
        stored.write_text(f"day,shop,pieces\n{D1},evil,1\n")
    if not lies:
        shop.path(f"sales_{D1}.csv").unlink()
    shop.day(D2, ("b", 2))

    report = shop.load(D1, D2)

    assert shop.rows() == [(D1, "a", 1), (D2, "b", 2)]
    assert list(report.written) == ([D1, D2] if lies else [D2])
    assert len(report.errors) == (0 if lies else 1)
    assert shop.store.is_intact(row["content_sha256"], row["stored_name"]) is lies
    assert report.passed[SOURCE_CONSERVED]


def test_a_bad_file_replaced_by_a_duplicate_fails_no_check_any_more(shop: Shop) -> None:
    shop.day(D1, ("a", 1))
    shop.put(f"sales_{D2}.csv", "no day")
    shop.run()
    shop.path(f"sales_{D2}.csv").write_bytes(shop.path(f"sales_{D1}.csv").read_bytes())
    assert shop.run() == [D2]
    assert shop.run() == []
    with shop.lake.reader() as con:
        newest = records.latest_checks(con, "p").filter(partition=D2, check=READABLE)
    assert newest["passed"].to_list() == [True]


def test_a_day_whose_refused_file_was_taken_back_fails_no_check_any_more(shop: Shop) -> None:
    shop.day(D1, ("a", 1))
    refused = shop.put(f"sales_{D2}.csv", "no day")
    shop.run()
    refused.unlink()
    shop.look()

    report = shop.load(D2)

    assert (list(report.written), list(report.errors)) == ([], [])
    with shop.lake.reader() as con:
        newest = records.latest_checks(con, "p").filter(partition=D2, check=READABLE)
    assert newest["passed"].to_list() == [True]
    assert shop.load(D2).errors, "of a day that never came it is said again"


def test_a_name_without_a_letter_is_a_name_like_any_other(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(
        tmp_path, lake, store, pattern="*", partition_column=None, first_day=None, end_day=None
    )
    shop.put("日本", f"{D1},a,1")
    shop.put("ok.csv", f"{D1},b,1")
    assert shop.run() == [""]
    assert shop.rows() == [(D1, "a", 1), (D1, "b", 1)]
