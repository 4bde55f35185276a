select
    tail_number,
    manufactured_year,
    manufacturer,
    model,
    aircraft_type,
    engine_type,
    engine_count,
    seats
from {{ ref('stg_aircraft') }}
