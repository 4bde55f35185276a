"""Receipts for all assets, without their code doing it, however a run is executed.

A resource hears of each step's start and measures from there; a hook on every asset ends the
measuring and writes the receipt. Both live in the process that executes the step, so it makes no
difference whether `ap run`, the daemon or `dagster asset materialize` started it. Dagster calls
the hook when the step's outcome is known, and what a hook raises never fails a run.

A step that is tried again leaves a receipt of each attempt, because each wrote and cost something
of its own; the wait between two is of neither.

Belongs here: when a step begins and ends, which assets it makes, and what those read by their own
declaration. Does not belong here: measuring and counting (`monitoring.receipts`).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

from analytics_platform.components.product_spec import ROLE
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.lake.records import WHOLE, Receipt
from analytics_platform.monitoring.receipts import Cost, Made, Meter, Read, write_receipts

RESOURCE = "receipts"
SECONDS = "seconds"
"""The metadata by which a materialisation says how long it took of its step."""

_STARTS = {dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED}
"""An attempt after the first begins with the latter."""
_HOLDS_NO_ROWS = {"model", "release"}
_TAGS = ("dagster/partition", "dagster/asset_partition_range_start",
         "dagster/asset_partition_range_end")  # fmt: skip


class ReceiptResource(dg.ConfigurableResource):
    """Measures the steps of a run in the process that executes them."""

    lake: dg.ResourceDependency[LakeResource]
    _meters: dict[str, Meter] = PrivateAttr(default_factory=dict)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Hear of the run's steps from here on."""
        if context.instance is not None and context.run is not None:
            context.instance.add_event_listener(context.run.run_id, self._hear)

    def _hear(self, entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is not None and event.event_type in _STARTS:
            self._meters[event.step_key or ""] = Meter()

    def cost_of(self, step: str) -> Cost | None:
        """What an attempt at a step cost, once; None for one that was not heard to start."""
        meter = self._meters.pop(step, None)
        return None if meter is None else meter.read()


def with_receipts(defs: dg.Definitions) -> dg.Definitions:
    """The same definitions, with a receipt for each materialisation of every asset.

    Args:
        defs: All definitions of the code location; they need the resource `receipts`.
    """
    specs = {
        spec.key: spec
        for asset in defs.assets or []
        if isinstance(asset, dg.AssetsDefinition)
        for spec in asset.specs
    }
    hook = dg.HookDefinition(
        name="receipt",
        hook_fn=lambda context, events: _end_step(context, events, specs),
        required_resource_keys={RESOURCE},
    )
    return dg.Definitions(
        assets=[
            asset.with_hooks({hook})
            if isinstance(asset, dg.AssetsDefinition) and asset.is_executable
            else asset
            for asset in defs.assets or []
        ],
        asset_checks=defs.asset_checks,
        schedules=defs.schedules,
        sensors=defs.sensors,
        jobs=defs.jobs,
        resources=defs.resources,
        executor=defs.executor,
        loggers=defs.loggers,
        metadata=defs.metadata,
        component_tree=defs.component_tree,
    )


def _end_step(
    context: dg.HookContext,
    events: Sequence[dg.DagsterEvent],
    specs: Mapping[dg.AssetKey, dg.AssetSpec],
) -> dg.HookExecutionResult:
    """Write the receipts of an attempt at a step; whatever goes wrong is said and fails nothing."""
    book: ReceiptResource = getattr(context.resources, RESOURCE)
    try:
        cost = book.cost_of(context.step_key)
        if cost is None:
            context.log.warning(f"No receipt for {context.step_key}: its start was not heard of.")
            return dg.HookExecutionResult("receipt", is_skipped=True)
        made = _made(context, events, specs)
        receipts = write_receipts(book.lake.lake, context.run_id, cost, made)
    except Exception as error:
        # A run must not fail for the want of a figure about it.
        context.log.warning(
            f"No receipt for {context.step_key}: {type(error).__name__}: {error}", exc_info=True
        )
        return dg.HookExecutionResult("receipt", is_skipped=True)
    if receipts:
        # One line of the log, because each is a transaction of Dagster's storage.
        context.log.info("Receipts:\n" + "\n".join(map(_told, receipts)))
    return dg.HookExecutionResult("receipt", is_skipped=not receipts)


def _told(receipt: Receipt) -> str:
    rows = "" if receipt.rows_out is None else f", {receipt.rows_out:,} rows out"
    return (
        f"{receipt.asset}: {receipt.wall_seconds:.2f} s, {receipt.cpu_seconds:.2f} s of CPU, "
        f"peak memory {receipt.peak_memory_bytes / 1e6:,.0f} MB{rows}"
    )


def _made(
    context: dg.HookContext,
    events: Sequence[dg.DagsterEvent],
    specs: Mapping[dg.AssetKey, dg.AssetSpec],
) -> list[Made]:
    """The assets that an attempt at a step made and, where it failed, those it was to make."""
    partitions: dict[dg.AssetKey, list[str]] = {}
    seconds: dict[dg.AssetKey, float] = {}
    failing: set[dg.AssetKey] = set()
    for event in events:
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            done = event.step_materialization_data.materialization
            partitions.setdefault(done.asset_key, []).append(done.partition or WHOLE)
            said = done.metadata.get(SECONDS)
            if said is not None and isinstance(said.value, int | float):
                seconds[done.asset_key] = float(said.value)
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if (
                check.blocking
                and not check.passed
                and check.severity == dg.AssetCheckSeverity.ERROR
            ):
                failing.add(check.asset_key)
    failed = any(event.is_step_failure or event.is_step_up_for_retry for event in events)
    planned = _planned(context) if failed else []
    run = context.instance.get_run_by_id(context.run_id)
    tags = {} if run is None else run.tags
    # Of a step with several assets, what was made before another broke was made.
    one_broke = failed and len(planned) == 1
    return [
        Made(
            product=key.path[0],
            asset=key.path[-1],
            partitions=tuple(partitions.get(key) or _asked_for(specs[key], tags)),
            reads=_reads(specs[key], partitions.get(key) or _asked_for(specs[key], tags), specs),
            seconds=seconds.get(key),
            succeeded=key in partitions and key not in failing and not one_broke,
        )
        for key in dict.fromkeys([*partitions, *planned])
        if key in specs
    ]


def _planned(context: dg.HookContext) -> list[dg.AssetKey]:
    """The assets that a step was to make."""
    found = context.instance.get_records_for_run(
        context.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    )
    planned: list[dg.AssetKey] = []
    for record in found.records:
        event = record.event_log_entry.dagster_event
        if event is not None and event.step_key == context.step_key and event.asset_key:
            planned.append(event.asset_key)
    return list(dict.fromkeys(planned))


def _asked_for(spec: dg.AssetSpec, tags: Mapping[str, str]) -> list[str]:
    """The partitions of an asset that a run was asked for."""
    one, first, last = (tags.get(tag) for tag in _TAGS)
    if spec.partitions_def is None:
        return [WHOLE]
    if one is not None:
        return [one]
    if first is None or last is None:
        return [WHOLE]
    return list(spec.partitions_def.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)))


def _reads(
    spec: dg.AssetSpec, partitions: Sequence[str], specs: Mapping[dg.AssetKey, dg.AssetSpec]
) -> tuple[Read, ...]:
    """The tables that an asset reads directly, and which of their partitions."""
    reads: list[Read] = []
    for dep in spec.deps:
        upstream = specs.get(dep.asset_key)
        if upstream is None:
            # Not ours to know: it counts as unknown, not as nothing.
            reads.append(Read(dep.asset_key.path[0], dep.asset_key.path[-1], is_known=False))
            continue
        if upstream.metadata.get(ROLE) in _HOLDS_NO_ROWS:
            continue
        first, last = _window(spec, dep, upstream, partitions)
        of_upstream = [first, last] if first is not None and last is not None else [WHOLE]
        reads.append(
            Read(
                upstream.key.path[0],
                upstream.key.path[-1],
                first,
                last,
                _reads(upstream, of_upstream, specs),
            )
        )
    return tuple(reads)


def _window(
    spec: dg.AssetSpec, dep: dg.AssetDep, upstream: dg.AssetSpec, partitions: Sequence[str]
) -> tuple[str | None, str | None]:
    """The first and last partition of an upstream that an asset's partitions read.

    As the dependency declares it: the same days, those of the week, or the days it looks back on.
    None stands for the whole table.
    """
    if spec.partitions_def is None or upstream.partitions_def is None or WHOLE in partitions:
        return None, None
    own, theirs = _days(spec.partitions_def), _days(upstream.partitions_def)
    begins, ends = 0, 0
    mapping = dep.partition_mapping
    if isinstance(mapping, dg.TimeWindowPartitionMapping):
        begins, ends = mapping.start_offset, mapping.end_offset
    first, last = (dt.date.fromisoformat(day) for day in (min(partitions), max(partitions)))
    first = _moved(first, own * begins - (theirs - 1))
    last = _moved(last, own * ends + own - 1)
    return first.isoformat(), last.isoformat()


def _days(partitions_def: Any) -> int:
    return 7 if isinstance(partitions_def, dg.WeeklyPartitionsDefinition) else 1


def _moved(day: dt.date, days: int) -> dt.date:
    """A day so many days on, as far as there are dates."""
    number = day.toordinal() + days
    return dt.date.fromordinal(min(max(number, dt.date.min.toordinal()), dt.date.max.toordinal()))
