"""The commands of `ap`, each a few lines around the room that does the work."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from analytics_platform.cli import (
    alerts,
    environments,
    model,
    new,
    quarantine,
    reading,
    release,
)
from analytics_platform.cli.arrivals import arrivals
from analytics_platform.cli.predict import predict
from analytics_platform.cli.receipts import receipts
from analytics_platform.cli.reproduce import reproduce
from analytics_platform.cli.terminal import Product, console, fail
from analytics_platform.settings import Environment, get_settings

app = typer.Typer(
    help="Run, look at, read and release data products.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(release.app, name="release")
app.add_typer(model.app, name="model")
app.add_typer(new.app, name="new")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(alerts.app, name="alerts")
app.command()(arrivals)
app.command()(predict)
app.command()(receipts)
app.command()(reading.sql)
app.command()(environments.clone)
app.command()(environments.diff)
app.command()(environments.promote)
app.command()(reproduce)


@app.callback()
def choose(
    environment: Annotated[
        Environment | None,
        typer.Option("--environment", "-e", help="The environment; AP_ENVIRONMENT unless given."),
    ] = None,
) -> None:
    """Run, look at, read and release data products."""
    if environment is not None:
        # The variable, not an argument, so that dbt, Dagster and its runs see the same.
        os.environ["AP_ENVIRONMENT"] = environment
        get_settings.cache_clear()


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
    from analytics_platform.arrivals.address import landing_zone
    from analytics_platform.arrivals.far_zone import FarZone
    from analytics_platform.cli.products import UnknownProductError, delivery_of

    days = _day(first), _day(last)
    uploaded = None
    try:
        settings = get_settings()
        zone = landing_zone(settings.landing_url)
        write = delivery_of(product)
        with console.status(f"Delivering {first} through {last} …"):
            if isinstance(zone, FarZone):
                with tempfile.TemporaryDirectory() as folder:
                    report = write(Path(folder), *days)
                    uploaded = zone.upload(product, Path(folder))
            else:
                report = write(settings.landing_path / product, *days)
    except (ValueError, OSError, UnknownProductError) as error:
        raise fail(str(error)) from error
    address = zone.address(product, "").rstrip("/")
    console.print(f"Delivered {product}, {first} through {last}, to {address}", highlight=False)
    if uploaded is not None:
        # What was written and what not is known of all together: the folder was a new one.
        written, unchanged = uploaded.written, uploaded.unchanged
        console.print(f"{written:,} files written, {unchanged:,} unchanged", highlight=False)
        return
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
        raise fail(str(error)) from error
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
        raise fail(str(error)) from error


@app.command()
def materialize(
    product: Product,
    asset: Annotated[str, typer.Argument(help="The asset, without the product.")],
    partition: Annotated[
        str | None, typer.Option(help="The first partition, ISO; all that stand unless given.")
    ] = None,
    through: Annotated[str | None, typer.Option(help="The last partition, included.")] = None,
) -> None:
    """Make one asset again, behind or not, with its checks."""
    from analytics_platform.cli.products import UnknownProductError
    from analytics_platform.cli.run import materialize as make_again

    try:
        succeeded = make_again(product, asset, partition, through, console)
    except UnknownProductError as error:
        raise fail(str(error)) from error
    if not succeeded:
        raise typer.Exit(1)


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
