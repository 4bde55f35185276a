select
    flight_date,
    carrier,
    flight_number,
    origin,
    destination,
    tail_number,
    departure_hhmm,
    departure_delay_minutes,
    arrival_hhmm,
    arrival_delay_minutes,
    air_time_minutes,
    is_cancelled,
    is_diverted
from {{ source('flight_delays', 'raw_outcomes') }}
