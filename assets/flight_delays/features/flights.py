"""The feature table as a Dagster asset: reads the lake, calls the builder, checks for leaks.

The features themselves are in `builder.py`, which knows neither Dagster nor the lake.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import dagster as dg

from analytics_platform.components import (
    check_result,
    frame_asset,
    product_of,
    run_partitions,
)
from analytics_platform.lake import Lake
from analytics_platform.lake.io_manager import LakeResource
from assets.flight_delays.features.builder import (
    HISTORY_LAG_DAYS,
    build_features,
)
from assets.flight_delays.features.leakage import leaking_columns

PRODUCT = product_of(__file__)
FEATURES = "features_flights"
ALL_THE_PAST_DAYS = 36_500
"""Rates look back over 90 days, but the aircraft that last flew a number may have flown it at any
time, and how late weather of a kind makes flights is learnt from all of it: a corrected day may
change the features of every later one."""
LEAK_DAYS = 4

KEY = PRODUCT.key(FEATURES)
ONE_ROW = "every_scheduled_flight_has_one_row"
NO_LEAK = "no_feature_knows_the_future"


# Specs are made inside functions: Dagster would take one at module level for an asset of its own.
def _spec() -> dg.AssetSpec:
    return PRODUCT.asset_spec(
        FEATURES,
        description=(
            "One row per scheduled flight of a day, from what is known the evening before: "
            "schedule, calendar, route, the aircraft that usually flies it, weather, and how the "
            f"same carrier, route and airport did up to {HISTORY_LAG_DAYS} days before. The "
            "outcomes of the day before arrive only in the morning, so they are not used."
        ),
        kinds={"polars", "ducklake"},
        partition_column="flight_date",
        row_key=["flight_id"],
        deps=[
            PRODUCT.key("int_scheduled_flights"),
            dg.AssetDep(
                PRODUCT.key("stg_weather"),
                partition_mapping=dg.TimeWindowPartitionMapping(
                    start_offset=-ALL_THE_PAST_DAYS,
                    end_offset=0,
                    allow_nonexistent_upstream_partitions=True,
                ),
            ),
            PRODUCT.key("dim_aircraft"),
            dg.AssetDep(
                PRODUCT.key("fct_flights"),
                partition_mapping=dg.TimeWindowPartitionMapping(
                    start_offset=-ALL_THE_PAST_DAYS,
                    end_offset=-HISTORY_LAG_DAYS,
                    allow_nonexistent_upstream_partitions=True,
                ),
            ),
        ],
    )


def _checks() -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            ONE_ROW,
            asset=KEY,
            blocking=True,
            description="Protects the model from lost and doubled flights: the features of a day "
            "hold each of its scheduled flights once.",
        ),
        dg.AssetCheckSpec(
            NO_LEAK,
            asset=KEY,
            blocking=True,
            description="Protects against leakage: no feature of day d changes when the outcomes "
            "of day d-1 and later are scrambled. Tried on days spread over the run, its first and "
            "last among them.",
        ),
    ]


@frame_asset(_spec(), _checks())
def features_flights(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
    """Build, write and check the features of the run's days."""
    days = run_partitions(context, PRODUCT.daily)
    first, last = dt.date.fromisoformat(days[0]), dt.date.fromisoformat(days[-1])
    inputs = _inputs(lake.lake, first, last)
    yield dg.MaterializeResult(
        asset_key=KEY, value=build_features(**inputs, first_day=first, last_day=last)
    )
    scheduled, rows, distinct = _counts(lake.lake, days)
    yield check_result(
        lake.lake,
        context,
        KEY,
        ONE_ROW,
        passed=scheduled == rows == distinct,
        partitions=days,
        metadata={"scheduled_flights": scheduled, "rows": rows, "distinct_flights": distinct},
    )
    tried = _spread(days, LEAK_DAYS)
    leaks = {
        day: columns
        for day in tried
        if (columns := leaking_columns(build_features, **inputs, day=dt.date.fromisoformat(day)))
    }
    yield check_result(
        lake.lake,
        context,
        KEY,
        NO_LEAK,
        passed=not leaks,
        partitions=days,
        metadata={"days_tried": ", ".join(tried), "leaking_columns": leaks},
    )


def _inputs(lake: Lake, first: dt.date, last: dt.date) -> dict[str, Any]:
    """The builder's inputs. `flights` is read without a bound: what it may use, it must decide."""
    days = [first, last]
    with lake.reader() as con:
        return {
            name: con.execute(sql, parameters).pl().lazy()
            for name, sql, parameters in (
                (
                    "scheduled",
                    "SELECT *, hour(scheduled_departure_at)::INTEGER AS scheduled_departure_hour, "
                    "hour(scheduled_arrival_at)::INTEGER AS scheduled_arrival_hour "
                    "FROM lake.flight_delays.int_scheduled_flights "
                    "WHERE flight_date BETWEEN ? AND ?",
                    days,
                ),
                ("flights", "FROM lake.flight_delays.fct_flights", []),
                (
                    "weather",
                    "FROM lake.flight_delays.stg_weather WHERE flight_date <= ?",
                    [last],
                ),
                ("aircraft", "FROM lake.flight_delays.dim_aircraft", []),
            )
        }


def _counts(lake: Lake, days: list[str]) -> tuple[int, int, int]:
    """Scheduled flights of the days, rows of features, and distinct flights among them."""
    row = lake.query(
        """
        SELECT
          (SELECT count(*) FROM lake.flight_delays.int_scheduled_flights
           WHERE flight_date IN (SELECT unnest(?::DATE[]))),
          (SELECT count(*) FROM lake.flight_delays.features_flights
           WHERE flight_date IN (SELECT unnest(?::DATE[]))),
          (SELECT count(DISTINCT flight_id) FROM lake.flight_delays.features_flights
           WHERE flight_date IN (SELECT unnest(?::DATE[])))
        """,
        [days, days, days],
    ).row(0)
    return row[0], row[1], row[2]


def _spread(days: list[str], number: int) -> list[str]:
    """Up to `number` of the days, evenly spread, with the first and the last among them."""
    if len(days) <= number:
        return days
    step = (len(days) - 1) / (number - 1)
    return [days[round(position * step)] for position in range(number)]
