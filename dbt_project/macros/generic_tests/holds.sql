{#
    `expression` is true for every row. A row for which it is null fails too: say
    `… is null or …` where null is meant to pass.
#}
{% test holds(model, expression) %}
select *
from {{ model }}
where ({{ expression }}) is not true
{% endtest %}
