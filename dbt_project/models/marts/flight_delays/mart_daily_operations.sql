select
    flight_date,
    origin,
    {{ flight_measures() }}
from {{ ref('fct_flights') }}
group by flight_date, origin
