"""Features of single flights, for a service, with the builder that makes the feature table.

A flight's features count the flights around it, so it is put into the schedule of its day: in place
of the one with its number, or beside the others. What it takes is read once for each day.

A day has features here if, and only if, the feature table has some: once its schedule has arrived.
Outcomes that have not arrived, or never came, bar neither; history is made of what is known.
"""

from __future__ import annotations

import datetime as dt
import re
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
            ServingError: If a row is not as the source's contract has it, or its day has no
                schedule; names row, column and rule.
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
            .select(ScheduleContract.column_names())
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
            # Before anything is counted back from the day: it may lie at the calendar's end.
            scheduled = self._read("FROM int_scheduled_flights WHERE flight_date = ?", [day])
            if scheduled.is_empty():
                raise ServingError(self._unscheduled(day))
            known = day - dt.timedelta(days=HISTORY_LAG_DAYS)
            while len(self._days) >= _DAYS_KEPT:
                del self._days[next(iter(self._days))]
            self._days[day] = {"scheduled": scheduled.lazy()} | {
                name: self._read(sql, [bound]).lazy()
                for name, sql, bound in (
                    ("weather", "FROM stg_weather WHERE flight_date <= ?", day),
                    ("flights", "FROM fct_flights WHERE flight_date <= ?", known),
                )
            }
        return self._days[day]

    def _unscheduled(self, day: dt.date) -> str:
        first, last = self._read(
            "SELECT min(flight_date), max(flight_date) FROM int_scheduled_flights", []
        ).row(0)
        there = "none was" if first is None else f"those that were lie from {first} to {last}"
        return (
            f"flight_date {day}: expected a day whose schedule was delivered, as the feature table "
            f"needs it; {there}. Deliver that day's schedules and run the product, or correct the "
            "date."
        )


_ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,10}")
_LONGEST_SHOWN = 40


def _flights(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of the schedule, typed, held against the contract, with what dbt derives from them."""
    schema = ScheduleContract.create_empty().schema
    for number, row in enumerate(rows, start=1):
        missing = [name for name in schema if row.get(name) is None]
        unknown = [_shown(name) for name in row if name not in schema]
        for what, names in (("lacks", missing), ("has the unknown", unknown)):
            if names:
                raise ServingError(
                    f"Row {number} {what} {', '.join(names)}. A flight has {', '.join(schema)}."
                )
    typed = pl.DataFrame(
        {
            name: [
                _value(row[name], kind, f"Row {number}, {name}")
                for number, row in enumerate(rows, start=1)
            ]
            for name, kind in schema.items()
        },
        schema=dict(schema),
    )
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


def _value(value: object, kind: pl.DataType, where: str) -> Any:
    """A value as its column has it: JSON's own type, or text that can be read in one way only.

    Raises:
        ServingError: If it is of another type.
    """
    if kind == pl.Date:
        if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
            return value
        # Strict: 05/04/2013 is the fourth of May here, and the fifth of April elsewhere.
        if isinstance(value, str) and _ISO_DAY.fullmatch(value):
            try:
                return dt.date.fromisoformat(value)
            except ValueError as error:
                raise ServingError(
                    f"{where}: expected a day of the calendar, found {value} ({error})."
                ) from error
        raise ServingError(
            f"{where}: expected a day as YYYY-MM-DD, such as 2013-10-31; found {_shown(value)}."
        )
    if kind == pl.String:
        if isinstance(value, str) and _is_text(value):
            return value
        raise ServingError(f"{where}: expected text, found {_shown(value)}.")
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31:
        return value
    raise ServingError(f"{where}: expected a whole number below 2^31, found {_shown(value)}.")


def _is_text(value: str) -> bool:
    """Whether it can be written down: half of a surrogate pair, which JSON can hold, cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    """A value as an error can show it, whatever it is and however long."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return f"a number of {value.bit_length()} bits"
    text = ascii(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]} …"


def _clock(hhmm: pl.Expr) -> pl.Expr:
    return pl.duration(minutes=hhmm // 100 * 60 + hhmm % 100)
