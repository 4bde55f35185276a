"""One planned run, executed in this process, with its progress shown to a person.

Belongs here: loading the code location, running what was planned, and saying what became of it.
Does not belong here: what is due (`run.py`) and the summary (`summary.py`).
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError
from dagster._core.utils import make_new_run_id
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from analytics_platform.cli.instance import PROCESS_TAG
from analytics_platform.cli.stage import Stage
from analytics_platform.components.product import job_name, run_tags
from analytics_platform.planning import PlannedRun


def load_repository(console: Console) -> dg.RepositoryDefinition:
    """The code location, as Dagster's servers load it."""
    with console.status("Loading the code location …"), _quiet():
        from analytics_platform.definitions import defs

        repository = defs().get_repository_def()
        # Made when it is first asked for, which is when it says what is in preview.
        _ = repository.asset_graph
        return repository


def execute(
    product: str,
    planned: PlannedRun,
    repository: dg.RepositoryDefinition,
    instance: dg.DagsterInstance,
    console: Console,
    run_config: Mapping[str, Any] | None = None,
) -> Stage:
    """Run what was planned, with a line that says which step is at work, and one when it is done.

    Args:
        product: The product.
        planned: What to run.
        repository: The code location.
        instance: Where the run and its events are kept.
        console: Where progress is shown.
        run_config: Config of the run's assets.
    """
    title = _title(planned)
    started = time.perf_counter()
    run_id = make_new_run_id()
    with _progress(console, title) as step, _quiet():
        job = repository.get_job(job_name(product, planned.cadence))
        instance.add_event_listener(run_id, lambda entry: _tell_step(entry, step))
        result = job.execute_in_process(
            run_id=run_id,
            instance=instance,
            # Every event stands in the run's log in the UI; the terminal shows the steps.
            run_config={
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                **(run_config or {}),
            },
            tags=run_tags(product, planned) | {PROCESS_TAG: str(os.getpid())},
            asset_selection=[dg.AssetKey([product, asset]) for asset in planned.assets],
            raise_on_error=False,
        )
    seconds = time.perf_counter() - started
    error = "" if result.success else _first_error(result)
    mark = "[green]✓[/green]" if result.success else "[red]✗[/red]"
    console.print(f"{mark} {title} [dim]{seconds:.1f} s[/dim]", highlight=False)
    if error:
        console.print(error, style="red", markup=False, highlight=False, soft_wrap=True)
    return Stage(title, seconds, result.success, error, is_check=_is_check(result))


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


def _is_check(result: dg.ExecuteInProcessResult) -> bool:
    """Whether nothing but blocking checks failed a run."""
    errors = [
        event.step_failure_data.error
        for event in result.filter_events(lambda event: event.is_step_failure)
    ]
    return bool(errors) and all(
        error is not None and error.cls_name == DagsterAssetCheckFailedError.__name__
        for error in errors
    )


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
