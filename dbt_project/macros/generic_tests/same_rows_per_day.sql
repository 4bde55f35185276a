{#
    For each day of the run, the model holds as many rows as `to`: none lost, none doubled.

    row_filter: which rows of the model count, all by default
#}
{% test same_rows_per_day(model, to, day_column, row_filter='true') %}
with found as (
    select
        {{ day_column }} as day,
        count(*) as found_rows
    from {{ model }}
    where {{ is_in_run(day_column) }} and {{ row_filter }}
    group by day
),

expected as (
    select
        {{ day_column }} as day,
        count(*) as expected_rows
    from {{ to }}
    where {{ is_in_run(day_column) }}
    group by day
)

select
    day,
    coalesce(found_rows, 0) as found_rows,
    coalesce(expected_rows, 0) as expected_rows
from expected
full join found using (day)
where found_rows is distinct from expected_rows
{% endtest %}
