with flown as (
    select origin as airport from {{ ref('stg_schedules') }}
    union
    select destination as airport from {{ ref('stg_schedules') }}
)

select
    airport,
    reference.airport_name,
    reference.latitude_degrees,
    reference.longitude_degrees,
    reference.altitude_feet,
    reference.time_zone,
    reference.airport is not null as is_in_reference
from {{ ref('stg_airports') }} as reference
full join flown using (airport)
