"""The features of the day-ahead delay model, built with Polars.

Belongs here: what is known about a scheduled flight on the evening before it departs, as pure
functions of frames. Does not belong here: reading or writing tables (the asset beside this module
does), the label and the model (`delay_model/trainer.py`), the proof that nothing leaks
(`leakage.py`).

Three properties hold, and the tests of this module hold them:

* **No look-ahead.** The outcomes of day d-1 arrive in the morning of day d, so on the evening
  before d the newest outcomes known are those of d - `HISTORY_LAG_DAYS`. `flights` may hold any
  date: the builder itself restricts it, row by row.
* **A batch equals its days built one by one, to the last bit.** History is made of cumulative
  *integer* sums, looked up backward in time and subtracted; a floating-point sum would depend on
  where the range begins.
* **The order of the input does not matter.** The output is sorted by departure and flight.

The weather of day d is observed weather and stands in for a forecast: a real forecast would serve
the model less well. Whatever the weather does during day d is therefore open to its rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

HISTORY_LAG_DAYS = 2
"""Days between a flight and the newest outcome that is known on the evening before it."""

HISTORY_WINDOWS_DAYS = (28, 90)
"""Lengths of the trailing windows; each ends on the newest day whose outcomes are known.

A window of 7 days was tried on January-August and did not help: over so few days a rate says more
about the weather they had than about the carrier or the airport.
"""


@dataclass(frozen=True)
class HistoryKey:
    """A grouping of flights whose past becomes features.

    Attributes:
        name: Prefix of its feature columns.
        columns: Schedule columns that identify one group.
        parent: Name of the wider grouping (or `NETWORK`) toward whose rates a group with few
            flights is drawn.
    """

    name: str
    columns: tuple[str, ...]
    parent: str


NETWORK = "network"
"""All flights of all three airports together: the level against which every group is measured."""

HISTORY_KEYS = (
    HistoryKey("origin", ("origin",), NETWORK),
    HistoryKey("carrier", ("carrier",), NETWORK),
    HistoryKey("destination", ("destination",), NETWORK),
    HistoryKey("carrier_origin", ("carrier", "origin"), "carrier"),
    HistoryKey("origin_hour", ("origin", "scheduled_departure_hour"), "origin"),
    HistoryKey("route", ("origin", "destination"), "destination"),
    HistoryKey("carrier_route", ("carrier", "origin", "destination"), "carrier_origin"),
    HistoryKey("flight", ("carrier", "flight_number", "origin"), "carrier_origin"),
)
"""Every parent stands before its children: rates are drawn toward rates already smoothed."""

_PRIOR_FLIGHTS = 20
"""Weight of the parent's rate, in flights: a group with 20 arrivals lies half-way."""

_NETWORK_LATE_SHARE = 0.2
_NETWORK_DELAY_MINUTES = 5.0
"""What the network is drawn toward in its first days, when nothing at all is known."""

_FLIGHT = ("carrier", "flight_number", "origin")
_CARRIER_ROUTE = ("carrier", "origin", "destination")
_DAY_AIRPORT = ("flight_date", "origin")
_HISTORY_SUMS = ("arrived", "late", "delay_minutes")
_CLOCK_SUMS = ("flown", "clock_minutes")
_CLOCK_PRIOR_FLIGHTS = 10
"""Weight of all carriers on a route, in flights, beside a carrier's own."""

LEVEL_WINDOW_DAYS = 14
_LEVEL_PRIOR_FLIGHTS = 2000
"""Weight, in flights, of a network that is as late as usual: about two days of it."""
_CLASS_PRIOR_FLIGHTS = 200
"""Weight of the overall rate beside that of a class of weather and hour."""

_EVENING_HOUR = 18
_RUNWAY_DEGREES = 40
"""Runways 4/22 lie along 040-220 degrees at all three airports."""

_AIRCRAFT_SUMS = ("seats", "seats_known", "year", "year_known")
_HOLIDAY_HORIZON_DAYS = 15
_ALL_FLIGHTS = "_all_flights"


def build_features(
    scheduled: pl.LazyFrame,
    flights: pl.LazyFrame,
    weather: pl.LazyFrame,
    aircraft: pl.LazyFrame,
    first_day: date,
    last_day: date,
    *,
    history_lag_days: int = HISTORY_LAG_DAYS,
) -> pl.LazyFrame:
    """Features of every flight scheduled from `first_day` to `last_day`, both included.

    Args:
        scheduled: One row per scheduled flight; the schedule columns of `fct_flights`. Other days
            may be there and are left out.
        flights: `fct_flights`, with outcomes, of any dates: only what was known is used.
        weather: The columns of `raw_weather`, of any dates: those asked for, and all before them
            for which `flights` has outcomes.
        aircraft: `dim_aircraft`, one row per `tail_number`.
        first_day: First day to build.
        last_day: Last day to build.
        history_lag_days: Age in days of the newest outcome used. Anything but the default is for
            trials: 1 uses outcomes that arrive after the prediction is made, 0 the flight's own.

    Returns:
        One row per scheduled flight, sorted by `scheduled_departure_at` and `flight_id`. Names
        carry their unit; categories are strings, counts Int32, measures Float32; a value that is
        not known is null.

    Raises:
        ValueError: `first_day` lies after `last_day`.
    """
    if first_day > last_day:
        raise ValueError(
            f"build flight_delays features: first_day {first_day} lies after last_day {last_day}; "
            "pass the earlier day first"
        )
    in_range = pl.col("flight_date").is_between(first_day, last_day)
    planned = scheduled.filter(in_range).with_columns(pl.lit(True).alias(_ALL_FLIGHTS))
    # Each row looks back on its own from here; this filter only spares reading what no row may use.
    known = flights.filter(
        pl.col("has_outcome")
        & (pl.col("flight_date") <= last_day - timedelta(days=history_lag_days))
    ).with_columns(pl.lit(True).alias(_ALL_FLIGHTS))

    by_hour = _weather_features(weather.filter(pl.col("flight_date") <= last_day))
    frame = (
        _schedule_features(planned)
        .join(_calendar_features(first_day, last_day), on="flight_date", how="left")
        .join(
            by_hour.filter(in_range),
            left_on=[*_DAY_AIRPORT, "scheduled_departure_hour"],
            right_on=[*_DAY_AIRPORT, "local_hour"],
            how="left",
        )
        .join(
            _weather_of_the_day_before(weather, first_day, last_day), on="flight_date", how="left"
        )
    )
    frame = _add_slack(frame, planned, known, history_lag_days)
    frame = _add_aircraft(frame, planned, known, aircraft, history_lag_days)
    frame = _add_history(frame, planned, known, history_lag_days)
    frame = _add_level(frame, known, by_hour, first_day, last_day, history_lag_days)
    return frame.sort("scheduled_departure_at", "flight_id")


# --- schedule and calendar --------------------------------------------------------------------


def _schedule_features(planned: pl.LazyFrame) -> pl.LazyFrame:
    """What the schedule says of the flight and of the traffic around it."""
    departure = pl.col("scheduled_departure_at")
    day, hour = "flight_date", "scheduled_departure_hour"

    def flights_sharing(*columns: str) -> pl.Expr:
        return pl.len().over(columns).cast(pl.Int32)

    def scheduled_earlier(*columns: str) -> pl.Expr:
        return (departure.rank("min").over(columns).cast(pl.Int32) - 1).cast(pl.Int32)

    origin_day_flights = flights_sharing(day, "origin")
    return planned.select(
        day,
        "flight_id",
        "scheduled_departure_at",
        "carrier",
        pl.col("flight_number").cast(pl.Int32),
        "origin",
        "destination",
        pl.col(hour).cast(pl.Int32),
        (departure.dt.hour().cast(pl.Int32) * 60 + departure.dt.minute().cast(pl.Int32)).alias(
            "scheduled_departure_minute_of_day"
        ),
        pl.col("scheduled_arrival_hour").cast(pl.Int32),
        # Both clocks are local, so a time zone lies in it: constant for a destination but for DST.
        (pl.col("scheduled_arrival_at") - departure)
        .dt.total_minutes()
        .cast(pl.Int32)
        .alias("scheduled_clock_minutes"),
        pl.col("distance_miles").cast(pl.Int32),
        flights_sharing(day).alias("network_day_flights"),
        flights_sharing(day, hour).alias("network_hour_flights"),
        origin_day_flights.alias("origin_day_flights"),
        flights_sharing(day, "origin", hour).alias("origin_hour_flights"),
        flights_sharing(day, "carrier", "origin").alias("carrier_origin_day_flights"),
        flights_sharing(day, "carrier", "origin", hour).alias("carrier_origin_hour_flights"),
        flights_sharing(day, "destination").alias("destination_day_flights"),
        flights_sharing(day, *_CARRIER_ROUTE).alias("carrier_route_day_flights"),
        scheduled_earlier(day, "origin").alias("origin_earlier_flights"),
        scheduled_earlier(day, "carrier", "origin").alias("carrier_origin_earlier_flights"),
        (scheduled_earlier(day, "origin") / origin_day_flights)
        .cast(pl.Float32)
        .alias("origin_day_elapsed_share"),
    )


def federal_holidays(year: int) -> tuple[date, ...]:
    """The federal holidays of the United States in one year, on the day itself, in order.

    Args:
        year: Calendar year; Juneteenth counts from 2021 on.

    Returns:
        The dates by the rules of 5 U.S.C. 6103(a), without the days observed in their stead when
        one falls on a weekend (people travel around the holiday itself).
    """

    def nth_weekday(month: int, isoweekday: int, n: int) -> date:
        first = date(year, month, 1)
        return first + timedelta(days=(isoweekday - first.isoweekday()) % 7 + 7 * (n - 1))

    last_of_may = date(year, 5, 31)
    monday, thursday = 1, 4
    return (
        date(year, 1, 1),
        nth_weekday(1, monday, 3),  # Martin Luther King, Jr.
        nth_weekday(2, monday, 3),  # Washington's Birthday
        last_of_may - timedelta(days=last_of_may.isoweekday() - monday),  # Memorial Day
        *((date(year, 6, 19),) if year >= 2021 else ()),
        date(year, 7, 4),
        nth_weekday(9, monday, 1),  # Labor Day
        nth_weekday(10, monday, 2),  # Columbus Day
        date(year, 11, 11),
        nth_weekday(11, thursday, 4),  # Thanksgiving
        date(year, 12, 25),
    )


def _calendar_features(first_day: date, last_day: date) -> pl.LazyFrame:
    """Weekday and distance to holidays.

    The day of the year and the month are left out on purpose: a model that has seen January to
    August can only misread a September.
    """
    holidays = [
        holiday
        for year in range(first_day.year - 1, last_day.year + 2)
        for holiday in federal_holidays(year)
    ]
    days = [first_day + timedelta(days=n) for n in range((last_day - first_day).days + 1)]
    since = [min((day - holiday).days for holiday in holidays if holiday <= day) for day in days]
    until = [min((holiday - day).days for holiday in holidays if holiday >= day) for day in days]
    return pl.LazyFrame(
        {
            "flight_date": days,
            "weekday": [day.isoweekday() for day in days],
            "days_since_holiday": [min(n, _HOLIDAY_HORIZON_DAYS) for n in since],
            "days_until_holiday": [min(n, _HOLIDAY_HORIZON_DAYS) for n in until],
        },
        schema={
            "flight_date": pl.Date,
            "weekday": pl.Int32,
            "days_since_holiday": pl.Int32,
            "days_until_holiday": pl.Int32,
        },
    )


# --- weather ----------------------------------------------------------------------------------


def _weather_features(weather: pl.LazyFrame) -> pl.LazyFrame:
    """The weather of each airport and local hour, and of the hours and the day around it.

    Rain is summed as hundredths of an inch, the unit it is measured in, so that its sums are exact.
    A missing hour takes the values of one up to three hours before; the hour that a clock shows
    twice in autumn counts once, as it was first.
    """
    carried = (
        "temperature_fahrenheit",
        "dew_point_fahrenheit",
        "relative_humidity_percent",
        "wind_direction_degrees",
        "wind_speed_mph",
        "pressure_millibars",
        "visibility_miles",
    )
    observed = (
        weather.select(
            *_DAY_AIRPORT,
            pl.col("local_hour").cast(pl.Int32),
            "hour_utc",
            *carried,
            "wind_gust_mph",
            "precipitation_inches",
        )
        .sort("hour_utc", "origin")
        .unique([*_DAY_AIRPORT, "local_hour"], keep="first", maintain_order=True)
        .drop("hour_utc")
    )
    hours = pl.LazyFrame({"local_hour": range(24)}, schema={"local_hour": pl.Int32})
    grid = (
        observed.select(_DAY_AIRPORT)
        .unique()
        .join(hours, how="cross")
        .join(observed, on=[*_DAY_AIRPORT, "local_hour"], how="left")
        .sort(*_DAY_AIRPORT, "local_hour")
        .with_columns(
            pl.col(carried).forward_fill(3).over(_DAY_AIRPORT),
            (pl.col("precipitation_inches").fill_null(0) * 100)
            .round()
            .cast(pl.Int64)
            .alias("rain"),
        )
        .with_columns(pl.coalesce("wind_gust_mph", "wind_speed_mph").alias("gust"))
    )
    rain, gust = pl.col("rain"), pl.col("gust")
    sight, pressure = pl.col("visibility_miles"), pl.col("pressure_millibars")

    def within(
        value: pl.Expr, combine: Callable[[list[pl.Expr]], pl.Expr], offsets: Sequence[int]
    ) -> pl.Expr:
        return combine([value.shift(-hours).over(_DAY_AIRPORT) for hours in offsets])

    def inches(hundredths: pl.Expr) -> pl.Expr:
        return hundredths / 100

    around, ahead = range(-3, 4), range(6)
    network_hour = ("flight_date", "local_hour")
    off_runway = (pl.col("wind_direction_degrees") - _RUNWAY_DEGREES) * (math.pi / 180)

    def network_mean(value: pl.Expr) -> pl.Expr:
        # As whole thousandths: their sum is exact, whatever the order of the airports.
        thousandths = (value * 1000).round().cast(pl.Int64)
        known = thousandths.count().over(network_hour)
        return pl.when(known > 0).then(thousandths.sum().over(network_hour) / known / 1000)

    measures = {
        **{name: pl.col(name) for name in carried},
        "wind_gust_mph": pl.col("wind_gust_mph"),
        "precipitation_inches": pl.col("precipitation_inches"),
        "dew_point_depression_fahrenheit": pl.col("temperature_fahrenheit")
        - pl.col("dew_point_fahrenheit"),
        "day_max_wind_gust_mph": gust.max().over(_DAY_AIRPORT),
        "day_max_wind_speed_mph": pl.col("wind_speed_mph").max().over(_DAY_AIRPORT),
        "day_max_relative_humidity_percent": pl.col("relative_humidity_percent")
        .max()
        .over(_DAY_AIRPORT),
        "day_min_visibility_miles": sight.min().over(_DAY_AIRPORT),
        "day_min_pressure_millibars": pressure.min().over(_DAY_AIRPORT),
        "day_precipitation_inches": inches(rain.sum().over(_DAY_AIRPORT)),
        "pressure_below_day_max_millibars": pressure.max().over(_DAY_AIRPORT) - pressure,
        "so_far_max_wind_gust_mph": gust.cum_max().over(_DAY_AIRPORT),
        "so_far_min_visibility_miles": sight.cum_min().over(_DAY_AIRPORT),
        "so_far_precipitation_inches": inches(rain.cum_sum().over(_DAY_AIRPORT)),
        "around_max_wind_gust_mph": within(gust, pl.max_horizontal, around),
        "around_min_visibility_miles": within(sight, pl.min_horizontal, around),
        "around_precipitation_inches": inches(within(rain, pl.sum_horizontal, around)),
        "ahead_min_visibility_miles": within(sight, pl.min_horizontal, ahead),
        "ahead_precipitation_inches": inches(within(rain, pl.sum_horizontal, ahead)),
        "network_hour_min_visibility_miles": sight.min().over(network_hour),
        "network_hour_precipitation_inches": inches(rain.sum().over(network_hour)),
        "network_day_precipitation_inches": inches(rain.sum().over("flight_date")),
        # Across the runways that all three airports share, and along them (positive: from 040).
        "network_hour_crosswind_mph": network_mean(pl.col("wind_speed_mph") * off_runway.sin()),
        "network_hour_alongwind_mph": network_mean(pl.col("wind_speed_mph") * off_runway.cos()),
        "network_hour_wind_speed_mph": network_mean(pl.col("wind_speed_mph")),
        "network_hour_dew_point_fahrenheit": network_mean(pl.col("dew_point_fahrenheit")),
        "network_hour_relative_humidity_percent": network_mean(pl.col("relative_humidity_percent")),
    }
    return grid.select(
        *_DAY_AIRPORT,
        "local_hour",
        *(measure.cast(pl.Float32).alias(name) for name, measure in measures.items()),
        (sight < 3)
        .cast(pl.Int32)
        .sum()
        .over(_DAY_AIRPORT)
        .cast(pl.Int32)
        .alias("day_low_visibility_hours"),
    )


def _weather_of_the_day_before(
    weather: pl.LazyFrame, first_day: date, last_day: date
) -> pl.LazyFrame:
    """What the weather of day d-1 was over all airports, whose disruptions outlast the night."""
    one_day = timedelta(days=1)
    evening = pl.col("local_hour") >= _EVENING_HOUR
    rain = (pl.col("precipitation_inches") * 100).round().cast(pl.Int64)
    sight = pl.col("visibility_miles")
    # Millibars are given to a tenth: whole tenths sum exactly.
    tenths = (pl.col("pressure_millibars") * 10).round().cast(pl.Int64)
    measures = {
        "precipitation_inches": rain.sum() / 100,
        "min_visibility_miles": sight.min(),
        "max_wind_gust_mph": pl.coalesce("wind_gust_mph", "wind_speed_mph").max(),
        "evening_precipitation_inches": rain.filter(evening).sum() / 100,
        "evening_min_visibility_miles": sight.filter(evening).min(),
        "mean_pressure_millibars": pl.when(tenths.count() > 0).then(
            tenths.sum() / tenths.count() / 10
        ),
    }
    return (
        weather.filter(pl.col("flight_date").is_between(first_day - one_day, last_day - one_day))
        .group_by("flight_date")
        .agg(
            *(
                value.cast(pl.Float32).alias(f"day_before_{name}")
                for name, value in measures.items()
            ),
            (sight < 3)
            .cast(pl.Int32)
            .sum()
            .cast(pl.Int32)
            .alias("day_before_low_visibility_hours"),
        )
        .with_columns(pl.col("flight_date") + pl.duration(days=1))
    )


# --- history ----------------------------------------------------------------------------------


def _sums_before(
    groups: pl.LazyFrame, daily: pl.LazyFrame, by: Sequence[str], sums: Sequence[str], days: int
) -> pl.LazyFrame:
    """Totals of each group from the beginning through `flight_date` - `days`; 0 where none."""
    return (
        groups.with_columns((pl.col("flight_date") - pl.duration(days=days)).alias("_through"))
        .sort("_through")
        .join_asof(
            daily,
            left_on="_through",
            right_on="_day",
            by=list(by),
            strategy="backward",
            # Both sides are sorted just before; with `by`, Polars cannot see it and would warn.
            check_sortedness=False,
        )
        .with_columns(pl.col(sums).fill_null(0))
        .select(*by, "flight_date", *sums)
    )


def _cumulative(daily: pl.LazyFrame, by: Sequence[str], sums: Sequence[str]) -> pl.LazyFrame:
    """Turn one row per group and day into the running totals of each group."""
    return daily.sort("_day").with_columns(pl.col(sums).cum_sum().over(by))


def _window_sums(
    planned: pl.LazyFrame, known: pl.LazyFrame, by: Sequence[str], lag: int
) -> pl.LazyFrame:
    """Arrivals, late arrivals and minutes of delay of each group, in each trailing window."""
    arrived = pl.col("is_late").is_not_null()
    daily = known.group_by(*by, pl.col("flight_date").alias("_day")).agg(
        arrived.cast(pl.Int64).sum().alias("arrived"),
        pl.col("is_late").cast(pl.Int64).sum().alias("late"),
        pl.col("arrival_delay_minutes").filter(arrived).cast(pl.Int64).sum().alias("delay_minutes"),
    )
    totals = _cumulative(daily, by, _HISTORY_SUMS)
    groups = planned.select(*by, "flight_date").unique()
    result = _sums_before(groups, totals, by, _HISTORY_SUMS, lag)
    for days in HISTORY_WINDOWS_DAYS:
        earlier = _sums_before(groups, totals, by, _HISTORY_SUMS, lag + days)
        result = result.join(
            earlier, on=[*by, "flight_date"], how="left", suffix=f"_{days}"
        ).with_columns(
            (pl.col(name) - pl.col(f"{name}_{days}")).alias(f"{name}_{days}")
            for name in _HISTORY_SUMS
        )
    return result.drop(_HISTORY_SUMS)


def _add_history(
    frame: pl.LazyFrame, planned: pl.LazyFrame, known: pl.LazyFrame, lag: int
) -> pl.LazyFrame:
    """Add how much later than the network each grouping of the flight has been of late.

    The network's own level is added too, but the groups are given as their distance from it: a
    model trained on a bad spring would otherwise read a good autumn as a list of good carriers.
    """
    frame = frame.with_columns(pl.lit(True).alias(_ALL_FLIGHTS))
    network = HistoryKey(NETWORK, (_ALL_FLIGHTS,), "")
    smoothed: list[pl.Expr] = []
    for key in (network, *HISTORY_KEYS):
        sums = _window_sums(planned, known, key.columns, lag).rename(
            lambda name, prefix=key.name: (
                f"_{prefix}_{name}" if name.startswith(_HISTORY_SUMS) else name
            )
        )
        frame = frame.join(sums, on=[*key.columns, "flight_date"], how="left")
        rates = []
        for days in HISTORY_WINDOWS_DAYS:
            flown = pl.col(f"_{key.name}_arrived_{days}") + _PRIOR_FLIGHTS
            for measure, total, start in (
                ("late_share", "late", _NETWORK_LATE_SHARE),
                ("delay", "delay_minutes", _NETWORK_DELAY_MINUTES),
            ):
                prior = pl.col(f"_{key.parent}_{measure}_{days}") if key.parent else pl.lit(start)
                rate = (pl.col(f"_{key.name}_{total}_{days}") + prior * _PRIOR_FLIGHTS) / flown
                rates.append(rate.alias(f"_{key.name}_{measure}_{days}"))
        frame = frame.with_columns(rates)
    for days in HISTORY_WINDOWS_DAYS:
        for measure, label in (("late_share", "late_share"), ("delay", "delay_minutes")):
            level = pl.col(f"_{NETWORK}_{measure}_{days}")
            smoothed.append(level.cast(pl.Float32).alias(f"{NETWORK}_{label}_{days}d"))
            smoothed.extend(
                (pl.col(f"_{key.name}_{measure}_{days}") - level)
                .cast(pl.Float32)
                .alias(f"{key.name}_excess_{label}_{days}d")
                for key in HISTORY_KEYS
            )
    return frame.with_columns(smoothed).drop(pl.selectors.starts_with("_"))


# --- level ------------------------------------------------------------------------------------


def _weather_class() -> pl.Expr:
    """A class of weather and hour, 0 to 71: of the hour and airport, of the day, of the clock.

    The bounds are round numbers of the trade: 2 and 7 miles of sight, a tenth of an inch of rain,
    gusts of 30 miles per hour. What was not observed counts as fair.
    """
    rain = pl.col("around_precipitation_inches").fill_null(0)
    sight = pl.col("around_min_visibility_miles").fill_null(10)
    gust = pl.col("around_max_wind_gust_mph").fill_null(0)
    day_rain = pl.col("network_day_precipitation_inches").fill_null(0)
    hour_class = (
        pl.when((rain > 0.1) | (sight < 2))
        .then(2)
        .when((rain > 0) | (sight < 7) | (gust >= 30))
        .then(1)
        .otherwise(0)
    )
    day_class = (
        pl.when(day_rain > 1)
        .then(2)
        .when((day_rain > 0.03) | (pl.col("day_low_visibility_hours").fill_null(0) > 2))
        .then(1)
        .otherwise(0)
    )
    return (hour_class * 3 + day_class) * 8 + pl.col("scheduled_departure_hour") // 3


def _add_level(
    frame: pl.LazyFrame,
    known: pl.LazyFrame,
    by_hour: pl.LazyFrame,
    first_day: date,
    last_day: date,
    lag: int,
) -> pl.LazyFrame:
    """Add how late the whole network has been of late, for the weather and hours it had.

    The logarithm of the late arrivals of the window over those expected of it, by the rate that
    each class of weather and hour has had in all known history: the indirect standardisation of
    epidemiology (Breslow and Day 1987, Statistical Methods in Cancer Research II, chapter 2). A
    plain late share says as much about the weather of the window, which does not last.
    """
    counts = ("arrived", "late")
    days = [first_day + timedelta(days=n) for n in range((last_day - first_day).days + 1)]
    daily = (
        known.filter(pl.col("is_late").is_not_null())
        .join(
            by_hour,
            left_on=[*_DAY_AIRPORT, "scheduled_departure_hour"],
            right_on=[*_DAY_AIRPORT, "local_hour"],
            how="left",
        )
        .group_by(_weather_class().cast(pl.Int32).alias("_class"), _day="flight_date")
        .agg(
            pl.len().cast(pl.Int64).alias("arrived"),
            pl.col("is_late").cast(pl.Int64).sum().alias("late"),
        )
    )
    totals = _cumulative(daily, ["_class"], counts)
    groups = pl.LazyFrame({"flight_date": days}, schema={"flight_date": pl.Date}).join(
        daily.select("_class").unique(), how="cross"
    )
    usual = (pl.col("late").sum() / pl.col("arrived").sum()).over("flight_date")
    rate = (pl.col("late") + _CLASS_PRIOR_FLIGHTS * usual) / (
        pl.col("arrived") + _CLASS_PRIOR_FLIGHTS
    )
    flown = pl.col("arrived") - pl.col("arrived_before")
    prior = _LEVEL_PRIOR_FLIGHTS * pl.col("usual")
    level = (
        _sums_before(groups, totals, ["_class"], counts, lag)
        .join(
            _sums_before(groups, totals, ["_class"], counts, lag + LEVEL_WINDOW_DAYS),
            on=["_class", "flight_date"],
            how="left",
            suffix="_before",
        )
        .with_columns(usual=usual)
        .group_by("flight_date")
        .agg(
            (pl.col("late") - pl.col("late_before")).sum(),
            # In whole millionths of a flight: their sum is exact, whatever the order.
            expected=(flown * rate * 1_000_000).fill_nan(0).round().cast(pl.Int64).sum()
            / 1_000_000,
            usual=pl.col("usual").first(),
        )
        # Nothing known, or nothing late so far: as usual.
        .filter(pl.col("usual").is_finite() & (pl.col("usual") > 0))
        .select(
            "flight_date",
            ((pl.col("late") + prior) / (pl.col("expected") + prior))
            .log()
            .cast(pl.Float32)
            .alias(f"{NETWORK}_excess_lateness_{LEVEL_WINDOW_DAYS}d"),
        )
    )
    return frame.join(level, on="flight_date", how="left").with_columns(
        pl.col(f"{NETWORK}_excess_lateness_{LEVEL_WINDOW_DAYS}d").fill_null(0)
    )


# --- slack ------------------------------------------------------------------------------------


def _add_slack(
    frame: pl.LazyFrame, planned: pl.LazyFrame, known: pl.LazyFrame, lag: int
) -> pl.LazyFrame:
    """Add how many minutes the schedule allows beyond what the route has taken of late.

    What a flight took is its scheduled time plus the delay it gained on the way, by the clocks of
    both airports: the time zone is in both and cancels. Winter's headwinds show here weeks before
    schedules follow them.
    """
    took = (
        (pl.col("scheduled_arrival_at") - pl.col("scheduled_departure_at")).dt.total_minutes()
        + pl.col("arrival_delay_minutes")
        - pl.col("departure_delay_minutes")
    ).cast(pl.Int64)
    route = ("origin", "destination")
    for days in HISTORY_WINDOWS_DAYS:
        for by, prefix in ((route, "_route"), (_CARRIER_ROUTE, "_carrier")):
            daily = known.group_by(*by, pl.col("flight_date").alias("_day")).agg(
                took.count().cast(pl.Int64).alias("flown"), took.sum().alias("clock_minutes")
            )
            totals = _cumulative(daily, by, _CLOCK_SUMS)
            groups = planned.select(*by, "flight_date").unique()
            sums = _sums_before(groups, totals, by, _CLOCK_SUMS, lag).join(
                _sums_before(groups, totals, by, _CLOCK_SUMS, lag + days),
                on=[*by, "flight_date"],
                how="left",
                suffix="_before",
            )
            frame = frame.join(
                sums.select(
                    *by,
                    "flight_date",
                    *(
                        (pl.col(name) - pl.col(f"{name}_before")).alias(f"{prefix}_{name}")
                        for name in _CLOCK_SUMS
                    ),
                ),
                on=[*by, "flight_date"],
                how="left",
            )
        on_route = pl.when(pl.col("_route_flown") > 0).then(
            pl.col("_route_clock_minutes") / pl.col("_route_flown")
        )
        usual = (pl.col("_carrier_clock_minutes") + _CLOCK_PRIOR_FLIGHTS * on_route) / (
            pl.col("_carrier_flown") + _CLOCK_PRIOR_FLIGHTS
        )
        frame = frame.with_columns(
            (pl.col("scheduled_clock_minutes") - usual)
            .cast(pl.Float32)
            .alias(f"slack_minutes_{days}d")
        ).drop(pl.selectors.starts_with("_route_", "_carrier_"))
    return frame


# --- aircraft ---------------------------------------------------------------------------------


def _add_aircraft(
    frame: pl.LazyFrame,
    planned: pl.LazyFrame,
    known: pl.LazyFrame,
    aircraft: pl.LazyFrame,
    lag: int,
) -> pl.LazyFrame:
    """Add the aircraft that is to be expected: the one that last flew the flight's number.

    Which aircraft flies is known only afterwards. Where the last one is not known or not in the
    register, its seats and age are the mean of what the carrier has flown on the route so far.
    """
    register = aircraft.select(
        "tail_number",
        pl.col("seats").cast(pl.Int64),
        pl.col("manufactured_year").cast(pl.Int64).alias("year"),
        pl.col("manufacturer").alias("aircraft_manufacturer"),
    )
    flown = known.filter(pl.col("tail_number").is_not_null() & ~pl.col("is_cancelled"))
    latest = flown.select(*_FLIGHT, pl.col("flight_date").alias("_day"), "tail_number").sort(
        "_day", "tail_number"
    )
    expected = (
        planned.select(*_FLIGHT, "flight_date")
        .unique()
        .with_columns((pl.col("flight_date") - pl.duration(days=lag)).alias("_through"))
        .sort("_through")
        .join_asof(
            latest,
            left_on="_through",
            right_on="_day",
            by=list(_FLIGHT),
            strategy="backward",
            check_sortedness=False,
        )
        .join(register, on="tail_number", how="left", validate="m:1")
        .select(
            *_FLIGHT,
            "flight_date",
            pl.col("tail_number").alias("expected_tail_number"),
            "aircraft_manufacturer",
            pl.col("seats").alias("_expected_seats"),
            pl.col("year").alias("_expected_year"),
        )
    )
    daily = (
        flown.join(register, on="tail_number", how="inner", validate="m:1")
        .group_by(*_CARRIER_ROUTE, pl.col("flight_date").alias("_day"))
        .agg(
            pl.col("seats").sum(),
            pl.col("seats").count().cast(pl.Int64).alias("seats_known"),
            pl.col("year").sum(),
            pl.col("year").count().cast(pl.Int64).alias("year_known"),
        )
    )
    usual = _sums_before(
        planned.select(*_CARRIER_ROUTE, "flight_date").unique(),
        _cumulative(daily, _CARRIER_ROUTE, _AIRCRAFT_SUMS),
        _CARRIER_ROUTE,
        _AIRCRAFT_SUMS,
        lag,
    ).select(
        *_CARRIER_ROUTE,
        "flight_date",
        # 0 / 0 is NaN in Polars, and NaN is not null: say so.
        *(
            pl.when(pl.col(f"{name}_known") > 0)
            .then(pl.col(name) / pl.col(f"{name}_known"))
            .alias(f"_usual_{name}")
            for name in ("seats", "year")
        ),
    )
    return (
        frame.join(expected, on=[*_FLIGHT, "flight_date"], how="left")
        .join(usual, on=[*_CARRIER_ROUTE, "flight_date"], how="left")
        .with_columns(
            pl.coalesce(pl.col("_expected_seats").cast(pl.Float64), "_usual_seats")
            .cast(pl.Float32)
            .alias("aircraft_seats"),
            (
                pl.col("flight_date").dt.year()
                - pl.coalesce(pl.col("_expected_year").cast(pl.Float64), "_usual_year")
            )
            .cast(pl.Float32)
            .alias("aircraft_age_years"),
        )
        .drop("_expected_seats", "_expected_year", "_usual_seats", "_usual_year")
    )
