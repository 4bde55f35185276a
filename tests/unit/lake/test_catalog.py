"""Catalogs as data: frozen ones hold one schema at one snapshot, clones leave the origin alone."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import pytest

from analytics_platform.lake import Lake, LakeError
from analytics_platform.lake.catalog import (
    copy_catalog,
    files_of_frozen,
    forget_scheduled,
    freeze,
    referenced_files,
    scheduled_files,
    table_files,
)
from analytics_platform.lake.engine import open_duckdb
from analytics_platform.lake.schema_change import columns_of
from tests.unit.lake.writing import FIRST, SECOND, by_hand, frame, hashes, rows, write

# Every type that a file of the lake keeps as it is, with values at its edges.
TYPES = {
    "boolean": ("BOOLEAN", "true"),
    "tinyint": ("TINYINT", "-128"),
    "smallint": ("SMALLINT", "-32768"),
    "integer": ("INTEGER", "-2147483648"),
    "bigint": ("BIGINT", "9223372036854775807"),
    "utinyint": ("UTINYINT", "255"),
    "usmallint": ("USMALLINT", "65535"),
    "uinteger": ("UINTEGER", "4294967295"),
    "ubigint": ("UBIGINT", "18446744073709551615"),
    "float": ("FLOAT", "'nan'"),
    "double": ("DOUBLE", "'-inf'"),
    "small_decimal": ("DECIMAL(4,1)", "-999.9"),
    "large_decimal": ("DECIMAL(38,10)", "1234567890123456789012345678.0123456789"),
    "text": ("VARCHAR", "'Grüße, ''quoted'' \U0001f600'"),
    "bytes": ("BLOB", r"'\x00\xFF\x80'::BLOB"),
    "date": ("DATE", "'1582-10-15'"),
    "clock": ("TIME", "'23:59:59.999999'"),
    "moment": ("TIMESTAMP", "'2013-01-01 05:06:07.123456'"),
    "moment_ns": ("TIMESTAMP_NS", "'2013-01-01 05:06:07.123456789'"),
    "zoned": ("TIMESTAMPTZ", "'2013-06-01 05:06:07.123456+02'"),
    "id": ("UUID", "'00112233-4455-6677-8899-aabbccddeeff'"),
    "list": ("INTEGER[]", "[1, NULL, 3]"),
    "lists": ("VARCHAR[][]", "[['a'], [], NULL]"),
    "record": ("STRUCT(a INTEGER, b VARCHAR[])", "{'a': 1, 'b': ['x', NULL]}"),
    "map": ("MAP(VARCHAR, DOUBLE)", "MAP {'x': 'nan'::DOUBLE, 'y': 1.5}"),
    "records": ("STRUCT(d DECIMAL(9,2), t TIMESTAMPTZ)[]",
                "[{'d': 1.25, 't': '2013-01-01 00:00:00+00'}]"),
}  # fmt: skip


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    return tmp_path / "frozen.ducklake"


@contextmanager
def attached(catalog: Path, alias: str = "other") -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB with a frozen catalog attached."""
    with closing(open_duckdb()) as con:
        con.execute(f"ATTACH 'ducklake:{catalog}' AS {alias} (READ_ONLY)")
        yield con


def everything(catalog: Path) -> str:
    """All that a frozen catalog's own tables hold, as text."""
    with closing(duckdb.connect(str(catalog), read_only=True)) as con:
        tables = con.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        return "\n".join(str(row) for (t,) in tables for row in con.execute(f"FROM {t}").fetchall())


def test_every_type_reads_back_equal(lake: Lake, frozen: Path) -> None:
    columns = ", ".join(f'"{name}" {kind}' for name, (kind, _) in TYPES.items())
    values = ", ".join(f"({value})::{kind}" for kind, value in TYPES.values())
    snapshot = by_hand(
        lake,
        "CREATE SCHEMA lake.p",
        f"CREATE TABLE lake.p.t ({columns})",
        f"INSERT INTO lake.p.t VALUES ({values})",
        f"INSERT INTO lake.p.t VALUES ({', '.join(['NULL'] * len(TYPES))})",
    )
    freeze(lake.catalog, "p", snapshot, frozen)
    with attached(frozen) as con:
        con.execute(f"CREATE TABLE expected ({columns})")
        con.execute(f"INSERT INTO expected VALUES ({values})")
        con.execute(f"INSERT INTO expected VALUES ({', '.join(['NULL'] * len(TYPES))})")
        assert columns_of(con, "other.p.t") == columns_of(con, "expected")
        for name in TYPES:
            # EXCEPT takes NaN for NaN and null for null.
            for one, two in (("other.p.t", "expected"), ("expected", "other.p.t")):
                differ = con.execute(
                    f'SELECT "{name}" FROM {one} EXCEPT ALL SELECT "{name}" FROM {two}'
                ).fetchall()
                assert differ == [], f"{name}: only in {one}"


def test_a_frozen_catalog_holds_its_own_schema_and_stays_as_it_was(
    lake: Lake, frozen: Path
) -> None:
    write(lake, frame(FIRST, 11), FIRST, product="secret_product", asset="secret_table")
    write(lake, frame(FIRST, 1, 2), FIRST)
    write(lake, frame(SECOND, 3), SECOND)
    by_hand(lake, "DELETE FROM lake.p.t WHERE value = 2", "DROP TABLE IF EXISTS lake.p.u")
    snapshot = by_hand(
        lake,
        "CREATE TABLE lake.p.double_t AS SELECT value * 2 AS twice FROM lake.p.t",
        "CREATE VIEW lake.p.seen AS WITH lake_rows AS (SELECT * FROM lake.p.t) "
        "SELECT value + 1 AS value, 'lake.p' AS said FROM lake_rows",
    )
    freeze(lake.catalog, "p", snapshot, frozen)
    frozen.chmod(0o444)
    bytes_before = frozen.read_bytes()

    by_hand(
        lake,
        "DELETE FROM lake.p.t",
        "DROP TABLE lake.p.double_t",
        "ALTER TABLE lake.p.t ADD COLUMN later INTEGER",
        "INSERT INTO lake.p.t VALUES ('2013-01-01', 99, 1)",
    )
    for alias in ("other", "p", "lake"):
        with attached(frozen, alias) as con:
            schemas = con.execute(
                "SELECT DISTINCT table_schema FROM information_schema.tables "
                f"WHERE table_catalog = '{alias}'"
            ).fetchall()
            assert schemas == [("p",)]
            assert con.execute(f"FROM {alias}.p.t ORDER BY ALL").fetchall() == [
                (FIRST, 1),
                (SECOND, 3),
            ]
            assert con.execute(f"FROM {alias}.p.double_t ORDER BY 1").fetchall() == [(2,), (6,)]
            assert con.execute(f"FROM {alias}.p.seen ORDER BY 1").fetchall() == [
                (2, "lake.p"),
                (4, "lake.p"),
            ]
            snapshots = con.execute(f"SELECT snapshot_id FROM {alias}.snapshots()").fetchall()
            assert snapshots == [(snapshot,)]
            with pytest.raises(duckdb.Error, match="read-only"):
                con.execute(f"DELETE FROM {alias}.p.t")
    assert frozen.read_bytes() == bytes_before
    assert "secret" not in everything(frozen)
    assert all(Path(file).is_file() for file in files_of_frozen([frozen]))


def test_a_snapshot_that_another_product_made_does_not_name_it(lake: Lake, frozen: Path) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    last = write(lake, frame(FIRST, 11), FIRST, product="secret_product", asset="secret_table")
    freeze(lake.catalog, "p", last, frozen)
    assert "secret" not in everything(frozen)


def test_a_table_of_no_product_is_not_in_it(lake: Lake, frozen: Path) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    last = by_hand(lake, "CREATE TABLE lake.main.scratch AS SELECT 1 AS scratch")
    freeze(lake.catalog, "p", last, frozen)
    assert "scratch" not in everything(frozen)


def test_an_earlier_snapshot_is_frozen_as_it_was(lake: Lake, frozen: Path) -> None:
    early = write(lake, frame(FIRST, 1), FIRST)
    write(lake, frame(FIRST, 2), FIRST)
    freeze(lake.catalog, "p", early, frozen)
    with attached(frozen) as con:
        assert con.execute("FROM other.p.t").fetchall() == [(FIRST, 1)]


def test_rows_kept_in_the_catalog_cannot_be_frozen(lake: Lake, frozen: Path) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    with closing(lake.connect()) as con:
        con.execute("CALL lake.set_option('data_inlining_row_limit', 10)")
        con.execute("INSERT INTO lake.p.t VALUES ('2013-01-02', 2)")
    with pytest.raises(LakeError, match=r"Freezing p: table t keeps rows in the catalog\."):
        freeze(lake.catalog, "p", lake.snapshot(), frozen)


def cloned(lake: Lake) -> Lake:
    """A clone of a lake, in force in an environment of its own."""
    clone = Lake(lake.folder.parent / "clone")
    place = clone.new_place()
    with lake.writing("copy"):
        copy_catalog(lake.catalog, place)
    clone.put_in_force(place)
    return clone


def test_heavy_work_in_a_clone_never_changes_the_origin(lake: Lake) -> None:
    for day in (FIRST, SECOND):
        for value in range(2):
            write(lake, frame(day, value, value + 10), day)
    by_hand(lake, "DELETE FROM lake.p.t WHERE value = 11 AND day = '2013-01-01'")
    origin_rows, before = rows(lake), hashes(lake.folder)
    clone = cloned(lake)
    assert rows(clone) == origin_rows
    assert not any(clone.data.rglob("*.parquet")), "no data was copied"

    write(clone, frame(FIRST, 5), FIRST)
    by_hand(clone, "DELETE FROM lake.p.t WHERE day = '2013-01-02' AND value = 1")
    by_hand(clone, "UPDATE lake.p.t SET value = 50 WHERE value = 11")
    by_hand(clone, "CREATE TABLE lake.p.new AS SELECT range AS n FROM range(100)")
    for value in range(3):
        write(clone, frame(FIRST, value), FIRST)
    with closing(clone.connect()) as con:
        con.execute("CALL ducklake_merge_adjacent_files('lake')")
        con.execute("CALL ducklake_rewrite_data_files('lake', delete_threshold => 0)")
        con.execute("CALL ducklake_expire_snapshots('lake', older_than => now())")
    assert rows(clone) == [(FIRST, 2), (SECOND, 50)]
    assert hashes(lake.folder) == before
    assert rows(lake) == origin_rows
    made = {path for path in referenced_files(clone.catalog) if path.startswith(str(clone.data))}
    assert made, "what the clone writes lies in its own folder"
    assert all(Path(path).is_file() for path in referenced_files(clone.catalog))


def test_a_clone_stands_when_the_origins_catalog_is_gone(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    clone = cloned(lake)
    shutil.rmtree(lake.releases, ignore_errors=True)
    for file in lake.place.glob("catalog.sqlite*"):
        file.unlink()
    assert rows(clone) == [(FIRST, 1)]


def test_files_of_tables_and_of_the_whole_catalog(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    write(lake, frame(SECOND, 2, 3), SECOND)
    before = table_files(lake.catalog, "p")["t"]
    by_hand(
        lake,
        "DELETE FROM lake.p.t WHERE value = 3",
        "CREATE TABLE lake.p.empty (n INTEGER)",
        "CREATE VIEW lake.p.seen AS FROM lake.p.t",
    )
    after = table_files(lake.catalog, "p")
    assert after.keys() == {"t", "empty"}
    assert after["empty"] == frozenset()
    assert len(before) == 2
    assert before < after["t"], "the file stays and a delete file comes on top"
    assert len(after["t"]) == 3
    assert table_files(lake.catalog, "unknown") == {}
    listed = lake.query("FROM ducklake_list_files('lake', 't', schema => 'p')")
    named = {*listed["data_file"], *listed["delete_file"].drop_nulls()}
    assert after["t"] == named, "DuckLake's own list"

    write(lake, frame(SECOND, 9), SECOND)
    assert after["t"] <= referenced_files(lake.catalog), "old snapshots still name their files"
    assert {str(p) for p in lake.data.rglob("*.parquet")} == referenced_files(lake.catalog)


def test_what_a_catalog_has_done_with_is_named_until_it_is_forgotten(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    old = table_files(lake.catalog, "p")["t"]
    write(lake, frame(FIRST, 2), FIRST)
    assert scheduled_files(lake.catalog) == set()
    with closing(lake.connect()) as con:
        con.execute("CALL ducklake_expire_snapshots('lake', older_than => now())")
    assert scheduled_files(lake.catalog) == old
    assert not referenced_files(lake.catalog) & old
    now = dt.datetime.now(dt.UTC)
    forget_scheduled(lake.catalog, now - dt.timedelta(minutes=5))
    assert scheduled_files(lake.catalog) == old, "too young to forget"
    in_another_zone = (now + dt.timedelta(minutes=5)).astimezone(dt.timezone(dt.timedelta(hours=9)))
    forget_scheduled(lake.catalog, in_another_zone)
    assert scheduled_files(lake.catalog) == set()
