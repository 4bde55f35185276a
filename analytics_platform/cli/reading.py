"""`ap sql`: read a release, as a table for people or as a file for programs."""

from __future__ import annotations

import datetime as dt
import io
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from analytics_platform.cli.terminal import Product, console, fail

if TYPE_CHECKING:
    import polars as pl

Format = Literal["table", "csv", "json", "parquet"]


def sql(
    product: Product,
    query: Annotated[str, typer.Argument(help="One SQL statement; tables need no schema.")],
    output_format: Annotated[
        Format | None,
        typer.Option("--format", "-f", help="table unless given, or told by the name of --output."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write instead of printing.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    number: Annotated[
        int | None, typer.Option("--release", help="An earlier release's number.")
    ] = None,
) -> None:
    """Read the product's release. The working state cannot be reached from here."""
    import duckdb
    from polars.exceptions import PolarsError

    from analytics_platform import released
    from analytics_platform.lake import LakeError
    from analytics_platform.release import query as read

    chosen = _format(output_format, output, as_json)
    try:
        with released(product, release=number) as reader:
            frame = read(reader.sealed(), query)
        _give(frame, chosen, output)
    except (LakeError, duckdb.Error, PolarsError, OSError) as error:
        raise fail(str(error)) from error


def _format(given: Format | None, output: Path | None, as_json: bool) -> Format:
    if as_json:
        return "json"
    if given is not None:
        return given
    by_name: dict[str, Format] = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
    if output is None:
        return "table"
    if output.suffix not in by_name:
        raise typer.BadParameter(f"{output} does not tell the format; give --format.")
    return by_name[output.suffix]


def _give(frame: pl.DataFrame, chosen: Format, output: Path | None) -> None:
    if chosen == "table" and output is None:
        _print(frame)
        return
    if chosen == "table":
        raise typer.BadParameter("A table is for the terminal; a file is csv, json or parquet.")
    if chosen == "parquet" and output is None and sys.stdout.isatty():
        raise typer.BadParameter("Parquet is not for a terminal; give --output or pipe it.")
    content = as_bytes(frame, chosen)
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        output.write_bytes(content)
        console.print(f"{frame.height} rows in {output}", highlight=False)


def as_bytes(frame: pl.DataFrame, chosen: Format) -> bytes:
    """A frame as a file of a format that programs read."""
    if chosen == "json":
        rows = _finite(frame.to_dicts())
        text = json.dumps(rows, default=_json_value, ensure_ascii=False, allow_nan=False)
        return (text + "\n").encode()
    buffer = io.BytesIO()
    if chosen == "csv":
        frame.write_csv(buffer)
    else:
        frame.write_parquet(buffer)
    return buffer.getvalue()


def _print(frame: pl.DataFrame) -> None:
    table = Table(*frame.columns)
    for row in frame.iter_rows():
        table.add_row(*("" if value is None else str(value) for value in row))
    console.print(table)
    console.print(f"{frame.height} rows", highlight=False)


def _finite(value: Any) -> Any:
    """The same value with null for what JSON has no number for: NaN and the infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list) else value


def _json_value(value: object) -> object:
    if isinstance(value, dt.date | dt.datetime | dt.time):
        return value.isoformat()
    return str(value)
