"""`ap quarantine`: the rows that broke a rule, and judging them again when a contract is mended."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from analytics_platform.cli.terminal import Product, console, fail
from analytics_platform.settings import get_settings

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer(help="List, show and replay the rows that broke a rule.", no_args_is_help=True)

SourceName = Annotated[str, typer.Argument(help="The source, as `ap quarantine list` names it.")]
ROWS_SHOWN = 20


@app.command("list")
def list_rows(
    product: Product,
    source: Annotated[str | None, typer.Option(help="Only this source.")] = None,
) -> None:
    """List how many rows are kept aside, by source, file and the rules that they broke."""
    from analytics_platform.arrivals import quarantined_counts
    from analytics_platform.lake import Lake

    sources = _sources(product, source)
    with Lake.from_settings(get_settings()).reader() as con:
        counted = {name: quarantined_counts(con, product, name) for name in sources}
    counted = {name: rows for name, rows in counted.items() if rows.height}
    if not counted:
        _say(f"Nothing is quarantined in {product}{f' of {source}' if source else ''}.")
        return
    for name, rows in counted.items():
        total, files = sum(rows["rows"]), rows["_source_file"].n_unique()
        console.print(Text(f"{name}: {_number(total, 'row')} of {_number(files, 'file')}", "bold"))
        table = _table("partition", "file", "rows", "rules broken", right=2)
        above = None
        for partition, path, rules, count in rows.iter_rows():
            file = path.rpartition("/")[2]
            place = (partition, file) if path != above else ("", "")
            table.add_row(*_shown(*place, f"{count:,}", "\n".join(rules)))
            above = path
        console.print(table)
        console.print()
    name = next(iter(counted))
    _say(f"See them:          ap quarantine show {product} {name}")
    _say(f"Judge them again:  ap quarantine replay {product} {name}")


@app.command()
def show(
    product: Product,
    source: SourceName,
    partition: Annotated[str | None, typer.Option(help="Only this day, ISO.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only rows that broke this rule.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"How many; {ROWS_SHOWN} in a table, else all.")
    ] = None,
    output_format: Annotated[
        Literal["table", "csv", "json"], typer.Option("--format", "-f")
    ] = "table",
) -> None:
    """Show rows as they came, each with its file, line and the rules that it broke."""
    import polars as pl

    from analytics_platform.arrivals import quarantined_rows
    from analytics_platform.cli.reading import as_bytes
    from analytics_platform.lake import Lake

    _sources(product, source)
    if limit is None and output_format == "table":
        limit = ROWS_SHOWN
    with Lake.from_settings(get_settings()).reader() as con:
        rows = quarantined_rows(
            con,
            product,
            source,
            partitions=None if partition is None else [partition],
            rule=rule,
            # One more than is shown tells that there are more.
            limit=None if limit is None else limit + 1,
        )
    has_more, rows = rows.height > (limit or rows.height), rows.head(limit or rows.height)
    if output_format != "table":
        rows = rows.with_columns(pl.col("rules").list.join(", "))
        sys.stdout.buffer.write(as_bytes(rows, output_format))
        sys.stdout.buffer.flush()
        return
    if not rows.height:
        _say(f"No such row of {source} is quarantined.")
    for of_file in rows.partition_by("_source_file", maintain_order=True):
        console.print(Text(_printable(of_file["_source_file"][0]), "bold"))
        table = _table("line", "rules broken", "as it came", right=0)
        for line, rules, row, text in of_file.select(
            "_source_line", "rules", "row", "text"
        ).iter_rows():
            table.add_row(*_shown(str(line), "\n".join(rules), text if text is not None else row))
        console.print(table)
        console.print()
    if has_more:
        _say(f"These are the first {limit}; --limit shows more.")


@app.command()
def replay(
    product: Product,
    source: SourceName,
    partition: Annotated[
        list[str] | None, typer.Option(help="A day, ISO; all that have rows unless given.")
    ] = None,
) -> None:
    """Judge rows again by the contract of now: those that hold are loaded, the others stay."""
    from analytics_platform.arrivals import quarantined_rows
    from analytics_platform.cli.products import UnknownProductError
    from analytics_platform.cli.run import replay as run_replay
    from analytics_platform.lake import Lake
    from analytics_platform.lake.tables import RAW

    _sources(product, source)
    lake = Lake.from_settings(get_settings())
    with lake.reader() as con:
        before = quarantined_rows(con, product, source, partitions=partition)
    chosen = before["partition"].unique().sort().to_list()
    if lacking := sorted(set(partition or ()) - set(chosen)):
        raise fail(f"Nothing of {source} is quarantined on {', '.join(lacking)}.")
    if not chosen:
        _say(f"Nothing of {source} is quarantined, so there is nothing to replay.")
        return
    try:
        stages = run_replay(product, RAW + source, chosen, console)
    except UnknownProductError as error:
        raise fail(str(error)) from error
    with lake.reader() as con:
        after = quarantined_rows(con, product, source, partitions=chosen)
    console.print()
    console.print(_outcome(before, after))
    console.print()
    if after.height < before.height:
        _say(f"Rebuild what follows from them: ap run {product}")
    else:
        _say("No row holds by the contract and the format of now.")
    # That too many rows stay is no failure of the replay; the check says it, and the release waits.
    if not all(stage.succeeded or stage.is_check for stage in stages):
        raise typer.Exit(1)


def _sources(product: str, source: str | None) -> list[str]:
    """The sources of the product that may have quarantined rows, or just the one asked for."""
    from analytics_platform.arrivals import quarantining_sources
    from analytics_platform.cli.products import UnknownProductError, find_product
    from analytics_platform.lake import Lake

    lake = Lake.from_settings(get_settings())
    known: list[str] = []
    try:
        find_product(product)
    except UnknownProductError as error:
        raise fail(str(error)) from error
    if lake.exists:
        with lake.reader() as con:
            known = quarantining_sources(con, product)
    if source is None:
        return known
    if source not in known:
        loaded = ", ".join(known) or "none yet"
        raise fail(f"{product} has loaded no source {source!r}. Loaded: {loaded}.")
    return [source]


def _outcome(before: pl.DataFrame, after: pl.DataFrame) -> Table:
    """What became of the rows of each partition."""
    table = _table("partition", "replayed", "loaded now", "stayed", "rules broken", right=(1, 2, 3))
    stayed, rules = Counter(after["partition"]), dict[str, Counter[str]]()
    for partition, broken in after.select("partition", "rules").iter_rows():
        rules.setdefault(partition, Counter()).update(broken)
    for partition, rows in sorted(Counter(before["partition"]).items()):
        stay = stayed[partition]
        broken = "\n".join(f"{rule}: {n:,}" for rule, n in sorted(rules.get(partition, {}).items()))
        table.add_row(*_shown(partition, f"{rows:,}", f"{rows - stay:,}", f"{stay:,}", broken))
    return table


def _table(*columns: str, right: int | tuple[int, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, column in enumerate(columns):
        is_right = place == right if isinstance(right, int) else place in right
        table.add_column(column, justify="right" if is_right else "left", overflow="fold")
    return table


def _shown(*cells: str | None) -> list[Text]:
    """Cells of a table as they may be shown: what a sender wrote is no markup."""
    return [Text("\n".join(map(_printable, (cell or "").split("\n")))) for cell in cells]


def _printable(text: str) -> str:
    """A text without characters that would steer the terminal, or that cannot be seen."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _number(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
