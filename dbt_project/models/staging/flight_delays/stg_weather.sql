select
    flight_date,
    origin,
    hour_utc,
    local_hour,
    temperature_fahrenheit,
    dew_point_fahrenheit,
    relative_humidity_percent,
    wind_direction_degrees,
    wind_speed_mph,
    wind_gust_mph,
    precipitation_inches,
    pressure_millibars,
    visibility_miles
from {{ source('flight_delays', 'raw_weather') }}
