"""The commands of `ap`, each a few lines around the room that does the work."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from analytics_platform.settings import get_settings

app = typer.Typer(
    help="Run, look at and read data products.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console()
errors = Console(stderr=True)

Product = Annotated[str, typer.Argument(help="The product, a folder under assets/.")]


def _fail(message: str) -> typer.Exit:
    errors.print(message, style="red", markup=False, highlight=False)
    return typer.Exit(1)


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no ISO date such as 2013-01-31") from error


@app.command()
def deliver(
    product: Product,
    first: Annotated[str, typer.Option("--from", help="The first day, ISO.")],
    last: Annotated[str, typer.Option("--through", help="The last day, included.")],
) -> None:
    """Put the files of some days into the landing zone, as an outside system would."""
    from analytics_platform.cli.products import UnknownProductError, delivery_of

    landing = get_settings().landing_path / product
    try:
        write = delivery_of(product)
        with console.status(f"Delivering {first} through {last} …"):
            report = write(landing, _day(first), _day(last))
    except (ValueError, UnknownProductError) as error:
        raise _fail(str(error)) from error
    console.print(f"Delivered {product}, {first} through {last}, to {landing}", highlight=False)
    table = Table("source", "files written", "unchanged", "rows", box=None, pad_edge=False)
    for name, source in report.sources.items():
        table.add_row(
            name, f"{source.files_written:,}", f"{source.files_unchanged:,}", f"{source.rows:,}"
        )
    console.print(table)


@app.command()
def run(product: Product) -> None:
    """Run everything that is behind, from arrived files to the release, and sum it up."""
    from analytics_platform.cli.products import UnknownProductError
    from analytics_platform.cli.run import run_product

    try:
        succeeded = run_product(product, console)
    except UnknownProductError as error:
        raise _fail(str(error)) from error
    if not succeeded:
        raise typer.Exit(1)


@app.command()
def status(product: Product) -> None:
    """Say what stands in the lake, what is released, and what holds back the next release."""
    from analytics_platform.cli.products import UnknownProductError
    from analytics_platform.cli.summary import print_summary

    try:
        print_summary(product, console, stages=())
    except UnknownProductError as error:
        raise _fail(str(error)) from error


@app.command()
def sql(
    product: Product,
    query: Annotated[str, typer.Argument(help="One SQL statement; tables need no schema.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list of objects for programs.")
    ] = False,
) -> None:
    """Read the product's release. The working state cannot be reached from here."""
    import duckdb

    from analytics_platform.lake import Lake, LakeError
    from analytics_platform.release import released

    try:
        with released(Lake.from_settings(get_settings()), product) as con:
            statements = duckdb.extract_statements(query)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise LakeError("One statement that reads is expected, such as: select … from …")
            frame = con.execute(query).pl()
    except (LakeError, duckdb.Error) as error:
        raise _fail(str(error)) from error
    if as_json:
        typer.echo(json.dumps(frame.to_dicts(), default=_json_value, ensure_ascii=False))
        return
    table = Table(*frame.columns)
    for row in frame.iter_rows():
        table.add_row(*("" if value is None else str(value) for value in row))
    console.print(table)
    console.print(f"{frame.height} rows", highlight=False)


def _json_value(value: object) -> object:
    if isinstance(value, dt.date | dt.datetime | dt.time):
        return value.isoformat()
    return str(value)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1.")] = 3000,
) -> None:
    """Serve the Dagster web UI with its daemon on 127.0.0.1 until interrupted."""
    from analytics_platform.cli.ui import serve

    raise typer.Exit(serve(port))


@app.command()
def home() -> None:
    """Print the folder that holds everything the platform writes."""
    typer.echo(Path(get_settings().root))
