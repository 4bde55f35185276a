"""A flight by itself has the features that it has in the table, on real flights."""

from collections.abc import Iterator, Sequence
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


@pytest.fixture(scope="module")
def read(inputs: Inputs) -> Iterator[Read]:
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


@pytest.mark.parametrize("every", [150, pytest.param(1, marks=pytest.mark.slow)])
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


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"carrier": None}, "Row 1 lacks carrier"),
        ({"carrier": "??"}, r"carrier\|regex \(1\)"),
        ({"scheduled_departure_hhmm": 2399}, "scheduled_departure_hhmm"),
        ({"scheduled_departure_hhmm": "noon"}, "another type"),
        ({"flight_date": "2013-02-30"}, "another type"),
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
