{#
    Clock readings such as 515 for 05:15, as airlines deliver them.
#}

{#
    Minutes since midnight of a clock reading. 2400, midnight at the end of the day, gives 1440.

    column: an integer 0..2400, hours times 100 plus minutes
#}
{% macro hhmm_to_minutes(column) -%}
    ({{ column }} // 100 * 60 + {{ column }} % 100)
{%- endmacro %}

{#
    The timestamp of a clock reading on a day.

    day: a date; column: as for `hhmm_to_minutes`, where 2400 is 00:00 of the following day
#}
{% macro hhmm_on(day, column) -%}
    ({{ day }} + to_minutes({{ hhmm_to_minutes(column) }}))
{%- endmacro %}
