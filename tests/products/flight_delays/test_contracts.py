"""The product's contracts: they hold on the real data, and each rule catches what it is for."""

from datetime import date, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import dataframely as dy
import polars as pl
import pytest

from analytics_platform.contracts import (
    ContractResult,
    apply_contract,
    contract_columns,
    read_file,
)
from assets.flight_delays.delivery import FIRST_DAY, LAST_DAY, deliver
from assets.flight_delays.outcomes.contract import OutcomeContract
from assets.flight_delays.reference.aircraft.contract import AircraftContract
from assets.flight_delays.reference.airlines.contract import AirlineContract
from assets.flight_delays.reference.airports.contract import AirportContract
from assets.flight_delays.schedules.contract import ScheduleContract
from assets.flight_delays.weather.contract import WeatherContract


class Source(NamedTuple):
    contract: type[dy.Schema]
    file_format: Literal["csv", "parquet"]
    pattern: str
    is_daily: bool


SOURCES = {
    "schedules": Source(ScheduleContract, "csv", "schedules/*.csv", is_daily=True),
    "outcomes": Source(OutcomeContract, "csv", "outcomes/*.csv", is_daily=True),
    "weather": Source(WeatherContract, "parquet", "weather/*.parquet", is_daily=True),
    "airlines": Source(AirlineContract, "csv", "reference/airlines.csv", is_daily=False),
    "airports": Source(AirportContract, "csv", "reference/airports.csv", is_daily=False),
    "aircraft": Source(AircraftContract, "parquet", "reference/aircraft.parquet", is_daily=False),
}

#: New Year; a blizzard; a keying error in the weather; the ends of winter and of summer time.
REMARKABLE_DAYS = [
    date(2013, 1, 1),
    date(2013, 2, 8),
    date(2013, 2, 9),
    date(2013, 2, 12),
    date(2013, 3, 10),
    date(2013, 11, 3),
]


def day_of(path: Path) -> date:
    return date.fromisoformat(path.stem[-10:])


def apply(source: Source, paths: list[Path]) -> tuple[pl.DataFrame, ContractResult]:
    """The rows of some files of a source, and what its contract makes of them."""
    frame = pl.concat([read_file(path, source.contract, source.file_format) for path in paths])
    if not source.is_daily:
        return frame, apply_contract(frame, source.contract)
    days = {path.name: day_of(path) for path in paths}
    return frame, apply_contract(
        frame, source.contract, partition_column="flight_date", partitions=days
    )


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("landing")
    deliver(folder, FIRST_DAY, LAST_DAY)
    return folder


def check_kept(name: str, frame: pl.DataFrame, result: ContractResult) -> None:
    """Every row keeps the contract but the one of weather that is really wrong."""
    if name == "weather":
        assert result.counts == {"wind_speed_mph|max": 1}
        (file, line, rules, row, _) = result.bad.row(0)
        assert (file, line, rules) == ("weather_2013-02-12.parquet", 10, ["wind_speed_mph|max"])
        assert '"wind_speed_mph": 1048.36' in row
    else:
        assert result.counts == {}
    assert result.good.height + result.bad.height == frame.height


@pytest.mark.parametrize("name", SOURCES)
def test_contracts_hold_on_remarkable_days(landing: Path, name: str) -> None:
    source = SOURCES[name]
    paths = sorted(landing.glob(source.pattern))
    if source.is_daily:
        paths = [path for path in paths if day_of(path) in REMARKABLE_DAYS]
        assert len(paths) == len(REMARKABLE_DAYS)

    frame, result = apply(source, paths)

    check_kept(name, frame, result)


def test_contracts_hold_on_the_whole_year(landing: Path) -> None:
    """Row counts are those the package states: 336,776 flights, 26,115 hours of weather."""
    heights = {}
    for name, source in SOURCES.items():
        frame, result = apply(source, sorted(landing.glob(source.pattern)))
        check_kept(name, frame, result)
        heights[name] = frame.height

    assert heights == {
        "schedules": 336_776,
        "outcomes": 336_776,
        "weather": 26_115,
        "airlines": 16,
        "airports": 1_458,
        "aircraft": 3_322,
    }


def test_raw_columns_are_those_agreed() -> None:
    told = {
        name: {column.name: column.duckdb_type for column in contract_columns(source.contract)}
        for name, source in SOURCES.items()
    }

    assert told["schedules"] == {
        "flight_date": "DATE",
        "carrier": "VARCHAR",
        "flight_number": "INTEGER",
        "origin": "VARCHAR",
        "destination": "VARCHAR",
        "scheduled_departure_hhmm": "INTEGER",
        "scheduled_arrival_hhmm": "INTEGER",
        "distance_miles": "INTEGER",
    }
    assert told["outcomes"]["is_diverted"] == "BOOLEAN"
    assert (told["weather"]["hour_utc"], told["weather"]["local_hour"]) == ("TIMESTAMP", "SMALLINT")
    # Nothing that is known only afterwards may stand in what is known the evening before.
    key = {"flight_date", "carrier", "flight_number", "origin", "destination"}
    assert set(told["schedules"]) & set(told["outcomes"]) == key


# -- each rule catches what it is for -------------------------------------------------------------

ARRIVED: dict[str, object] = {
    "flight_date": date(2013, 1, 1),
    "carrier": "UA",
    "flight_number": 1545,
    "origin": "EWR",
    "destination": "IAH",
    "tail_number": "N14228",
    "departure_hhmm": 517,
    "departure_delay_minutes": 2,
    "arrival_hhmm": 830,
    "arrival_delay_minutes": 11,
    "air_time_minutes": 227,
    "is_cancelled": False,
    "is_diverted": False,
}
NO_TIMES = dict.fromkeys(
    [
        "departure_hhmm",
        "departure_delay_minutes",
        "arrival_hhmm",
        "arrival_delay_minutes",
        "air_time_minutes",
    ]
)
CANCELLED: dict[str, object] = {**ARRIVED, **NO_TIMES, "tail_number": None, "is_cancelled": True}
DIVERTED = {
    **ARRIVED,
    "arrival_delay_minutes": None,
    "air_time_minutes": None,
    "is_diverted": True,
}
PLANNED: dict[str, object] = {
    "flight_date": date(2013, 1, 1),
    "carrier": "UA",
    "flight_number": 1545,
    "origin": "EWR",
    "destination": "IAH",
    "scheduled_departure_hhmm": 515,
    "scheduled_arrival_hhmm": 819,
    "distance_miles": 1400,
}
HOUR: dict[str, object] = {
    "flight_date": date(2013, 1, 1),
    "origin": "EWR",
    "hour_utc": datetime(2013, 1, 1, 6),  # noqa: DTZ001
    "local_hour": 1,
    "temperature_fahrenheit": 39.02,
    "dew_point_fahrenheit": 26.06,
    "relative_humidity_percent": 59.37,
    "wind_direction_degrees": 270.0,
    "wind_speed_mph": 10.35702,
    "wind_gust_mph": None,
    "precipitation_inches": 0.0,
    "pressure_millibars": 1012.0,
    "visibility_miles": 10.0,
}


def broken(contract: type[dy.Schema], row: dict[str, object]) -> list[str]:
    frame = pl.DataFrame([row], schema=contract.create_empty().schema).with_columns(
        pl.lit("file").alias("_source_file"), pl.lit(2, dtype=pl.Int64).alias("_source_line")
    )
    return sorted(apply_contract(frame, contract).counts)


@pytest.mark.parametrize(
    ("contract", "row"),
    [
        pytest.param(OutcomeContract, ARRIVED, id="arrived"),
        pytest.param(OutcomeContract, CANCELLED, id="cancelled"),
        pytest.param(OutcomeContract, {**CANCELLED, "tail_number": "N14228"}, id="aircraft known"),
        pytest.param(OutcomeContract, DIVERTED, id="diverted, and there in the end"),
        pytest.param(OutcomeContract, {**DIVERTED, "arrival_hhmm": None}, id="diverted for good"),
        pytest.param(
            OutcomeContract, {**ARRIVED, "departure_hhmm": 2400, "arrival_hhmm": 313}, id="midnight"
        ),
        pytest.param(
            OutcomeContract,
            # Hawaii: five hours behind in winter, and eleven in the air.
            {**ARRIVED, "departure_hhmm": 954, "arrival_hhmm": 1441, "air_time_minutes": 632},
            id="Honolulu",
        ),
        pytest.param(ScheduleContract, PLANNED, id="planned"),
        pytest.param(WeatherContract, HOUR, id="hour"),
        pytest.param(
            WeatherContract,
            {**HOUR, "temperature_fahrenheit": None, "wind_speed_mph": None},
            id="unmeasured",
        ),
    ],
)
def test_rows_that_may_be(contract: type[dy.Schema], row: dict[str, object]) -> None:
    assert broken(contract, row) == []


@pytest.mark.parametrize(
    ("contract", "row", "change", "rules"),
    [
        (OutcomeContract, CANCELLED, {"departure_hhmm": 517}, ["cancelled_flight_has_no_times"]),
        (OutcomeContract, CANCELLED, {"arrival_hhmm": 517}, ["cancelled_flight_has_no_times"]),
        (OutcomeContract, CANCELLED, {"is_diverted": True}, ["not_cancelled_and_diverted"]),
        (OutcomeContract, ARRIVED, {"arrival_delay_minutes": None}, ["arrived_flight_has_arrival"]),
        (OutcomeContract, ARRIVED, {"air_time_minutes": None}, ["arrived_flight_has_arrival"]),
        (OutcomeContract, ARRIVED, {"departure_hhmm": None}, ["departed_flight_has_departure"]),
        (OutcomeContract, ARRIVED, {"tail_number": None}, ["departed_flight_has_aircraft"]),
        (
            OutcomeContract,
            DIVERTED,
            {"arrival_delay_minutes": 5},
            ["diverted_flight_has_no_arrival_delay"],
        ),
        (OutcomeContract, ARRIVED, {"arrival_hhmm": 2000}, ["arrives_after_its_air_time"]),
        (OutcomeContract, ARRIVED, {"arrival_hhmm": 2130}, ["arrives_after_its_air_time"]),
        (OutcomeContract, ARRIVED, {"destination": "EWR"}, ["destination_is_not_origin"]),
        (
            OutcomeContract,
            ARRIVED,
            {"departure_hhmm": 575},
            ["departure_hhmm|check__minutes_below_60"],
        ),
        (OutcomeContract, ARRIVED, {"departure_hhmm": 0}, ["departure_hhmm|min"]),
        (OutcomeContract, ARRIVED, {"is_cancelled": None}, ["is_cancelled|nullability"]),
        (OutcomeContract, ARRIVED, {"origin": "BOS"}, ["origin|check__new_york_airport"]),
        (ScheduleContract, PLANNED, {"destination": "EWR"}, ["destination_is_not_origin"]),
        (
            ScheduleContract,
            PLANNED,
            {"scheduled_arrival_hhmm": 2400},
            ["scheduled_arrival_hhmm|max"],
        ),
        (
            ScheduleContract,
            PLANNED,
            {"scheduled_departure_hhmm": 560},
            ["scheduled_departure_hhmm|check__minutes_below_60"],
        ),
        (ScheduleContract, PLANNED, {"distance_miles": 0}, ["distance_miles|min"]),
        (ScheduleContract, PLANNED, {"carrier": "United"}, ["carrier|regex"]),
        (WeatherContract, HOUR, {"local_hour": 2}, ["local_time_agrees_with_utc"]),
        (
            WeatherContract,
            HOUR,
            {"flight_date": date(2013, 1, 2)},
            ["local_time_agrees_with_utc"],
        ),
        (WeatherContract, HOUR, {"wind_gust_mph": 5.0}, ["gust_not_below_wind"]),
        (
            WeatherContract,
            HOUR,
            {"dew_point_fahrenheit": 50.0},
            ["dew_point_not_above_temperature"],
        ),
        (
            WeatherContract,
            HOUR,
            {"visibility_miles": float("nan")},
            ["visibility_miles|max", "visibility_miles|nan"],
        ),
        (
            WeatherContract,
            HOUR,
            {"hour_utc": datetime(2013, 1, 1, 6, 30)},  # noqa: DTZ001
            ["hour_utc|check__full_hour"],
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else None,
)
def test_rows_that_may_not_be(
    contract: type[dy.Schema],
    row: dict[str, object],
    change: dict[str, object],
    rules: list[str],
) -> None:
    assert broken(contract, {**row, **change}) == rules
