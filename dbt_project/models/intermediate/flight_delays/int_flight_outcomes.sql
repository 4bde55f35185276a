-- The delivered clocks carry no date, the delays do: schedule plus delay gives the timestamp, over
-- midnight in either direction, for 2400 as for delays of more than a day. On all 328,521
-- departures and 327,346 arrivals of 2013 its clock agrees with the delivered one; the tests
-- compare the two.
with outcomes as (
    select
        scheduled.flight_date,
        scheduled.flight_id,
        scheduled.origin,
        scheduled.destination,
        outcomes.tail_number,
        outcomes.departure_hhmm,
        outcomes.arrival_hhmm,
        scheduled.scheduled_departure_at
        + to_minutes(outcomes.departure_delay_minutes) as departed_at,
        scheduled.scheduled_arrival_at + to_minutes(outcomes.arrival_delay_minutes) as arrived_at,
        outcomes.departure_delay_minutes,
        outcomes.arrival_delay_minutes,
        outcomes.air_time_minutes,
        outcomes.is_cancelled,
        outcomes.is_diverted
    from {{ ref('stg_outcomes') }} as outcomes
    inner join {{ ref('int_scheduled_flights') }} as scheduled
        using (flight_date, carrier, flight_number, origin)
)

select
    *,
    -- the definition of the US Bureau of Transportation Statistics
    arrival_delay_minutes >= 15 as is_late
from outcomes
