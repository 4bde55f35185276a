{#
    The clock of a timestamp column shows the reading that was delivered beside it, 2400 and 0000
    being the same. Rows without the timestamp are left out.

    column_name: a timestamp; hhmm_column: the clock reading, such as 515 for 05:15
#}
{% test clock_agrees(model, column_name, hhmm_column) %}
select
    {{ column_name }},
    {{ hhmm_column }}
from {{ model }}
where
    {{ column_name }} is not null
    and extract(hour from {{ column_name }}) * 60 + extract(minute from {{ column_name }})
    is distinct from {{ hhmm_to_minutes(hhmm_column) }} % 1440
{% endtest %}
