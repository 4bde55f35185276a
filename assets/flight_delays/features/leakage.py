"""Whether a feature builder looks at what is not known yet, found out by trying.

The outcomes not yet known on the evening before a day are scrambled: its own, all later ones, and
those of the day before, which arrive in the morning. A feature of the day that changes knew them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import polars as pl

from assets.flight_delays.features.builder import HISTORY_LAG_DAYS


def leaking_columns(
    build: Callable[..., pl.LazyFrame],
    scheduled: pl.LazyFrame,
    flights: pl.LazyFrame,
    weather: pl.LazyFrame,
    aircraft: pl.LazyFrame,
    day: date,
) -> list[str]:
    """Give the columns of `day` that change when outcomes not yet known are scrambled.

    Args:
        build: A builder with the signature of `build_features`.
        scheduled: As `build` takes it.
        flights: As `build` takes it; holds outcomes of `day`, or the trial shows nothing.
        weather: As `build` takes it.
        aircraft: As `build` takes it.
        day: The day whose features are compared.
    """
    unknown = day - timedelta(days=HISTORY_LAG_DAYS - 1)
    real = build(scheduled, flights, weather, aircraft, day, day).collect()
    scrambled = build(scheduled, scramble(flights, unknown), weather, aircraft, day, day).collect()
    if real.columns != scrambled.columns or real.height != scrambled.height:
        return sorted({*real.columns, *scrambled.columns})
    return [name for name in real.columns if not real[name].equals(scrambled[name])]


def scramble(flights: pl.LazyFrame, day: date) -> pl.LazyFrame:
    """Turn every outcome of `day` and later into another one, of the same type."""
    later = pl.col("flight_date") >= day

    def when_later(value: pl.Expr, name: str) -> pl.Expr:
        return pl.when(later).then(value).otherwise(pl.col(name)).alias(name)

    delays = ("departure_delay_minutes", "arrival_delay_minutes", "air_time_minutes")
    clocks = ("departed_at", "arrived_at")
    present = flights.collect_schema().names()
    return flights.with_columns(
        when_later(~pl.col("is_late").fill_null(value=False), "is_late"),
        when_later(~pl.col("is_cancelled").fill_null(value=True), "is_cancelled"),
        *(when_later(pl.col(name).fill_null(0) + 1000, name) for name in delays if name in present),
        *(
            when_later(pl.coalesce(name, "scheduled_departure_at") + timedelta(minutes=1000), name)
            for name in clocks
            if name in present
        ),
        when_later(~pl.col("is_diverted").fill_null(value=True), "is_diverted"),
        when_later(pl.lit("N1"), "tail_number"),
        when_later(~pl.col("has_outcome"), "has_outcome"),
    )
