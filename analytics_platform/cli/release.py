"""`ap release`: the decisions on what readers see, and a person's ways to change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from analytics_platform.cli.terminal import Product, console, fail
from analytics_platform.settings import get_settings

if TYPE_CHECKING:
    from analytics_platform.release import Release, ReleaseLog

app = typer.Typer(help="List, show, take back and hand on releases.", no_args_is_help=True)

Note = Annotated[str, typer.Option("--note", help="The reason, kept in the log.")]


def release_log(product: str) -> ReleaseLog:
    """The product's release log in this environment."""
    from analytics_platform.lake import FileStore, Lake
    from analytics_platform.release import ReleaseLog

    settings = get_settings()
    return ReleaseLog(Lake.from_settings(settings), FileStore(settings.files_path), product)


@app.command("list")
def list_decisions(
    product: Product,
    limit: Annotated[int, typer.Option(help="How many decisions, the newest first.")] = 20,
) -> None:
    """List releases, refusals, rollbacks and reverts, the newest first."""
    table = Table("decided (UTC)", "what", "readers see", "by", "because", box=None, pad_edge=False)
    for shown, decision in enumerate(release_log(product).decisions()):
        if shown == limit:
            break
        what = decision.kind
        if decision.kind == "release" and decision.serving is not None:
            what = f"release {decision.serving.number}"
        because = decision.note or (
            f"{len(decision.problems)} problems: {decision.problems[0]}"
            if decision.problems
            else ""
        )
        table.add_row(
            f"{decision.moment:%Y-%m-%d %H:%M:%S}",
            what,
            f"release {decision.serving.number}" if decision.serving else "nothing yet",
            decision.by,
            because,
        )
    if not table.row_count:
        console.print(f"{product} has no release yet. Run `ap run {product}`.", highlight=False)
        return
    console.print(table, highlight=False)


@app.command()
def show(
    product: Product,
    number: Annotated[int | None, typer.Argument(help="The one in force unless given.")] = None,
) -> None:
    """Show what a release holds and what it was made of."""
    from analytics_platform.lake import LakeError
    from analytics_platform.release.provenance import read_manifest
    from analytics_platform.release.read import ReleasedProduct

    log = release_log(product)
    try:
        release = _release(log, number)
        manifest = read_manifest(log.store, release.manifest)
        with ReleasedProduct(release, log.store) as reader:
            tables = reader.tables()
    except LakeError as error:
        raise fail(str(error)) from error
    code = manifest["code"]
    changed = " with uncommitted changes" if code["has_uncommitted_changes"] else ""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("release", str(release.number))
    table.add_row("released", f"{release.moment:%Y-%m-%d %H:%M:%S} UTC")
    table.add_row("snapshot", str(release.snapshot))
    table.add_row("checks held", f"{release.held:,}")
    table.add_row("tables", ", ".join(tables))
    for model in manifest["models"]:
        table.add_row("model", f"{model['model']} {model['version']}, {model['sha256'][:12]}")
    table.add_row("files", f"{len(manifest['files'])} reports and artifacts, by content")
    table.add_row("made of", f"{len(manifest['arrivals'])} arrived files, by content")
    table.add_row("code", f"{code['sha256'][:12]}, commit {code['commit'][:12] or 'none'}{changed}")
    table.add_row("lock", code["lock_sha256"][:12])
    table.add_row("frozen catalog", release.catalog.sha256[:12])
    console.print(table, highlight=False)


@app.command()
def rollback(
    product: Product,
    to: Annotated[
        int | None,
        typer.Option(
            "--to", help="The release; the earlier one that readers saw last, unless given."
        ),
    ] = None,
    note: Note = "",
) -> None:
    """Give readers an earlier release back, and hold further releases until `resume`."""
    from analytics_platform.lake import LakeError
    from analytics_platform.release.publish import rollback as take_back

    try:
        release = take_back(release_log(product), to, note)
    except LakeError as error:
        raise fail(str(error)) from error
    console.print(
        f"Readers of {product} see release {release.number} again. Nothing is released until "
        f"`ap release resume {product}`.",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def resume(product: Product, note: Note = "") -> None:
    """Let releases go on after a rollback."""
    from analytics_platform.lake import LakeError
    from analytics_platform.release.publish import resume as go_on

    try:
        go_on(release_log(product), note)
    except LakeError as error:
        raise fail(str(error)) from error
    console.print(
        f"Releases of {product} go on: `ap run {product}` judges the working state.",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def revert(
    product: Product,
    partition: Annotated[list[str], typer.Option(help="A day, ISO; may be given several times.")],
    note: Note = "",
) -> None:
    """Put days of the working state back to the released state, so that the others may go out."""
    from analytics_platform.cli.execution import load_repository
    from analytics_platform.components.state import shape_of
    from analytics_platform.lake import LakeError
    from analytics_platform.release import revert as put_back

    log = release_log(product)
    try:
        log.serving()
        shape = shape_of(load_repository(console).asset_graph, product)
        done = put_back(log, log.store, shape.required, shape.daily_columns, partition, note)
    except LakeError as error:
        raise fail(str(error)) from error
    days = ", ".join(partition)
    console.print(
        f"{days}: {len(done.restored)} partitions stand as in release {done.release.number}, "
        f"{len(done.removed)} that it did not have are taken out.",
        highlight=False,
        soft_wrap=True,
    )
    if done.verdict.opens:
        console.print(f"The gate opens: `ap run {product}` releases the rest.", highlight=False)
        return
    console.print("The gate still refuses:", style="yellow")
    for line in done.verdict.lines()[:20]:
        console.print(f"  - {line}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def attach(
    product: Product,
    number: Annotated[int | None, typer.Argument(help="The one in force unless given.")] = None,
) -> None:
    """Print the SQL by which any DuckDB client or BI tool attaches the release."""
    from analytics_platform.lake import LakeError
    from analytics_platform.release.read import attach_statement

    log = release_log(product)
    try:
        statement = attach_statement(_release(log, number), log.store)
    except LakeError as error:
        raise fail(str(error)) from error
    typer.echo(statement)


def _release(log: ReleaseLog, number: int | None) -> Release:
    return log.serving() if number is None else log.release(number)
