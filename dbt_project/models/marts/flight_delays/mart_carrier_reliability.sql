with flights as (
    select
        *,
        date_trunc('month', flight_date)::date as month
    from {{ ref('fct_flights') }}
),

measures as (
    select
        carrier,
        month,
        {{ flight_measures() }}
    from flights
    group by carrier, month
)

select
    carrier,
    airlines.airline_name,
    measures.* exclude (carrier)
from measures
left join {{ ref('dim_airline') }} as airlines using (carrier)
