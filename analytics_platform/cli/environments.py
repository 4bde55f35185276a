"""`ap clone`, `ap diff` and `ap promote`: one environment's lake and another's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from analytics_platform.cli.terminal import console, fail
from analytics_platform.settings import Environment, get_settings

if TYPE_CHECKING:
    from analytics_platform.environments import TableDiff
    from analytics_platform.lake import Lake

Source = Annotated[Environment, typer.Argument(help="local, staging or production.")]
Target = Annotated[Environment, typer.Argument(help="local, staging or production.")]
ProductOption = Annotated[
    str | None, typer.Option("--product", help="The product, where there are several.")
]
MEASURES_SHOWN = 3
COLUMNS_SHOWN = 6


def clone(
    source: Source,
    target: Target,
    replace: Annotated[
        bool, typer.Option("--replace", help="Give up the lake that the target has.")
    ] = False,
) -> None:
    """Clone an environment without copying data: `ap clone production staging`."""
    from analytics_platform.environments import clone as make_clone
    from analytics_platform.lake import LakeError

    try:
        origin = make_clone(_lake(source), _lake(target), replace=replace)
    except LakeError as error:
        raise fail(str(error)) from error
    console.print(
        f"{target} is a clone of {source} at snapshot {origin.snapshot}. Work in it with "
        f"`ap -e {target} …`; nothing written there touches {source}.",
        highlight=False,
        soft_wrap=True,
    )


def diff(first: Source, second: Target, product: ProductOption = None) -> None:
    """Say what the first environment would change in the second: `ap diff staging production`."""
    from analytics_platform.cli.execution import load_repository
    from analytics_platform.cli.products import UnknownProductError, find_product, only_product
    from analytics_platform.components.state import shape_of
    from analytics_platform.environments import diff as compare
    from analytics_platform.lake import LakeError

    try:
        name = product or only_product()
        find_product(name)
        shape = shape_of(load_repository(console).asset_graph, name)
        found = compare(_lake_there(first), _lake_there(second), name, shape.keys)
    except (LakeError, UnknownProductError) as error:
        raise fail(str(error)) from error
    changed = [table for table in found if table.status != "same"]
    console.print(
        f"{name}: {len(changed)} of {len(found)} tables of {first} differ from {second}",
        highlight=False,
    )
    if changed:
        console.print(_diff_table(changed), highlight=False)


def promote(source: Source, target: Target, product: ProductOption = None) -> None:
    """Release a clone's state in its origin without computing it again."""
    from analytics_platform.cli.execution import load_repository
    from analytics_platform.cli.products import UnknownProductError, find_product, only_product
    from analytics_platform.components.state import shape_of
    from analytics_platform.environments import promote as take_over
    from analytics_platform.lake import FileStore, LakeError

    try:
        name = product or only_product()
        find_product(name)
        shape = shape_of(load_repository(console).asset_graph, name)
        store = FileStore(get_settings().files_path)
        done = take_over(
            _lake_there(source), _lake_there(target), store, name, shape.required, shape.columns
        )
    except (LakeError, UnknownProductError) as error:
        raise fail(str(error)) from error
    release = done.published.release
    rows = sum(done.taken_over.values())
    console.print(
        f"{target} reads release {release.number} of {name}: {len(done.taken_over)} tables with "
        f"{rows:,} rows taken over from {source}, {release.held:,} checks held."
        if done.published.is_new
        else f"{source} has nothing of {name} that {target} does not have.",
        highlight=False,
        soft_wrap=True,
    )


def _lake(environment: Environment) -> Lake:
    from analytics_platform.lake import Lake

    return Lake.from_settings(get_settings().of(environment))


def _lake_there(environment: Environment) -> Lake:
    """The environment's lake, which must exist: looking at one should not make it."""
    from analytics_platform.lake import LakeError

    lake = _lake(environment)
    if not lake.exists:
        raise LakeError(f"{environment} has no lake yet.")
    return lake


def _diff_table(changed: list[TableDiff]) -> Table:
    table = Table("table", "rows", "added", "removed", "changed", "what", box=None, pad_edge=False)
    for diff in changed:
        rows = f"{diff.rows_before:,} → {diff.rows_after:,}"
        if diff.status in {"added", "removed"}:
            table.add_row(diff.table, rows, "", "", "", f"the table was {diff.status}")
            continue
        table.add_row(
            diff.table,
            rows,
            f"{diff.rows.added:,}",
            f"{diff.rows.removed:,}",
            f"{diff.rows.changed:,}" if diff.has_key else "no key",
            "\n".join(_details(diff)),
        )
    return table


def _details(diff: TableDiff) -> list[str]:
    lines = [
        f"{column}: {before or 'no column'} → {after or 'no column'}"
        for column, before, after in diff.schema
    ]
    columns = sorted(diff.rows.changed_columns.items(), key=lambda item: -item[1])
    if columns:
        listed = ", ".join(f"{name} ({rows:,})" for name, rows in columns[:COLUMNS_SHOWN])
        lines.append(f"changed: {listed}" + (" …" if len(columns) > COLUMNS_SHOWN else ""))
    lines += [
        f"mean {m.column}: {_number(m.before)} → {_number(m.after)}"
        for m in diff.measures[:MEASURES_SHOWN]
    ]
    return lines or ["the definition of the view"]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
