"""The contract of `schedules`: what every planned flight must hold.

Only what is known the evening before belongs here. The aircraft does not: the data names the one
that flew, and none for most cancelled flights, so it would give the outcome away.
"""

import dataframely as dy
import polars as pl

NEW_YORK_AIRPORTS = ("EWR", "JFK", "LGA")


def minutes_below_60(hhmm: pl.Expr) -> pl.Expr:
    """Whether a clock written as hours and minutes (515 is 05:15) has minutes of 0 to 59."""
    return hhmm % 100 < 60


class ScheduleContract(dy.Schema):
    """One row per flight planned to leave New York on a day."""

    flight_date = dy.Date(
        primary_key=True, description="Local date in New York on which the flight is to leave."
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
        regex="^[A-Z0-9]{3}$", description="FAA code of the airport of arrival."
    )
    scheduled_departure_hhmm = dy.Int32(
        min=0,
        max=2359,
        check=minutes_below_60,
        description="Planned departure, New York clock, as hours and minutes: 515 is 05:15.",
    )
    scheduled_arrival_hhmm = dy.Int32(
        min=0,
        max=2359,
        check=minutes_below_60,
        description="Planned arrival, clock at the destination, as hours and minutes; it may be "
        "on the next day.",
    )
    distance_miles = dy.Int32(
        min=1,
        # Half of the Earth's circumference: no two airports are further apart.
        max=12_450,
        description="Distance between the two airports in statute miles.",
    )

    @dy.rule()
    def destination_is_not_origin(cls) -> pl.Expr:  # noqa: N805
        """A flight ends at another airport than it starts from."""
        return cls.destination.col != cls.origin.col
