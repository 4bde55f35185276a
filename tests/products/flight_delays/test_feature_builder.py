"""Each family of features on a handful of flights, against values worked out by hand.

What a feature may know, and that a range equals its days, is tested on real months in
`test_leakage.py`.
"""

import math
from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets.flight_delays.features.builder import build_features, federal_holidays

DAY = date(2013, 3, 1)
KNOWN = DAY - timedelta(days=2)
UNKNOWN = DAY - timedelta(days=1)
DELAY_OF_LATE = 30

FLIGHTS = {
    "flight_date": pl.Date,
    "flight_id": pl.String,
    "carrier": pl.String,
    "flight_number": pl.Int32,
    "origin": pl.String,
    "destination": pl.String,
    "scheduled_departure_at": pl.Datetime("us"),
    "scheduled_arrival_at": pl.Datetime("us"),
    "scheduled_departure_hour": pl.Int32,
    "scheduled_arrival_hour": pl.Int32,
    "distance_miles": pl.Int32,
    "tail_number": pl.String,
    "departure_delay_minutes": pl.Int32,
    "arrival_delay_minutes": pl.Int32,
    "is_cancelled": pl.Boolean,
    "is_diverted": pl.Boolean,
    "is_late": pl.Boolean,
    "has_outcome": pl.Boolean,
}
SCHEDULE = list(FLIGHTS)[:11]
WEATHER = {
    "flight_date": pl.Date,
    "origin": pl.String,
    "hour_utc": pl.Datetime("us"),
    "local_hour": pl.Int16,
    "temperature_fahrenheit": pl.Float64,
    "dew_point_fahrenheit": pl.Float64,
    "relative_humidity_percent": pl.Float64,
    "wind_direction_degrees": pl.Float64,
    "wind_speed_mph": pl.Float64,
    "wind_gust_mph": pl.Float64,
    "precipitation_inches": pl.Float64,
    "pressure_millibars": pl.Float64,
    "visibility_miles": pl.Float64,
}
AIRCRAFT = {
    "tail_number": pl.String,
    "manufactured_year": pl.Int32,
    "manufacturer": pl.String,
    "seats": pl.Int32,
}


def flight(day: date = DAY, number: int = 1, hour: int = 9, **other: Any) -> dict[str, Any]:
    """A flight of UA from EWR to BOS that arrived on time, unless said otherwise."""
    departs = datetime.combine(day, time(hour, 15))
    carrier, origin = other.get("carrier", "UA"), other.get("origin", "EWR")
    row = {
        "flight_date": day,
        "flight_id": f"{carrier}-{number}-{origin}-{day}",
        "carrier": carrier,
        "flight_number": number,
        "origin": origin,
        "destination": "BOS",
        "scheduled_departure_at": departs,
        "scheduled_arrival_at": departs + timedelta(minutes=70),
        "scheduled_departure_hour": hour,
        "scheduled_arrival_hour": hour + 1,
        "distance_miles": 200,
        "tail_number": "N100UA",
        "departure_delay_minutes": 0,
        "arrival_delay_minutes": 0,
        "is_cancelled": False,
        "is_diverted": False,
        "is_late": False,
        "has_outcome": True,
    }
    return row | other


def late(**other: Any) -> dict[str, Any]:
    return flight(**other) | {"arrival_delay_minutes": DELAY_OF_LATE, "is_late": True}


def cancelled(**other: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("departure_delay_minutes", "arrival_delay_minutes", "is_late"))
    return flight(**other) | nothing | {"is_cancelled": True}


def weather(hour: int, *, utc_hour: int | None = None, **other: Any) -> dict[str, Any]:
    row = {
        "flight_date": DAY,
        "origin": "EWR",
        "hour_utc": datetime.combine(DAY, time(hour if utc_hour is None else utc_hour)),
        "local_hour": hour,
        "temperature_fahrenheit": 50.0,
        "dew_point_fahrenheit": 40.0,
        "relative_humidity_percent": 60.0,
        "wind_direction_degrees": 270.0,
        "wind_speed_mph": 10.0,
        "wind_gust_mph": None,
        "precipitation_inches": 0.0,
        "pressure_millibars": 1015.0,
        "visibility_miles": 10.0,
    }
    return row | other


def build(
    flights: list[dict[str, Any]],
    hours: list[dict[str, Any]] | None = None,
    register: list[dict[str, Any]] | None = None,
    first: date = DAY,
    last: date = DAY,
) -> pl.DataFrame:
    frame = pl.LazyFrame(flights, schema=FLIGHTS)
    return build_features(
        frame.select(SCHEDULE),
        frame,
        pl.LazyFrame(hours or [], schema=WEATHER),
        pl.LazyFrame(register or [], schema=AIRCRAFT),
        first,
        last,
    ).collect()


def feature(frame: pl.DataFrame, name: str, flight_number: int = 1) -> Any:
    return frame.filter(pl.col("flight_number") == flight_number)[name].item()


def test_rows_are_sorted_and_typed_also_without_any_history_or_weather() -> None:
    built = build([flight(number=3, hour=12), flight(number=2), flight(number=1)])
    assert built["flight_number"].to_list() == [1, 2, 3]
    assert not [name for name in built.columns if name.startswith("_")]
    allowed = {pl.Date, pl.Datetime("us"), pl.String, pl.Int32, pl.Float32}
    assert set(built.dtypes) <= allowed
    assert built["wind_speed_mph"].is_null().all()
    assert built["carrier_excess_late_share_28d"].to_list() == [0.0] * 3
    floats = built.select(pl.col(pl.Float32))
    assert not any(floats[name].is_nan().any() for name in floats.columns), "missing is null"


def test_only_the_days_asked_for_are_built() -> None:
    flights = [flight(DAY - timedelta(days=1)), flight(DAY), flight(DAY + timedelta(days=1))]
    assert build(flights)["flight_date"].to_list() == [DAY]
    assert build([], first=DAY, last=DAY).is_empty()


def test_days_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2013-03-02 lies after last_day 2013-03-01"):
        build([], first=date(2013, 3, 2), last=DAY)


def test_traffic_is_counted_within_the_day() -> None:
    built = build(
        [
            flight(number=1, hour=9),
            flight(number=2, hour=9, carrier="B6"),
            flight(number=3, hour=11),
            flight(number=4, hour=9, origin="JFK"),
            flight(DAY + timedelta(days=1), number=5, hour=9),
        ],
        last=DAY + timedelta(days=1),
    )
    expected = {
        "network_day_flights": 4,
        "network_hour_flights": 3,
        "origin_day_flights": 3,
        "origin_hour_flights": 2,
        "carrier_origin_day_flights": 2,
        "carrier_origin_hour_flights": 1,
        "destination_day_flights": 4,
    }
    assert {name: feature(built, name) for name in expected} == expected
    assert feature(built, "origin_earlier_flights", 1) == 0
    assert feature(built, "origin_earlier_flights", 3) == 2
    assert feature(built, "carrier_origin_earlier_flights", 3) == 1
    assert feature(built, "origin_day_elapsed_share", 3) == pytest.approx(2 / 3)
    assert feature(built, "scheduled_departure_minute_of_day", 1) == 9 * 60 + 15
    assert feature(built, "scheduled_clock_minutes", 1) == 70


def test_history_by_hand() -> None:
    """Ten arrivals of UA, 4 late; ten of B6, none late; a prior of 20 flights at each level."""
    known = [late(day=KNOWN, number=n) for n in range(100, 104)]
    known += [flight(KNOWN, number=n) for n in range(104, 110)]
    known += [flight(KNOWN, number=n, carrier="B6") for n in range(110, 120)]
    built = build([*known, flight()])
    network = (4 + 20 * 0.2) / (20 + 20)
    carrier = (4 + 20 * network) / (10 + 20)
    carrier_origin = (4 + 20 * carrier) / (10 + 20)
    assert feature(built, "network_late_share_28d") == pytest.approx(network)
    assert feature(built, "carrier_excess_late_share_28d") == pytest.approx(carrier - network)
    # A flight number that was never flown is taken for its carrier at that airport.
    assert feature(built, "flight_excess_late_share_28d") == pytest.approx(
        carrier_origin - network, abs=1e-6
    )
    minutes = (4 * DELAY_OF_LATE + 20 * 5.0) / (20 + 20)
    assert feature(built, "network_delay_minutes_28d") == pytest.approx(minutes)


@pytest.mark.parametrize(
    ("days_before", "short", "long"),
    [(1, 0, 0), (2, 1, 1), (29, 1, 1), (30, 0, 1), (91, 0, 1), (92, 0, 0)],
)
def test_a_window_ends_at_the_newest_known_day(days_before: int, short: int, long: int) -> None:
    """28 days are those from 29 to 2 days before, 90 those from 91 to 2."""
    built = build([late(day=DAY - timedelta(days=days_before)), flight()])
    for days, counted in ((28, short), (90, long)):
        expected = (counted + 20 * 0.2) / (counted + 20)
        assert feature(built, f"network_late_share_{days}d") == pytest.approx(expected)


def test_what_did_not_arrive_or_has_no_outcome_yet_is_not_counted() -> None:
    waiting = late(day=KNOWN, number=8) | {"has_outcome": False}
    built = build([cancelled(day=KNOWN, number=7), waiting, flight()])
    assert feature(built, "network_late_share_28d") == pytest.approx(0.2)


def test_slack_is_what_the_schedule_allows_beyond_what_the_route_took() -> None:
    """Flights of 70 minutes by the clocks; UA gained 30 minutes of delay on its way, B6 lost 10."""
    known = [
        flight(KNOWN, number=100, arrival_delay_minutes=30),
        flight(KNOWN, number=101, carrier="B6", departure_delay_minutes=10),
    ]
    built = build(
        [*known, flight(), flight(number=2, carrier="DL"), flight(number=3, origin="JFK")]
    )
    on_route = (100 + 60) / 2
    assert feature(built, "slack_minutes_28d") == pytest.approx(70 - (100 + 10 * on_route) / 11)
    assert feature(built, "slack_minutes_90d", 2) == pytest.approx(70 - on_route)
    assert feature(built, "slack_minutes_28d", 3) is None, "nobody flew the route"


def test_a_fortnight_twice_as_late_as_its_weather_explains() -> None:
    """Rain is on no day here, so there is one class: the hours from 9 to 11 in fair weather."""
    old, new = DAY - timedelta(days=20), KNOWN
    past = [flight(old, number=n) for n in range(100, 190)]
    past += [late(day=old, number=n) for n in range(190, 200)]
    recent = [flight(new, number=n) for n in range(200, 270)]
    recent += [late(day=new, number=n) for n in range(270, 300)]
    unknown = [late(day=UNKNOWN, number=n) for n in range(300, 400)]
    built = build([*past, *recent, *unknown, flight()])
    usual = 40 / 200
    expected = 100 * (40 + 200 * usual) / (200 + 200)
    by_hand = math.log((30 + 2000 * usual) / (expected + 2000 * usual))
    assert feature(built, "network_excess_lateness_14d") == pytest.approx(by_hand)


def test_a_fortnight_of_bad_weather_is_not_late_for_its_weather() -> None:
    """Late only in the rain, before and lately: the plain share rises, the level does not."""
    old, new = DAY - timedelta(days=20), KNOWN
    hours = [weather(9, precipitation_inches=0.5) | {"flight_date": day} for day in (old, new)]
    dry = [flight(old, number=n, hour=18) for n in range(1000, 5000)]
    wet = [late(day=old, number=n) for n in range(5000, 7000)]
    recent = [late(day=new, number=n) for n in range(7000, 9000)]
    built = build([*dry, *wet, *recent, flight()], hours)
    assert feature(built, "network_late_share_28d") > 0.49
    assert abs(feature(built, "network_excess_lateness_14d")) < 0.05
    assert feature(build([flight()]), "network_excess_lateness_14d") == 0, "nothing is known yet"


def test_the_weather_of_the_day_before() -> None:
    before = {"flight_date": UNKNOWN}
    hours = [
        weather(7, visibility_miles=2.0, precipitation_inches=0.25, pressure_millibars=1001.0),
        weather(20, wind_gust_mph=33.0, precipitation_inches=0.5, pressure_millibars=1002.5),
        weather(21, origin="JFK", visibility_miles=1.0, pressure_millibars=None),
    ]
    long_ago = weather(9, precipitation_inches=3.0) | {"flight_date": KNOWN}
    built = build([flight()], [*(hour | before for hour in hours), long_ago, weather(9)])
    expected = {
        "day_before_precipitation_inches": 0.75,
        "day_before_evening_precipitation_inches": 0.5,
        "day_before_min_visibility_miles": 1.0,
        "day_before_evening_min_visibility_miles": 1.0,
        "day_before_max_wind_gust_mph": 33.0,
        "day_before_mean_pressure_millibars": 1001.75,
        "day_before_low_visibility_hours": 2,
    }
    assert {name: feature(built, name) for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("degrees", "across", "along"),
    [(40.0, 0, 10), (130.0, 10, 0), (310.0, -10, 0), (220.0, 0, -10)],
)
def test_wind_across_and_along_the_runways(degrees: float, across: float, along: float) -> None:
    hours = [weather(9, origin=origin, wind_direction_degrees=degrees) for origin in ("EWR", "LGA")]
    calm = weather(9, origin="JFK", wind_direction_degrees=None, wind_speed_mph=0.0)
    built = build([flight()], [*hours, calm])
    assert feature(built, "network_hour_crosswind_mph") == pytest.approx(across, abs=1e-3)
    assert feature(built, "network_hour_alongwind_mph") == pytest.approx(along, abs=1e-3)
    assert feature(built, "network_hour_wind_speed_mph") == pytest.approx(20 / 3, abs=1e-3)


REGISTER = [
    {"tail_number": "N100UA", "manufactured_year": 2003, "manufacturer": "BOEING", "seats": 150},
    {"tail_number": "N200UA", "manufactured_year": 1993, "manufacturer": "AIRBUS", "seats": 250},
]


def test_the_aircraft_is_the_one_that_last_flew_the_number() -> None:
    built = build(
        [
            flight(KNOWN - timedelta(days=3)),
            flight(KNOWN - timedelta(days=1), tail_number="N200UA"),
            cancelled(day=KNOWN, tail_number="N100UA"),
            flight(UNKNOWN, tail_number="N100UA"),
            flight(tail_number="N100UA"),
        ],
        register=REGISTER,
    )
    assert feature(built, "expected_tail_number") == "N200UA"
    assert feature(built, "aircraft_manufacturer") == "AIRBUS"
    assert feature(built, "aircraft_seats") == 250
    assert feature(built, "aircraft_age_years") == 20


def test_an_unknown_aircraft_is_the_mean_of_the_carriers_on_the_route() -> None:
    flown = [flight(KNOWN, number=7), flight(KNOWN, number=8, tail_number="N200UA")]
    unregistered = flight(KNOWN, number=2, tail_number="N999XX")
    built = build([*flown, unregistered, flight(number=1), flight(number=2)], register=REGISTER)
    assert feature(built, "expected_tail_number", 1) is None
    assert feature(built, "expected_tail_number", 2) == "N999XX"
    assert built["aircraft_seats"].to_list() == [200, 200]
    assert built["aircraft_age_years"].to_list() == [15, 15]
    assert built["aircraft_manufacturer"].to_list() == [None, None]
    nobody = build([flight()], register=REGISTER)
    assert nobody.select("aircraft_seats", "aircraft_age_years").row(0) == (None, None)


def test_a_register_with_an_aircraft_twice_is_refused_not_multiplied() -> None:
    with pytest.raises(pl.exceptions.ComputeError, match="m:1"):
        build([flight(KNOWN), flight()], register=[REGISTER[0], REGISTER[0]])


def test_weather_of_the_hour_and_of_the_hours_around_it() -> None:
    rain = {5: 0.5, 8: 0.01, 9: 0.02, 12: 0.04, 14: 0.08, 20: 0.16}
    sight = {5: 1.0, 10: 2.0, 14: 0.5}
    hours = [
        weather(
            hour,
            precipitation_inches=rain.get(hour, 0.0),
            visibility_miles=sight.get(hour, 10.0),
            wind_gust_mph=40.0 if hour == 3 else None,
            pressure_millibars=1000.0 + hour,
        )
        for hour in range(24)
    ]
    elsewhere = weather(9, origin="JFK", precipitation_inches=0.32, visibility_miles=0.25)
    built = build([flight(hour=9)], [*hours, elsewhere])
    expected = {
        "precipitation_inches": 0.02,
        "day_precipitation_inches": 0.81,
        "so_far_precipitation_inches": 0.53,
        "around_precipitation_inches": 0.07,
        "ahead_precipitation_inches": 0.14,
        "network_hour_precipitation_inches": 0.34,
        "network_day_precipitation_inches": 1.13,
        "visibility_miles": 10.0,
        "day_min_visibility_miles": 0.5,
        "so_far_min_visibility_miles": 1.0,
        "around_min_visibility_miles": 2.0,
        "ahead_min_visibility_miles": 0.5,
        "network_hour_min_visibility_miles": 0.25,
        "day_low_visibility_hours": 3,
        "day_max_wind_gust_mph": 40.0,
        "around_max_wind_gust_mph": 10.0,
        "pressure_below_day_max_millibars": 14.0,
        "dew_point_depression_fahrenheit": 10.0,
    }
    found = {name: feature(built, name) for name in expected}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("last_seen", "filled"), [(8, True), (6, True), (5, False)])
def test_a_missing_hour_takes_what_was_seen_up_to_three_hours_before(
    last_seen: int, filled: bool
) -> None:
    built = build([flight(hour=9)], [weather(last_seen, wind_speed_mph=33.0)])
    assert feature(built, "wind_speed_mph") == (33.0 if filled else None)


def test_an_hour_shown_twice_by_the_clock_counts_once_as_it_was_first() -> None:
    first = weather(1, utc_hour=5, wind_speed_mph=11.0, precipitation_inches=0.1)
    second = weather(1, utc_hour=6, wind_speed_mph=22.0, precipitation_inches=0.4)
    for hours in ([first, second], [second, first]):
        built = build([flight(hour=1)], hours)
        assert built.height == 1
        assert feature(built, "wind_speed_mph") == 11.0
        assert feature(built, "day_precipitation_inches") == pytest.approx(0.1)


def test_weather_of_another_day_is_not_carried_over() -> None:
    before = weather(23, wind_speed_mph=99.0) | {"flight_date": DAY - timedelta(days=1)}
    built = build(
        [flight(DAY - timedelta(days=1)), flight(hour=1)],
        [before, weather(12)],
        first=DAY - timedelta(days=1),
    )
    assert built["wind_speed_mph"].to_list() == [None, None]
    assert_frame_equal(
        built.filter(pl.col("flight_date") == DAY), build([flight(hour=1)], [before, weather(12)])
    )


def test_the_federal_holidays_of_2013() -> None:
    """As published by the U.S. Office of Personnel Management."""
    assert federal_holidays(2013) == (
        date(2013, 1, 1),
        date(2013, 1, 21),
        date(2013, 2, 18),
        date(2013, 5, 27),
        date(2013, 7, 4),
        date(2013, 9, 2),
        date(2013, 10, 14),
        date(2013, 11, 11),
        date(2013, 11, 28),
        date(2013, 12, 25),
    )
    assert date(2021, 6, 19) in federal_holidays(2021)
    assert date(2020, 6, 19) not in federal_holidays(2020)


@pytest.mark.parametrize(
    ("day", "since", "until"),
    [
        (date(2013, 7, 4), 0, 0),
        (date(2013, 7, 3), 15, 1),
        (date(2013, 11, 30), 2, 15),
        (date(2013, 12, 31), 6, 1),
        (date(2014, 1, 2), 1, 15),
    ],
    ids=str,
)
def test_distance_to_holidays_also_across_the_year_up_to_fifteen_days(
    day: date, since: int, until: int
) -> None:
    built = build([flight(day)], first=day, last=day)
    assert (feature(built, "days_since_holiday"), feature(built, "days_until_holiday")) == (
        since,
        until,
    )
    assert feature(built, "weekday") == day.isoweekday()
