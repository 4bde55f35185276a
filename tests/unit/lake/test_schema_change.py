"""A frame whose columns are not its table's: each policy, and that no value is lost in silence."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analytics_platform.lake import SCHEMA_CHANGES, Lake, SchemaChange, SchemaChangedError
from analytics_platform.lake.schema_change import require_exact
from tests.unit.lake.writing import FIRST, SECOND, frame, write

Named = Callable[..., int]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """One lake for all: each test has a table of its own."""
    return Lake(Path(tmp_path_factory.mktemp("lake")) / "local")


@pytest.fixture
def table(request: pytest.FixtureRequest) -> str:
    """A table that no other test writes."""
    return "".join(c if c.isalnum() else "_" for c in request.node.name).lower()


@pytest.fixture
def put(lake: Lake, table: str) -> Named:
    """Write a frame of one day, or the whole table, under a policy."""

    def write_table(rows: pl.DataFrame, *days: dt.date, policy: SchemaChange = "fail") -> int:
        return write(lake, rows, *days, asset=table, policy=policy)

    return write_table


def schema(lake: Lake, table: str) -> dict[str, str]:
    found = lake.query(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? "
        "AND database_name = 'lake' ORDER BY column_index",
        [table],
    )
    return dict(found.rows())


def values(lake: Lake, table: str) -> list[tuple[Any, ...]]:
    return lake.query(f"SELECT * FROM lake.p.{table} ORDER BY ALL").rows()


CHANGED = {
    "type": frame(FIRST, 1).with_columns(pl.col("value").cast(pl.String)),
    "extra": frame(FIRST, 1).with_columns(extra=pl.lit(1.5)),
    "missing": frame(FIRST, 1).drop("value"),
    "other-case": frame(FIRST, 1).rename({"value": "VALUE"}),
}


@pytest.mark.parametrize(
    ("changed", "policy", "difference"),
    [
        ("type", "fail", "  value: table BIGINT, frame VARCHAR\n"),
        ("extra", "fail", "  extra: table has no such column, frame DOUBLE\n"),
        ("missing", "fail", "  value: table BIGINT, frame has no such column\n"),
        ("other-case", "fail", "  VALUE: table has no such column, frame BIGINT\n"),
        ("type", "add_columns", "  value: table BIGINT, frame VARCHAR\n"),
        ("missing", "add_columns", "  value: table BIGINT, frame has no such column\n"),
        ("other-case", "add_columns", "  value: table BIGINT, frame has no such column\n"),
    ],
)
def test_what_the_policy_does_not_allow_is_refused_and_changes_nothing(
    lake: Lake, table: str, put: Named, changed: str, policy: SchemaChange, difference: str
) -> None:
    put(frame(FIRST, 1), FIRST)
    before = lake.snapshot()
    with pytest.raises(SchemaChangedError) as refused:
        put(CHANGED[changed], FIRST, policy=policy)
    said = str(refused.value)
    assert said.startswith(f"Writing p.{table}: ")
    assert f"policy for a changed schema is `{policy}`. Nothing was changed." in said
    assert difference in said
    assert "  table: {'day': 'DATE', 'value': 'BIGINT'}" in said
    assert "  frame: {'day': 'DATE'" in said
    assert values(lake, table) == [(FIRST, 1)]
    assert lake.snapshot() == before


def test_added_columns_are_null_in_the_rows_that_stand(lake: Lake, table: str, put: Named) -> None:
    put(frame(FIRST, 1), FIRST)
    wide = frame(SECOND, 2).select(pl.lit("x").alias("note"), "value", "day", n=pl.lit(1.5))
    put(wide, SECOND, policy="add_columns")
    assert schema(lake, table) == {
        "day": "DATE", "value": "BIGINT", "note": "VARCHAR", "n": "DOUBLE"
    }  # fmt: skip
    assert values(lake, table) == [(FIRST, 1, None, None), (SECOND, 2, "x", 1.5)]


def test_replacing_the_whole_table_takes_any_schema(lake: Lake, table: str, put: Named) -> None:
    put(frame(FIRST, 1, 2))
    put(pl.DataFrame({"value": ["abc"], "extra": [True]}), policy="replace")
    assert schema(lake, table) == {"value": "VARCHAR", "extra": "BOOLEAN"}
    assert values(lake, table) == [("abc", True)]


def test_replacing_one_partition_keeps_casts_drops_and_adds(
    lake: Lake, table: str, put: Named
) -> None:
    old = frame(FIRST, 1, None).with_columns(gone=pl.lit("x"))
    put(pl.concat([old, frame(SECOND, 2).with_columns(gone=pl.lit("y"))]), FIRST, SECOND)
    new = pl.DataFrame({"new": [1.5], "day": [SECOND], "value": ["two"]})
    put(new, SECOND, policy="replace")
    assert schema(lake, table) == {"new": "DOUBLE", "day": "DATE", "value": "VARCHAR"}
    assert values(lake, table) == [(1.5, SECOND, "two"), (None, FIRST, "1"), (None, FIRST, None)]


@pytest.mark.parametrize(
    ("stays", "old", "new", "lost"),
    [
        pytest.param(3.7, pl.Float64, pl.Int32, "3.7", id="fraction"),
        pytest.param(2**40, pl.Int64, pl.Int32, "1099511627776", id="too-large"),
        pytest.param("abc", pl.String, pl.Int32, "abc", id="text"),
        pytest.param("007", pl.String, pl.Int32, "007", id="leading-zeros"),
        pytest.param(2**53 + 1, pl.Int64, pl.Float64, "9007199254740993", id="odd-beyond-double"),
        pytest.param(0.1, pl.Float64, pl.Float32, "0.1", id="digits"),
        pytest.param(math.nan, pl.Float64, pl.Int32, "nan", id="nan"),
        pytest.param(math.inf, pl.Float64, pl.Int32, "inf", id="infinite"),
        pytest.param(dt.datetime(2013, 1, 1, 5, tzinfo=dt.UTC), pl.Datetime("us", "UTC"), pl.Date,
                     "2013-01-01 05:00:00+00", id="time-of-day"),
        pytest.param([1], pl.List(pl.Int32), pl.Int32, "[1]", id="list"),
    ],
)  # fmt: skip
def test_a_value_that_stays_is_never_lost(
    lake: Lake, table: str, put: Named, stays: object, old: Any, new: Any, lost: str
) -> None:
    put(frame(FIRST, stays, kind=old), FIRST)
    before = lake.snapshot(), schema(lake, table)
    with pytest.raises(SchemaChangedError, match=r"Materialise every partition in one run") as said:
        put(frame(SECOND, None, kind=new), SECOND, policy="replace")
    assert f"such as {lost!r}. Nothing was changed." in str(said.value)
    assert (lake.snapshot(), schema(lake, table)) == before
    assert lake.query(f"SELECT value FROM lake.p.{table}").equals(
        frame(FIRST, stays, kind=old).select("value")
    )


@pytest.mark.parametrize(
    ("stays", "old", "new", "kind"),
    [
        pytest.param([1.5, math.nan, math.inf, -math.inf, None], pl.Float32, pl.Float64, "DOUBLE",
                     id="float"),
        pytest.param([1, -(2**31), None], pl.Int32, pl.Int64, "BIGINT", id="integer"),
        pytest.param([1.0, None], pl.Float64, pl.Int32, "INTEGER", id="whole-doubles"),
        pytest.param(["12", None], pl.String, pl.Int32, "INTEGER", id="digits"),
        pytest.param([math.nan, 1.5], pl.Float64, pl.String, "VARCHAR", id="to-text"),
    ],
)  # fmt: skip
def test_a_lossless_change_keeps_every_value(
    lake: Lake, table: str, put: Named, stays: list[Any], old: Any, new: Any, kind: str
) -> None:
    put(frame(FIRST, *stays, kind=old), FIRST)
    put(frame(SECOND, kind=new), SECOND, policy="replace")
    assert schema(lake, table)["value"] == kind
    found = lake.query(f"SELECT value FROM lake.p.{table}")["value"]
    back = found.cast(old).to_list()
    assert repr(back) == repr(stays)


def test_another_case_of_a_column_keeps_the_values_that_stay(
    lake: Lake, table: str, put: Named
) -> None:
    # DuckDB's names know no case: `Value` and `value` are one column in every query.
    put(frame(FIRST, 1).rename({"value": "Value"}), FIRST)
    put(frame(SECOND, 2), SECOND, policy="replace")
    assert values(lake, table) == [(FIRST, 1), (SECOND, 2)]


@pytest.mark.parametrize("policy", SCHEMA_CHANGES)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "partition"])
def test_a_type_never_narrows_in_silence(
    lake: Lake, table: str, put: Named, policy: SchemaChange, whole: bool
) -> None:
    """A table of BIGINT meets a frame of INTEGER; a large value stands in a day that stays."""
    put(pl.concat([frame(FIRST, 2**40), frame(SECOND, 1)]), FIRST, SECOND)
    narrow = frame(SECOND, 7, kind=pl.Int32)
    if policy == "replace" and whole:
        put(narrow, policy=policy)
        assert schema(lake, table)["value"] == "INTEGER", "no row stays, so nothing is lost"
        assert values(lake, table) == [(SECOND, 7)]
        return
    with pytest.raises(SchemaChangedError):
        put(narrow, *([] if whole else [SECOND]), policy=policy)
    assert schema(lake, table)["value"] == "BIGINT"
    assert values(lake, table) == [(FIRST, 2**40), (SECOND, 1)]


@pytest.mark.parametrize("kind", ["HUGEINT", "UHUGEINT"])
def test_types_that_the_files_would_round_are_refused(kind: str) -> None:
    with pytest.raises(SchemaChangedError, match=rf"Writing p\.t: value {kind} would be kept as"):
        require_exact("p.t", {"day": "DATE", "value": kind})


def test_a_frame_of_128_bits_is_refused_in_words(put: Named) -> None:
    with pytest.raises(SchemaChangedError, match="value HUGEINT"):
        put(frame(FIRST, 2**100, kind=pl.Int128), FIRST)


@pytest.mark.parametrize("policy", SCHEMA_CHANGES)
def test_an_unchanged_schema_leaves_the_table_alone(
    lake: Lake, table: str, put: Named, policy: SchemaChange
) -> None:
    put(frame(FIRST, 1), FIRST)
    put(frame(SECOND, 2).select("value", "day"), SECOND, policy=policy)
    made = lake.query(
        "SELECT changes FROM lake.snapshots() ORDER BY snapshot_id DESC LIMIT 1"
    ).item()
    assert "tables_inserted_into" in str(made)
    assert not any(word in str(made) for word in ("altered", "created", "dropped")), made
    files = lake.query(f"FROM ducklake_list_files('lake', '{table}', schema => 'p')")
    assert files.height == 2, "the other day's file was not written again"
