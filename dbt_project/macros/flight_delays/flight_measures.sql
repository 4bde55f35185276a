{#
    The measures of a group of flights, the same in every mart of the product: how many, how many
    of them went wrong, and how late. To be selected from `fct_flights` under a `group by`.

    A share is null where its denominator is 0.
#}
{% macro flight_measures() -%}
    count(*) as scheduled_flights,
    count(*) filter (where has_outcome) as flights_with_outcome,
    count(*) filter (where departed_at is not null) as departed_flights,
    count(*) filter (where arrived_at is not null) as arrived_flights,
    count(*) filter (where is_cancelled) as cancelled_flights,
    count(*) filter (where is_diverted) as diverted_flights,
    count(*) filter (where is_late) as late_flights,
    count(*) filter (where is_late) / nullif(count(*) filter (where arrived_at is not null), 0)
        as late_share,
    count(*) filter (where is_cancelled) / nullif(count(*) filter (where has_outcome), 0)
        as cancelled_share,
    count(*) filter (where is_diverted) / nullif(count(*) filter (where has_outcome), 0)
        as diverted_share,
    avg(departure_delay_minutes) as mean_departure_delay_minutes,
    avg(arrival_delay_minutes) as mean_arrival_delay_minutes
{%- endmacro %}
