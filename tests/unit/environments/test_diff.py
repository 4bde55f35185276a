"""What a clone would change, on a product whose every difference was worked out by hand."""

from __future__ import annotations

import sys
from contextlib import closing

import polars as pl
import pytest

from analytics_platform.environments import TableDiff, clone, diff
from analytics_platform.lake import Lake
from analytics_platform.lake.compare import Measure, RowDifference
from tests.unit.lake.writing import FIRST, SECOND, by_hand, frame, write

KEYS = {"t": ["id"], "wide": ["id"], "gone": ["id"]}
NOTHING = RowDifference(0, 0, 0, {})
ROWS = pl.DataFrame(
    {"id": [1, 2, 3], "x": [1.0, 2.0, 3.0], "y": ["a", "b", "c"]}, schema_overrides={"id": pl.Int32}
)


@pytest.fixture
def staging(lake: Lake) -> Lake:
    """A clone of a product of five tables and two views."""
    for table in ("t", "wide", "gone", "same", "loose"):
        write(lake, ROWS, asset=table)
    by_hand(
        lake,
        "CREATE VIEW lake.p.seen AS SELECT id FROM lake.p.t",
        "CREATE VIEW lake.p.kept AS WITH first AS (FROM lake.p.t), second AS (FROM lake.p.t) "
        "SELECT first.id, second.x FROM first JOIN second USING (id)",
    )
    target = Lake(lake.folder.parent / "staging")
    clone(lake, target)
    return target


def by_name(found: list[TableDiff]) -> dict[str, TableDiff]:
    return {table.table: table for table in found}


def test_every_kind_of_difference(lake: Lake, staging: Lake) -> None:
    by_hand(
        staging,
        "UPDATE lake.p.t SET x = 8 WHERE id = 2",
        "DELETE FROM lake.p.t WHERE id = 3",
        "INSERT INTO lake.p.t VALUES (4, 6, 'd'), (5, 1, 'e')",
        "ALTER TABLE lake.p.wide ADD COLUMN z INTEGER",
        "DROP TABLE lake.p.gone",
        "CREATE TABLE lake.p.new AS SELECT 1 AS n",
        "CREATE OR REPLACE VIEW lake.p.seen AS SELECT id FROM lake.p.t WHERE id > 1",
        "UPDATE lake.p.loose SET y = 'z' WHERE id = 1",
    )
    assert by_name(diff(staging, lake, "p", KEYS)) == {
        # Means of x: (1+2+3)/3 before, (1+8+6+1)/4 after; of id: 2 before, (1+2+4+5)/4 after.
        "t": TableDiff(
            "t",
            "changed",
            (),
            RowDifference(2, 1, 1, {"x": 1}),
            (Measure("x", 2.0, 4.0), Measure("id", 2.0, 3.0)),
            True,
            3,
            4,
        ),
        "wide": TableDiff("wide", "changed", (("z", None, "INTEGER"),), NOTHING, (), True, 3, 3),
        "gone": TableDiff("gone", "removed", rows_before=3),
        "new": TableDiff("new", "added", rows_after=1),
        "same": TableDiff("same", "same"),
        "loose": TableDiff("loose", "changed", (), RowDifference(1, 1, 0, {}), (), False, 3, 3),
        "seen": TableDiff("seen", "changed"),
        "kept": TableDiff("kept", "same"),
    }


def test_both_ways_are_mirrors(lake: Lake, staging: Lake) -> None:
    write(staging, ROWS.filter(pl.col("id") < 3), asset="t")
    write(staging, ROWS.with_columns(pl.col("x").cast(pl.String)), asset="wide", policy="replace")
    there, back = (by_name(found) for found in
                   (diff(staging, lake, "p", KEYS), diff(lake, staging, "p", KEYS)))  # fmt: skip
    assert there["t"].rows == RowDifference(0, 1, 0, {})
    assert back["t"].rows == RowDifference(1, 0, 0, {})
    assert there["wide"].schema == (("x", "DOUBLE", "VARCHAR"),)
    assert back["wide"].schema == (("x", "VARCHAR", "DOUBLE"),)
    assert (there["t"].rows_before, there["t"].rows_after) == (3, 2)


def test_tables_of_the_same_files_are_not_read(
    lake: Lake, staging: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["analytics_platform.environments.diff"]

    def fail(*_: object) -> None:
        raise AssertionError("a table was read")

    monkeypatch.setattr(module, "row_difference", fail)
    monkeypatch.setattr(module, "_count", fail)
    assert {table.status for table in diff(staging, lake, "p", KEYS)} == {"same"}


def test_equal_rows_in_other_files_are_the_same(lake: Lake, staging: Lake) -> None:
    write(staging, ROWS.reverse(), asset="t")
    write(staging, ROWS.reverse(), asset="loose")
    write(lake, pl.concat([frame(FIRST, 1), frame(SECOND, 2)]), FIRST, SECOND, asset="days")
    clone(lake, staging, replace=True)
    write(lake, ROWS.reverse(), asset="loose")
    with closing(lake.connect()) as con:
        con.execute("CALL ducklake_merge_adjacent_files('lake')")
    assert {table.status for table in diff(staging, lake, "p", KEYS)} == {"same"}


def test_a_product_that_only_one_has(lake: Lake, staging: Lake) -> None:
    write(staging, ROWS, product="q")
    assert diff(staging, lake, "q", {}) == [TableDiff("t", "added", rows_after=3)]
    assert diff(lake, staging, "q", {}) == [TableDiff("t", "removed", rows_before=3)]
    assert diff(lake, staging, "none", {}) == []


def test_a_column_of_another_type_is_compared_as_text(lake: Lake) -> None:
    write(lake, pl.DataFrame({"id": [1, 2], "x": [5, 6]}))
    target = Lake(lake.folder.parent / "staging")
    clone(lake, target)
    write(target, pl.DataFrame({"id": ["1", "b"], "x": ["5", "n/a"]}), policy="replace")
    (found,) = diff(target, lake, "p", {"t": ["id"]})
    assert found.schema == (("id", "BIGINT", "VARCHAR"), ("x", "BIGINT", "VARCHAR"))
    assert (found.rows.added, found.rows.removed, found.rows.changed) == (1, 1, 0)
