"""Writes to a real lake: whole or not at all, by name, with every partition accounted for."""

import datetime as dt
import multiprocessing
from pathlib import Path

import duckdb
import polars as pl
import pytest

from analytics_platform.lake import (
    Lake,
    LakeError,
    SchemaChangedError,
    WriterBusyError,
    WriteRecord,
)

FIRST, SECOND = dt.date(2013, 1, 1), dt.date(2013, 1, 2)


def frame(day: dt.date, *values: int) -> pl.DataFrame:
    return pl.DataFrame({"day": [day] * len(values), "value": list(values)})


def write(lake: Lake, rows: pl.DataFrame, *days: dt.date) -> int:
    with lake.transaction("test") as transaction:
        transaction.replace(
            "p", "t", rows, partition_column="day", partitions=[str(day) for day in days]
        )
        transaction.record_writes(
            [WriteRecord("p", "t", str(day), "run", rows.height) for day in days]
        )
        return transaction.snapshot_id


def rows(lake: Lake) -> list[tuple[object, ...]]:
    return lake.query("SELECT day, value FROM lake.p.t ORDER BY ALL").rows()


def test_a_partition_is_replaced_and_the_others_stay(lake: Lake) -> None:
    write(lake, pl.concat([frame(FIRST, 1, 2), frame(SECOND, 3)]), FIRST, SECOND)
    write(lake, frame(FIRST, 9), FIRST)
    assert rows(lake) == [(FIRST, 9), (SECOND, 3)]


def test_a_partition_written_empty_ends_empty(lake: Lake) -> None:
    write(lake, pl.concat([frame(FIRST, 1), frame(SECOND, 3)]), FIRST, SECOND)
    write(lake, frame(FIRST, 1).clear(), FIRST)
    assert rows(lake) == [(SECOND, 3)]


def test_columns_are_matched_by_name(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    write(lake, frame(SECOND, 2).select("value", "day"), SECOND)
    assert rows(lake) == [(FIRST, 1), (SECOND, 2)]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (frame(FIRST, 1).with_columns(pl.col("value").cast(pl.String)), "value"),
        (frame(FIRST, 1).with_columns(extra=pl.lit(1)), "extra"),
        (frame(FIRST, 1).drop("value"), "value"),
    ],
    ids=["type", "extra", "missing"],
)
def test_a_changed_schema_is_refused_and_changes_nothing(
    lake: Lake, changed: pl.DataFrame, named: str
) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    before = lake.snapshot()
    with pytest.raises(SchemaChangedError, match=named):
        write(lake, changed, FIRST)
    assert rows(lake) == [(FIRST, 1)]
    assert lake.snapshot() == before


def test_rows_of_another_partition_are_refused(lake: Lake) -> None:
    with pytest.raises(LakeError, match="2013-01-02"):
        write(lake, frame(SECOND, 1), FIRST)


def test_a_block_that_raises_leaves_nothing(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    before = lake.snapshot()

    def delete_and_fail() -> None:
        with lake.transaction("test") as transaction:
            transaction.connection.execute("DELETE FROM lake.p.t")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        delete_and_fail()
    assert rows(lake) == [(FIRST, 1)]
    assert lake.snapshot() == before


def test_the_snapshot_named_in_a_transaction_is_the_one_it_makes(lake: Lake) -> None:
    assert [write(lake, frame(FIRST, n), FIRST) for n in range(3)] == [
        *range(lake.snapshot() - 2, lake.snapshot() + 1)
    ]
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


def _append(catalog: Path, data: Path, first: int) -> None:
    lake = Lake(catalog, data)
    for number in range(first, first + 5):
        with lake.transaction("append") as transaction:
            transaction.connection.execute(
                "INSERT INTO lake.ops.releases (product, number) VALUES ('p', ?)", [number]
            )


def test_writers_in_several_processes_take_turns(lake: Lake) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_append, args=(lake.catalog, lake.data, 100 * n)) for n in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    numbers = lake.query("SELECT number FROM lake.ops.releases ORDER BY number")["number"]
    assert numbers.to_list() == [100 * n + i for n in range(3) for i in range(5)]


def test_a_waiting_writer_says_who_holds_the_turn(lake: Lake) -> None:
    impatient = Lake(lake.catalog, lake.data, writer_wait_seconds=0.2)
    with (
        lake.writing("a long build"),
        pytest.raises(WriterBusyError, match="a long build"),
        impatient.writing("my own"),
    ):
        pass
