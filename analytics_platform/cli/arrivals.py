"""`ap arrivals`: the ledger, for people and for programs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from analytics_platform.cli.terminal import Product, console, fail
from analytics_platform.settings import get_settings

if TYPE_CHECKING:
    import polars as pl

SHOWN = 40
Format = Literal["table", "csv", "json"]


def arrivals(
    product: Product,
    source: Annotated[str | None, typer.Option(help="Only this source's files.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only files of this status, such as rejected.")
    ] = None,
    output_format: Annotated[
        Format, typer.Option("--format", "-f", help="csv and json give every file and column.")
    ] = "table",
) -> None:
    """Say what became of every file that was seen in the landing zone."""
    from analytics_platform.cli.products import UnknownProductError, find_product

    try:
        find_product(product)
    except UnknownProductError as error:
        raise fail(str(error)) from error
    from analytics_platform.lake import Lake, ledger

    known = [*get_args(ledger.FileStatus)]
    if status is not None and status not in known:
        raise fail(f"{status!r} is no status; there are: {', '.join(known)}.")
    with Lake.from_settings(get_settings()).reader() as con:
        files = ledger.ledger(con, product)
    if source is not None:
        seen = sorted({*files["source"]} - {ledger.NO_SOURCE})
        if seen and source not in seen:
            raise fail(f"No file of a source {source!r} was seen; of these: {', '.join(seen)}.")
        files = files.filter(source=source)
    if status is not None:
        files = files.filter(status=status)
    files = files.sort("recorded_at", descending=True, maintain_order=True)
    if output_format == "csv":
        sys.stdout.write(files.write_csv())
        return
    if output_format == "json":
        sys.stdout.write(files.write_json() + "\n")
        return
    _print(files.select("path", "status", "rows_loaded", "rows_quarantined", "reason"))


def _print(files: pl.DataFrame) -> None:
    from rich.table import Table

    table = Table("status", "loaded", "quarantined", "file", box=None, pad_edge=False)
    for column in (1, 2):
        table.columns[column].justify = "right"
    table.columns[3].overflow = "fold"
    for path, status, loaded, quarantined, reason in files.head(SHOWN).iter_rows():
        counts = ("", "") if loaded is None else (f"{loaded:,}", f"{quarantined:,}")
        why = f"\n[dim]{_plain(reason)}[/dim]" if reason else ""
        table.add_row(status.replace("_", " "), *counts, _plain(path) + why)
    console.print(table)
    more = files.height - SHOWN
    count = "1 file" if files.height == 1 else f"{files.height:,} files"
    said = count + (f", the newest {SHOWN} shown" if more > 0 else "")
    console.print(said, highlight=False)


def _plain(text: str) -> str:
    """A text that cannot move a terminal's cursor, nor be taken for markup."""
    from rich.markup import escape

    return escape("".join(char if char.isprintable() else repr(char)[1:-1] for char in text))
