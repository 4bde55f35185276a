"""Replaying quarantined rows: each is loaded or stays, and nothing else changes."""

from __future__ import annotations

import codecs
import gzip
import tempfile
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_platform.arrivals.checks import CONSERVED, HOLDS, READABLE, SOURCE_CONSERVED
from analytics_platform.contracts import FileFormat
from analytics_platform.lake import FileStore, Lake, SchemaChangedError, records
from analytics_platform.lake.ledger import known_files
from analytics_platform.release.gate import judge
from tests.unit.arrivals.sales import D1, D2, D3, Sale, Shop

REQUIRED = {"raw_sales": [READABLE, HOLDS, CONSERVED, SOURCE_CONSERVED]}


def contract(least: int | None = 0, **columns: dy.Column) -> type[dy.Schema]:
    """The contract of a sale with another least number of pieces, or with other columns."""
    named: dict[str, Any] = {"pieces": dy.Int32(min=least, description="Pieces."), **columns}
    return type("Mended", (Sale,), named)


def loaded(shop: Shop) -> list[tuple[Any, ...]]:
    """All that is loaded, with where it came from."""
    return shop.lake.query("FROM lake.p.raw_sales ORDER BY ALL").rows()


def numbers(shop: Shop) -> dict[str, tuple[int, int, int]]:
    """Rows in each standing file, loaded and quarantined, as the ledger has them."""
    found = shop.ledger().filter(status="loaded")
    columns = ("path", "rows_in_file", "rows_loaded", "rows_quarantined")
    return {row[0].rpartition("/")[2]: row[1:] for row in found.select(columns).iter_rows()}


def writes(shop: Shop) -> list[tuple[str, int, str]]:
    with shop.lake.reader() as con:
        return records.latest_writes(con, "p").select("partition", "rows", "run_id").rows()


def test_rows_that_hold_now_are_loaded_and_the_others_stay(shop: Shop) -> None:
    shop.put(f"sales_{D1}.csv", f"{D1},a,1", f"{D1},b,-1", f"{D1},c,-9", f"{D1},d,x")
    shop.put(f"sales_{D2}.csv", f"{D2},a,1", f"{D2},b,-9")
    shop.day(D3, ("a", 1))
    shop.run()
    before = loaded(shop)

    report = shop.replay(D1, D2, D3, contract=contract(-5))

    assert list(report.written) == [D1]
    assert not report.errors
    assert all(report.passed.values())
    assert (report.frame.height, report.quarantined) == (1, 3)
    assert report.counts == {"pieces|min": 2, "pieces|type": 1}
    assert shop.rows() == [(D1, "a", 1), (D1, "b", -1), (D2, "a", 1), (D3, "a", 1)]
    assert set(before) < set(loaded(shop))
    assert ("sales/sales_2013-01-01.csv", 3) in [row[-2:] for row in loaded(shop)]
    assert shop.kept() == [
        (f"sales_{D1}.csv", 4, "pieces|min"),
        (f"sales_{D1}.csv", 5, "pieces|type"),
        (f"sales_{D2}.csv", 3, "pieces|min"),
    ]
    assert writes(shop) == [(D1, 2, "again"), (D2, 1, "run"), (D3, 1, "run")]
    assert numbers(shop) == {
        f"sales_{D1}.csv": (4, 2, 2),
        f"sales_{D2}.csv": (2, 1, 1),
        f"sales_{D3}.csv": (1, 1, 0),
    }
    told = {entry.path: entry.reason for entry in report.files}
    assert told == {
        f"sales/sales_{D1}.csv": "replayed: 1 of 3 rows hold now",
        f"sales/sales_{D2}.csv": "replayed: 0 of 1 rows hold now",
    }
    assert shop.run() == [], "the landing zone has nothing that is due"


def test_replaying_again_changes_nothing(shop: Shop) -> None:
    shop.put(f"sales_{D1}.csv", f"{D1},a,1", f"{D1},b,-1", f"{D1},c,-9")
    shop.run()
    shop.replay(D1, contract=contract(-5))
    state = (loaded(shop), shop.kept(), numbers(shop), writes(shop))

    report = shop.replay(D1, run_id="once more")

    assert list(report.written) == []
    assert all(report.passed.values())
    assert (loaded(shop), shop.kept(), numbers(shop), writes(shop)) == state
    shop.replay(D1, contract=contract(-99))
    assert shop.kept() == []
    assert not shop.replay(D1).files, "nothing is left to replay"


def test_what_moved_no_row_is_stored_and_stops_no_release(shop: Shop) -> None:
    shop.put(f"sales_{D1}.csv", f"{D1},a,1", f"{D1},b,-9")
    shop.run()

    other = type("Other", (Sale,), {"pieces": dy.Int32(max=-99, description="Pieces.")})
    report = shop.replay(D1, contract=other)

    assert list(report.written) == []
    assert shop.kept() == [(f"sales_{D1}.csv", 3, "pieces|max")]
    assert report.files[0].reason == "replayed: 0 of 1 rows hold now"
    with shop.lake.reader() as con:
        assert judge(con, "p", REQUIRED).opens
        newest = records.latest_checks(con, "p").filter(check=HOLDS)
    assert newest["run_id"].to_list() == ["again"]


def test_a_day_whose_share_was_too_large_opens_the_gate_once_it_is_mended(shop: Shop) -> None:
    shop.put(f"sales_{D1}.csv", f"{D1},a,1", f"{D1},b,-1", f"{D1},c,-1")
    shop.run()
    with shop.lake.reader() as con:
        assert not judge(con, "p", REQUIRED).opens

    report = shop.replay(D1, contract=contract(-1))

    assert report.passed[HOLDS]
    with shop.lake.reader() as con:
        assert judge(con, "p", REQUIRED).opens


def test_a_file_that_could_not_be_read_still_fails_its_day(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(tmp_path, lake, store, pattern="sales_{partition}*.csv")
    shop.put(f"sales_{D1}_1.csv", f"{D1},a,1", f"{D1},b,-1")
    shop.put(f"sales_{D1}_2.csv", "x")
    shop.run()

    report = shop.replay(D1, contract=contract(-1))

    assert list(report.written) == [D1]
    assert not report.errors
    assert not report.passed[READABLE]
    assert shop.run() == []


@pytest.mark.parametrize(
    ("row", "rule", "mended"),
    [
        pytest.param(f'{D1},b,"1,234"', "pieces|type", {"thousands": ","}, id="thousands"),
        pytest.param(f"{D1},'b,c',7", "shape", {"quote": "'"}, id="quote"),
    ],
)
def test_a_mended_format(shop: Shop, row: str, rule: str, mended: dict[str, str]) -> None:
    shop.put(f"sales_{D1}.csv", f"{D1},a,1", row)
    shop.run()
    assert [rules for _, _, rules in shop.kept()] == [rule]

    shop.replay(D1, file_format=FileFormat("csv", **mended))

    assert shop.kept() == []
    again = loaded(shop)
    shop.load(D1)
    assert loaded(shop) == again


def test_a_mended_date_format_and_header_of_another_name(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    sold = dy.Date(nullable=True, description="Sold.", metadata={"header": "Sold On"})
    shop = Shop(tmp_path, lake, store, contract=contract(sold=sold))
    shop.put(
        f"sales_{D1}.csv",
        f"{D1},a,1,",
        f"{D1},b,2,31/12/2012",
        header="day,shop,pieces,Sold On",
    )
    shop.run()
    assert [rules for _, _, rules in shop.kept()] == ["sold|type"]

    written = {"header": "Sold On", "format": "%d/%m/%Y"}
    sold = dy.Date(nullable=True, description="Sold.", metadata=written)
    shop.replay(D1, contract=contract(sold=sold))

    assert shop.kept() == []
    found = lake.query("SELECT sold::VARCHAR FROM lake.p.raw_sales WHERE shop = 'b'").item()
    assert found == "2012-12-31"


def test_a_record_is_read_by_itself_and_swallows_no_other(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    """A quote that is unpaired by the format of now, between rows that hold."""
    shop = Shop(
        tmp_path, lake, store, file_format=FileFormat("csv", quote=""), max_quarantined_share=1.0
    )
    shop.put(f"sales_{D1}.csv", f"{D1},a,1", f"{D1},b,-1", f'{D1},"c,-1', f'{D1},"d,e",3')
    shop.run()
    assert [line for _, line, _ in shop.kept()] == [3, 4, 5]

    shop.replay(D1, contract=contract(-1), file_format=FileFormat("csv"))

    assert shop.rows() == [(D1, "a", 1), (D1, "b", -1), (D1, "d,e", 3)]
    assert shop.kept() == [(f"sales_{D1}.csv", 4, "shape")]
    text = shop.lake.query('SELECT "text" FROM lake.p.quarantine_sales').item()
    assert text == f'{D1},"c,-1'


def _packed(text: str) -> bytes:
    return gzip.compress(text.encode())


def _marked_utf8(text: str) -> bytes:
    return codecs.BOM_UTF8 + text.encode()


def _marked_utf16(text: str) -> bytes:
    return codecs.BOM_UTF16_BE + text.encode("utf-16-be")


@pytest.mark.parametrize(
    ("suffix", "encode", "encoding", "end"),
    [
        pytest.param("csv", str.encode, "utf-8", "\n", id="utf-8"),
        pytest.param(
            "csv", lambda text: codecs.BOM_UTF8 + text.encode(), "utf-8", "\r\n", id="mark"
        ),
        pytest.param("csv", _marked_utf16, "utf-16", "\r\n", id="utf-16"),
        pytest.param("csv", lambda text: text.encode("cp1252"), "cp1252", "\r", id="cp1252"),
        pytest.param("csv.gz", _packed, "utf-8", "\n", id="gzip"),
    ],
)
def test_bytes_of_any_kind_and_records_of_several_lines(
    suffix: str, encode: Any, encoding: str, end: str, tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(
        tmp_path,
        lake,
        store,
        pattern=f"sales_{{partition}}.{suffix}",
        file_format=FileFormat("csv", encoding=encoding),
    )
    name = f'"Café{end}""am{end}{end}Eck"""'
    lines = ["", "day,shop,pieces", f"{D1},a,1", f"{D1},{name},-1", "", f"{D1},ü,-9", f"{D1},z,2"]
    shop.path(f"sales_{D1}.{suffix}").write_bytes(encode(end.join(lines) + end))
    shop.run()
    kept = shop.lake.query('SELECT _source_line, "text" FROM lake.p.quarantine_sales').rows()

    report = shop.replay(D1, contract=contract(-5))

    assert report.passed[CONSERVED]
    assert (D1, f'Café{end}"am{end}{end}Eck"', -1) in shop.rows()
    assert shop.kept() == [(f"sales_{D1}.{suffix}", kept[1][0], "pieces|min")]
    again = loaded(shop)
    shop.load(D1)
    assert loaded(shop) == again


def test_parquet_rows_are_picked_out_of_their_file(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(
        tmp_path,
        lake,
        store,
        pattern="sales_{partition}.parquet",
        file_format=FileFormat("parquet"),
    )
    frame = pl.DataFrame(
        {"day": [D1] * 4, "shop": list("abcd"), "pieces": [1, -1, -9, 2]}
    ).with_columns(pl.col("day").str.to_date(), pl.col("pieces").cast(pl.Int32))
    frame.write_parquet(shop.path(f"sales_{D1}.parquet"))
    shop.run()

    report = shop.replay(D1, contract=contract(-5))

    assert all(report.passed.values())
    assert shop.rows() == [(D1, "a", 1), (D1, "b", -1), (D1, "d", 2)]
    assert shop.kept() == [(f"sales_{D1}.parquet", 3, "pieces|min")]


def test_a_key_that_is_taken_by_a_loaded_row_or_by_another_kept_one(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    shop = Shop(tmp_path, lake, store, pattern="sales_{partition}*.csv", max_quarantined_share=1.0)
    # Ragged by the format of before, so that no key was compared.
    shop.put(f"sales_{D1}_1.csv", f"{D1},a,1", f"{D1},'c',2,", f"{D1},'d',3,")
    shop.put(f"sales_{D1}_2.csv", f"{D1},b,1", f"{D1},'a','7,700'", f"{D1},'c','7,700'",
             f"{D1},'e','7,700'")  # fmt: skip
    shop.put(f"sales_{D2}.csv", f"{D2},e,1", f"{D2},'b','7,700'")
    shop.run()
    before = loaded(shop)

    mended = FileFormat("csv", quote="'", thousands=",", decimal=".")
    report = shop.replay(D1, D2, file_format=mended)

    # 'c' of the first file is ragged still, so that the other is alone; 'a' is loaded already;
    # 'b' and 'e' are keys of the other day.
    assert set(before) < set(loaded(shop))
    assert shop.rows() == [
        (D1, "a", 1), (D1, "b", 1), (D1, "c", 7700), (D1, "e", 7700), (D2, "b", 7700), (D2, "e", 1)
    ]  # fmt: skip
    assert shop.kept() == [
        (f"sales_{D1}_1.csv", 3, "shape"),
        (f"sales_{D1}_1.csv", 4, "shape"),
        (f"sales_{D1}_2.csv", 3, "primary_key"),
    ]
    assert report.counts == {"primary_key": 1, "shape": 2}
    assert report.passed[SOURCE_CONSERVED]

    # Two kept rows of one key: neither can be told to be the right one.
    shop.put(f"sales_{D3}.csv", f"{D3},a,1", f"{D3},k,-1", f"{D3},k,-2")
    shop.run()
    shop.replay(D3, contract=contract(-5))
    assert [rules for file, _, rules in shop.kept() if D3 in file] == ["primary_key"] * 2


def test_a_source_without_partitions_of_several_files(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    whole = {"partition_column": None, "first_day": None, "end_day": None}
    shop = Shop(tmp_path, lake, store, pattern="part*.csv", **whole)
    shop.put("part1.csv", f"{D1},a,1", f"{D1},b,-1")
    shop.put("part2.csv", f"{D2},a,1", f"{D2},b,-9")
    shop.run()

    report = shop.replay("", contract=contract(-5))

    assert list(report.written) == [""]
    assert all(report.passed.values())
    assert shop.rows() == [(D1, "a", 1), (D1, "b", -1), (D2, "a", 1)]
    assert shop.kept() == [("part2.csv", 3, "pieces|min")]


def test_a_contract_with_a_new_column(tmp_path: Path, lake: Lake, store: FileStore) -> None:
    shop = Shop(tmp_path, lake, store)
    shop.put(f"sales_{D1}.csv", f"{D1},a,1", f"{D1},b,-1")
    shop.run()
    state = (loaded(shop), shop.kept(), numbers(shop))
    mended = contract(-5, note=dy.String(nullable=True, description="Note."))

    # The file does not have it: then no row of it can be read.
    report = shop.replay(D1, contract=mended)
    (error,) = report.errors
    assert "missing note" in error
    assert f"sales_{D1}.csv" in error
    assert (loaded(shop), shop.kept(), numbers(shop)) == state

    # It may be missing, but the table may not change: nothing is changed.
    with pytest.raises(SchemaChangedError, match="note"):
        shop.replay(D1, file_format=FileFormat("csv", missing_columns="null"))
    assert (loaded(shop), shop.kept(), numbers(shop)) == state

    shop.replay(D1, schema_change="add_columns")
    assert lake.query("SELECT shop, note FROM lake.p.raw_sales ORDER BY 1").rows() == [
        ("a", None),
        ("b", None),
    ]


def test_a_failing_replay_leaves_all_as_it_was(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.put(f"sales_{D1}.csv", f"{D1},a,1", f"{D1},b,-1")
    shop.run()
    state = (loaded(shop), shop.kept(), numbers(shop), writes(shop), shop.lake.snapshot())

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(records, "insert_checks", fail)
        with pytest.raises(OSError, match="No space"):
            shop.replay(D1, contract=contract(-5))
    now = (loaded(shop), shop.kept(), numbers(shop), writes(shop), shop.lake.snapshot())
    assert now == state


def test_one_day_that_cannot_be_read_holds_back_no_other(shop: Shop) -> None:
    for day in (D1, D2):
        shop.put(f"sales_{day}.csv", f"{day},a,1", f"{day},b,-1")
    shop.run()
    entry = shop.ledger().row(0, named=True)
    kept = shop.store.path(entry["content_sha256"], entry["stored_name"])
    kept.chmod(0o600)
    kept.unlink()

    report = shop.replay(D1, D2, contract=contract(-5))

    (error,) = report.errors
    assert f"sales_{D1}.csv" in error
    assert list(report.written) == [D2]
    assert shop.kept() == [(f"sales_{D1}.csv", 3, "pieces|min")]


def test_a_row_whose_text_was_never_kept_stays_as_it_is(shop: Shop) -> None:
    shop.put(f"sales_{D1}.csv", f"{D1},a,1", f"{D1},b,-1")
    shop.run()
    with shop.lake.transaction("as it was") as transaction:
        transaction.connection.execute('ALTER TABLE lake.p.quarantine_sales DROP COLUMN "text"')

    report = shop.replay(D1, contract=contract(-5))

    assert all(report.passed.values())
    assert report.counts == {"pieces|min": 1}
    assert shop.kept() == [(f"sales_{D1}.csv", 3, "pieces|min")]


def test_a_correction_that_waits_or_was_refused_is_not_forgotten(shop: Shop) -> None:
    """The ledger's word on what lies in the landing zone is not a replay's to change."""
    shop.put(f"sales_{D1}.csv", f"{D1},a,1", f"{D1},b,-1")
    shop.run()
    shop.put(f"sales_{D1}.csv", "x")
    shop.run()
    with shop.lake.reader() as con:
        before = known_files(con, "p")[f"sales/sales_{D1}.csv"].seen

    shop.replay(D1, contract=contract(-5))

    assert shop.rows() == [(D1, "a", 1), (D1, "b", -1)]
    with shop.lake.reader() as con:
        known = known_files(con, "p")[f"sales/sales_{D1}.csv"]
    assert known.seen == before
    assert known.standing is not None
    assert (known.standing.rows_loaded, known.standing.rows_quarantined) == (2, 0)
    assert shop.run() == [], "what was rejected is not tried again until it changes"
    shop.day(D1, ("c", 3))
    assert shop.run() == [D1]
    assert shop.rows() == [(D1, "c", 3)]


values = st.sampled_from(["-9", "-3", "0", "4", "9", "x", "", '"1,000"', "1,2", '"2\n"'])
rows = st.lists(st.tuples(st.sampled_from("abcdef"), values), max_size=6)


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    days=st.lists(rows, min_size=1, max_size=2),
    least=st.integers(-3, 5),
    looser=st.integers(0, 12),
    thousands=st.sampled_from(["", ","]),
)
def test_a_replay_by_a_looser_contract_gives_what_a_new_load_gives(
    days: list[list[tuple[str, str]]], least: int, looser: int, thousands: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shop = Shop(root, Lake(root / "env"), FileStore(root / "files"), contract=contract(least))
        dates = [D1, D2][: len(days)]
        for date, sales in zip(dates, days, strict=True):
            # A row that holds by any of them, so that the file is one and the table is there.
            sold = [f"{date},{name},{pieces}" for name, pieces in sales]
            shop.put(f"sales_{date}.csv", f"{date},z,10", *sold)
        shop.run()
        before = loaded(shop)

        report = shop.replay(
            *dates,
            contract=contract(least - looser),
            file_format=FileFormat("csv", thousands=thousands),
        )

        assert report.passed[CONSERVED]
        assert report.passed[SOURCE_CONSERVED]
        assert set(before) <= set(loaded(shop))
        replayed = (loaded(shop), shop.kept(), numbers(shop), shop.rows())
        shop.load(*dates)
        assert (loaded(shop), shop.kept(), numbers(shop), shop.rows()) == replayed
