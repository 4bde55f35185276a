select
    carrier,
    airline_name
from {{ source('flight_delays', 'raw_airlines') }}
