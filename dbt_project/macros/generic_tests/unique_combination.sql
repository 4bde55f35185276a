{#
    No two rows share their values in `columns`. Rows are compared as `group by` does: two nulls
    are equal.
#}
{% test unique_combination(model, columns) %}
select
    {{ columns | join(', ') }},
    count(*) as row_count
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}
