"""Two states of a table compared, on cases that were worked by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb
import pytest

from analytics_platform.lake.compare import (
    Measure,
    RowDifference,
    digest,
    measures,
    row_difference,
)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def tables(con: duckdb.DuckDBPyConnection, columns: str, before: str, after: str) -> None:
    """Make the tables `before` and `after` of lists of rows, as SQL values."""
    for name, rows in (("before", before), ("after", after)):
        con.execute(f"CREATE TABLE {name} ({columns})")
        if rows:
            con.execute(f"INSERT INTO {name} VALUES {rows}")


@pytest.mark.parametrize(
    ("before", "after", "is_same"),
    [
        pytest.param("(1,'a'),(2,'b')", "(2,'b'),(1,'a')", True, id="another-order"),
        pytest.param("(1,'a'),(1,'a')", "(1,'a')", False, id="a-row-twice"),
        pytest.param("(1,'a'),(1,'a'),(2,'b')", "(1,'a'),(2,'b'),(2,'b')", False, id="which-twice"),
        pytest.param("(1,'a'),(2,'b')", "(1,'b'),(2,'a')", False, id="values-swapped"),
        pytest.param("(1,NULL)", "(NULL,'1')", False, id="nulls-elsewhere"),
        pytest.param("", "", True, id="empty"),
        pytest.param("('nan',NULL)", "('nan',NULL)", True, id="nan"),
    ],
)
def test_digests_are_equal_for_equal_rows_only(
    con: duckdb.DuckDBPyConnection, before: str, after: str, is_same: bool
) -> None:
    tables(con, "x DOUBLE, y VARCHAR", before, after)
    first, second = (digest(con, name, ["x", "y"]) for name in ("before", "after"))
    assert (first == second) is is_same
    assert first == digest(con, "before", ["y", "x"]), "columns are told by name"


@pytest.mark.parametrize(
    ("key", "before", "after", "expected"),
    [
        pytest.param(["k"], "(1,1,'a'),(2,2,'b')", "(2,2,'b'),(1,1,'a')", (0, 0, 0, {}), id="same"),
        pytest.param(["k"], "(1,1,'a')", "(1,1,'a'),(2,2,'b'),(3,3,'c')", (2, 0, 0, {}),
                     id="added"),
        pytest.param(["k"], "(1,1,'a'),(2,2,'b')", "(2,2,'b')", (0, 1, 0, {}), id="removed"),
        pytest.param(["k"], "(1,1,'a'),(2,2,'b'),(3,3,'c'),(4,4,'d')",
                     "(1,9,'a'),(2,9,'z'),(3,3,'c'),(5,5,'e')", (1, 1, 2, {"x": 2, "y": 1}),
                     id="all-three"),
        pytest.param(["k"], "(1,NULL,'a'),(2,2,NULL)", "(1,NULL,NULL),(2,3,NULL)",
                     (0, 0, 2, {"x": 1, "y": 1}), id="null-values"),
        pytest.param(["k"], "(1,'nan','a')", "(1,'nan','a')", (0, 0, 0, {}), id="nan"),
        pytest.param(["k"], "(1,'nan','a')", "(1,0,'a')", (0, 0, 1, {"x": 1}), id="from-nan"),
        pytest.param(["k"], "(NULL,1,'a'),(2,2,'b')", "(NULL,5,'a'),(2,2,'b')",
                     (0, 0, 1, {"x": 1}), id="null-key"),
        pytest.param(["k", "x"], "(1,1,'a'),(1,2,'b')", "(1,1,'z'),(1,3,'b')",
                     (1, 1, 1, {"y": 1}), id="two-keys"),
        pytest.param(["k", "x", "y"], "(1,1,'a')", "(1,1,'b')", (1, 1, 0, {}), id="all-keys"),
        pytest.param(["k"], "", "(1,1,'a')", (1, 0, 0, {}), id="from-nothing"),
        pytest.param(["k"], "(1,1,'a'),(1,1,'a'),(2,2,'b')", "(1,1,'a'),(2,9,'b')",
                     (1, 2, 0, {}), id="key-twice-before"),
        pytest.param(["k"], "(1,1,'a')", "(1,1,'a'),(1,2,'a')", (1, 0, 0, {}),
                     id="key-twice-after"),
        pytest.param([], "(1,1,'a'),(2,2,'b')", "(1,1,'a'),(2,3,'b')", (1, 1, 0, {}),
                     id="no-key"),
        pytest.param([], "(1,1,'a'),(1,1,'a')", "(1,1,'a')", (0, 1, 0, {}), id="no-key-twice"),
        pytest.param([], "(1,'nan',NULL)", "(1,'nan',NULL)", (0, 0, 0, {}), id="no-key-nan"),
        pytest.param(["other"], "(1,1,'a')", "(1,2,'a')", (1, 1, 0, {}), id="key-not-there"),
    ],
)  # fmt: skip
def test_rows_that_differ(
    con: duckdb.DuckDBPyConnection,
    key: Sequence[str],
    before: str,
    after: str,
    expected: tuple[int, int, int, dict[str, int]],
) -> None:
    tables(con, "k INTEGER, x DOUBLE, y VARCHAR", before, after)
    found = row_difference(con, "before", "after", key)
    assert found == RowDifference(*expected)
    assert found.is_empty is (expected[:3] == (0, 0, 0))
    mirrored = row_difference(con, "after", "before", key)
    assert (mirrored.added, mirrored.removed) == (found.removed, found.added)


@pytest.mark.parametrize(
    "name", ["a", "B", "before", "after", "present", "both", "select", 'quo"te']
)
def test_a_column_may_have_any_name(con: duckdb.DuckDBPyConnection, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    tables(con, f"k INTEGER, {quoted} INTEGER", "(1,1),(2,2)", "(1,5),(3,3)")
    assert row_difference(con, "before", "after", ["k"]) == RowDifference(1, 1, 1, {name: 1})


def test_only_shared_columns_and_chosen_rows_are_compared(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE before AS SELECT * FROM (VALUES (1, 1, 'x'), (2, 2, 'x')) v(k, n, o)")
    con.execute(
        "CREATE TABLE after AS SELECT * FROM (VALUES (true, 1, 1), (true, 3, 2)) v(p, n, k)"
    )
    assert row_difference(con, "before", "after") == RowDifference(1, 1, 0, {})
    assert row_difference(con, "before", "after", where="k = 1").is_empty


def test_measures_are_means_that_differ_the_most_changed_first(
    con: duckdb.DuckDBPyConnection,
) -> None:
    tables(con, "same DOUBLE, little DOUBLE, much DECIMAL(9,2), text VARCHAR, gone FLOAT",
           "(0.1, 10, 1, 'a', 1), (0.2, 10, 1, 'b', 1), (0.3, 10, 1, 'c', 1)",
           "(0.3, 11, 3, 'x', NULL), (0.2, 11, 3, 'y', NULL), (0.1, 11, 3, 'z', NULL)")  # fmt: skip
    assert measures(con, "before", "after") == [
        Measure("gone", 1.0, None),
        Measure("much", 1.0, 3.0),
        Measure("little", 10.0, 11.0),
    ]


@pytest.mark.parametrize(
    "kind", ["INTEGER", "TINYINT", "SMALLINT", "BIGINT", "UINTEGER", "UBIGINT"]
)
def test_every_integer_is_measured(con: duckdb.DuckDBPyConnection, kind: str) -> None:
    tables(con, f"n {kind}", "(1), (2)", "(3), (4)")
    assert measures(con, "before", "after") == [Measure("n", 1.5, 3.5)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("INTERVAL", "INTERVAL 1 DAY"),
        ("INTEGER[]", "[1, 2]"),
        ("DOUBLE[]", "[1.5]"),
        ("DECIMAL(9,2)[]", "[1.5]"),
        ("VARCHAR", "'a'"),
        ("BOOLEAN", "true"),
        ("DATE", "'2013-01-01'"),
    ],
)
def test_what_has_no_mean_is_not_measured(
    con: duckdb.DuckDBPyConnection, kind: str, value: str
) -> None:
    tables(con, f"v {kind}", f"({value})", "(NULL)")
    assert measures(con, "before", "after") == []
