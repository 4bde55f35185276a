"""The contract of `weather`: what an hour of weather at an airport must hold.

Observed weather stands in for the forecast that would be known the evening before. Limits are
records on Earth, so that what breaks them is an instrument or a keying error: the file of
2013-02-12 has a wind of 1,048 miles per hour.
"""

import dataframely as dy
import polars as pl

from assets.flight_delays.schedules.contract import NEW_YORK_AIRPORTS


class WeatherContract(dy.Schema):
    """One row per airport and hour; hours are missing here and there."""

    flight_date = dy.Date(description="Local date in New York that the hour belongs to.")
    origin = dy.String(
        primary_key=True,
        check={"new_york_airport": lambda origin: origin.is_in(NEW_YORK_AIRPORTS)},
        description="FAA code of the airport: EWR, JFK or LGA.",
    )
    hour_utc = dy.Datetime(
        primary_key=True,
        check={"full_hour": lambda hour: hour == hour.dt.truncate("1h")},
        description="Start of the hour, in UTC.",
    )
    local_hour = dy.Int16(
        min=0,
        max=23,
        description="Hour of the New York clock; 1 occurs twice on the day summer time ends.",
    )
    temperature_fahrenheit = dy.Float64(
        nullable=True, min=-130, max=135, description="Air temperature in degrees Fahrenheit."
    )
    dew_point_fahrenheit = dy.Float64(
        nullable=True, min=-150, max=100, description="Dew point in degrees Fahrenheit."
    )
    relative_humidity_percent = dy.Float64(
        nullable=True, min=0, max=100, description="Relative humidity in percent."
    )
    wind_direction_degrees = dy.Float64(
        nullable=True,
        min=0,
        max=360,
        description="Direction the wind blows from, in degrees; null when it varies.",
    )
    # The strongest gust measured: 253 mph, Barrow Island, 1996 (WMO record).
    wind_speed_mph = dy.Float64(
        nullable=True, min=0, max=253, description="Wind speed in miles per hour."
    )
    wind_gust_mph = dy.Float64(
        nullable=True, min=0, max=253, description="Gust speed in miles per hour; null if none."
    )
    # The most rain measured in an hour: 12.0 inches, Holt, Missouri, 1947 (WMO record).
    precipitation_inches = dy.Float64(
        min=0, max=12, description="Precipitation of the hour in inches."
    )
    # The extremes measured at sea level: 870 and 1,084 mbar (WMO records).
    pressure_millibars = dy.Float64(
        nullable=True,
        min=870,
        max=1085,
        description="Sea-level pressure in millibars; null for one hour in ten.",
    )
    visibility_miles = dy.Float64(
        min=0, max=100, description="Visibility in miles; reported up to 10."
    )

    @dy.rule()
    def local_time_agrees_with_utc(cls) -> pl.Expr:  # noqa: N805
        """The local date and hour are those of the UTC hour in New York."""
        local = cls.hour_utc.col.dt.replace_time_zone("UTC").dt.convert_time_zone(
            "America/New_York"
        )
        return (local.dt.date() == cls.flight_date.col) & (local.dt.hour() == cls.local_hour.col)

    @dy.rule()
    def dew_point_not_above_temperature(cls) -> pl.Expr:  # noqa: N805
        """Air is saturated at its dew point, so it is never colder than that."""
        return cls.dew_point_fahrenheit.col <= cls.temperature_fahrenheit.col

    @dy.rule()
    def gust_not_below_wind(cls) -> pl.Expr:  # noqa: N805
        """A gust is the peak of the wind."""
        return cls.wind_gust_mph.col >= cls.wind_speed_mph.col
