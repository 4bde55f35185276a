{#
    From leaving the gate to reaching the gate, a flight spends its air time and some minutes of
    taxiing. A date assigned wrongly shows as 1440 minutes too many or too few, a wrong time zone
    as hours.

    The airports' offsets are those of winter; where an airport keeps no daylight saving time
    (Arizona, Hawaii, the Caribbean) the answer is 60 minutes too small in summer. Found in 2013:
    -53 to 235 minutes. Flights from or to an airport without a known offset are left out.

    airports: a relation with `airport` and `utc_offset_hours`
#}
{% test time_on_ground_is_plausible(model, airports) %}
with flights as (
    select
        flights.flight_id,
        date_diff('minute', flights.departed_at, flights.arrived_at)
        - 60 * (destination.utc_offset_hours - origin.utc_offset_hours)
        - flights.air_time_minutes as ground_minutes
    from {{ model }} as flights
    inner join {{ airports }} as origin on flights.origin = origin.airport
    inner join {{ airports }} as destination on flights.destination = destination.airport
    where flights.arrived_at is not null
)

select
    flight_id,
    ground_minutes
from flights
where ground_minutes not between -60 and 600
{% endtest %}
