"""The features of the day-ahead delay model, built with Polars.

Belongs here: what is known about a scheduled flight on the evening before it departs, as pure
functions of frames. Does not belong here: reading or writing tables (the asset beside this module
does), the label and the model (`delay_model/trainer.py`), the proof that nothing leaks
(`leakage.py`).

Three properties hold and are tested:

* **No look-ahead.** On the evening before day d the outcomes of d-1 have not arrived (they come the
  morning of d), so the newest outcome a row of day d may use is that of d - `HISTORY_LAG_DAYS`.
  `flights` may hold any date: the builder restricts it itself.
* **Batch equals day by day, to the last bit.** History comes from cumulative *integer* sums, looked
  up backward in time and subtracted; a floating-point sum would depend on the order of its terms.
* **Order of the input does not matter**; the output is sorted by departure and flight.

The weather of day d is observed weather: it stands in for a forecast, and a real forecast would
serve the model less well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

HISTORY_LAG_DAYS = 2
"""Days between a flight and the newest outcome known on the evening before it."""

HISTORY_WINDOWS_DAYS = (7, 28, 90)
"""Lengths of the trailing windows, each ending on the newest day whose outcomes are known."""


@dataclass(frozen=True)
class HistoryKey:
    """One grouping whose past is turned into features.

    Args:
        name: prefix of the feature columns.
        columns: schedule columns that identify a group; empty for all flights together.
        parent: name of the wider grouping its rates are drawn toward where it has few flights.
        windows_days: the trailing windows to build.
        measures: which of `late_share`, `mean_delay_minutes`, `cancelled_share`,
            `mean_minutes_gained_en_route` to build.
    """

    name: str
    columns: tuple[str, ...]
    parent: str | None
    windows_days: tuple[int, ...]
    measures: tuple[str, ...]


_ALL = ("late_share", "mean_delay_minutes", "cancelled_share", "mean_minutes_gained_en_route")
HISTORY_KEYS = (
    HistoryKey("network", (), None, HISTORY_WINDOWS_DAYS, _ALL),
    HistoryKey("origin", ("origin",), "network", HISTORY_WINDOWS_DAYS, _ALL),
    HistoryKey("carrier", ("carrier",), "network", HISTORY_WINDOWS_DAYS, _ALL),
    HistoryKey("carrier_origin", ("carrier", "origin"), "carrier", HISTORY_WINDOWS_DAYS, _ALL),
    HistoryKey("destination", ("destination",), "network", HISTORY_WINDOWS_DAYS, _ALL),
    HistoryKey("route", ("origin", "destination"), "destination", HISTORY_WINDOWS_DAYS, _ALL),
    HistoryKey(
        "carrier_route",
        ("carrier", "origin", "destination"),
        "carrier_origin",
        HISTORY_WINDOWS_DAYS,
        _ALL,
    ),
    HistoryKey(
        "flight",
        ("carrier", "flight_number", "origin"),
        "carrier_origin",
        HISTORY_WINDOWS_DAYS,
        _ALL,
    ),
    HistoryKey(
        "origin_hour", ("origin", "scheduled_departure_hour"), "origin", HISTORY_WINDOWS_DAYS, _ALL
    ),
)

_PRIOR_FLIGHTS = 20
_NETWORK_PRIOR = {
    "late_share": 0.2,
    "mean_delay_minutes": 5.0,
    "cancelled_share": 0.02,
    "mean_minutes_gained_en_route": 5.0,
}
# measure -> (numerator, denominator) among the integer sums below
_MEASURES = {
    "late_share": ("late", "arrived"),
    "mean_delay_minutes": ("delay", "arrived"),
    "cancelled_share": ("cancelled", "known"),
    "mean_minutes_gained_en_route": ("gained", "arrived"),
}
_SUMS = ("known", "arrived", "late", "delay", "cancelled", "gained")


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
    planned = scheduled.filter(pl.col("flight_date").is_between(first_day, last_day)).with_columns(
        pl.lit(0, dtype=pl.Int8).alias("_everything")
    )
    known = flights.filter(
        (pl.col("flight_date") <= last_day - timedelta(days=history_lag_days))
        & pl.col("has_outcome")
    ).with_columns(pl.lit(0, dtype=pl.Int8).alias("_everything"))
    frame = _schedule(planned)
    frame = frame.join(_calendar(first_day, last_day), on="flight_date", how="left")
    frame = frame.join(
        _weather(weather.filter(pl.col("flight_date").is_between(first_day, last_day))),
        left_on=["flight_date", "origin", "scheduled_departure_hour"],
        right_on=["flight_date", "origin", "local_hour"],
        how="left",
    )
    frame = _history(frame, known, history_lag_days)
    frame = _aircraft(frame, known, aircraft, history_lag_days)
    return frame.drop("_everything").sort("scheduled_departure_at", "flight_id")


def _count(*columns: str) -> pl.Expr:
    return pl.len().over(*columns).cast(pl.Int32)


def _schedule(planned: pl.LazyFrame) -> pl.LazyFrame:
    departure = pl.col("scheduled_departure_at")
    hour = "scheduled_departure_hour"
    day = "flight_date"
    return planned.select(
        "flight_date",
        "flight_id",
        "scheduled_departure_at",
        "_everything",
        "carrier",
        "flight_number",
        "origin",
        "destination",
        pl.col("scheduled_departure_hour").cast(pl.Int32),
        pl.col("scheduled_arrival_hour").cast(pl.Int32),
        (departure.dt.hour().cast(pl.Int32) * 60 + departure.dt.minute())
        .cast(pl.Int32)
        .alias("scheduled_departure_minute_of_day"),
        (pl.col("scheduled_arrival_at") - departure)
        .dt.total_minutes()
        .cast(pl.Int32)
        .alias("scheduled_block_minutes"),
        pl.col("distance_miles").cast(pl.Int32),
        _count(day).alias("network_day_flights"),
        _count(day, "origin").alias("origin_day_flights"),
        _count(day, "origin", hour).alias("origin_hour_flights"),
        _count(day, hour).alias("network_hour_flights"),
        _count(day, "carrier", "origin").alias("carrier_origin_day_flights"),
        _count(day, "carrier", "origin", hour).alias("carrier_origin_hour_flights"),
        _count(day, "destination").alias("destination_day_flights"),
        _count(day, "carrier", "origin", "destination").alias("carrier_route_day_flights"),
        departure.rank("min").over(day, "origin").cast(pl.Int32).alias("origin_departures_before"),
        departure.rank("min")
        .over(day, "carrier", "origin")
        .cast(pl.Int32)
        .alias("carrier_origin_departures_before"),
    )


def federal_holidays(year: int) -> list[date]:
    def nth(month: int, weekday: int, n: int) -> date:
        first = date(year, month, 1)
        return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))

    last_may = date(year, 5, 31)
    out = [
        date(year, 1, 1),
        nth(1, 0, 3),
        nth(2, 0, 3),
        last_may - timedelta(days=last_may.weekday()),
        date(year, 7, 4),
        nth(9, 0, 1),
        nth(10, 0, 2),
        date(year, 11, 11),
        nth(11, 3, 4),
        date(year, 12, 25),
    ]
    return out


def _calendar(first_day: date, last_day: date) -> pl.LazyFrame:
    hol = sorted(
        h for y in range(first_day.year - 1, last_day.year + 2) for h in federal_holidays(y)
    )
    days = [first_day + timedelta(days=i) for i in range((last_day - first_day).days + 1)]
    near = [min(((d - h).days for h in hol), key=lambda n: (abs(n), n)) for d in days]
    return pl.LazyFrame(
        {
            "flight_date": days,
            "weekday": [d.isoweekday() for d in days],
            "day_of_year": [d.timetuple().tm_yday for d in days],
            "month": [d.month for d in days],
            "days_since_holiday": [min(min((d - h).days for h in hol if h <= d), 15) for d in days],
            "days_to_holiday": [min(min((h - d).days for h in hol if h >= d), 15) for d in days],
            "days_from_nearest_holiday": [max(min(n, 8), -8) for n in near],
        },
        schema={
            "flight_date": pl.Date,
            "weekday": pl.Int32,
            "day_of_year": pl.Int32,
            "month": pl.Int32,
            "days_since_holiday": pl.Int32,
            "days_to_holiday": pl.Int32,
            "days_from_nearest_holiday": pl.Int32,
        },
    )


def _weather(weather: pl.LazyFrame) -> pl.LazyFrame:
    day = ["flight_date", "origin"]
    hours = pl.LazyFrame({"local_hour": list(range(24))}, schema={"local_hour": pl.Int32})
    once = weather.sort("hour_utc").unique(
        ["flight_date", "origin", "local_hour"], keep="first", maintain_order=True
    )
    values = {
        "temperature_fahrenheit": "temperature_fahrenheit",
        "relative_humidity_percent": "relative_humidity_percent",
        "dew_point_fahrenheit": "dew_point_fahrenheit",
        "wind_direction_degrees": "wind_direction_degrees",
        "wind_speed_mph": "wind_speed_mph",
        "wind_gust_mph": "wind_gust_mph",
        "precipitation_inches": "precipitation_inches",
        "pressure_millibars": "pressure_millibars",
        "visibility_miles": "visibility_miles",
    }
    grid = (
        once.select(day)
        .unique()
        .join(hours, how="cross")
        .join(
            once.with_columns(pl.col("local_hour").cast(pl.Int32)),
            on=[*day, "local_hour"],
            how="left",
        )
        .sort(*day, "local_hour")
        .with_columns(
            pl.col(c).forward_fill(3).over(day)
            for c in values
            if c not in ("wind_gust_mph", "precipitation_inches")
        )
        .with_columns(
            (pl.col("precipitation_inches").fill_null(0) * 100).round().cast(pl.Int64).alias("p")
        )
    )
    gust = pl.coalesce("wind_gust_mph", "wind_speed_mph")

    def ahead(e: pl.Expr, how: str, n: int) -> pl.Expr:
        parts = [e.shift(-i).over(day) for i in range(n + 1)]
        return {"max": pl.max_horizontal, "min": pl.min_horizontal, "sum": pl.sum_horizontal}[how](
            parts
        )

    def around(e: pl.Expr, how: str, n: int) -> pl.Expr:
        parts = [e.shift(-i).over(day) for i in range(-n, n + 1)]
        return {"max": pl.max_horizontal, "min": pl.min_horizontal, "sum": pl.sum_horizontal}[how](
            parts
        )

    v, p, s, t, pr = (
        pl.col("visibility_miles"),
        pl.col("p"),
        pl.col("wind_speed_mph"),
        pl.col("temperature_fahrenheit"),
        pl.col("pressure_millibars"),
    )
    reg = ["flight_date", "local_hour"]
    return grid.select(
        *day,
        "local_hour",
        *(pl.col(c).cast(pl.Float32).alias(n) for c, n in values.items()),
        (t - pl.col("dew_point_fahrenheit")).cast(pl.Float32).alias("dew_spread"),
        gust.max().over(day).cast(pl.Float32).alias("day_max_gust"),
        s.max().over(day).cast(pl.Float32).alias("day_max_wind"),
        p.sum().over(day).cast(pl.Int32).alias("day_precip"),
        v.min().over(day).cast(pl.Float32).alias("day_min_vis"),
        pr.min().over(day).cast(pl.Float32).alias("day_min_pressure"),
        t.max().over(day).cast(pl.Float32).alias("day_max_temp"),
        t.min().over(day).cast(pl.Float32).alias("day_min_temp"),
        (v < 3).sum().over(day).cast(pl.Int32).alias("day_low_vis_hours"),
        gust.cum_max().over(day).cast(pl.Float32).alias("sofar_max_gust"),
        p.cum_sum().over(day).cast(pl.Int32).alias("sofar_precip"),
        v.cum_min().over(day).cast(pl.Float32).alias("sofar_min_vis"),
        around(p, "sum", 3).cast(pl.Int32).alias("around_precip"),
        around(v, "min", 3).cast(pl.Float32).alias("around_min_vis"),
        around(gust, "max", 3).cast(pl.Float32).alias("around_max_gust"),
        ahead(p, "sum", 5).cast(pl.Int32).alias("ahead_precip"),
        ahead(v, "min", 5).cast(pl.Float32).alias("ahead_min_vis"),
        p.sum().over(reg).cast(pl.Int32).alias("region_precip"),
        v.min().over(reg).cast(pl.Float32).alias("region_min_vis"),
        p.sum().over("flight_date").cast(pl.Int32).alias("region_day_precip"),
        pl.col("relative_humidity_percent")
        .max()
        .over(day)
        .cast(pl.Float32)
        .alias("day_max_humidity"),
    )


def _cumulative(known: pl.LazyFrame, columns: Sequence[str]) -> pl.LazyFrame:
    arrived = pl.col("is_late").is_not_null()
    return (
        known.group_by(*columns, "flight_date")
        .agg(
            pl.len().cast(pl.Int64).alias("known"),
            arrived.cast(pl.Int64).sum().alias("arrived"),
            pl.col("is_late").cast(pl.Int64).sum().alias("late"),
            pl.when(arrived).then("arrival_delay_minutes").cast(pl.Int64).sum().alias("delay"),
            pl.col("is_cancelled").cast(pl.Int64).sum().alias("cancelled"),
            pl.when(arrived)
            .then(pl.col("departure_delay_minutes") - pl.col("arrival_delay_minutes"))
            .cast(pl.Int64)
            .sum()
            .alias("gained"),
        )
        .sort("flight_date", *columns)
        .with_columns(pl.col(_SUMS).cum_sum().over(*columns))
    )


def _history(frame: pl.LazyFrame, known: pl.LazyFrame, lag: int) -> pl.LazyFrame:
    for key in HISTORY_KEYS:
        by = list(key.columns) or ["_everything"]
        sums = (
            _cumulative(known, by)
            .with_columns(pl.col("flight_date").alias("_day"))
            .drop("flight_date")
            .sort("_day")
        )
        groups = frame.select(*by, "flight_date").unique()

        def at(groups: pl.LazyFrame, days: int, suffix: str) -> pl.LazyFrame:
            return (
                groups.with_columns(pl.col("flight_date").dt.offset_by(f"-{days}d").alias("_at"))
                .sort("_at")
                .join_asof(
                    sums.rename({s: s + suffix for s in _SUMS}),
                    left_on="_at",
                    right_on="_day",
                    by=by,
                    strategy="backward",
                    check_sortedness=False,
                )
                .with_columns(pl.col([s + suffix for s in _SUMS]).fill_null(0))
                .drop("_at", "_day", strict=False)
            )

        groups = at(groups, lag, "")
        for w in key.windows_days:
            groups = at(groups, lag + w, f"_{w}")
        groups = groups.select(
            *by,
            "flight_date",
            *(
                (pl.col(s) - pl.col(f"{s}_{w}")).alias(f"_{key.name}_{s}_{w}")
                for w in key.windows_days
                for s in _SUMS
            ),
        )
        frame = frame.join(groups, on=[*by, "flight_date"], how="left")
        exprs = []
        for w in key.windows_days:
            for m in key.measures:
                num, den = _MEASURES[m]
                prior = (
                    pl.col(f"_{key.parent}_{m}_{w}") if key.parent else pl.lit(_NETWORK_PRIOR[m])
                )
                exprs.append(
                    (
                        (pl.col(f"_{key.name}_{num}_{w}") + prior * _PRIOR_FLIGHTS)
                        / (pl.col(f"_{key.name}_{den}_{w}") + _PRIOR_FLIGHTS)
                    ).alias(f"_{key.name}_{m}_{w}")
                )
        frame = frame.with_columns(exprs)
    out = [
        pl.col(f"_{k.name}_{m}_{w}").cast(pl.Float32).alias(f"{k.name}_{m}_{w}d")
        for k in HISTORY_KEYS
        for m in k.measures
        for w in k.windows_days
    ]
    out += [
        pl.col(f"_{k.name}_known_{w}").cast(pl.Int32).alias(f"{k.name}_known_{w}d")
        for k in HISTORY_KEYS
        for w in k.windows_days
    ]
    return frame.with_columns(out).select(
        pl.exclude("^_(network|origin|carrier|destination|route|flight).*$")
    )


def _aircraft(
    frame: pl.LazyFrame, known: pl.LazyFrame, aircraft: pl.LazyFrame, lag: int
) -> pl.LazyFrame:
    flown = known.filter(pl.col("tail_number").is_not_null() & ~pl.col("is_cancelled"))
    by = ["carrier", "flight_number", "origin"]
    latest = flown.select(*by, pl.col("flight_date").alias("_day"), "tail_number").sort("_day")
    groups = (
        frame.select(*by, "flight_date")
        .unique()
        .with_columns(pl.col("flight_date").dt.offset_by(f"-{lag}d").alias("_at"))
        .sort("_at")
    )
    exp = (
        groups.join_asof(
            latest,
            left_on="_at",
            right_on="_day",
            by=by,
            strategy="backward",
            check_sortedness=False,
        )
        .select(
            *by,
            "flight_date",
            pl.col("tail_number").alias("expected_tail_number"),
            (pl.col("flight_date") - pl.col("_day" if True else ""))
            .dt.total_days()
            .cast(pl.Int32)
            .alias("aircraft_seen_days_ago")
            if False
            else pl.lit(None, dtype=pl.Int32).alias("x"),
        )
        .drop("x")
    )
    specs = aircraft.select(
        pl.col("tail_number").alias("expected_tail_number"),
        pl.col("seats").cast(pl.Float32).alias("aircraft_seats"),
        pl.col("manufactured_year").cast(pl.Int32).alias("aircraft_year"),
        pl.col("manufacturer").alias("aircraft_manufacturer"),
    )
    return (
        frame.join(exp, on=[*by, "flight_date"], how="left")
        .join(specs, on="expected_tail_number", how="left")
        .with_columns(
            (pl.col("flight_date").dt.year() - pl.col("aircraft_year"))
            .cast(pl.Float32)
            .alias("aircraft_age_years")
        )
        .drop("aircraft_year")
    )
