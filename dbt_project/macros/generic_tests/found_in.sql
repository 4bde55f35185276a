{#
    Each row, within the days of the run, has a row with the same key in `to`. For keys of several
    columns, where dbt's `relationships` takes one.

    Days outside the run are left out: their other side may not have arrived yet.
#}
{% test found_in(model, to, columns, day_column) %}
select {{ columns | join(', ') }}
from {{ model }}
where {{ is_in_run(day_column) }}
except
select {{ columns | join(', ') }}
from {{ to }}
where {{ is_in_run(day_column) }}
{% endtest %}
