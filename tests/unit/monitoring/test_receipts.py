"""Receipts against what this process really used, and against the files on the disk."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_platform.lake import FileRecord, Lake, WriteRecord, records
from analytics_platform.monitoring.receipts import Made, Meter, Read, divide, write_receipts

MEGABYTE = 1_000_000
BURN = "import time\nwhile time.process_time() < {seconds}: pass"


def test_waiting_costs_wall_time_and_work_costs_cpu_wherever_it_is_done() -> None:
    waiting = Meter()
    time.sleep(0.2)
    idle = waiting.read()
    working = Meter()
    ends = time.process_time() + 0.2
    while time.process_time() < ends:
        sum(range(1000))
    subprocess.run([sys.executable, "-c", BURN.format(seconds=0.3)], check=True)
    worked = working.read()

    assert idle.wall_seconds >= 0.2
    assert idle.cpu_seconds < 0.1
    assert 0.5 <= worked.cpu_seconds < 2.0, "this process and its child, user and system"
    assert worked.started_at >= idle.started_at + dt.timedelta(seconds=0.2)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux resets the peak of memory")
def test_the_peak_of_memory_is_that_of_the_step_and_not_of_the_one_before() -> None:
    small = Meter().read().peak_memory_bytes
    greedy = Meter()
    held = bytearray(b"x" * 300 * MEGABYTE)
    del held
    large = greedy.read().peak_memory_bytes
    after = Meter().read().peak_memory_bytes

    assert large - small > 290 * MEGABYTE
    assert large - after > 250 * MEGABYTE


@given(st.lists(st.none() | st.floats(0, 1e6), min_size=1, max_size=30))
def test_the_shares_of_a_step_sum_to_it_and_go_by_what_each_says(
    seconds: list[float | None],
) -> None:
    shares = divide([Made("p", f"a{n}", seconds=said) for n, said in enumerate(seconds)])

    assert sum(shares) == pytest.approx(1.0)
    total = sum(said or 0.0 for said in seconds)
    for share, said in zip(shares, seconds, strict=True):
        assert share * total == pytest.approx((said or 0.0) if total else 0.0, rel=1e-9, abs=1e-300)


def days(first: int, last: int, rows: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "day": [dt.date(2013, 1, d) for d in range(first, last + 1) for _ in range(rows)],
            "value": list(range((last - first + 1) * rows)),
        }
    )


def write(lake: Lake, table: str, frame: pl.DataFrame, run: str) -> None:
    partitions = sorted({str(day) for day in frame["day"]})
    with lake.transaction("write") as transaction:
        transaction.replace("shop", table, frame, partition_column="day", partitions=partitions)
        transaction.record_writes(
            [
                WriteRecord(
                    "shop", table, day, run, frame.filter(pl.col("day").cast(str) == day).height
                )
                for day in partitions
            ]
        )


def files(lake: Lake) -> dict[Path, int]:
    return {path: path.stat().st_size for path in lake.data.rglob("*.parquet")}


def test_rows_and_bytes_are_those_of_the_partitions_read_and_of_the_files_on_the_disk(
    lake: Lake,
) -> None:
    write(lake, "orders", days(1, 4, rows=500), "before")
    before = files(lake)
    meter = Meter()
    write(lake, "totals", days(3, 4, rows=7), "run")
    made = Made(
        "shop",
        "totals",
        ("2013-01-03", "2013-01-04"),
        (Read("shop", "orders", "2013-01-03", "2013-01-04"),),
    )

    (receipt,) = write_receipts(lake, "run", meter.read(), [made])

    assert (receipt.rows_in, receipt.rows_out) == (1000, 14)
    new = {path: size for path, size in files(lake).items() if path not in before}
    assert receipt.bytes_out == sum(new.values()) > 0
    # Two of four days with as many rows each: half of the file that they lie in.
    assert receipt.bytes_in == pytest.approx(sum(before.values()) / 2, abs=1)
    with lake.reader() as con:
        found = records.receipts(con, "shop")
    assert found.schema == records.RECEIPT_SCHEMA
    assert found.row(0, named=True) == {
        name: getattr(receipt, name) for name in records.RECEIPT_SCHEMA
    }
    assert (receipt.partition, receipt.partitions) == ("2013-01-03", 2)


def test_writing_a_day_again_costs_the_delete_file_too(lake: Lake) -> None:
    write(lake, "orders", days(1, 4, rows=500), "before")
    before = files(lake)
    meter = Meter()
    write(lake, "orders", days(2, 2, rows=10), "run")

    (receipt,) = write_receipts(
        lake, "run", meter.read(), [Made("shop", "orders", ("2013-01-02",))]
    )

    new = {path: size for path, size in files(lake).items() if path not in before}
    assert len(new) == 2, "the rows of the day, and which rows of the old file are gone"
    assert receipt.bytes_out == sum(new.values())
    # Of what it reads nothing is declared.
    assert (receipt.rows_in, receipt.bytes_in, receipt.rows_out) == (None, None, 10)


def test_the_bytes_of_a_view_are_those_that_it_reads(lake: Lake) -> None:
    write(lake, "orders", days(1, 2, rows=500), "before")
    size = sum(files(lake).values())
    with lake.transaction("view") as transaction:
        transaction.connection.execute("CREATE VIEW lake.shop.big AS FROM lake.shop.orders")
        transaction.record_writes([WriteRecord("shop", "big", "", "before", 400)])
    through = Read("shop", "big", through=(Read("shop", "orders"),))

    (receipt,) = write_receipts(
        lake, "run", Meter().read(), [Made("shop", "totals", reads=(through,))]
    )

    assert (receipt.rows_in, receipt.bytes_in) == (400, size)


def test_the_files_kept_by_content_count_where_they_were_recorded_meanwhile(lake: Lake) -> None:
    def keep(name: str, size: int) -> None:
        with lake.transaction("keep") as transaction:
            transaction.record_files([FileRecord("shop", "model", "", name, "0" * 64, size)])

    keep("old.txt", 5000)
    meter = Meter()
    keep("model.txt", 700)
    keep("plot.png", 40)

    made = [Made("shop", "model"), Made("shop", "other")]
    model, other = write_receipts(lake, "run", meter.read(), made)

    assert (model.bytes_out, other.bytes_out) == (740, 0)


@pytest.mark.parametrize(
    ("read", "rows"),
    [
        pytest.param(Read("shop", "orders"), 1000, id="known"),
        pytest.param(Read("shop", "never_written"), 0, id="of the lake and never written"),
        pytest.param(Read("shop", "elsewhere", is_known=False), None, id="of elsewhere"),
        pytest.param(Read("shop", "uncounted"), None, id="written and not counted"),
    ],
)
def test_what_is_not_known_is_null_and_never_zero(lake: Lake, read: Read, rows: int | None) -> None:
    write(lake, "orders", days(1, 2, rows=500), "before")
    with lake.transaction("record") as transaction:
        transaction.record_writes([WriteRecord("shop", "uncounted", "", "before", None)])

    (receipt,) = write_receipts(lake, "run", Meter().read(), [Made("shop", "x", reads=(read,))])

    assert receipt.rows_in == rows
    assert (receipt.bytes_in is None) == (rows is None)


def test_a_lake_from_before_receipts_gets_the_table_with_the_first(lake: Lake) -> None:
    with lake.transaction("be old") as transaction:
        transaction.connection.execute("DROP TABLE lake.ops.receipts")
    with lake.reader() as con:
        assert records.receipts(con, "shop").is_empty()

    write_receipts(lake, "run", Meter().read(), [Made("shop", "a"), Made("shop", "b")])
    write_receipts(lake, "next", Meter().read(), [Made("shop", "b")])

    with lake.reader() as con:
        assert records.receipts(con, "shop")["asset"].to_list() == ["a", "b", "b"]
        assert records.receipts(con, "shop", "b")["run_id"].to_list() == ["run", "next"]
    assert not files(lake), "small rows stay in the catalog, as in a lake made with the table"
