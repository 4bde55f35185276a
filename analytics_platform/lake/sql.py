"""Names and values in SQL, quoted in one place."""


def identifier(name: str) -> str:
    """Give `name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """Give `value` as a quoted SQL string."""
    return "'" + value.replace("'", "''") + "'"


def table_name(schema: str, table: str) -> str:
    """Give the full, quoted name of a table of the lake."""
    return f"lake.{identifier(schema)}.{identifier(table)}"
