-- An arrival clock before the departure clock means the next day. Checked on all 336,776 flights of
-- 2013: with the airports' UTC offsets this gives 50 to 700 minutes from gate to gate, and no
-- flight has equal clocks. It is right wherever a flight lasts longer than the clock is set back on
-- its way, and both together are under a day, as on every flight within the United States.
select
    flight_date,
    concat_ws('-', carrier, flight_number, origin, flight_date) as flight_id,
    carrier,
    flight_number,
    origin,
    destination,
    {{ hhmm_on('flight_date', 'scheduled_departure_hhmm') }} as scheduled_departure_at,
    {{ hhmm_on('flight_date', 'scheduled_arrival_hhmm') }}
    + to_days((scheduled_arrival_hhmm < scheduled_departure_hhmm)::integer) as scheduled_arrival_at,
    distance_miles
from {{ ref('stg_schedules') }}
