{#
    An aggregate of the model equals an aggregate of `to`: what was counted by group adds up.

    expression, to_expression: aggregates such as `coalesce(sum(late_flights), 0)` and
    `count_if(is_late)`
#}
{% test same_total(model, expression, to, to_expression) %}
with totals as (
    select
        (select {{ expression }} from {{ model }}) as found,
        (select {{ to_expression }} from {{ to }}) as expected
)

select
    found,
    expected
from totals
where found is distinct from expected
{% endtest %}
