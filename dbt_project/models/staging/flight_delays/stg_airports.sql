select
    airport,
    airport_name,
    latitude_degrees,
    longitude_degrees,
    altitude_feet,
    utc_offset_hours,
    dst,
    time_zone
from {{ source('flight_delays', 'raw_airports') }}
