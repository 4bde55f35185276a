"""Good rows and bad rows: which, why, and that none is lost."""

import json
import re
from datetime import date, datetime

import dataframely as dy
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.contracts import (
    ContractDefinitionError,
    apply_contract,
)
from analytics_platform.contracts.text_values import parse_text


class Flight(dy.Schema):
    day = dy.Date(primary_key=True, description="Day.")
    number = dy.Int32(primary_key=True, min=1, max=99, description="Number.")
    carrier = dy.String(regex="^[A-Z]{2}$", description="Carrier.")
    delay = dy.Float64(nullable=True, description="Delay.")
    cancelled = dy.Bool(description="Cancelled.")

    @dy.rule()
    def cancelled_has_no_delay(cls) -> pl.Expr:  # noqa: N805
        return ~cls.cancelled.col | cls.delay.col.is_null()


Row = tuple[str | None, str | None, str | None, str | None, str | None]
FINE: Row = ("2013-01-01", "7", "UA", "1.5", "false")


def text(*rows: Row, file: str = "f.csv") -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema=dict.fromkeys(Flight.column_names(), pl.String), orient="row"
    ).with_columns(
        pl.lit(file).alias("_source_file"),
        pl.int_range(2, pl.len() + 2, dtype=pl.Int64).alias("_source_line"),
    )


def changed(**values: str | None) -> Row:
    return tuple({**dict(zip(Flight.column_names(), FINE, strict=True)), **values}.values())  # type: ignore[return-value]


def test_a_good_row_is_typed_and_located() -> None:
    result = apply_contract(text(FINE), Flight)

    assert result.good.rows() == [(date(2013, 1, 1), 7, "UA", 1.5, False, "f.csv", 2)]
    assert result.good.schema["number"] == pl.Int32
    assert result.good.columns == [*Flight.column_names(), "_source_file", "_source_line"]
    assert result.bad.is_empty()
    assert result.counts == {}


@pytest.mark.parametrize(
    ("row", "rules"),
    [
        pytest.param(changed(day=None), ["day|nullability"], id="nothing where a date must be"),
        pytest.param(changed(carrier=None), ["carrier|nullability"], id="empty text"),
        pytest.param(changed(day="2013-1-1"), ["day|type"], id="short date"),
        pytest.param(changed(day="01/01/2013"), ["day|type"], id="other date"),
        pytest.param(changed(day="2013-02-30"), ["day|type"], id="no such day"),
        pytest.param(changed(day="2013-01-01T00:00:00"), ["day|type"], id="time for date"),
        pytest.param(changed(number="5.0"), ["number|type"], id="integer with a point"),
        pytest.param(changed(number=" 5"), ["number|type"], id="space before"),
        pytest.param(changed(number="+5"), ["number|type"], id="plus"),
        pytest.param(changed(number="1e1"), ["number|type"], id="exponent"),
        pytest.param(changed(number="٣"), ["number|type"], id="other digits"),
        pytest.param(changed(number="99999999999"), ["number|type"], id="overflow"),
        pytest.param(changed(number="5\n"), ["number|type"], id="line break"),
        pytest.param(changed(number="-5"), ["number|min"], id="too small"),
        pytest.param(changed(number="100"), ["number|max"], id="too large"),
        pytest.param(changed(carrier="ua"), ["carrier|regex"], id="lower case"),
        pytest.param(changed(carrier="UA "), ["carrier|regex"], id="space after"),
        pytest.param(changed(delay="NaN"), ["delay|type"], id="not a number"),
        pytest.param(changed(delay="NA"), ["delay|type"], id="no null by another name"),
        pytest.param(changed(delay="-inf"), ["delay|type"], id="infinity"),
        pytest.param(changed(delay="1e400"), ["delay|type"], id="beyond a float"),
        pytest.param(changed(delay="1,5"), ["delay|type"], id="decimal comma"),
        pytest.param(changed(cancelled="yes"), ["cancelled|type"], id="yes"),
        pytest.param(changed(cancelled="2"), ["cancelled|type"], id="two for true"),
        pytest.param(changed(cancelled="true"), ["cancelled_has_no_delay"], id="across columns"),
        pytest.param(
            changed(number="100", carrier="U", cancelled="1"),
            ["cancelled_has_no_delay", "carrier|regex", "number|max"],
            id="three rules",
        ),
        pytest.param(
            changed(number="100", delay="x", cancelled="true"),
            ["delay|type", "number|max"],
            id="a rule that needs a value without its type is not judged, others are",
        ),
        pytest.param(
            changed(cancelled="x", carrier="U"),
            ["cancelled|type", "carrier|regex"],
            id="type and not nullability",
        ),
        pytest.param(changed(day="2013-01-02"), ["partition"], id="a day that is not the file's"),
    ],
)
def test_a_bad_row_is_kept_with_its_rules(row: Row, rules: list[str]) -> None:
    result = apply_contract(
        text(FINE, row), Flight, partition_column="day", partitions={"f.csv": date(2013, 1, 1)}
    )
    # A row that keeps its key collides with the good one; that is another test's matter.
    if row[:2] == FINE[:2]:
        result = apply_contract(
            text(changed(number="8"), row),
            Flight,
            partition_column="day",
            partitions={"f.csv": date(2013, 1, 1)},
        )

    assert result.bad.columns == ["_source_file", "_source_line", "rules", "row", "text"]
    assert result.bad.drop("row", "text").rows() == [("f.csv", 3, rules)]
    assert tuple(json.loads(result.bad["row"][0]).values()) == row
    assert result.counts == dict.fromkeys(rules, 1)
    assert result.good["_source_line"].to_list() == [2]


@pytest.mark.parametrize(
    ("dtype", "last", "far", "told"),
    [
        (pl.Date, date(9999, 12, 31), 2_932_897, "2932897 days since 1970-01-01"),
        (pl.Date, date(1, 1, 1), -719_163, "-719163 days since 1970-01-01"),
        (pl.Date, date(1, 1, 1), -(2**31), "-2147483648 days since 1970-01-01"),
        (
            pl.Datetime("us"),
            datetime.fromisoformat("9999-12-31T23:59:59"),
            2**62,
            f"{2**62} us since 1970-01-01",
        ),
        (
            pl.Datetime("ms"),
            datetime.fromisoformat("0001-01-01"),
            -(2**62),
            f"-{2**62} ms since 1970-01-01",
        ),
    ],
)
def test_a_time_of_parquet_beyond_the_years_that_python_knows_is_no_time(
    dtype: pl.DataType, last: date, far: int, told: str
) -> None:
    unit = getattr(dtype, "time_unit", None)

    class Dated(dy.Schema):
        at = dy.Datetime(time_unit=unit, description="At.") if unit else dy.Date(description="At.")
        number = dy.Int64(description="Number.", min=0)

    at = pl.concat(
        [pl.Series([last, last], dtype=dtype), pl.Series([far], dtype=pl.Int64).cast(dtype)]
        if isinstance(dtype, pl.Datetime)
        else [pl.Series([last, last]), pl.Series([far], dtype=pl.Int32).cast(dtype)]
    )
    frame = pl.DataFrame({"at": at, "number": [1, -1, 1]}).with_columns(
        _source_file=pl.lit("f.parquet"), _source_line=pl.int_range(1, 4, dtype=pl.Int64)
    )

    result = apply_contract(frame, Dated, file_format="parquet")

    assert result.good["at"].to_list() == [last]
    assert result.bad.select("_source_line", "rules").rows() == [
        (2, ["number|min"]),
        (3, ["at|type"]),
    ]
    kept = [json.loads(row)["at"] for row in result.bad["row"]]
    assert kept == [last.isoformat(), told]


def test_a_row_without_a_day_is_of_no_partition() -> None:
    class Undated(dy.Schema):
        day = dy.Date(nullable=True, description="Day.")

    frame = pl.DataFrame({"day": ["2013-01-01", None, "x"]}).with_columns(
        _source_file=pl.lit("f.csv"), _source_line=pl.int_range(2, 5, dtype=pl.Int64)
    )

    result = apply_contract(
        frame, Undated, partition_column="day", partitions={"f.csv": date(2013, 1, 1)}
    )

    assert result.good["_source_line"].to_list() == [2]
    assert result.bad.select("_source_line", "rules").rows() == [
        (3, ["partition"]),
        (4, ["day|type"]),
    ]


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        pytest.param(changed(number="007"), "number", 7, id="leading zeros"),
        pytest.param(changed(delay="-0.5e1"), "delay", -5.0, id="exponent"),
        pytest.param(changed(delay=".5"), "delay", 0.5, id="no leading zero"),
        pytest.param(changed(delay="3"), "delay", 3.0, id="whole number"),
        pytest.param(changed(delay=None), "delay", None, id="null where it may be"),
        pytest.param(changed(cancelled="0"), "cancelled", False, id="0"),
        pytest.param(changed(cancelled="True", delay=None), "cancelled", True, id="True"),
        pytest.param(changed(cancelled="FALSE"), "cancelled", False, id="FALSE"),
    ],
)
def test_a_value_is_what_it_says(row: Row, column: str, value: object) -> None:
    assert apply_contract(text(row), Flight).good[column].to_list() == [value]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2013-01-31T05:15:00", datetime(2013, 1, 31, 5, 15)),  # noqa: DTZ001
        ("2013-01-31 05:15:00.25", datetime(2013, 1, 31, 5, 15, 0, 250_000)),  # noqa: DTZ001
        ("2013-01-31T05:15", None),
        ("2013-01-31T05:15:60", None),
        ("2013-01-31T24:00:00", None),
        ("2013-01-31T05:15:00Z", None),
        ("2013-01-31", None),
    ],
)
def test_times_are_iso_and_naive(written: str, read: datetime | None) -> None:
    parsed = pl.DataFrame({"at": [written]}).select(parse_text(pl.col("at"), pl.Datetime("us")))

    assert parsed["at"].to_list() == [read]


def test_both_rows_of_a_key_are_bad() -> None:
    result = apply_contract(text(FINE, changed(number="8"), changed(carrier="DL")), Flight)

    assert result.bad.drop("row", "text").rows() == [
        ("f.csv", 2, ["primary_key"]),
        ("f.csv", 4, ["primary_key"]),
    ]
    assert result.good["number"].to_list() == [8]


def test_a_row_in_the_wrong_file_does_not_condemn_the_right_one() -> None:
    frames = pl.concat(
        [text(FINE, file="1.csv"), text(changed(day="2013-01-02"), FINE, file="2.csv")]
    )
    partitions = {"1.csv": date(2013, 1, 1), "2.csv": date(2013, 1, 2)}

    result = apply_contract(frames, Flight, partition_column="day", partitions=partitions)

    assert result.bad.drop("row", "text").rows() == [("2.csv", 3, ["partition"])]
    assert result.by_file().rows() == [("1.csv", 1, 0), ("2.csv", 1, 1)]


def test_typed_rows_show_what_json_has_no_word_for() -> None:
    typed = text(FINE, FINE).with_columns(
        pl.lit(date(2013, 1, 1)).alias("day"),
        pl.Series("number", [1, 2], dtype=pl.Int32),
        pl.Series("delay", [float("nan"), float("inf")]),
        pl.lit(value=False).alias("cancelled"),
    )

    result = apply_contract(typed, Flight)

    assert result.counts == {"delay|inf": 1, "delay|nan": 1}
    assert [json.loads(row)["delay"] for row in result.bad["row"]] == ["nan", "inf"]
    assert json.loads(result.bad["row"][0])["day"] == "2013-01-01"


def test_no_rows_are_neither_good_nor_bad() -> None:
    result = apply_contract(text(), Flight, partition_column="day", partitions={})

    assert (result.good.height, result.bad.height, result.counts) == (0, 0, {})
    assert result.good.schema["day"] == pl.Date
    assert result.by_file().is_empty()


# -- a second implementation, in plain Python -----------------------------------------------------

PIECES: dict[str, list[str | None]] = {
    "day": ["2013-01-01", "2013-01-02", "2013-02-30", "1.1.2013", None],
    "number": ["1", "2", "03", "0", "100", "5.0", "x", "-1", None],
    "carrier": ["UA", "DL", "ua", "UAL", " ", None],
    "delay": ["1", "-2.5", "NaN", "1e400", "", None],
    "cancelled": ["true", "0", "False", "no", None],
}
rows_of_files = st.lists(
    st.lists(st.tuples(*[st.sampled_from(values) for values in PIECES.values()]), max_size=12),
    min_size=1,
    max_size=4,
)


def holds(row: tuple[str | None, ...], day: date, file: list[tuple[str | None, ...]]) -> bool:
    """Whether a row keeps the contract, reasoned without Polars."""
    written_day, number, carrier, delay, cancelled = row
    if written_day != day.isoformat():
        return False
    if number is None or not re.fullmatch("[0-9]+", number) or not 1 <= int(number) <= 99:
        return False
    if carrier not in {"UA", "DL"} or cancelled not in {"true", "0", "False"}:
        return False
    if delay not in {"1", "-2.5", None} or (cancelled == "true" and delay is not None):
        return False

    def same_key(other: tuple[str | None, ...]) -> bool:
        is_number = other[1] is not None and re.fullmatch("-?[0-9]+", other[1])
        return bool(other[0] == written_day and is_number and int(other[1] or "") == int(number))

    return sum(same_key(other) for other in file) == 1


@settings(deadline=None)
@given(rows_of_files)
def test_every_row_ends_up_once_and_where_it_belongs(
    files: list[list[tuple[str | None, ...]]],
) -> None:
    frame = pl.concat([text(*rows, file=f"{n}.csv") for n, rows in enumerate(files)])  # type: ignore[arg-type]
    days = [date(2013, 1, 1 + n % 2) for n in range(len(files))]

    result = apply_contract(
        frame,
        Flight,
        partition_column="day",
        partitions={f"{n}.csv": day for n, day in enumerate(days)},
    )

    places = ["_source_file", "_source_line"]
    good, bad = result.good.select(places).rows(), result.bad.select(places).rows()
    assert sorted(good + bad) == sorted(frame.select(places).rows())
    assert good == [
        (f"{n}.csv", line)
        for n, rows in enumerate(files)
        for line, row in enumerate(rows, start=2)
        # Files of one day are one delivery.
        if holds(row, days[n], [r for m, of in enumerate(files) if days[m] == days[n] for r in of])
    ]
    assert all(result.bad["rules"].list.len() > 0)
    assert sum(result.counts.values()) == result.bad["rules"].list.len().sum()
    # The quarantine gives back what was delivered.
    delivered = dict(zip(frame.select(places).rows(), frame.select(*PIECES).rows(), strict=True))
    for file, line, _, row, _ in result.bad.rows():
        assert tuple(json.loads(row).values()) == delivered[file, line]


# -- calls that do not fit ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        pytest.param({"partition_column": "day"}, ValueError, "together or neither", id="alone"),
        pytest.param(
            {"partition_column": "day", "partitions": {"g.csv": date(2013, 1, 1)}},
            ValueError,
            "found none for f.csv",
            id="file without partition",
        ),
        pytest.param(
            {"partition_column": "dag", "partitions": {"f.csv": date(2013, 1, 1)}},
            ContractDefinitionError,
            "no such column",
            id="no such column",
        ),
        pytest.param(
            {"partition_column": "number", "partitions": {"f.csv": date(2013, 1, 1)}},
            ContractDefinitionError,
            "Int32",
            id="no date",
        ),
    ],
)
def test_partitions_must_fit(
    arguments: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        apply_contract(text(FINE), Flight, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(text(FINE).drop("_source_line"), id="no line"),
        pytest.param(text(FINE).drop("delay"), id="no such column"),
        pytest.param(text(FINE).with_columns(number=pl.lit(1.5)), id="neither text nor the type"),
    ],
)
def test_a_frame_that_was_not_read_by_read_file_is_refused(frame: pl.DataFrame) -> None:
    with pytest.raises(ValueError, match="read_file"):
        apply_contract(frame, Flight)


def test_a_rule_that_fails_on_real_rows_is_the_contracts_fault() -> None:
    class Fails(dy.Schema):
        name = dy.String(description="Name.")

        @dy.rule()
        def is_a_date(cls) -> pl.Expr:  # noqa: N805
            return cls.name.col.str.to_date("%Y-%m-%d").is_not_null()

    frame = text(FINE).select(pl.lit("x").alias("name"), "_source_file", "_source_line")

    with pytest.raises(ContractDefinitionError, match="Fails"):
        apply_contract(frame, Fails)
