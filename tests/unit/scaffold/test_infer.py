"""Types are told only where every value has them, and doubt is said."""

import datetime as dt

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analytics_platform.contracts.text_values import parse_text
from analytics_platform.scaffold.infer import (
    Column,
    NumberStyle,
    Table,
    guess_key,
    guess_partition,
    infer_table,
    infer_text,
    number_style,
    typed,
)

MOMENT = pl.Datetime("us")


def text(*values: str | None) -> pl.Series:
    return pl.Series("0", values, dtype=pl.String)


def table(**columns: list[str | None]) -> Table:
    frame = pl.DataFrame({name: text(*values) for name, values in columns.items()})
    return infer_table(frame.columns, frame.columns, frame)


# The values, the type, the format, and a word of the note that must be there.
COLUMNS = [
    (["1", "-5"], pl.Int32(), None, ""),
    (["2147483647"], pl.Int32(), None, ""),
    (["2147483648"], pl.Int64(), None, ""),
    (["9223372036854775808"], pl.String(), None, ""),
    (["01234", "98101"], pl.String(), None, ""),
    (["0.5", "007.5"], pl.String(), None, ""),
    (["0", "5"], pl.Int32(), None, ""),
    (["0", "1"], pl.Int32(), None, "flag"),
    (["1.5", "2"], pl.Float64(), None, ""),
    ([".5", "1."], pl.Float64(), None, ""),
    (["1e-3", "5"], pl.Float64(), None, ""),
    (["1e400", "5"], pl.String(), None, ""),
    (["+5", "6"], pl.String(), None, "numbers"),
    (["5%", "6%"], pl.String(), None, "numbers"),
    ([" 5", "6"], pl.String(), None, ""),
    (["true", "FALSE"], pl.Boolean(), None, ""),
    (["true", "0"], pl.Boolean(), None, ""),
    (["yes", "no"], pl.String(), None, "boolean"),
    (["Y", "N"], pl.String(), None, "boolean"),
    (["t", "f"], pl.String(), None, "boolean"),
    (["on", "off"], pl.String(), None, "boolean"),
    (["true", "yes"], pl.String(), None, ""),
    (["true", "tRUE"], pl.String(), None, ""),
    (["2024-02-29", "2023-01-01"], pl.Date(), None, ""),
    (["2023-02-29"], pl.String(), None, ""),
    (["2024-1-5"], pl.String(), None, "dates"),
    (["31/01/2024", "01/02/2024"], pl.Date(), "%d/%m/%Y", ""),
    (["01/31/2024", "01/02/2024"], pl.Date(), "%m/%d/%Y", ""),
    (["01/02/2024"], pl.String(), None, "order of day and month"),
    (["05/05/2024"], pl.String(), None, "order of day and month"),
    (["01-02-2024"], pl.String(), None, "order of day and month"),
    (["01.02.2024"], pl.Date(), "%d.%m.%Y", ""),
    (["2024/01/31"], pl.Date(), "%Y/%m/%d", ""),
    (["05-Jan-2024"], pl.Date(), "%d-%b-%Y", ""),
    (["05-JAN-2024"], pl.String(), None, "dates"),
    (["05-jan-2024 10:00"], pl.String(), None, "dates"),
    (["05 May 2024"], pl.Date(), "%d %b %Y", ""),
    (["January 05, 2024"], pl.Date(), "%B %d, %Y", ""),
    (["1/31/2024"], pl.String(), None, "dates"),
    (["20240131", "20240201"], pl.Int32(), None, "days"),
    (["2024-01-31T05:15:00", "2024-01-31 05:15:00.25"], MOMENT, None, ""),
    (["2024-01-31 05:15"], MOMENT, "%Y-%m-%d %H:%M", ""),
    (["31.01.2024 05:15:00"], MOMENT, "%d.%m.%Y %H:%M:%S", ""),
    (["01/02/2024 05:15"], pl.String(), None, "order of day and month"),
    (["2024-01-31T05:15:00Z"], pl.String(), None, "zone"),
    (["1", "NA", "3"], pl.String(), None, "without them: Int32"),
    (["-", "2024-01-01"], pl.String(), None, "without them: Date"),
    (["NA", "N/A"], pl.String(), None, "nothing else"),
    (["'a'", "'b'"], pl.String(), None, "single quotes"),
    (["1,234", "2,345"], pl.String(), None, "fraction or thousands"),
    (["a", "1"], pl.String(), None, ""),
]


@pytest.mark.parametrize(("values", "dtype", "text_format", "note"), COLUMNS)
def test_a_column_has_the_type_all_its_values_have(
    values: list[str], dtype: pl.DataType, text_format: str | None, note: str
) -> None:
    column = infer_text("x", "x", text(*values))
    assert (column.dtype, column.text_format) == (dtype, text_format)
    assert note in "; ".join(column.notes)
    assert column.reason
    assert bool(column.notes) or not note


@pytest.mark.parametrize(
    ("name", "values", "dtype"),
    [
        ("order_date", ["20240131"], pl.Date()),
        ("is_gift", ["0", "1"], pl.Boolean()),
        ("customer_id", ["2000000000"], pl.Int64()),
    ],
)
def test_a_name_decides_where_values_do_not(
    name: str, values: list[str], dtype: pl.DataType
) -> None:
    assert infer_text(name, name, text(*values)).dtype == dtype


def test_a_column_without_values_may_hold_any_text() -> None:
    column = infer_text("x", "x", text(None, None))
    assert (column.dtype, column.nullable) == (pl.String(), True)
    assert "ask" in column.notes[0]


def test_facts_are_the_samples() -> None:
    column = infer_text("x", "x", text("5", None, "-2", "9"))
    assert column.nullable
    assert column.facts == "-2 to 9, 25.0% empty"
    assert column.bounds == "min=-2, max=9"


STYLES = [
    ([["1.5"]], NumberStyle(".", None)),
    ([["1,5"]], NumberStyle(",", None)),
    ([["1,234.5"]], NumberStyle(".", ",")),
    ([["1.234,5"]], NumberStyle(",", ".")),
    ([["1.234.567"], ["2,5"]], NumberStyle(",", ".")),
    ([["1 234,5"]], NumberStyle(",", " ")),
    ([["1\u00a0234"]], NumberStyle(".", "\u00a0")),
    ([["1'234.50"]], NumberStyle(".", "'")),
    ([["1,234"]], NumberStyle(".", None)),
    ([["1,234"], ["0.5"]], NumberStyle(".", ",")),
    ([["1.234"], ["0,5"]], NumberStyle(",", ".")),
    ([["5"], ["a,b"]], NumberStyle(".", None)),
]


@pytest.mark.parametrize(("columns", "style"), STYLES)
def test_numbers_are_spelled_as_the_clear_columns_spell_them(
    columns: list[list[str]], style: NumberStyle
) -> None:
    assert number_style([text(*values) for values in columns], ";") == style


@pytest.mark.parametrize(
    ("style", "values", "numbers"),
    [
        (NumberStyle(",", "."), ["1.234,5", "-7"], [1234.5, -7.0]),
        (NumberStyle(".", ","), ["1,234", "12"], [1234, 12]),
        (NumberStyle(",", None), ["0,25", "3"], [0.25, 3.0]),
        (NumberStyle(",", "."), [",5", "1,5e3"], [0.5, 1500.0]),
    ],
)
def test_numbers_are_read_in_their_spelling(
    style: NumberStyle, values: list[str], numbers: list[float]
) -> None:
    column = infer_text("x", "x", text(*values), style, ";")
    assert typed(text(*values), column, style).to_list() == numbers


@pytest.mark.parametrize(
    ("value", "note"),
    [
        ("1.5", "numbers"),
        ("1.234.5", "numbers"),
        ("0.515", "numbers"),
        ("1.5e3", ""),
        ("1.500e3", ""),
    ],
)
def test_another_spelling_than_the_files_stays_text(value: str, note: str) -> None:
    column = infer_text("x", "x", text(value), NumberStyle(",", "."), ";")
    assert column.dtype == pl.String
    assert note in "; ".join(column.notes)


integers = st.integers(-(2**70), 2**70).map(str)
words = st.one_of(
    integers,
    st.integers(-200, 200).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.dates().map(str),
    st.dates().map(lambda day: f"{day:%d/%m/%Y}"),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.sampled_from(["true", "False", "1", "0", "01", "NA", "-", "", "1e5", "5.", " 1", "1,5"]),
    st.text(max_size=5),
)
alike = st.sampled_from(
    [
        integers,
        st.integers(-200, 200).map(str),
        st.floats(-1e6, 1e6).map(lambda number: f"{number:.3f}"),
        st.dates(dt.date(1000, 1, 1)).map(str),
        st.dates(dt.date(1000, 1, 1)).map(lambda day: f"{day:%d.%m.%Y}"),
        st.datetimes(dt.datetime.fromisoformat("1000-01-01")).map(
            lambda moment: moment.isoformat(" ", "seconds")
        ),
        st.sampled_from(["true", "false"]),
        words,
    ]
)
columns_of_text = alike.flatmap(
    lambda values: st.lists(st.one_of(values, st.none()), min_size=1, max_size=8)
)


@settings(max_examples=250, deadline=None)
@given(columns_of_text)
def test_every_value_parses_in_the_type_inferred(values: list[str | None]) -> None:
    series = text(*(value or None for value in values))
    column = infer_text("x", "x", series)
    # As the contract's reader does it, by what the contract will say of the column.
    parsed = pl.select(
        parse_text(pl.lit(series), column.dtype, own_format=column.text_format)
    ).to_series()
    assert parsed.null_count() == series.null_count()
    assert column.nullable or series.null_count() == 0


@settings(max_examples=100, deadline=None)
@given(columns_of_text)
@example(["0.000", "-0.000"])
def test_the_order_of_rows_changes_no_type(values: list[str | None]) -> None:
    def verdict(rows: list[str | None]) -> Column:
        return infer_text("x", "x", text(*(value or None for value in rows)))

    assert verdict(values) == verdict(values[::-1])


def test_the_smallest_key_with_the_most_fitting_name_is_guessed() -> None:
    numbers = [str(n) for n in range(6)]
    assert guess_key(table(amount=numbers, order_id=numbers)) == ["order_id"]
    pairs = table(
        line_no=["1", "2", "1", "2", "1", "2"],
        order_id=["7", "7", "8", "8", "9", "9"],
        price=["1.5"] * 6,
    )
    assert guess_key(pairs) == ["line_no", "order_id"]


def test_no_key_is_guessed_of_doubled_or_of_few_rows() -> None:
    assert guess_key(table(order_id=["1", "1", "2", "3", "4", "5"])) == []
    assert guess_key(table(order_id=["1", "2"])) == []
    assert guess_key(table(order_id=["1", "2", "3", "4", "5", None])) == []


def test_a_key_holds_across_days() -> None:
    numbers = [str(n) for n in range(6)]
    daily = table(day=["2024-01-01"] * 6, order_id=numbers)
    assert guess_key(daily, "day") == ["day", "order_id"]


@pytest.mark.parametrize(
    ("file_name", "days", "partition"),
    [
        ("orders_2024-01-01.csv", ["2024-01-01"] * 2, "day"),
        ("orders_2024-01-02.csv", ["2024-01-01"] * 2, None),
        ("orders_2024-01-01.csv", ["2024-01-01", "2024-01-02"], None),
        ("orders_2024-01-01.csv", ["2024-01-01", None], None),
        ("orders.csv", ["2024-01-01"] * 2, None),
        ("2024-01-01_2024-01-02.csv", ["2024-01-01"] * 2, None),
        ("orders_2024-13-01.csv", ["2024-01-01"] * 2, None),
    ],
)
def test_a_partition_is_the_day_in_the_name(
    file_name: str, days: list[str | None], partition: str | None
) -> None:
    assert guess_partition(table(day=days), file_name) == partition
