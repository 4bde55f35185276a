"""Writes to a real lake: whole or not at all, by name, with every partition accounted for."""

import datetime as dt
import multiprocessing
from pathlib import Path

import duckdb
import polars as pl
import pytest

from analytics_platform.lake import Lake, LakeError, WriteRecord
from tests.unit.lake.writing import FIRST, SECOND, by_hand, frame, rows, write


def test_a_partition_is_replaced_and_the_others_stay(lake: Lake) -> None:
    write(lake, pl.concat([frame(FIRST, 1, 2), frame(SECOND, 3)]), FIRST, SECOND)
    write(lake, frame(FIRST, 9), FIRST)
    assert rows(lake) == [(FIRST, 9), (SECOND, 3)]


def test_a_partition_written_empty_ends_empty(lake: Lake) -> None:
    write(lake, pl.concat([frame(FIRST, 1), frame(SECOND, 3)]), FIRST, SECOND)
    write(lake, frame(FIRST), FIRST)
    assert rows(lake) == [(SECOND, 3)]


def test_without_partitions_the_whole_table_is_replaced(lake: Lake) -> None:
    write(lake, pl.concat([frame(FIRST, 1), frame(SECOND, 3)]))
    write(lake, frame(FIRST, 9))
    assert rows(lake) == [(FIRST, 9)]


def test_columns_are_matched_by_name(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    write(lake, frame(SECOND, 2).select("value", "day"), SECOND)
    assert rows(lake) == [(FIRST, 1), (SECOND, 2)]


def test_categories_are_kept_as_text(lake: Lake) -> None:
    letters = frame(FIRST, "a", "b", kind=pl.Categorical)
    write(lake, letters, FIRST)
    assert rows(lake) == [(FIRST, "a"), (FIRST, "b")]


@pytest.mark.parametrize("stray", [SECOND, None], ids=["another-day", "no-day"])
def test_rows_of_another_partition_are_refused(lake: Lake, stray: dt.date | None) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    strays = frame(FIRST, 7).with_columns(pl.lit(stray, dtype=pl.Date).alias("day"))
    with pytest.raises(LakeError, match=rf"for 2013-01-01: .* day = \['{stray}'\]"):
        write(lake, strays, FIRST)
    assert rows(lake) == [(FIRST, 1)]


def test_a_block_that_raises_leaves_nothing(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    before = lake.snapshot()

    def delete_and_fail() -> None:
        with lake.transaction("test") as transaction:
            transaction.connection.execute("DELETE FROM lake.p.t")
            transaction.record_writes([WriteRecord("p", "t", "", "lost", 0)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        delete_and_fail()
    assert rows(lake) == [(FIRST, 1)]
    assert lake.snapshot() == before
    assert lake.query("SELECT run_id FROM lake.ops.writes")["run_id"].to_list() == ["run"]


def test_a_failed_write_leaves_no_file_and_takes_no_committed_one(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    stood = set(lake.data.rglob("*.parquet"))

    def write_and_fail() -> None:
        with lake.transaction("test") as transaction:
            transaction.replace("p", "t", frame(SECOND, 2), partition_column="day",
                                partitions=[str(SECOND)])  # fmt: skip
            # As DuckDB leaves it where the disk is full: a file that no catalog will ever name.
            (lake.data / "p" / "t" / "half.parquet").write_bytes(b"PAR1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert set(lake.data.rglob("*.parquet")) == stood
    assert rows(lake) == [(FIRST, 1)]


def test_the_snapshot_named_in_a_transaction_is_the_one_it_makes(lake: Lake) -> None:
    made = [write(lake, frame(FIRST, n), FIRST) for n in range(3)]
    assert made == [*range(lake.snapshot() - 2, lake.snapshot() + 1)]
    recorded = lake.query("SELECT max(snapshot_id) FROM lake.ops.writes").item()
    # DuckLake's own column says in which snapshot a row was written.
    assert recorded == lake.query("SELECT max(snapshot_id) FROM lake.p.t t").item()


def test_a_snapshot_is_read_as_it_was(lake: Lake) -> None:
    old = write(lake, frame(FIRST, 1), FIRST)
    write(lake, frame(FIRST, 2), FIRST)
    with lake.reader(snapshot=old) as con:
        assert con.execute("SELECT value FROM lake.p.t").fetchall() == [(1,)]


def test_a_reader_cannot_write(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    with lake.reader() as con, pytest.raises(duckdb.Error, match="read-only"):
        con.execute("DELETE FROM lake.p.t")


def test_a_reader_waits_for_no_writer(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    with lake.transaction("a long write") as transaction:
        transaction.connection.execute("DELETE FROM lake.p.t")
        assert rows(lake) == [(FIRST, 1)], "what is not committed is not seen"


def test_products_keep_no_rows_in_the_catalog(lake: Lake) -> None:
    # A release is a copy of the catalog, and rows kept in it could not be read there.
    by_hand(lake, "CREATE SCHEMA lake.p", "CREATE TABLE lake.p.one AS SELECT 1 AS value")
    listed = lake.query("FROM ducklake_list_files('lake', 'one', schema => 'p')")
    assert listed.height == 1


def _append(folder: Path, first: int) -> None:
    lake = Lake(folder)
    for number in range(first, first + 4):
        with lake.transaction("append") as transaction:
            transaction.record_writes([WriteRecord("p", "t", "", "run", number)])


def test_writers_in_several_processes_take_turns(lake: Lake) -> None:
    # The lake does not exist yet: one of them makes it.
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append, args=(lake.folder, 100 * n)) for n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0]
    found = lake.query('SELECT "rows" AS n FROM lake.ops.writes ORDER BY n')["n"].to_list()
    assert found == [100 * n + i for n in range(2) for i in range(4)]
    assert len(list((lake.folder / "lakes").iterdir())) == 1
