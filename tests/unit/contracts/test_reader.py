"""One delivered file: what is read of it, and what is said when it cannot be."""

import csv
import io
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import dataframely as dy
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_platform.contracts import (
    ColumnTypeError,
    ContractDefinitionError,
    DataError,
    EmptyFileError,
    FileShapeError,
    UnreadableFileError,
    read_file,
)
from tests.unit.contracts.files import parquet, put


class Booking(dy.Schema):
    day = dy.Date(primary_key=True, description="Day.")
    name = dy.String(nullable=True, description="Name.")
    seats = dy.Int32(description="Seats.")


HEADER = b"day,name,seats\n"


BOOKINGS = pl.DataFrame(
    {"day": [date(2013, 1, 1)], "name": ["Ada"], "seats": [2]},
    schema={"day": pl.Date, "name": pl.String, "seats": pl.Int32},
)


# -- CSV ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"day,name,seats\n2013-01-01,Ada,2\n", id="plain"),
        pytest.param(b"day,name,seats\n2013-01-01,Ada,2", id="no last newline"),
        pytest.param(b"day,name,seats\r\n2013-01-01,Ada,2\r\n", id="CRLF"),
        pytest.param(b"day,name,seats\r2013-01-01,Ada,2\r", id="CR"),
        pytest.param(b"\xef\xbb\xbfday,name,seats\n2013-01-01,Ada,2\n", id="byte order mark"),
        pytest.param(b'"day","name","seats"\n"2013-01-01","Ada","2"\n', id="quoted"),
        pytest.param(b"seats,day,name\n2,2013-01-01,Ada\n", id="other order"),
        pytest.param(b"day,name,seats\n2013-01-01,Ada,2\n\n\n", id="blank lines at the end"),
    ],
)
def test_spellings_of_one_file_read_alike(tmp_path: Path, data: bytes) -> None:
    frame = read_file(put(tmp_path, data), Booking, "csv")

    assert frame.columns[:5] == ["day", "name", "seats", "_source_file", "_source_line"]
    assert frame.columns[5:] == ["_source_text", "_source_fault"]
    assert frame.rows()[0][:5] == ("2013-01-01", "Ada", "2", "booking.csv", 2)
    assert frame["_source_text"][0].replace('"', "") in ("2013-01-01,Ada,2", "2,2013-01-01,Ada")
    assert frame["_source_fault"].to_list() == [None]


def test_values_stay_as_they_were_written_and_empty_is_null(tmp_path: Path) -> None:
    data = HEADER + b'2013-1-1, Ada ,5.0\n,"",\n"x","a ""b"", c",NULL\n'

    frame = read_file(put(tmp_path, data), Booking, "csv", source_file="bookings/b1")

    assert frame.drop("_source_fault").rows() == [
        ("2013-1-1", " Ada ", "5.0", "bookings/b1", 2, "2013-1-1, Ada ,5.0"),
        (None, None, None, "bookings/b1", 3, ',"",'),
        ("x", 'a "b", c', "NULL", "bookings/b1", 4, '"x","a ""b"", c",NULL'),
    ]


def test_lines_are_those_an_editor_shows(tmp_path: Path) -> None:
    data = HEADER + b'2013-01-01,"two\nlines",1\n\n2013-01-02,one,2\n'

    assert read_file(put(tmp_path, data), Booking, "csv")["_source_line"].to_list() == [2, 5]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            *[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))] * 3
        ),
        min_size=1,
        max_size=20,
    ),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_what_was_written_is_read_with_its_line(
    tmp_path: Path, rows: list[tuple[str, str, str]], ending: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerow(Booking.column_names())
    lines = []
    for row in rows:
        written = text.getvalue()
        # Line breaks counted by hand: CRLF is one, a lone CR or LF each one.
        lines.append(1 + written.replace("\r\n", "\n").replace("\r", "\n").count("\n"))
        writer.writerow(row)

    frame = read_file(put(tmp_path, text.getvalue().encode()), Booking, "csv")

    assert frame.select("day", "name", "seats").rows() == [
        tuple(value or None for value in row) for row in rows
    ]
    assert frame["_source_line"].to_list() == lines


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        pytest.param(b"", EmptyFileError, ["0 bytes"], id="no bytes"),
        pytest.param(b"\n\n", EmptyFileError, ["day, name, seats", "blank lines"], id="blank"),
        pytest.param(b"\xef\xbb\xbf", EmptyFileError, ["no header"], id="mark only"),
        pytest.param(HEADER, EmptyFileError, ["one row or more", "columns only"], id="header only"),
        pytest.param(
            HEADER + b"2013-01-01,Z\xfcrich,2\n",
            UnreadableFileError,
            ["line 2", "UTF-8", "byte 0xfc at offset 27"],
            id="Latin-1",
        ),
        pytest.param(
            "day,name,seats\n2013-01-01,Ada,2\n".encode("utf-16"),
            UnreadableFileError,
            ["line 1", "UTF-8", "byte 0xff at offset 0", "looks like UTF-16, by its byte order"],
            id="UTF-16 with mark",
        ),
        pytest.param(
            "day,name,seats\n2013-01-01,Ada,2\n".encode("utf-16-le"),
            UnreadableFileError,
            ["line 1", "NUL at character 1", "UTF-16 without a byte order mark"],
            id="UTF-16 without mark",
        ),
        pytest.param(
            HEADER + b"2013-01-01,Ada,2\n" + b"\0" * 64,
            UnreadableFileError,
            ["line 3", "never written"],
            id="tail of NULs",
        ),
        pytest.param(
            b"\x1f\x8b\x08\x00" + b"x" * 20,
            UnreadableFileError,
            ["compressed with gzip"],
            id="gzip",
        ),
        pytest.param(
            b"day,name\n2013-01-01,Ada\n",
            FileShapeError,
            ["missing seats", "Expected day, name, seats", "found day, name."],
            id="missing column",
        ),
        pytest.param(
            b"day,name,seats,fare\n2013-01-01,Ada,2,9\n",
            FileShapeError,
            ["unknown 'fare'", "found day, name, seats, fare"],
            id="unknown column",
        ),
        pytest.param(
            b"day,name,seats,name\n2013-01-01,Ada,2,Bo\n",
            FileShapeError,
            ["named twice name"],
            id="column twice",
        ),
        pytest.param(
            b"day;name;seats\n2013-01-01;Ada;2\n",
            FileShapeError,
            ["missing day, name, seats", "unknown 'day;name;seats'", "Is the delimiter ';'?"],
            id="semicolons",
        ),
        pytest.param(
            b"day,name, seats\n2013-01-01,Ada,2\n",
            FileShapeError,
            ["missing seats", "unknown ' seats'"],
            id="space in a name",
        ),
        pytest.param(
            b"2013-01-01,Ada,2\n",
            FileShapeError,
            ["missing day, name, seats", "found 2013-01-01, Ada, 2"],
            id="no header",
        ),
        pytest.param(
            HEADER + b"2013-01-01,Ada,2\n2013-01-02,Ad",
            UnreadableFileError,
            ["line 3", "3 values (day, name, seats)", "2: 2013-01-02,Ad", "cut off"],
            id="cut off",
        ),
        pytest.param(
            HEADER + b"2013-01-01,Ada, Countess,2\n",
            UnreadableFileError,
            ["line 2", "4: 2013-01-01,Ada, Countess,2", "no row has as many", "not quoted"],
            id="comma not quoted",
        ),
        pytest.param(
            HEADER + b'2013-01-01,Ada,2\n2013-01-02,"two\nlines"\n',
            UnreadableFileError,
            ["line 3", "over 2 lines", "unpaired"],
            id="ragged over two lines",
        ),
        pytest.param(
            HEADER + b'2013-01-01,Ada,2\n2013-01-02,"Bo,3\n2013-01-03,Cy,4\n',
            UnreadableFileError,
            ["line 3", "quoting", "unexpected end of data"],
            id="quote not closed",
        ),
        pytest.param(
            HEADER + b'2013-01-01,"A"da,2\n',
            UnreadableFileError,
            ["line 2", "quoting", "expected after"],
            id="quote inside",
        ),
        pytest.param(
            HEADER + b"2013-01-01," + b"x" * 200_000 + b",2\n",
            UnreadableFileError,
            ["line 2", "field larger than field limit"],
            id="endless value",
        ),
    ],
)
def test_a_bad_csv_file_is_named_with_what_was_expected_and_found(
    tmp_path: Path, data: bytes, error: type[DataError], said: list[str]
) -> None:
    with pytest.raises(DataError) as raised:
        read_file(put(tmp_path, data), Booking, "csv", source_file="in/booking.csv")

    assert type(raised.value) is error
    message = str(raised.value)
    assert message.startswith("Reading in/booking.csv")
    for words in [*said, "Expected ", "; found "]:
        assert words in message


def test_a_file_without_rows_may_be_allowed(tmp_path: Path) -> None:
    frame = read_file(put(tmp_path, HEADER), Booking, "csv", allow_no_rows=True)

    assert frame.shape == (0, 7)
    assert frame.schema["seats"] == pl.String


# -- Parquet ------------------------------------------------------------------------------------


class Reading(dy.Schema):
    count = dy.Int32(nullable=True, description="Count.")
    level = dy.Float64(nullable=True, description="Level.")
    name = dy.String(nullable=True, description="Name.")
    at = dy.Datetime(nullable=True, description="At.")


READINGS = pl.DataFrame(
    {
        "count": [1, None],
        "level": [0.5, None],
        "name": ["a", None],
        "at": [datetime(2013, 1, 1)] * 2,  # noqa: DTZ001
    },
    schema=Reading.create_empty().schema,
)


def test_parquet_rows_keep_their_types_and_positions(tmp_path: Path) -> None:
    frame = read_file(put(tmp_path, parquet(READINGS), "r.parquet"), Reading, "parquet")

    assert frame.drop(pl.selectors.starts_with("_source")).equals(READINGS)
    assert frame["_source_line"].to_list() == [1, 2]
    assert frame.schema["_source_line"] == pl.Int64


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        ("count", pl.Int8),
        ("count", pl.Int16),
        ("count", pl.UInt16),
        ("count", pl.Null),
        ("level", pl.Float32),
        ("level", pl.Int32),
        ("level", pl.UInt8),
        ("level", pl.Null),
        ("name", pl.Categorical()),
        ("name", pl.Enum(["a"])),
        ("at", pl.Datetime("ms")),
        ("at", pl.Datetime("ns")),
    ],
)
def test_types_that_lose_nothing_are_widened(
    tmp_path: Path, column: str, dtype: pl.DataType
) -> None:
    if dtype == pl.Null:
        sent = READINGS.with_columns(pl.lit(None).alias(column))
        expected = READINGS.with_columns(pl.lit(None, dtype=READINGS.schema[column]).alias(column))
    else:
        sent = READINGS.with_columns(pl.col(column).cast(dtype))
        expected = sent.with_columns(pl.col(column).cast(READINGS.schema[column]))

    frame = read_file(put(tmp_path, parquet(sent), "r.parquet"), Reading, "parquet")

    assert frame.drop(pl.selectors.starts_with("_source")).equals(expected)


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        pytest.param("count", pl.Series([1, 2], dtype=pl.Int64), "Int64", id="wider integer"),
        pytest.param("count", pl.Series([1, 2], dtype=pl.UInt32), "UInt32", id="unsigned"),
        pytest.param("count", pl.Series([1.0, None]), "Float64", id="float for integer"),
        pytest.param("count", pl.Series(["1", "2"]), "String", id="text for integer"),
        pytest.param("count", pl.Series([True, False]), "Boolean", id="boolean for integer"),
        pytest.param("level", pl.Series([1, 2], dtype=pl.Int64), "Int64", id="big integer"),
        pytest.param("name", pl.Series([1, 2]), "Int64", id="integer for text"),
        pytest.param("name", pl.Series([b"a", b"b"]), "Binary", id="bytes for text"),
        pytest.param("at", pl.Series([date(2013, 1, 1)] * 2), "Date", id="date for time"),
        pytest.param(
            "at",
            pl.Series([datetime(2013, 1, 1)] * 2).dt.replace_time_zone("UTC"),  # noqa: DTZ001
            "time_zone='UTC'",
            id="zone",
        ),
        pytest.param(
            "at", pl.Series([1, 2]).cast(pl.Datetime("ns")), "time_unit='ns'", id="nanoseconds"
        ),
    ],
)
def test_a_wrong_type_is_named(tmp_path: Path, column: str, values: pl.Series, found: str) -> None:
    sent = READINGS.with_columns(values.alias(column))

    with pytest.raises(ColumnTypeError) as raised:
        read_file(put(tmp_path, parquet(sent), "r.parquet"), Reading, "parquet")

    assert str(raised.value).startswith(f"Reading r.parquet, column '{column}'")
    assert f"Expected {Reading.columns()[column].dtype}" in str(raised.value)
    assert found in raised.value.found


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        pytest.param(lambda _: b"", EmptyFileError, "0 bytes", id="no bytes"),
        pytest.param(cut, UnreadableFileError, "bytes on which the reader fails", id="cut off"),
        pytest.param(lambda data: data[:-4], UnreadableFileError, "cut off", id="no footer"),
        pytest.param(lambda _: b"a,b\n1,2\n3,4\n5,6\n", UnreadableFileError, "Parquet", id="CSV"),
        pytest.param(
            lambda _: parquet(READINGS.clear()), EmptyFileError, "one row or more", id="no rows"
        ),
        pytest.param(
            lambda _: parquet(READINGS.drop("at")), FileShapeError, "missing at", id="missing"
        ),
        pytest.param(
            lambda _: parquet(READINGS.with_columns(more=1)),
            FileShapeError,
            "unknown 'more'",
            id="unknown",
        ),
    ],
)
def test_a_bad_parquet_file_is_named(
    tmp_path: Path, change: Callable[[bytes], bytes], error: type[DataError], said: str
) -> None:
    path = put(tmp_path, change(parquet(READINGS)), "r.parquet")

    with pytest.raises(DataError) as raised:
        read_file(path, Reading, "parquet")

    assert type(raised.value) is error
    assert "r.parquet" in str(raised.value)
    assert said in str(raised.value)


def test_a_file_cut_off_anywhere_is_never_taken_for_whole(tmp_path: Path) -> None:
    data = parquet(pl.concat([READINGS] * 50))
    for length in range(1, len(data), 97):
        with pytest.raises(UnreadableFileError):
            read_file(put(tmp_path, data[:length], "r.parquet"), Reading, "parquet")


def test_a_path_is_no_pattern_and_its_folders_no_columns(tmp_path: Path) -> None:
    folder = tmp_path / "count=9"
    folder.mkdir()

    frame = read_file(put(folder, parquet(READINGS), "r[1]*.parquet"), Reading, "parquet")

    assert frame["count"].to_list() == [1, None]


# -- calls --------------------------------------------------------------------------------------


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'xlsx'"):
        read_file(put(tmp_path, b"x"), Booking, "xlsx")  # type: ignore[arg-type]


def test_a_bad_contract_is_no_fault_of_the_file(tmp_path: Path) -> None:
    class Undescribed(dy.Schema):
        day = dy.Date()

    with pytest.raises(ContractDefinitionError):
        read_file(put(tmp_path, b"day\nx\n"), Undescribed, "csv")


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.csv"):
        read_file(tmp_path / "absent.csv", Booking, "csv")
