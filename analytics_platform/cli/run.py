"""`ap run`: start what is behind, one run after another in this process, until nothing is."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
import polars as pl
from dagster._core.utils import make_new_run_id
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from analytics_platform.cli.instance import (
    PROCESS_TAG,
    fail_abandoned_runs,
    prepare_dagster_home,
)
from analytics_platform.cli.products import UnknownProductError, find_product
from analytics_platform.components.product import job_name, run_tags
from analytics_platform.components.state import nodes_of, product_state
from analytics_platform.lake import FileStore, Lake, records
from analytics_platform.lake.records import WHOLE
from analytics_platform.planning import PlannedRun, next_run
from analytics_platform.settings import get_settings


@dataclass(frozen=True)
class Stage:
    """One run that was started, for the summary.

    Attributes:
        title: What it did, in words.
        seconds: Wall time.
        succeeded: Whether the run succeeded.
        error: The first failure's message, empty otherwise.
    """

    title: str
    seconds: float
    succeeded: bool
    error: str


def run_product(product: str, console: Console) -> bool:
    """Run everything that is behind in a product, and print the summary.

    Returns:
        Whether every run succeeded and nothing that arrived was left behind.
    """
    from analytics_platform.cli.summary import print_summary

    find_product(product)
    prepare_dagster_home()
    lake = Lake.from_settings(get_settings())
    stages: list[Stage] = []
    store = FileStore(get_settings().files_path)
    started = time.perf_counter()
    repository = load_repository(console)
    instance = dg.DagsterInstance.get()
    stages.append(Stage("start-up", time.perf_counter() - started, True, ""))
    graph = repository.asset_graph
    nodes = nodes_of(graph, product)
    # What failed in this call is not tried again in it; what a person mended may be.
    failed: set[str] = set()
    with instance:
        fail_abandoned_runs(instance, launched_too=False)
        while True:
            state = product_state(lake, store, graph, product, get_settings().landing_path)
            planned = next_run(nodes, state, without=failed)
            if planned is None:
                break
            stage = _execute(product, planned, repository, instance, console)
            stages.append(stage)
            if not stage.succeeded:
                failed.add(planned.fingerprint)
    if len(stages) == 1:
        console.print(f"Nothing new for {product}: no file waits and no table is behind.")
    print_summary(product, console, stages)
    return all(stage.succeeded for stage in stages)


def materialize(
    product: str, asset: str, first: str | None, last: str | None, console: Console
) -> bool:
    """Make an asset again, whether it is behind or not.

    Args:
        product: The product.
        asset: The asset.
        first: The first partition; where the asset has partitions and none is given, all that
            stand are made again.
        last: The last partition; the first unless said.
        console: Where progress is shown.

    Returns:
        Whether the run succeeded.

    Raises:
        UnknownProductError: If there is no such product, asset or partition.
    """
    find_product(product)
    prepare_dagster_home()
    lake = Lake.from_settings(get_settings())
    repository = load_repository(console)
    nodes = {node.name: node for node in nodes_of(repository.asset_graph, product)}
    if asset not in nodes:
        raise UnknownProductError(f"{product} has no asset {asset!r}; it has: {', '.join(nodes)}.")
    cadence = nodes[asset].cadence
    if cadence == "whole":
        first = last = WHOLE
    elif first is None:
        with lake.reader() as con:
            written = records.latest_writes(con, product)
        standing = sorted(written.filter(pl.col("asset") == asset)["partition"])
        if not standing:
            raise UnknownProductError(f"{asset} has no partition yet; name one with --partition.")
        first, last = standing[0], standing[-1]
    last = first if last is None else last
    planned = PlannedRun(cadence, (asset,), first or WHOLE, last or WHOLE, "asked for", "")
    with dg.DagsterInstance.get() as instance:
        return _execute(product, planned, repository, instance, console).succeeded


def load_repository(console: Console) -> dg.RepositoryDefinition:
    """The code location, as Dagster's servers load it."""
    with console.status("Loading the code location …"), _quiet():
        from analytics_platform.definitions import defs

        return defs().get_repository_def()


def _execute(
    product: str,
    planned: PlannedRun,
    repository: dg.RepositoryDefinition,
    instance: dg.DagsterInstance,
    console: Console,
) -> Stage:
    title = _title(planned)
    started = time.perf_counter()
    job = repository.get_job(job_name(product, planned.cadence))
    run_id = make_new_run_id()
    with _progress(console, title) as step, _quiet():
        instance.add_event_listener(run_id, lambda entry: _tell_step(entry, step))
        result = job.execute_in_process(
            run_id=run_id,
            instance=instance,
            # Every event stands in the run's log in the UI; the terminal shows the steps.
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags=run_tags(product, planned) | {PROCESS_TAG: str(os.getpid())},
            asset_selection=[dg.AssetKey([product, asset]) for asset in planned.assets],
            raise_on_error=False,
        )
    seconds = time.perf_counter() - started
    error = "" if result.success else _first_error(result)
    mark = "[green]✓[/green]" if result.success else "[red]✗[/red]"
    console.print(f"{mark} {title} [dim]{seconds:.1f} s[/dim]", highlight=False)
    if error:
        console.print(error, style="red", markup=False, highlight=False)
    return Stage(title, seconds, result.success, error)


def _title(planned: PlannedRun) -> str:
    first, last = planned.assets[0], planned.assets[-1]
    tables = first if len(planned.assets) == 1 else f"{first} … {last} ({len(planned.assets)})"
    if not planned.first:
        return tables
    if planned.first == planned.last:
        return f"{tables}, {planned.first}"
    return f"{tables}, {planned.first} to {planned.last}"


def _first_error(result: dg.ExecuteInProcessResult) -> str:
    messages = []
    for event in result.filter_events(lambda event: event.is_step_failure):
        failure = event.step_failure_data
        if failure.user_failure_data is not None:
            messages.append(failure.user_failure_data.description or "")
        elif failure.error is not None:
            error = failure.error
            while error.cause is not None:
                error = error.cause
            messages.append(error.message.strip())
    return "\n".join(message for message in messages if message) or "The run failed."


@contextmanager
def _progress(console: Console, title: str) -> Iterator[Callable[[str], None]]:
    """A line that says which step is at work and for how long."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title)

        def step(name: str) -> None:
            progress.update(task, description=f"{title} · {name}")
            if not console.is_terminal:
                console.print(f"  … {name}", highlight=False)

        yield step


def _tell_step(entry: dg.EventLogEntry, step: Callable[[str], None]) -> None:
    event = entry.dagster_event
    if event is not None and event.event_type_value == "STEP_START":
        step((event.step_key or "").rpartition("__")[2])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dagster's notices of what is in preview out of a summary for people."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=dg.PreviewWarning)
        warnings.filterwarnings("ignore", category=dg.BetaWarning)
        yield
