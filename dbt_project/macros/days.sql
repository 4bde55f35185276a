{#
    The days of a run, from the variables `start_date` and `end_date`. Only this file reads them.
#}

{#
    The first and last day of the run as ISO dates, or none where both variables are empty.

    Raises a compiler error when only one is set, one is no ISO date, they are out of order, or
    they are given to a full refresh.
#}
{% macro run_days() %}
    {#- `--vars '{start_date: 2013-01-01}'` arrives as a date: YAML reads it so. -#}
    {%- set first = var('start_date') | string | trim -%}
    {%- set last = var('end_date') | string | trim -%}
    {%- if not first and not last -%}
        {{ return(none) }}
    {%- endif -%}
    {%- for name, value in [('start_date', first), ('end_date', last)] -%}
        {%- if not modules.re.fullmatch('\\d{4}-\\d{2}-\\d{2}', value) -%}
            {{ exceptions.raise_compiler_error(
                "Reading the days to build: expected an ISO date such as '2013-01-31' in variable '"
                ~ name ~ "', found '" ~ value
                ~ "'. Set start_date and end_date together, or neither for all days."
            ) }}
        {%- endif -%}
    {%- endfor -%}
    {%- if first > last -%}
        {{ exceptions.raise_compiler_error(
            "Reading the days to build: expected start_date on or before end_date, found '"
            ~ first ~ "' and '" ~ last ~ "'. Exchange them."
        ) }}
    {%- endif -%}
    {%- if flags.FULL_REFRESH -%}
        {{ exceptions.raise_compiler_error(
            "Reading the days to build: a full refresh makes tables anew, and found start_date '"
            ~ first ~ "' and end_date '" ~ last ~ "', which would leave only these days in them."
            ~ " Leave both empty, or drop --full-refresh."
        ) }}
    {%- endif -%}
    {{ return([first, last]) }}
{% endmacro %}

{#
    A predicate that is true for the days of the run: `true` where all days are built.

    column: a date column, qualified where it needs to be
#}
{% macro is_in_run(column) -%}
    {%- set days = run_days() -%}
    {%- if days is none -%}
        true
    {%- else -%}
        {{ column }} between date '{{ days[0] }}' and date '{{ days[1] }}'
    {%- endif -%}
{%- endmacro %}

{#
    Incremental strategy `replace_days`: the days of the run are deleted and inserted in one
    transaction. The model must name its `partition_column` and hold only rows that `is_in_run`.

    dbt's delete+insert deletes only the keys it is about to insert, so a day from which every row
    vanished would keep its old rows. MERGE is avoided on DuckLake: hangs and duplicated rows are
    reported upstream.
#}
{% macro get_incremental_replace_days_sql(arg_dict) %}
    {%- set day_column = config.get('meta', {}).get('partition_column') -%}
    {%- if not day_column -%}
        {{ exceptions.raise_compiler_error(
            "Replacing days of " ~ arg_dict['target_relation']
            ~ ": expected `meta: {partition_column: <date column>}` in its config, found none. Add it."
        ) }}
    {%- endif -%}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arg_dict['target_relation'] }}
    where {{ is_in_run(day_column) }};

    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict['temp_relation'] }}
{% endmacro %}
