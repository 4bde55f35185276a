{#
    The schema of a model is its product: models/<layer>/<product>/<model>.sql lands in
    `lake.<product>`. dbt's own rule would put it into `<target schema>_<custom schema>`.

    A `schema` configured on a node (the failures of a stored test, say) is taken as it stands.
#}
{% macro generate_schema_name(custom_schema_name=none, node=none) -%}
    {%- if custom_schema_name is not none -%}
        {{ custom_schema_name | trim }}
    {%- elif node is not none and node.resource_type == 'model' -%}
        {%- if node.fqn | length != 4 -%}
            {{ exceptions.raise_compiler_error(
                "Placing model '" ~ node.name ~ "': expected models/<layer>/<product>/" ~ node.name
                ~ ".sql, found " ~ node.original_file_path
                ~ ". Move the file: its schema in the lake is the name of its product folder."
            ) }}
        {%- endif -%}
        {{ node.fqn[2] }}
    {%- else -%}
        {{ target.schema }}
    {%- endif -%}
{%- endmacro %}
