"""Features of single flights, for a service, with the builder that makes the feature table.

A flight's features count the flights around it, so it is put into the schedule of its day: in place
of the one with its number, or beside the others. What it takes is read once for each day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from analytics_platform.modeling.serving import Read, ServingError
from assets.flight_delays.features.builder import HISTORY_LAG_DAYS, build_features
from assets.flight_delays.schedules.contract import ScheduleContract

_DAYS_KEPT = 4
"""Days whose inputs are kept: a service asks for tomorrow's flights, one after another."""


class FlightFeatures:
    """Features of scheduled flights, one or many.

    Args:
        read: Reads the product's tables.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._aircraft = read("FROM dim_aircraft", []).lazy()
        self._days: dict[dt.date, dict[str, pl.LazyFrame]] = {}

    def features(self, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
        """One row of features per flight, in the order of `rows`.

        Args:
            rows: Flights with the columns of the source `schedules`; days as ISO dates.

        Raises:
            ServingError: If a row is not as the source's contract has it; names row and rule.
        """
        flights = _flights(rows)
        built = [
            self._of_day(day, flights.filter(pl.col("flight_date") == day))
            for day in flights["flight_date"].unique().sort()
        ]
        return flights.select("flight_id").join(
            pl.concat(built), on="flight_id", how="left", maintain_order="left"
        )

    def rows_of(self, features: pl.DataFrame) -> list[dict[str, Any]]:
        """The scheduled flights that rows of the feature table are of, as they were delivered."""
        days = features["flight_date"].unique().sort().to_list()
        delivered = self._read(
            "SELECT concat_ws('-', carrier, flight_number, origin, flight_date) AS flight_id, * "
            "FROM stg_schedules WHERE flight_date IN (SELECT unnest(?::DATE[]))",
            [[str(day) for day in days]],
        )
        return (
            features.select("flight_id")
            .join(delivered, on="flight_id", how="inner", maintain_order="left", validate="1:1")
            .drop("flight_id")
            .to_dicts()
        )

    def _of_day(self, day: dt.date, flights: pl.DataFrame) -> pl.DataFrame:
        inputs = self._inputs(day)
        others = inputs["scheduled"].join(flights.lazy(), on="flight_id", how="anti")
        scheduled = pl.concat(
            [others, flights.lazy().select(inputs["scheduled"].collect_schema().names())]
        )
        return (
            build_features(
                scheduled.with_columns(
                    pl.col("scheduled_departure_at").dt.hour().cast(pl.Int32)
                    .alias("scheduled_departure_hour"),
                    pl.col("scheduled_arrival_at").dt.hour().cast(pl.Int32)
                    .alias("scheduled_arrival_hour"),
                ),
                inputs["flights"],
                inputs["weather"],
                self._aircraft,
                day,
                day,
            )
            .filter(pl.col("flight_id").is_in(flights["flight_id"].to_list()))
            .collect()
        )  # fmt: skip

    def _inputs(self, day: dt.date) -> dict[str, pl.LazyFrame]:
        if day not in self._days:
            known = day - dt.timedelta(days=HISTORY_LAG_DAYS)
            while len(self._days) >= _DAYS_KEPT:
                del self._days[next(iter(self._days))]
            self._days[day] = {
                name: self._read(sql, [bound]).lazy()
                for name, sql, bound in (
                    ("scheduled", "FROM int_scheduled_flights WHERE flight_date = ?", day),
                    ("weather", "FROM stg_weather WHERE flight_date <= ?", day),
                    ("flights", "FROM fct_flights WHERE flight_date <= ?", known),
                )
            }
        return self._days[day]


def _flights(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of the schedule, typed, held against the contract, with what dbt derives from them."""
    columns = ScheduleContract.column_names()
    for number, row in enumerate(rows, start=1):
        missing = [name for name in columns if row.get(name) is None]
        if missing:
            raise ServingError(
                f"Row {number} lacks {', '.join(missing)}. A flight has {', '.join(columns)}."
            )
    try:
        text = pl.DataFrame([{name: str(row[name]) for name in columns} for row in rows])
        typed = text.select(
            pl.col(name).str.to_date(strict=True)
            if dtype == pl.Date
            else pl.col(name).cast(dtype, strict=True)
            for name, dtype in ScheduleContract.create_empty().schema.items()
        )
    except pl.exceptions.PolarsError as error:
        raise ServingError(f"A row has a value of another type: {error}") from error
    good, failure = ScheduleContract.filter(typed)
    if good.height != typed.height:
        broken = ", ".join(f"{rule} ({count})" for rule, count in failure.counts().items())
        raise ServingError(
            f"{typed.height - good.height} of {typed.height} rows break the contract of schedules: "
            f"{broken}. Correct them; none was predicted."
        )
    departure, arrival = pl.col("scheduled_departure_hhmm"), pl.col("scheduled_arrival_hhmm")
    midnight = pl.col("flight_date").cast(pl.Datetime("us"))
    return typed.select(
        "flight_date",
        pl.concat_str(
            "carrier",
            pl.col("flight_number").cast(pl.String),
            "origin",
            pl.col("flight_date").cast(pl.String),
            separator="-",
        ).alias("flight_id"),
        "carrier",
        "flight_number",
        "origin",
        "destination",
        (midnight + _clock(departure)).alias("scheduled_departure_at"),
        # An arrival clock before the departure clock means the next day.
        (midnight + _clock(arrival) + pl.duration(days=(arrival < departure).cast(pl.Int32)))
        .alias("scheduled_arrival_at"),
        "distance_miles",
    )  # fmt: skip


def _clock(hhmm: pl.Expr) -> pl.Expr:
    return pl.duration(minutes=hhmm // 100 * 60 + hhmm % 100)
