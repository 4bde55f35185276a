select
    flight_date,
    carrier,
    flight_number,
    origin,
    destination,
    scheduled_departure_hhmm,
    scheduled_arrival_hhmm,
    distance_miles
from {{ source('flight_delays', 'raw_schedules') }}
