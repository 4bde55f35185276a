"""The text of a source's files: YAML, Python, SQL and documentation, from what was inferred.

All text is made here and nothing is written. What is made passes the project's own lint and
format, so that a person's first change is the only one in the diff.
"""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dataframely as dy
import polars as pl

from analytics_platform.contracts import contract_columns
from analytics_platform.scaffold.infer import Column, Table
from analytics_platform.scaffold.sample import Sample

_WIDTH = 100
#: Accented Latin letters, Chinese, Japanese and Korean, and a few signs.
_LIKE_NO_OTHER = re.compile(
    r"[\u00c0-\u017e\u3041-\u30cd\u30cf-\u30fa\u4e01-\u9fff\uac00-\ud7a3"
    r"\u00b0\u00b2\u00b3\u20ac\u00a3\u00a7](?<![\u00d7\u00f7\u0131\u0138\u0149])"
)
_UNDESCRIBED = "To be described; in the sample: "


@dataclass(frozen=True)
class NewSource:
    """A source to be written.

    Attributes:
        product: The product it belongs to.
        name: Its name; its table is `raw_<name>`.
        sample: The sample it is made from.
        table: What the sample's columns are.
        pattern: The name of its files.
        partition_column: The date column of its daily partitions, or None.
        key: The columns of its primary key; empty for none.
        key_is_guess: Whether the key is inferred and not given.
    """

    product: str
    name: str
    sample: Sample
    table: Table
    pattern: str
    partition_column: str | None
    key: list[str]
    key_is_guess: bool = True

    @property
    def class_name(self) -> str:
        """The contract's class."""
        return "".join(part.capitalize() for part in self.name.split("_")) + "Contract"

    @cached_property
    def contract(self) -> type[dy.Schema]:
        """The contract that `contract_text` writes, as a class."""
        columns = {
            column.name: getattr(dy, kind_of(column))(**_arguments(self, column))
            for column in self.table.columns
        }
        return type(self.class_name, (dy.Schema,), {"__module__": __name__, **columns})

    @property
    def options(self) -> dict[str, str]:
        """What the reader must know to read its files, as far as it is not the default."""
        options = {}
        if self.sample.file_format == "csv":
            style = self.table.style
            options = {
                "delimiter": "" if self.sample.delimiter == "," else self.sample.delimiter,
                "encoding": "" if self.sample.encoding == "utf-8" else self.sample.encoding,
                "decimal": "" if style.decimal == "." else style.decimal,
                "thousands": style.thousands or "",
            }
        options["unknown_columns"] = "ignore" if self.table.left_out else ""
        return {name: value for name, value in options.items() if value}


def kind_of(column: Column) -> str:
    """The name of dataframely's class for a column."""
    if isinstance(column.dtype, pl.Datetime):
        return "Datetime"
    return "Bool" if column.dtype == pl.Boolean else type(column.dtype).__name__


def _arguments(source: NewSource, column: Column) -> dict[str, Any]:
    """The arguments of a column in the contract, in the order they are written."""
    arguments: dict[str, Any] = {}
    if column.name in source.key:
        arguments["primary_key"] = True
    if column.nullable:
        arguments["nullable"] = True
    if column.allow_nan:
        arguments["allow_nan"] = True
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_unit != "us":
        arguments["time_unit"] = column.dtype.time_unit
    metadata = {}
    if column.header != column.name:
        metadata["header"] = column.header
    if column.text_format is not None:
        metadata["format"] = column.text_format
    if metadata:
        arguments["metadata"] = metadata
    arguments["description"] = description_of(column)
    return arguments


def description_of(column: Column) -> str:
    """What can be said of a column from the sample, for a person to complete."""
    return f"{_UNDESCRIBED}{column.facts}."


def contract_text(source: NewSource) -> str:
    """The module with the contract."""
    rows = f"{source.sample.rows:,} row{'' if source.sample.rows == 1 else 's'}"
    told = (
        f"Inferred from the sample `{_ascii(source.sample.file_name)}` of {rows}, for a person to "
        "tighten: say what each column means, and make a bound from the comments a rule where the "
        "sender agrees to it. The sample shows what was, not what may be."
    )
    lines = [
        f'"""The contract of `{source.name}`: to be described.',
        "",
        *textwrap.wrap(told, _WIDTH - 1),
        '"""',
        "",
        "import dataframely as dy",
        "",
        "",
        f"class {source.class_name}(dy.Schema):",
        '    """One row per …: to be described."""',
        "",
    ]
    if source.key and source.key_is_guess:
        lines += _comment("The key is a guess: the sample has no two rows alike in it.")
    for header, dtype in source.table.left_out.items():
        lines += _comment(f"Left out: {_ascii(header)}, of type {_ascii(dtype)}, which no contract "
                          "holds.")  # fmt: skip
    if lines[-1]:
        lines.append("")
    for column in source.table.columns:
        lines += _column_lines(source, column)
    return "\n".join(lines) + "\n"


def _column_lines(source: NewSource, column: Column) -> list[str]:
    lines = []
    if column.bounds:
        lines += _comment(f"Seen: {column.bounds}.")
    for note in column.notes:
        lines += _comment(f"Look: {note}.")
    lines.append(f"    {column.name} = dy.{kind_of(column)}(")
    for name, value in _arguments(source, column).items():
        if isinstance(value, dict):
            lines += _dictionary(name, value)
        elif name == "description":
            lines += _long_string(f"        {name}=", value)
        else:
            lines.append(f"        {name}={value if value is True else _literal(value)},")
    return [*lines, "    )"]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent="    # ",
        subsequent_indent="    # ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _dictionary(name: str, value: dict[str, str]) -> list[str]:
    pairs = [f"{_literal(key)}: {_literal(text)}" for key, text in value.items()]
    line = f"        {name}={{{', '.join(pairs)}}},"
    if len(line) <= _WIDTH:
        return [line]
    inner = [f"            {pair}," for pair in pairs]
    return [
        f"        {name}={{",
        *(line if len(line) <= _WIDTH else f"{line}  # noqa: E501" for line in inner),
        "        },",
    ]


def _long_string(before: str, text: str) -> list[str]:
    """A string argument, on lines of their own where it is too long for one."""
    if len(before) + len(text) + 3 <= _WIDTH:
        return [f"{before}{_literal(text)},"]
    chunks = textwrap.wrap(text, _WIDTH - len(before) - 4, break_long_words=False)
    chunks = [f"{chunk} " for chunk in chunks[:-1]] + chunks[-1:]
    first, *rest = map(_literal, chunks)
    return [before + first, *(f"        {chunk}" for chunk in rest[:-1]), f"        {rest[-1]},"]


def _literal(text: str) -> str:
    """A string in Python, in the quotes that the formatter chooses.

    Letters that look like none in ASCII stay; spaces, signs and Greek or Cyrillic letters are
    escaped, as the linter takes them for their likes.
    """
    quote = "'" if text.count('"') > text.count("'") else '"'
    written = []
    for letter in text:
        if letter in (quote, "\\"):
            written.append(f"\\{letter}")
        elif (letter.isascii() and letter.isprintable()) or _LIKE_NO_OTHER.fullmatch(letter):
            written.append(letter)
        else:
            code = ord(letter)
            short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(letter)
            wide = f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"
            written.append(short or (f"\\x{code:02x}" if code < 0x100 else wide))
    return f"{quote}{''.join(written)}{quote}"


def _ascii(text: str) -> str:
    """Text that no docstring, comment or template takes for its own."""
    return re.sub(r"[^A-Za-z0-9 _.,:()/-]", "_", text)


def defs_text(source: NewSource) -> str:
    """The component's YAML."""
    lines = [
        "type: analytics_platform.components.LandingSource",
        "",
        "attributes:",
        f"  name: {source.name}",
        "  description: >-",
        "    To be described: what it holds, and who delivers it when.",
        f"  folder: {source.name}",
        f"  pattern: {json.dumps(source.pattern, ensure_ascii=False)}",
        f"  file_format: {source.sample.file_format}",
    ]
    if source.partition_column is not None:
        lines.append(f"  partition_column: {source.partition_column}")
    for name, value in source.options.items():
        if name == "unknown_columns":
            lines.append("  # Columns of types that no contract holds; contract.py names them.")
        lines.append(f"  {name}: {value if value.isalpha() else json.dumps(value)}")
    return "\n".join(lines) + "\n"


def init_text(source: NewSource) -> str:
    """The package's docstring."""
    return f'"""The source `{source.name}`: to be described."""\n'


def model_text(source: NewSource) -> str:
    """The staging model."""
    columns = ",\n".join(f"    {column.name}" for column in source.table.columns)
    origin = f"{{{{ source('{source.product}', 'raw_{source.name}') }}}}"
    return f"select\n{columns}\nfrom {origin}\n"


def model_entry(source: NewSource) -> str:
    """The staging model's entry in `models.yml`, not indented."""
    lines = [f"name: stg_{source.name}"]
    if source.partition_column is not None:
        lines += ["config:", "  meta:", f"    partition_column: {source.partition_column}"]
    lines += ["description: >-", f"  The rows of {source.name} that keep its contract."]
    if len(source.key) > 1:
        lines += [
            "data_tests:",
            f"  - name: stg_{source.name}_key_is_unique",
            "    test_name: unique_combination",
            "    arguments:",
            f"      columns: [{', '.join(source.key)}]",
        ]
    lines.append("columns:")
    checked = source.key if len(source.key) == 1 else []
    if not source.key:
        # A table needs a check; a column that is never empty has one.
        checked = [column.name for column in source.table.columns if not column.nullable][:1]
    for name, duckdb_type in _types(source).items():
        lines += _column_entry(source, name, duckdb_type)
        if name in checked:
            lines.append("    data_tests:")
            lines += ["      - unique"] if source.key else []
            lines.append("      - not_null")
    return "\n".join(lines) + "\n"


def table_entry(source: NewSource) -> str:
    """The raw table's entry among a product's tables in `sources.yml`, not indented."""
    lines = [
        f"name: raw_{source.name}",
        "description: To be described.",
        "config:",
        "  meta:",
        "    dagster:",
        f"      asset_key: [{source.product}, raw_{source.name}]",
        "columns:",
    ]
    located = {**_types(source), "_source_file": "varchar", "_source_line": "bigint"}
    for name, duckdb_type in located.items():
        lines += _column_entry(source, name, duckdb_type)
    return "\n".join(lines) + "\n"


def _types(source: NewSource) -> dict[str, str]:
    columns = contract_columns(source.contract)
    return {column.name: column.duckdb_type.lower() for column in columns}


def _column_entry(source: NewSource, name: str, duckdb_type: str) -> list[str]:
    doc = f"{source.product}__{name.lstrip('_')}"
    return [
        f"  - name: {name}",
        f"    data_type: {duckdb_type}",
        f"    description: \"{{{{ doc('{doc}') }}}}\"",
    ]


def new_models(entry: str) -> str:
    """A `models.yml` with one entry."""
    return "models:\n" + _as_first_entry(entry, 2)


def new_sources(source: NewSource, entry: str) -> str:
    """A `sources.yml` of a product with one table."""
    return (
        "sources:\n"
        f"  - name: {source.product}\n"
        "    description: >-\n"
        f"      Rows that met the contracts of the sources of `{source.product}`, written by the "
        "platform and not\n      by dbt. Each row names the delivered file and the line it came "
        "from.\n"
        "    database: lake\n"
        f"    schema: {source.product}\n"
        "    tables:\n" + _as_first_entry(entry, 6)
    )


def _as_first_entry(entry: str, indent: int) -> str:
    body = textwrap.indent(entry, " " * (indent + 2))
    return " " * indent + "- " + body[indent + 2 :]


def docs_text(source: NewSource, existing: str) -> tuple[str, list[str]]:
    """The product's `columns.md` with the source's columns, and the columns it had already.

    A meaning is written once for a product: a column that has one keeps it, unless it is still to
    be described.
    """
    text = existing or (
        f"Meanings of the columns of the product `{source.product}`, each written once and used by "
        "its sources\nand by the models of every layer.\n"
    )
    described = {column.name: description_of(column) for column in source.table.columns} | {
        "source_file": "Name of the delivered file the row came in.",
        "source_line": "Line or row of the delivered file.",
    }
    kept = []
    for name, description in described.items():
        start = f"{{% docs {source.product}__{name} %}}\n"
        block = start + textwrap.fill(description, _WIDTH) + "\n{% enddocs %}\n"
        if start not in text:
            text = f"{text.rstrip()}\n\n{block}"
        elif start + _UNDESCRIBED.split(";")[0] in text:
            before, after = text.split(start, 1)
            text = before + block + after.split("{% enddocs %}\n", 1)[1]
        elif not name.startswith("source_"):
            kept.append(name)
    return text, kept


def contract_test_text(source: NewSource) -> str:
    """The test that reads the kept rows of the sample."""
    module = f"assets.{source.product}.{source.name}.contract"
    import_line = f"from {module} import {source.class_name}"
    if len(import_line) > _WIDTH:
        import_line = f"from {module} import (\n    {source.class_name},\n)"
    options = [f'"{source.sample.file_format}"']
    options += [f"{name}={_literal(value)}" for name, value in source.options.items()]
    declared = f"FORMAT = FileFormat({', '.join(options)})"
    if len(declared) > _WIDTH:
        inner = f"    {', '.join(options)}"
        if len(inner) > _WIDTH:
            inner = "\n".join(f"    {option}," for option in options)
        declared = f"FORMAT = FileFormat(\n{inner}\n)"
    return f'''"""The contract of `{source.name}` holds on the first rows of its sample."""

from pathlib import Path

from analytics_platform.contracts import FileFormat, apply_contract, read_file
{import_line}

SAMPLE = Path(__file__).parent / "samples" / "{source.name}.{source.sample.file_format}"
{declared}
ROWS = {source.sample.copied_rows}


def test_every_row_of_the_sample_holds() -> None:
    frame = read_file(SAMPLE, {source.class_name}, FORMAT)
    result = apply_contract(frame, {source.class_name}, file_format=FORMAT)
    assert result.counts == {{}}
    assert result.good.height == ROWS
'''
