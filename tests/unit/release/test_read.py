"""What readers get: one state, read-only, in SQL and Polars, from any DuckDB, and nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import polars as pl
import pytest

import analytics_platform
from analytics_platform.lake import FileStore, Lake, LakeError
from analytics_platform.lake.engine import install_extensions
from analytics_platform.release import (
    NoReleaseError,
    ReleasedProduct,
    ReleaseLog,
    attach_statement,
    publish,
    query,
    rollback,
)
from analytics_platform.settings import Settings
from tests.unit.lake.writing import FIRST, REQUIRED, SECOND, by_hand, frame, view, write

BOTH = pl.concat([frame(FIRST, 1, 2), frame(SECOND, 3)])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> ReleaseLog:
    """A lake with two products, of which `p` has a release; read only."""
    home = tmp_path_factory.mktemp("home")
    lake, store = Lake(home / "local"), FileStore(home / "files")
    write(lake, frame(FIRST, 9), FIRST, product="q")
    write(lake, BOTH, FIRST, SECOND)
    view(lake, "large", "FROM lake.p.t WHERE value > 1")
    publish(lake, store, "p", REQUIRED, "run")
    return ReleaseLog(lake, store, "p")


@pytest.fixture
def reader(shared: ReleaseLog) -> Iterator[ReleasedProduct]:
    with ReleasedProduct(shared.serving(), shared.store) as opened:
        yield opened


def test_released_opens_the_settings_own_release(lake: Lake, store: FileStore) -> None:
    with pytest.raises(NoReleaseError, match="`ap run p`"):
        analytics_platform.released("p")
    write(lake, frame(FIRST, 1), FIRST)
    publish(lake, store, "p", REQUIRED, "run")
    write(lake, frame(FIRST, 2), FIRST)
    publish(lake, store, "p", REQUIRED, "run")
    with analytics_platform.released("p") as newest:
        assert newest.release.number == 2
        assert newest.scan("t").collect().rows() == [(FIRST, 2)]
    with analytics_platform.released("p", release=1, environment="local") as old:
        assert old.sql("SELECT value FROM t").fetchall() == [(1,)]
    with pytest.raises(NoReleaseError, match="there are: 1, 2"):
        analytics_platform.released("p", release=3)
    with pytest.raises(NoReleaseError):
        analytics_platform.released("p", environment="staging")


def test_another_environment_is_read_by_its_name(settings: Settings, store: FileStore) -> None:
    staging = Lake.from_settings(settings.of("staging"))
    write(staging, frame(FIRST, 5), FIRST)
    publish(staging, store, "p", REQUIRED, "run")
    with analytics_platform.released("p", environment="staging") as opened:
        assert opened.execute("SELECT value FROM t").fetchall() == [(5,)]
    with pytest.raises(NoReleaseError):
        analytics_platform.released("p")


def test_a_scan_is_lazy_and_equals_sql(reader: ReleasedProduct) -> None:
    scan = reader.scan("t")
    assert isinstance(scan, pl.LazyFrame)
    assert scan.collect().sort("day", "value").equals(BOTH)
    assert reader.execute("FROM t ORDER BY ALL").pl().equals(BOTH)
    filtered = scan.filter(pl.col("day") == FIRST).select("value").sort("value")
    assert filtered.collect()["value"].to_list() == [1, 2]


def test_two_scans_are_joined(reader: ReleasedProduct) -> None:
    scan = reader.scan("t")
    large = reader.scan("t").filter(pl.col("value") > 1)
    # Often enough, for it is a race.
    found = [scan.join(large, on=["day", "value"]).collect().height for _ in range(10)]
    assert found == [2] * 10


def test_a_view_is_scanned_like_a_table(reader: ReleasedProduct) -> None:
    assert reader.scan("large").collect()["value"].sort().to_list() == [2, 3]


def test_columns_and_filters_of_a_scan_reach_the_source(reader: ReleasedProduct) -> None:
    plan = reader.scan("t").filter(pl.col("value") > 1).select("day").explain()
    assert "PROJECT 2/2" not in plan
    assert "SELECTION: " in plan
    assert not plan.lstrip().startswith("FILTER"), plan


def test_an_unknown_table_is_refused_with_those_there_are(reader: ReleasedProduct) -> None:
    assert reader.tables() == ["large", "t"]
    with pytest.raises(LakeError, match=r"^Release 1 of p has no table 'x'; it has: large, t\.$"):
        reader.scan("x")


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM t", "INSERT INTO t VALUES ('2013-01-01', 1)", "CREATE TABLE u (n INTEGER)",
     "DROP TABLE t", "ALTER TABLE t ADD COLUMN n INTEGER",
     "CREATE OR REPLACE VIEW large AS FROM t"],
)  # fmt: skip
def test_a_release_is_read_only(reader: ReleasedProduct, statement: str) -> None:
    with pytest.raises(duckdb.Error, match="read-only"):
        reader.execute(statement)
    assert reader.scan("t").collect().height == 3


def test_other_products_are_invisible(reader: ReleasedProduct) -> None:
    schemas = reader.execute(
        "SELECT DISTINCT table_catalog, table_schema FROM information_schema.tables "
        "WHERE table_catalog NOT LIKE '\\_\\_ducklake%' ESCAPE '\\'"
    ).fetchall()
    assert schemas == [("p", "p")]
    for name in ("q.t", "p.q.t", "ops.writes", "p.ops.writes"):
        with pytest.raises(duckdb.Error, match="does not exist"):
            reader.execute(f"FROM {name}")


def test_a_reader_keeps_its_state_whatever_happens(lake: Lake, store: FileStore) -> None:
    log = ReleaseLog(lake, store, "p")
    for value in (1, 2):
        write(lake, frame(FIRST, value), FIRST)
        publish(lake, store, "p", REQUIRED, "run")
    with ReleasedProduct(log.serving(), store) as opened:
        write(lake, frame(FIRST, 3), FIRST)
        by_hand(lake, "DROP TABLE lake.p.t")
        rollback(log)
        assert opened.scan("t").collect().rows() == [(FIRST, 2)]
        assert opened.release.number == 2
    with ReleasedProduct(log.serving(), store) as opened:
        assert opened.scan("t").collect().rows() == [(FIRST, 1)]


def test_it_reads_beside_a_writer_that_holds_the_turn(shared: ReleaseLog) -> None:
    with (
        shared.lake.transaction("a long write") as transaction,
        ReleasedProduct(shared.serving(), shared.store) as opened,
    ):
        transaction.connection.execute("DELETE FROM lake.p.t")
        assert opened.scan("t").collect().height == 3
        transaction.connection.execute("INSERT INTO lake.p.t FROM (VALUES (DATE '2013-01-01', 1))")
        transaction.connection.execute("ROLLBACK")
        transaction.connection.execute("BEGIN")


def test_the_attach_statement_serves_a_plain_duckdb_under_any_name(shared: ReleaseLog) -> None:
    install_extensions()
    statement = attach_statement(shared.serving(), shared.store)
    # With an argument, it is a DuckDB as it comes: it checks the extensions' signatures.
    with closing(duckdb.connect(":memory:")) as con:
        con.execute(statement)
        assert con.execute("FROM t ORDER BY ALL").pl().equals(BOTH)
        assert con.execute("SELECT count(*) FROM large").fetchone() == (2,)
        with pytest.raises(duckdb.Error, match="read-only"):
            con.execute("DELETE FROM t")
    attach = statement.splitlines()[1].replace('AS "p"', "AS another_name")
    with closing(duckdb.connect(":memory:")) as con:
        con.execute(f"LOAD ducklake; {attach}")
        assert con.execute("SELECT sum(value) FROM another_name.p.large").fetchone() == (5,)


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM t", "SELECT 1; SELECT 2", "", "ATTACH ':memory:' AS x", "SET threads = 1",
     "COPY t TO 'x.csv'", "CREATE TEMP TABLE x AS SELECT 1"],
)  # fmt: skip
def test_a_query_is_one_statement_that_reads(reader: ReleasedProduct, sql: str) -> None:
    with pytest.raises(LakeError, match="One statement that reads is expected"):
        query(reader, sql)


def test_a_query_gives_a_frame(reader: ReleasedProduct) -> None:
    assert query(reader, "SELECT sum(value)::BIGINT AS n FROM t").rows() == [(6,)]
    assert query(reader, "WITH x AS (FROM t) SELECT max(day) FROM x").rows() == [(SECOND,)]


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("FROM read_csv('{outside}')", id="read-csv"),
        pytest.param("FROM read_text('{outside}')", id="read-text"),
        pytest.param("FROM glob('{home}/files/**')", id="glob-store"),
        pytest.param("ATTACH '{home}/x.duckdb' AS x", id="attach-new-file"),
        pytest.param("COPY t TO '{home}/x.csv'", id="copy-out"),
        pytest.param("COPY (SELECT 1) TO '{data}/../x.parquet'", id="copy-up"),
        pytest.param("SET enable_external_access = true", id="set"),
        pytest.param("RESET allowed_directories", id="reset"),
        pytest.param("SET threads = 1", id="set-anything"),
        pytest.param("INSTALL httpfs", id="install"),
        pytest.param("LOAD httpfs", id="load"),
        pytest.param("DELETE FROM t", id="delete"),
        pytest.param("FROM read_parquet('{other_lake}/**/*.parquet')", id="data-of-another-lake"),
        pytest.param("FROM read_parquet('{data}/q/**/*.parquet')", id="data-of-another-product"),
        pytest.param("COPY (SELECT 1 AS n) TO '{data}/x.parquet'", id="write-beside-the-data"),
        pytest.param("ATTACH '{data}/x.duckdb' AS x", id="attach-beside-the-data"),
        pytest.param("ATTACH 'ducklake:sqlite:{catalog}' AS x", id="attach-the-lake"),
        pytest.param("ATTACH 'sqlite:{catalog}' AS x", id="attach-its-catalog"),
        pytest.param("FROM sqlite_scan('{catalog}', 'ducklake_table')", id="scan-its-catalog"),
        pytest.param("ATTACH 'ducklake:sqlite:{other_catalog}' AS x", id="attach-another-lake"),
    ],
)  # fmt: skip
def test_a_sealed_reader_reaches_nothing_else(
    shared: ReleaseLog, tmp_path: Path, statement: str
) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text("a,b\n1,2\n")
    other = Lake(shared.lake.folder.parent / "staging")
    if not other.exists:
        write(other, frame(FIRST, 8), FIRST)
    release = shared.serving()
    named = {
        "outside": outside,
        "home": shared.lake.folder.parent,
        "data": shared.lake.data,
        "catalog": shared.lake.catalog,
        "other_lake": other.data,
        "other_catalog": other.catalog,
    }
    try:
        with ReleasedProduct(release, shared.store).sealed() as sealed:
            assert sealed.scan("t").collect().height == 3, "the release itself is read"
            assert sealed.execute("FROM large").fetchall()
            found = []
            with pytest.raises(duckdb.Error):
                found = sealed.execute(statement.format(**named)).fetchall()
            assert found == []
    finally:
        for name in ("x.parquet", "x.duckdb"):
            (shared.lake.data / name).unlink(missing_ok=True)


def test_a_reader_starts_where_time_is_utc(reader: ReleasedProduct) -> None:
    moment = reader.execute("SELECT TIMESTAMPTZ '2013-01-01 00:00:00'").fetchone()
    assert moment is not None
    assert moment[0] == dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
