"""The contract of `outcomes`: what became of each planned flight.

A flight is cancelled, diverted or arrived; each of the three leaves its own pattern of known and
unknown times, and a row that mixes them is not believed.
"""

import dataframely as dy
import polars as pl

from assets.flight_delays.schedules.contract import NEW_YORK_AIRPORTS, minutes_below_60

MINUTES_PER_DAY = 24 * 60

#: How far the clock at a destination can differ from New York's together with taxiing: Hawaii is
#: up to 6 hours behind; an Atlantic island 1 hour ahead, and 5 hours on the ground at most.
MOST_MINUTES_BEHIND = 6 * 60
MOST_MINUTES_AHEAD = 6 * 60


def minutes_of_day(hhmm: pl.Expr) -> pl.Expr:
    """Minutes since midnight of a clock written as hours and minutes (2400 is 1440)."""
    return hhmm // 100 * 60 + hhmm % 100


class OutcomeContract(dy.Schema):
    """One row per flight that was planned to leave New York on a day."""

    flight_date = dy.Date(
        primary_key=True, description="Local date in New York on which the flight was to leave."
    )
    carrier = dy.String(
        primary_key=True,
        regex="^[A-Z0-9]{2}$",
        description="Two-character IATA code of the airline.",
        metadata={"references": "airlines.carrier"},
    )
    flight_number = dy.Int32(
        primary_key=True, min=1, max=9999, description="Flight number of the airline."
    )
    origin = dy.String(
        primary_key=True,
        check={"new_york_airport": lambda origin: origin.is_in(NEW_YORK_AIRPORTS)},
        description="FAA code of the airport of departure: EWR, JFK or LGA.",
    )
    destination = dy.String(
        regex="^[A-Z0-9]{3}$", description="FAA code of the planned airport of arrival."
    )
    tail_number = dy.String(
        nullable=True,
        regex="^[A-Z0-9]{5,6}$",
        description="Tail number of the aircraft that flew; unknown for most cancelled flights.",
    )
    departure_hhmm = dy.Int32(
        nullable=True,
        min=1,
        max=2400,
        check=minutes_below_60,
        description="Actual departure, New York clock, as hours and minutes; midnight is 2400; "
        "null for a cancelled flight.",
    )
    departure_delay_minutes = dy.Int32(
        nullable=True,
        min=-240,
        max=2880,
        description="Actual minus planned departure in minutes; negative is early.",
    )
    arrival_hhmm = dy.Int32(
        nullable=True,
        min=1,
        max=2400,
        check=minutes_below_60,
        description="Actual arrival, clock at the destination, as hours and minutes; midnight is "
        "2400. Some diverted flights have one, as they got there in the end.",
    )
    arrival_delay_minutes = dy.Int32(
        nullable=True,
        min=-240,
        max=2880,
        description="Actual minus planned arrival in minutes; negative is early; null unless the "
        "flight arrived where it was planned to, without a diversion.",
    )
    air_time_minutes = dy.Int32(
        nullable=True,
        min=1,
        max=1200,
        description="Minutes in the air; null unless the flight arrived.",
    )
    is_cancelled = dy.Bool(description="Whether the flight never left.")
    is_diverted = dy.Bool(
        description="Whether the flight left but did not arrive as planned, as it landed elsewhere."
    )

    @dy.rule()
    def destination_is_not_origin(cls) -> pl.Expr:  # noqa: N805
        """A flight ends at another airport than it starts from."""
        return cls.destination.col != cls.origin.col

    @dy.rule()
    def not_cancelled_and_diverted(cls) -> pl.Expr:  # noqa: N805
        """A flight that never left cannot land elsewhere."""
        return ~(cls.is_cancelled.col & cls.is_diverted.col)

    @dy.rule()
    def cancelled_flight_has_no_times(cls) -> pl.Expr:  # noqa: N805
        """A cancelled flight neither left nor arrived, so it has no time and no delay."""
        return ~cls.is_cancelled.col | (
            cls.departure_hhmm.col.is_null()
            & cls.departure_delay_minutes.col.is_null()
            & cls.arrival_hhmm.col.is_null()
            & cls.arrival_delay_minutes.col.is_null()
            & cls.air_time_minutes.col.is_null()
        )

    @dy.rule()
    def departed_flight_has_departure(cls) -> pl.Expr:  # noqa: N805
        """A flight that was not cancelled left at a known time, with a known delay."""
        return cls.is_cancelled.col | (
            cls.departure_hhmm.col.is_not_null() & cls.departure_delay_minutes.col.is_not_null()
        )

    @dy.rule()
    def departed_flight_has_aircraft(cls) -> pl.Expr:  # noqa: N805
        """A flight that left was flown by a known aircraft."""
        return cls.is_cancelled.col | cls.tail_number.col.is_not_null()

    @dy.rule()
    def diverted_flight_has_no_arrival_delay(cls) -> pl.Expr:  # noqa: N805
        """A diverted flight has no arrival delay and no air time."""
        return ~cls.is_diverted.col | (
            cls.arrival_delay_minutes.col.is_null() & cls.air_time_minutes.col.is_null()
        )

    @dy.rule()
    def arrived_flight_has_arrival(cls) -> pl.Expr:  # noqa: N805
        """A flight that arrived has an arrival time, a delay and an air time."""
        return (
            cls.is_cancelled.col
            | cls.is_diverted.col
            | (
                cls.arrival_hhmm.col.is_not_null()
                & cls.arrival_delay_minutes.col.is_not_null()
                & cls.air_time_minutes.col.is_not_null()
            )
        )

    @dy.rule()
    def arrives_after_its_air_time(cls) -> pl.Expr:  # noqa: N805
        """The arrival clock is the departure clock, the air time, the zone and the taxiing."""
        rest = (
            minutes_of_day(cls.arrival_hhmm.col)
            - minutes_of_day(cls.departure_hhmm.col)
            - cls.air_time_minutes.col
        ) % MINUTES_PER_DAY
        return (rest <= MOST_MINUTES_AHEAD) | (rest >= MINUTES_PER_DAY - MOST_MINUTES_BEHIND)
