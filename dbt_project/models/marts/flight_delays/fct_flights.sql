{{
    config(
        materialized='incremental',
        incremental_strategy='replace_days',
        on_schema_change='fail',
        meta={'partition_column': 'flight_date'},
    )
}}

select
    scheduled.flight_date,
    scheduled.flight_id,
    scheduled.carrier,
    scheduled.flight_number,
    scheduled.origin,
    scheduled.destination,
    scheduled.scheduled_departure_at,
    scheduled.scheduled_arrival_at,
    extract(hour from scheduled.scheduled_departure_at)::integer as scheduled_departure_hour,
    extract(hour from scheduled.scheduled_arrival_at)::integer as scheduled_arrival_hour,
    scheduled.distance_miles,
    outcomes.tail_number,
    outcomes.departed_at,
    outcomes.arrived_at,
    outcomes.departure_delay_minutes,
    outcomes.arrival_delay_minutes,
    outcomes.air_time_minutes,
    outcomes.is_cancelled,
    outcomes.is_diverted,
    outcomes.is_late,
    outcomes.flight_id is not null as has_outcome
from {{ ref('int_scheduled_flights') }} as scheduled
left join {{ ref('int_flight_outcomes') }} as outcomes using (flight_date, flight_id)
-- DuckDB carries the days over to the right side: 30 days read 30 files a source, not 365
where {{ is_in_run('scheduled.flight_date') }}
