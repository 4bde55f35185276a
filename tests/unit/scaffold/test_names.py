"""Column names: valid everywhere, each once, the same tomorrow."""

import dataframely as dy
import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_platform.scaffold.names import (
    LONGEST,
    SCHEMA_METHODS,
    SQL_KEYWORDS,
    TAKEN,
    column_name,
    column_names,
)

HEADERS = [
    ("carrier", "carrier"),
    ("Order ID", "order_id"),
    ("  Flight   Date ", "flight_date"),
    ("customerID", "customer_id"),
    ("CustomerName", "customer_name"),
    ("HTTPServer", "http_server"),
    ("pH", "ph"),
    ("Energy (kWh)", "energy_kwh"),
    ("Speed (km/h)", "speed_km_per_h"),
    ("Temp [°C]", "temp_celsius"),
    ("Share in %", "share_in_percent"),
    ("Price ($)", "price_usd"),
    ("# of seats", "number_of_seats"),
    ("2013 sales", "column_2013_sales"),
    ("order", "order_"),
    ("Class", "class_"),
    ("filter", "filter_"),
    ("match", "match_"),
    ("_private", "private"),
    ("a|b", "a_b"),
    ("naïve café", "naive_cafe"),
    ("Straße", "strasse"),
    ("Ærø", "aero"),
    ("\u0414\u0430\u0442\u0430", "data"),
    ("\u03a4\u03b9\u03bc\u03ae", "timi"),
    ("\ufeffid", "id"),
    ("", "column_7"),
    ("---", "column_7"),
    ("\u65e5\u4ed8", "column_7"),
    ("x" * 80, "x" * LONGEST),
]


@pytest.mark.parametrize(("header", "name"), HEADERS)
def test_a_header_gives_a_name(header: str, name: str) -> None:
    assert column_name(header, 7) == name


def test_doubles_are_numbered_past_names_that_stand() -> None:
    assert column_names(["a", "A", "a 2", "", " "]) == ["a", "a_3", "a_2", "column_4", "column_5"]


def test_the_keywords_are_those_duckdb_refuses() -> None:
    con = duckdb.connect()
    words = con.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()

    def is_refused(word: str) -> bool:
        try:
            con.execute(f'SELECT {word} FROM (SELECT 42 AS "{word}")')
            con.execute(f"CREATE OR REPLACE TEMP TABLE named ({word} INTEGER)")
        except duckdb.Error:
            return True
        return False

    assert {word for (word,) in words if is_refused(word)} <= SQL_KEYWORDS


def test_no_column_hides_a_method_of_its_contract() -> None:
    assert {name for name in dir(dy.Schema) if not name.startswith("_")} <= SCHEMA_METHODS


headers = st.lists(
    st.one_of(st.text(max_size=90), st.sampled_from(["a", "A", "a_2", "order", "1", "", "a b"])),
    max_size=12,
)


@given(headers)
def test_names_are_valid_and_each_stands_once(given_headers: list[str]) -> None:
    names = column_names(given_headers)
    assert len(names) == len(given_headers)
    assert len(set(names)) == len(names)
    for name in names:
        assert name.isascii()
        assert name.isidentifier()
        assert name == name.lower()
        assert name not in TAKEN
        assert not name.startswith("_")
        assert len(name) <= LONGEST


@given(headers)
def test_names_of_names_are_the_names(given_headers: list[str]) -> None:
    names = column_names(given_headers)
    assert column_names(names) == names


@given(headers, headers)
def test_a_new_column_at_the_end_renames_no_other_but_doubles(
    first: list[str], more: list[str]
) -> None:
    before, after = column_names(first), column_names([*first, *more])
    for position, (header, name) in enumerate(zip(first, before, strict=True), 1):
        if name == column_name(header, position):
            assert after[position - 1] == name
