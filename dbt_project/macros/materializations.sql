{#
    Tables and views, replaced in place: the old relation is dropped and the new one created in one
    transaction, so one model makes one snapshot of the lake.

    The materializations of dbt-duckdb create beside, rename twice, commit and drop in a second
    transaction: two snapshots a model, of which the first shows `<model>__dbt_backup`, left behind
    by a run that is killed in between; and half as much time again (0.20 s for a view and 0.30 s
    for a table, against 0.13 s and 0.20 s here, measured side by side).
    Dropping first is safe because DDL on DuckLake is transactional: readers keep the old relation
    until the commit, and a failure brings it back.
#}

{% macro replace_in_place(type) %}
    {%- set existing = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type=type) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% call statement('main') %}
        {%- if existing is not none %}
        drop {{ existing.type }} if exists {{ existing }};
        {%- endif %}
        {% if type == 'view' -%}
            {{ get_create_view_as_sql(target_relation, sql) }}
        {%- else -%}
            {{ get_create_table_as_sql(False, target_relation, sql) }}
        {%- endif %}
    {% endcall %}

    {% do persist_docs(target_relation, model) %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}
{% endmacro %}

{% materialization table, adapter='duckdb' %}
    {{ return(replace_in_place('table')) }}
{% endmaterialization %}

{% materialization view, adapter='duckdb' %}
    {{ return(replace_in_place('view')) }}
{% endmaterialization %}
