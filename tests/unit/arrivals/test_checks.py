"""The checks of a landing source, counted by hand."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import dataframely as dy
import pytest

from analytics_platform.arrivals import UsualVolume, checks_of
from analytics_platform.arrivals.checks import (
    CONSERVED,
    HOLDS,
    KNOWN,
    READABLE,
    SOURCE_CONSERVED,
    USUAL,
)
from analytics_platform.lake import FileStore, Lake
from analytics_platform.lake.ledger import LedgerEntry, append
from tests.unit.arrivals.sales import D1, D2, D3, Shop, source


class SaleOfAKnownShop(dy.Schema):
    """A sale whose shop should be in `shops`."""

    day = dy.Date(primary_key=True, description="Day.")
    shop = dy.String(primary_key=True, description="Shop.", metadata={"references": "shops.shop"})
    pieces = dy.Int32(description="Pieces.")


def blocking(**changes: object) -> dict[str, bool]:
    return {name: check.blocking for name, check in checks_of(source(**changes)).items()}


def test_what_is_declared_is_checked_and_blocks_but_for_references() -> None:
    always = dict.fromkeys([READABLE, HOLDS, CONSERVED, SOURCE_CONSERVED], True)
    assert blocking() == always
    assert blocking(volume=UsualVolume()) == {**always, USUAL: True}
    assert blocking(contract=SaleOfAKnownShop) == {**always, KNOWN: False}


def deliver(shop: Shop, day: int, rows: int) -> str:
    date = str(dt.date(2013, 1, day))
    shop.day(date, *((f"s{row}", row) for row in range(rows)))
    return date


@pytest.mark.parametrize(
    ("rows", "holds"), [(4, False), (5, True), (10, True), (20, True), (21, False)]
)
def test_a_day_is_held_against_the_median_of_the_days_before_it(
    tmp_path: Path, lake: Lake, store: FileStore, rows: int, holds: bool
) -> None:
    usual = UsualVolume(least_share=0.5, most_share=2, days=5, at_least=3)
    shop = Shop(tmp_path, lake, store, volume=usual)
    # The median of the five days before day 7 is 10; day 1 is too long ago.
    before = [deliver(shop, day, count) for day, count in enumerate([99, 9, 10, 11, 10, 30], 1)]
    assert shop.load(*before[:5]).passed[USUAL] is True, "99 to 10 is too few days to say"
    report = shop.load(before[5])
    assert report.passed[USUAL] is False, "30 to 10"

    report = shop.load(deliver(shop, 7, rows))

    assert report.passed[USUAL] is holds
    if not holds:
        assert (report.details[USUAL]["rows"], report.details[USUAL]["median"]) == (rows, 10)


def test_days_of_one_load_are_held_against_each_other(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(tmp_path, lake, store, volume=UsualVolume(days=3, at_least=2))
    days = [deliver(shop, day, count) for day, count in ((1, 10), (2, 10), (3, 4), (4, 10))]
    report = shop.load(*days)
    assert report.details[USUAL]["failed_partitions"] == 1
    assert report.details[USUAL]["first_failed_partition"] == D3


def shops_of(lake: Lake, *names: str) -> None:
    with lake.transaction("shops") as transaction:
        con = transaction.connection
        con.execute("CREATE SCHEMA IF NOT EXISTS lake.p")
        con.execute("CREATE OR REPLACE TABLE lake.p.raw_shops (shop VARCHAR)")
        con.executemany("INSERT INTO lake.p.raw_shops VALUES (?)", [[name] for name in names])


def test_values_that_another_source_lacks_are_told_and_hold_nothing_back(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(tmp_path, lake, store, contract=SaleOfAKnownShop)
    shop.day(D1, ("a", 1), ("b", 1))
    report = shop.load(D1)
    assert not report.passed[KNOWN]
    assert "was never loaded" in report.details[KNOWN]["shop"]

    shops_of(lake, "a")
    shop.day(D2, ("a", 1))
    assert shop.load(D2).passed[KNOWN], "it looks at what was loaded, not at other days"
    report = shop.load(D1)
    assert not report.passed[KNOWN]
    assert report.details[KNOWN]["shop"] == "1 rows with 1 values that shops lacks: b (1)"
    assert shop.rows() == [(D1, "a", 1), (D1, "b", 1), (D2, "a", 1)]


def test_values_that_cannot_be_compared_are_told_and_hold_nothing_back(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    class NumberedShop(dy.Schema):
        """A sale in a shop that goes by a number."""

        day = dy.Date(primary_key=True, description="Day.")
        shop = dy.Int64(
            primary_key=True, description="Shop.", metadata={"references": "shops.shop"}
        )
        pieces = dy.Int32(min=0, description="Pieces.")

    shops_of(lake, "a")
    shop = Shop(tmp_path, lake, store, contract=NumberedShop)
    shop.day(D1, ("1", 1))

    report = shop.load(D1)

    assert report.details[KNOWN]["shop"].startswith("it is BIGINT and shops.shop is VARCHAR")
    assert shop.rows() == [(D1, 1, 1)]


def test_a_row_lost_at_any_time_is_found_by_the_next_load(shop: Shop) -> None:
    for day in (D1, D2):
        shop.day(day, ("a", 1), ("b", 1))
    assert shop.load(D1, D2).passed[SOURCE_CONSERVED]
    with shop.lake.transaction("lose a row") as transaction:
        transaction.connection.execute(
            f"DELETE FROM lake.p.raw_sales WHERE day = '{D1}' AND shop = 'b'"
        )
    shop.day(D3, ("a", 1))

    report = shop.load(D3)

    assert report.passed[CONSERVED], "the day itself is whole"
    assert not report.passed[SOURCE_CONSERVED]
    assert report.details[SOURCE_CONSERVED]["differing"] == [
        f"{D1}: 2 rows in files, 1 in the tables"
    ]


def test_a_ledger_that_says_more_than_the_tables_is_found(shop: Shop) -> None:
    shop.day(D1, ("a", 1))
    shop.load(D1)
    with shop.lake.transaction("a file that was never loaded") as transaction:
        entry = LedgerEntry("p", "sales", D2, "sales/x.csv", "loaded", rows_in_file=7)
        append(transaction.connection, [entry], transaction.snapshot_id)
    report = shop.load(D1)
    assert report.details[SOURCE_CONSERVED]["differing"] == [
        f"{D2}: 7 rows in files, 0 in the tables"
    ]
