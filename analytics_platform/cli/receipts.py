"""`ap receipts`: what materialisations cost, for people and for programs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from analytics_platform.cli.terminal import Product, console, fail
from analytics_platform.settings import get_settings

if TYPE_CHECKING:
    import polars as pl

PLATFORM = "platform"
SHOWN = 40
Format = Literal["table", "csv", "json"]


def receipts(
    product: Product,
    asset: Annotated[
        str | None,
        typer.Option(help="This asset's whole history; the newest of each unless given."),
    ] = None,
    output_format: Annotated[
        Format, typer.Option("--format", "-f", help="csv and json give every column.")
    ] = "table",
) -> None:
    """Say what making each asset cost: seconds, CPU, peak memory, rows and bytes in and out."""
    from analytics_platform.cli.products import UnknownProductError, find_product

    try:
        # Upkeep is an asset too, and no product's.
        if product != PLATFORM:
            find_product(product)
    except UnknownProductError as error:
        raise fail(str(error)) from error
    from analytics_platform.lake import Lake, records

    with Lake.from_settings(get_settings()).reader() as con:
        found = records.receipts(con, product, asset)
    if asset is None:
        found = found.group_by("asset", maintain_order=True).last().select(found.columns)
    elif found.is_empty():
        raise fail(
            f"{product} has no receipt of {asset!r}. `ap receipts {product}` lists the assets that "
            "have one."
        )
    found = found.sort("started_at", "asset", descending=[True, False])
    if output_format == "csv":
        sys.stdout.write(found.write_csv())
    elif output_format == "json":
        sys.stdout.write(found.write_json() + "\n")
    else:
        _print(found, "asset" if asset is None else "started (UTC)")


def _print(found: pl.DataFrame, first: str) -> None:
    from rich.table import Table

    table = Table(first, box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for title in ("partitions", "s", "CPU s", "peak MB", "rows in", "rows out"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in found.head(SHOWN).iter_rows(named=True):
        span = row["partition"]
        if row["partitions"] > 1:
            span += f" +{row['partitions'] - 1}"
        named = row["asset"] if first == "asset" else f"{row['started_at']:%Y-%m-%d %H:%M:%S}"
        table.add_row(
            named + ("" if row["succeeded"] else " [red]✗[/red]"),
            span,
            f"{row['wall_seconds']:.2f}",
            f"{row['cpu_seconds']:.2f}",
            f"{row['peak_memory_bytes'] / 1e6:,.0f}",
            _count(row["rows_in"]),
            _count(row["rows_out"]),
        )
    console.print(table)
    more = found.height - SHOWN
    said = f"{found.height:,} receipts" + (f", the newest {SHOWN} shown" if more > 0 else "")
    console.print(said, highlight=False)


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
