"""A flight by itself has the features that it has in the table, on real flights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from analytics_platform.modeling.serving import Read, ServingError
from assets.flight_delays.features.builder import build_features
from assets.flight_delays.features.serving import FlightFeatures
from tests.products.flight_delays.conftest import Inputs

DAYS = [date(2013, 2, 8), date(2013, 2, 20)]
DELIVERED = (
    "flight_date, carrier, flight_number, origin, destination, scheduled_departure_hhmm, "
    "scheduled_arrival_hhmm, distance_miles"
)


@contextmanager
def reading(inputs: Inputs) -> Iterator[Read]:
    """The product's tables, as a release has them."""
    con = duckdb.connect()
    flights = inputs.flights.collect().with_columns(pl.col("flight_number").cast(pl.Int32))
    con.register("fct_flights", flights.to_arrow())
    con.register("dim_aircraft", inputs.aircraft.collect().to_arrow())
    con.register("stg_weather", inputs.weather.collect().to_arrow())
    con.execute(
        f"CREATE TABLE stg_schedules AS SELECT {DELIVERED} FROM fct_flights; "
        "CREATE TABLE int_scheduled_flights AS SELECT flight_date, flight_id, carrier, "
        "flight_number::INTEGER AS flight_number, origin, destination, scheduled_departure_at, "
        "scheduled_arrival_at, distance_miles::INTEGER AS distance_miles FROM fct_flights"
    )

    def run(sql: str, parameters: Sequence[object]) -> pl.DataFrame:
        return con.execute(sql, parameters).pl()

    yield run
    con.close()


@pytest.fixture(scope="module")
def read(inputs: Inputs) -> Iterator[Read]:
    with reading(inputs) as found:
        yield found


@pytest.fixture(scope="module")
def table(inputs: Inputs) -> pl.DataFrame:
    return pl.concat(build_features(*inputs, day, day).collect() for day in DAYS)


def same(found: pl.DataFrame, table: pl.DataFrame) -> None:
    expected = found.select("flight_id").join(
        table, on="flight_id", how="left", maintain_order="left"
    )
    assert_frame_equal(found, expected.select(found.columns), check_exact=True)


def test_every_flight_of_a_day_has_its_features(read: Read, table: pl.DataFrame) -> None:
    service = FlightFeatures(read)
    rows = service.rows_of(table)
    assert len(rows) == table.height > 1500
    same(service.features(rows), table)
    same(service.features(rows[::-7]), table)


@pytest.mark.parametrize(
    "every",
    [150, pytest.param(4, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.load)],
)
def test_a_flight_alone_has_its_features(read: Read, table: pl.DataFrame, every: int) -> None:
    service = FlightFeatures(read)
    rows = service.rows_of(table)[::every]
    same(pl.concat(service.features([row]) for row in rows), table)


def test_a_flight_that_was_not_planned_counts_among_the_others(
    read: Read, table: pl.DataFrame
) -> None:
    service = FlightFeatures(read)
    planned = service.rows_of(table.head(1))[0]
    (features,) = service.features([planned | {"flight_number": 9999}]).to_dicts()
    (without,) = service.features([planned]).to_dicts()
    assert features["origin_day_flights"] == without["origin_day_flights"] + 1
    assert features["flight_id"].split("-")[1] == "9999"


def test_a_day_is_refused_exactly_where_the_table_has_no_rows(inputs: Inputs) -> None:
    """Outcomes are known through 10 February; schedules have come through the 20th."""
    day = pl.col("flight_date")
    arrived = inputs.flights.filter(day <= DAYS[1]).with_columns(
        has_outcome=day <= date(2013, 2, 10),
        is_late=pl.when(day <= date(2013, 2, 10)).then("is_late"),
        arrival_delay_minutes=pl.when(day <= date(2013, 2, 10)).then("arrival_delay_minutes"),
    )
    tables = inputs._replace(scheduled=inputs.scheduled.filter(day <= DAYS[1]), flights=arrived)
    with reading(tables) as read:
        service = FlightFeatures(read)
        for number in (1, 11, 12, 13, 20, 21, 28):
            asked = date(2013, 2, number)
            batch = build_features(*tables, asked, asked).collect()
            if batch.is_empty():
                row = flight(flight_date=str(asked))
                with pytest.raises(
                    ServingError, match=f"flight_date {asked}: .*lie from 2013-01-01 to 2013-02-20"
                ):
                    service.features([row])
            else:
                same(service.features(service.rows_of(batch)[::100]), batch)


def flight(**changed: Any) -> dict[str, Any]:
    """A row as a person writes it."""
    return {
        "flight_date": "2013-02-20",
        "carrier": "UA",
        "flight_number": 1545,
        "origin": "EWR",
        "destination": "IAH",
        "scheduled_departure_hhmm": 515,
        "scheduled_arrival_hhmm": 819,
        "distance_miles": 1400,
    } | changed


def test_a_day_outside_the_calendar_of_the_schedules_is_refused_and_not_kept(read: Read) -> None:
    service = FlightFeatures(read)
    for day in ("0001-01-01", "1900-01-01", "2013-03-01", "9999-12-31"):
        with pytest.raises(ServingError, match=f"flight_date {day}: expected a day whose sched"):
            service.features([flight(flight_date=day)])
    assert service.features([flight()]).height == 1


@pytest.mark.parametrize(
    "day",
    ["05/04/2013", "04-05-2013", "2013/02/20", "20130220", "2013-2-20", "2013-W08-3",
     "2013-02-20T00:00:00", " 2013-02-20", "20 February 2013", 20130220, "٢٠١٣-٠٢-٢٠"],
)  # fmt: skip
def test_a_day_is_iso_or_refused(read: Read, day: object) -> None:
    """A day is never guessed: what is read day first here was written month first elsewhere."""
    said = r"Row 2, flight_date: expected a day as YYYY-MM-DD.*found "
    with pytest.raises(ServingError, match=said):
        FlightFeatures(read).features([flight(), flight(flight_number=7, flight_date=day)])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"destination": "\ud800AB"}, r"Row 1, destination: expected text, found '\\ud800AB'"),
        ({"carrier": ["UA"]}, r"carrier: expected text, found \['UA'\]"),
        ({"carrier": 12}, "carrier: expected text, found 12"),
        ({"flight_number": float("nan")}, "flight_number: expected a whole number.* found nan"),
        ({"flight_number": 1545.0}, r"found 1545\.0"),
        ({"flight_number": True}, "found True"),
        ({"flight_number": 2**31}, "found 2147483648"),
        ({"flight_number": 10**5000}, "found a number of 16610 bits"),
        ({"flight_number": "9" * 5000}, "found '9{39} …"),
        ({"gate": "C12"}, "Row 1 has the unknown 'gate'. A flight has flight_date, carrier"),
    ],
)
def test_a_value_of_another_type_is_named(read: Read, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ServingError, match=said):
        FlightFeatures(read).features([flight(**changed)])


def test_digits_may_be_text(read: Read) -> None:
    service = FlightFeatures(read)
    padded = flight(flight_number="01545", scheduled_departure_hhmm="0515")
    assert_frame_equal(service.features([padded]), service.features([flight()]))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"carrier": None}, "Row 1 lacks carrier"),
        ({"carrier": "??"}, r"carrier\|regex \(1\)"),
        ({"scheduled_departure_hhmm": 2399}, "scheduled_departure_hhmm"),
        ({"scheduled_departure_hhmm": "noon"}, "expected a whole number.*found 'noon'"),
        ({"flight_date": "2013-02-30"}, "Row 1, flight_date: .* calendar, found 2013-02-30"),
        ({"destination": "JFK", "origin": "JFK"}, "destination_is_not_origin"),
    ],
)
def test_a_row_that_is_none_is_refused_in_words(
    read: Read, table: pl.DataFrame, changed: dict[str, Any], said: str
) -> None:
    service = FlightFeatures(read)
    row = service.rows_of(table.head(1))[0] | changed
    with pytest.raises(ServingError, match=said):
        service.features([row])
