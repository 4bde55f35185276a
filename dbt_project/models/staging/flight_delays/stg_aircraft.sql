select
    tail_number,
    manufactured_year,
    aircraft_type,
    manufacturer,
    model,
    engine_count,
    seats,
    cruise_speed_mph,
    engine_type
from {{ source('flight_delays', 'raw_aircraft') }}
