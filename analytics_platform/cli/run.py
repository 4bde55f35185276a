"""`ap run`: start what is behind, one run after another in this process, until nothing is."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
from rich.console import Console

from analytics_platform.arrivals import BEING_WRITTEN, Look, landing_zone
from analytics_platform.cli.execution import execute, load_repository
from analytics_platform.cli.instance import fail_abandoned_runs, prepare_dagster_home
from analytics_platform.cli.products import UnknownProductError, find_product
from analytics_platform.cli.stage import Stage
from analytics_platform.cli.summary import print_summary
from analytics_platform.cli.terminal import ap_command
from analytics_platform.components.alerts import tell
from analytics_platform.components.landing_source import replay_config
from analytics_platform.components.state import look_at, nodes_of, product_state, sources_of
from analytics_platform.lake import FileStore, Lake, records
from analytics_platform.lake.records import WHOLE
from analytics_platform.planning import Cadence, PlannedRun, next_run
from analytics_platform.settings import get_settings

PATIENCE_SECONDS = 60.0
"""How long files that are being written are waited for when nothing else is to be done."""


def run_product(product: str, console: Console) -> bool:
    """Run everything that is behind in a product, and print the summary.

    Returns:
        Whether every run succeeded and nothing that arrived was left behind.
    """
    find_product(product)
    prepare_dagster_home()
    settings = get_settings()
    lake = Lake.from_settings(settings)
    stages: list[Stage] = []
    store = FileStore(settings.files_path)
    started = time.perf_counter()
    repository = load_repository(console)
    instance = dg.DagsterInstance.get()
    stages.append(Stage("start-up", time.perf_counter() - started, True, ""))
    graph = repository.asset_graph
    nodes = nodes_of(graph, product)
    sources = sources_of(graph, product)
    zone = landing_zone(settings.landing_url)
    # What failed in this call is not tried again in it; what a person mended may be.
    failed: set[str] = set()
    with instance:
        fail_abandoned_runs(instance, launched_too=False)
        patience = PATIENCE_SECONDS
        while True:
            found = look_at(lake, sources, product, zone, settings.writer_wait_seconds)
            state = product_state(lake, store, graph, product, found)
            planned = next_run(
                nodes, state, without=failed, most_partitions=settings.run_partitions
            )
            if planned is None:
                if found.is_settled or patience <= 0 or not _may_settle(found):
                    break
                patience -= _wait_for(found, console)
                continue
            stage = execute(product, planned, repository, instance, console)
            stages.append(stage)
            if not stage.succeeded:
                failed.add(planned.fingerprint)
        _tell_alerts(lake, instance, repository, console)
    if len(stages) == 1:
        console.print(f"Nothing new for {product}: no file waits and no table is behind.")
    print_summary(product, console, stages)
    return all(stage.succeeded for stage in stages)


def _tell_alerts(
    lake: Lake, instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, console: Console
) -> None:
    """Look and tell as the alerter's sensor does: there may be no daemon that does."""
    try:
        with console.status("Telling alerts …"):
            report = tell(lake, instance, repository)
    except Exception as error:
        # What was run stays run, whatever becomes of the news of it.
        console.print(f"Alerts were not told: {error}", style="yellow", markup=False)
        return
    if not (report.opened or report.resolved or report.taken or report.errors):
        return
    style = "yellow" if report.errors else None
    console.print(f"Alerts: {report.text()}", style=style, markup=False, highlight=False)
    if report.opened:
        console.print(f"  what is open: {ap_command()} alerts list", highlight=False)


def _may_settle(found: Look) -> bool:
    """Whether a little waiting may change what is due."""
    return not found.is_whole or any(d.entry.reason == BEING_WRITTEN for d in found.not_due)


def _wait_for(found: Look, console: Console) -> float:
    """Wait a moment for files that may not be complete; gives the seconds."""
    seconds = 1.0 if found.is_whole else 0.0
    with console.status(f"Waiting for {len(found.not_due)} files to stand still …"):
        time.sleep(seconds)
    return max(seconds, 0.1)


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
    repository, cadence = _asset_of(product, asset, console)
    if cadence == "whole":
        first = last = WHOLE
    elif first is None:
        with Lake.from_settings(get_settings()).reader() as con:
            written = records.latest_writes(con, product)
        standing = sorted(written.filter(pl.col("asset") == asset)["partition"])
        if not standing:
            raise UnknownProductError(f"{asset} has no partition yet; name one with --partition.")
        first, last = standing[0], standing[-1]
    last = first if last is None else last
    planned = PlannedRun(cadence, (asset,), first or WHOLE, last or WHOLE, "asked for", "")
    with dg.DagsterInstance.get() as instance:
        return execute(product, planned, repository, instance, console).succeeded


def run_whole(
    product: str, assets: Sequence[str], run_config: Mapping[str, Any], console: Console
) -> bool:
    """Run assets without partitions, with a config of their own.

    Returns:
        Whether the run succeeded.
    """
    find_product(product)
    prepare_dagster_home()
    repository = load_repository(console)
    planned = PlannedRun("whole", tuple(assets), WHOLE, WHOLE, "asked for", "")
    with dg.DagsterInstance.get() as instance:
        return execute(product, planned, repository, instance, console, run_config).succeeded


def replay(product: str, asset: str, partitions: Sequence[str], console: Console) -> list[Stage]:
    """Replay what a source's table keeps aside of some partitions, adjacent days in one run.

    Args:
        product: The product.
        asset: The source's table.
        partitions: The partitions.
        console: Where progress is shown.

    Returns:
        The runs.

    Raises:
        UnknownProductError: If there is no such product or asset.
    """
    repository, cadence = _asset_of(product, asset, console)
    config = replay_config(product, asset)
    with dg.DagsterInstance.get() as instance:
        return [
            execute(
                product,
                PlannedRun(cadence, (asset,), first, last, "asked for", ""),
                repository,
                instance,
                console,
                config,
            )
            for first, last in _adjacent(partitions)
        ]


def _asset_of(
    product: str, asset: str, console: Console
) -> tuple[dg.RepositoryDefinition, Cadence]:
    """The code location, and the cadence of an asset in it; Dagster's home is made ready."""
    find_product(product)
    prepare_dagster_home()
    repository = load_repository(console)
    nodes = {node.name: node for node in nodes_of(repository.asset_graph, product)}
    if asset not in nodes:
        raise UnknownProductError(f"{product} has no asset {asset!r}; it has: {', '.join(nodes)}.")
    return repository, nodes[asset].cadence


def _adjacent(partitions: Sequence[str]) -> list[tuple[str, str]]:
    """The first and the last of each range of days without a gap."""
    ranges: list[tuple[str, str]] = []
    for partition in sorted(partitions):
        if ranges and partition != WHOLE:
            first, last = ranges[-1]
            if dt.date.fromisoformat(last) + dt.timedelta(days=1) == dt.date.fromisoformat(
                partition
            ):
                ranges[-1] = (first, partition)
                continue
        ranges.append((partition, partition))
    return ranges
