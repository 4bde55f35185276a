"""`ap new`: write the files of something new, for a person to complete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from analytics_platform.cli.terminal import Product, console, fail

if TYPE_CHECKING:
    from analytics_platform.scaffold import NewSource, Prepared

app = typer.Typer(help="Write the files of a new source from a sample.", no_args_is_help=True)


@app.callback()
def choose() -> None:
    """Write the files of a new source from a sample."""


@app.command()
def source(
    product: Product,
    name: Annotated[str, typer.Argument(help="The source's name; its table is raw_<name>.")],
    sample: Annotated[Path, typer.Option(help="A file as it will be delivered.")],
    pattern: Annotated[
        str | None,
        typer.Option(help="The files' name, {partition} for the day; the sample's unless given."),
    ] = None,
    partition_column: Annotated[
        str | None, typer.Option(help="The date column of daily files; inferred unless given.")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="A column of the key; guessed unless given.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Write a source that stands anew.")] = False,
) -> None:
    """Write a source's component, contract, staging model and test from a sample (csv, parquet)."""
    from analytics_platform.scaffold import ScaffoldError, prepare, write
    from analytics_platform.settings import PROJECT_ROOT

    try:
        prepared = prepare(
            PROJECT_ROOT, product, name, sample,
            pattern=pattern, partition_column=partition_column, key=key or [], force=force,
        )  # fmt: skip
        write(PROJECT_ROOT, prepared.files)
    except (ScaffoldError, OSError) as error:
        raise fail(str(error)) from error
    _print_columns(prepared.source)
    _print_notes(prepared)
    _print_files(prepared)
    _print_next(prepared.source)


def _print(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _print_columns(source: NewSource) -> None:
    from analytics_platform.scaffold.render import kind_of

    read = source.sample
    what = [_count(read.rows, "row"), _count(len(read.headers), "column"), read.file_format]
    what += [f"{option} {value!r}" for option, value in source.options.items()]
    _print(f"{read.file_name}: {', '.join(what)}")
    table = Table("column", "in the file", "type", "null", "why", "in the sample",
                  box=None, pad_edge=False, header_style="dim")  # fmt: skip
    for column in source.table.columns:
        role = "partition, " * (column.name == source.partition_column)
        role += "key, " * (column.name in source.key)
        table.add_row(
            column.name,
            "" if column.header == column.name else repr(column.header),
            kind_of(column),
            "yes" if column.nullable else "no",
            role + column.reason,
            column.facts,
        )
    console.print(table, markup=False, highlight=False)


def _print_notes(prepared: Prepared) -> None:
    source = prepared.source
    notes = [f"{column.name}: {note}" for column in source.table.columns for note in column.notes]
    if source.key and source.key_is_guess:
        notes.insert(0, f"the key {', '.join(source.key)} is a guess: no two rows are alike in it")
    if source.partition_column is not None:
        notes.insert(0, f"partitioned by {source.partition_column}: files {source.pattern}")
    notes += prepared.notes
    if notes:
        _print("\nLook at")
        for note in notes:
            _print(f"  - {note}")


def _print_files(prepared: Prepared) -> None:
    _print("\nWrote")
    for path in prepared.files:
        _print(f"  {path}" + ("  (changed)" if path in prepared.changed else ""))


def _print_next(source: NewSource) -> None:
    from analytics_platform.settings import get_settings

    day = ""
    file_name = source.pattern
    if source.partition_column is not None:
        day = str(source.table.values[source.partition_column][0])
        file_name = file_name.replace("{partition}", day)
    landing = f"{get_settings().landing_url.rstrip('/')}/{source.product}/{source.name}"
    with_day = f" --partition {day}" if day else ""
    models = f"dbt_project/models/staging/{source.product}"
    _print("\nNext")
    for step in (
        f"complete assets/{source.product}/{source.name}/contract.py and defs.yaml, and the "
        f"meanings in {models}/columns.md",
        f"pytest tests/products/{source.product}/test_{source.name}.py",
        f"put a file to {landing}/{file_name}",
        f"ap materialize {source.product} raw_{source.name}{with_day}",
        f"ap materialize {source.product} stg_{source.name}{with_day}",
    ):
        _print(f"  {step}")
