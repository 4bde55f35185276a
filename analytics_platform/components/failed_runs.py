"""Failed runs, and whether anything has made up for them since.

A job is a cadence: its newest run says nothing of another run's work. So a failure is a step that
failed, with the assets it was to make and their partitions, and it is over when all of that was
made by runs that ended later. The planner's tag of a run would not do in its place, because it
changes with every write to the lake; nor would the whole run, because what is tried again is only
what was not made.

Belongs here: the work that a failed run left, and what made up for it. Does not belong here: who
is told (`monitoring.alerts`), and what is started again (`planning`).
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import dagster as dg
import duckdb
from dagster._core.errors import DagsterAssetCheckFailedError

from analytics_platform.components.product_spec import PRODUCT_TAG
from analytics_platform.lake import records
from analytics_platform.lake.records import WHOLE
from analytics_platform.lake.tables import RAW
from analytics_platform.monitoring.alerts import Alert, Evidence, Finding, Identity, run_link

PLATFORM = "platform"

MOST_FAILURES = 50
"""How many failed runs a look reads, the newest that ended: a look a minute sees each in time."""
MOST_SUCCESSES = 200
"""How many runs that succeeded since. What older ones made is known by the lake as well."""

_SHOWN = 3
_PARTITION = "dagster/partition"
_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

Piece = tuple[dg.AssetKey, str]
"""An asset and a partition of it; `WHOLE` for one without any. A step that only checks stands for
itself, as if it were an asset."""


@dataclass(frozen=True)
class Ended:
    """A run that ended.

    Attributes:
        run: The run.
        at: When it ended, in UTC without a zone.
        assets: What it was to make.
        first: The first partition; `WHOLE` where it had none.
        last: The last one.
    """

    run: dg.DagsterRun
    at: dt.datetime
    assets: frozenset[dg.AssetKey]
    first: str = WHOLE
    last: str = WHOLE

    def has(self, piece: Piece) -> bool:
        """Whether it was to make this."""
        asset, partition = piece
        return asset in self.assets and (partition == WHOLE or self.first <= partition <= self.last)


@dataclass(frozen=True)
class Failure:
    """A step that failed, or a run of which none did.

    Attributes:
        identity: Which alert it is.
        ended: Its run.
        why: The failure's own words.
        wanted: What it was to make.
        is_check: Whether nothing but a blocking check failed it.
        left: What of that nobody has made since.
    """

    identity: Identity
    ended: Ended
    why: str
    wanted: frozenset[Piece]
    is_check: bool = False
    left: frozenset[Piece] = frozenset()


@dataclass(frozen=True)
class _Log:
    """What a failed run's log says of its steps: failures by step, and those that succeeded."""

    failed: Mapping[str, Any]
    succeeded: frozenset[str]


def run_evidence(
    con: duckdb.DuckDBPyConnection,
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    ui: str,
    alerts: Iterable[Alert],
) -> Evidence:
    """The failures that nothing has made up for.

    Args:
        con: A connection to the lake.
        instance: Dagster's instance, which knows the runs; a canceled run is no failure.
        repository: The code location: what it no longer has is over.
        ui: The UI's address, for links.
        alerts: The alerts so far. An open one of a run whose log was removed, or that is too old
            to be read again, is over when its step has succeeded on all that the alert names;
            until then it is not judged.
    """
    known = _Known(repository)
    standing = {alert.identity: alert for alert in alerts
                if alert.identity.kind == "run" and alert.is_open}  # fmt: skip
    failed = _read_runs(instance, known, dg.DagsterRunStatus.FAILURE, MOST_FAILURES)
    if not failed and not standing:
        return Evidence(())
    since = min([run.at for run in failed] + [alert.opened_at for alert in standing.values()])
    good = _read_runs(instance, known, dg.DagsterRunStatus.SUCCESS, MOST_SUCCESSES, since)

    logs = {
        run.run.run_id: _read_log(instance, run)
        for run in failed
        if not _is_outdone(run, good, known)
    }
    # A run that failed made what its other steps were to make.
    parts = [
        replace(run, assets=run.assets & known.assets_of(logs[run.run.run_id].succeeded))
        for run in failed
        if run.run.run_id in logs
    ]
    failures = [
        failure
        for run in failed
        if run.run.run_id in logs
        for failure in _failures(run, logs[run.run.run_id], known)
    ]
    products = {key.path[0] for failure in failures for key, _ in failure.wanted}
    products |= {identity.product for identity in standing}
    books = {product: _Book.read(con, product) for product in products}
    judged = [replace(failure, left=_left(failure, [*good, *parts], books)) for failure in failures]

    findings = _findings(judged, ui)
    unjudged: set[Identity] = set()
    for identity, alert in standing.items():
        of_it = [failure for failure in judged if failure.identity == identity]
        told = {_name(piece) for failure in of_it for piece in failure.wanted}
        if of_it and alert.finding.news <= told:
            continue
        rest = _rest(alert, alert.finding.news - told, known, good, parts, books[identity.product])
        if rest is None:
            continue
        if identity in findings:
            findings[identity] = replace(findings[identity], news=findings[identity].news | rest)
        else:
            unjudged.add(identity)
    return Evidence(tuple(findings.values()), frozenset(unjudged))


class _Known:
    """What the code location makes, and by which steps.

    Args:
        repository: The code location.
    """

    def __init__(self, repository: dg.RepositoryDefinition) -> None:
        self._repository = repository
        self.jobs = frozenset(repository.job_names)
        self._of_jobs: dict[str, frozenset[dg.AssetKey]] = {}

    @cached_property
    def steps(self) -> Mapping[str, frozenset[dg.AssetKey]]:
        """The assets of each step; the step itself where it only checks."""
        made = {
            definition.node_def.name: frozenset(definition.keys)
            for definition in self._repository.assets_defs_by_key.values()
            if definition.is_executable
        }
        return made | {step: frozenset({key}) for step, key in self._checking.items()}

    @cached_property
    def _checking(self) -> Mapping[str, dg.AssetKey]:
        """What stands for each step that only checks."""
        definitions = self._repository.asset_checks_defs_by_key.values()
        return {of.node_def.name: _stand_in(of.node_def.name) for of in definitions}

    @cached_property
    def stand_ins(self) -> frozenset[dg.AssetKey]:
        """What stands for the steps that only check."""
        return frozenset(self._checking.values())

    def assets_of(self, steps: Iterable[str]) -> frozenset[dg.AssetKey]:
        """The assets that some steps make."""
        return frozenset[dg.AssetKey]().union(*(self.steps.get(step, ()) for step in steps))

    def asked_for(self, run: dg.DagsterRun) -> frozenset[dg.AssetKey]:
        """What a run was to make: the assets selected with what checks them, or all of its job."""
        if not run.asset_selection and not run.asset_check_selection:
            return self._of_job(run.job_name)
        assets, checks = run.asset_selection or (), run.asset_check_selection
        return frozenset(assets) | {
            self._checking[definition.node_def.name]
            for key, definition in self._repository.asset_checks_defs_by_key.items()
            if (key.asset_key in assets if checks is None else key in checks)
        }

    def _of_job(self, name: str) -> frozenset[dg.AssetKey]:
        if name not in self._of_jobs:
            job = self._repository.get_job(name)
            self._of_jobs[name] = frozenset(job.asset_layer.executable_asset_keys) | {
                self._checking[node.name] for node in job.graph.nodes if node.name in self._checking
            }
        return self._of_jobs[name]

    def pieces(self, run: Ended, assets: Iterable[dg.AssetKey]) -> frozenset[Piece]:
        """Assets, with the partitions that a run was to make of each; what is no more is none."""
        graph = self._repository.asset_graph
        found: set[Piece] = set()
        for key in assets:
            if key in self.stand_ins:
                found.add((key, WHOLE))
            if not graph.has(key):
                continue
            partitions = graph.get(key).partitions_def
            if partitions is None or run.first == WHOLE:
                found.add((key, WHOLE))
                continue
            between = dg.PartitionKeyRange(run.first, run.last)
            try:
                days = partitions.get_partition_keys_in_range(between)
            except dg.DagsterError:
                # Of a time when the product had other days: nobody will make those.
                continue
            found |= {(key, day) for day in days}
        return frozenset(found)


@dataclass(frozen=True)
class _Change:
    """The newest write or removal of a piece: by which run, when, and what it made of the lake."""

    run_id: str
    at: dt.datetime
    snapshot: int
    is_removal: bool


@dataclass(frozen=True)
class _Book:
    """What the lake knows of a product's pieces, by asset and partition.

    Attributes:
        changes: The newest write or removal.
        seen: The newest snapshot that a check looked at.
        failing: Where a blocking check fails.
        judged: The assets, with the runs whose checks of some partition still count.
    """

    changes: Mapping[tuple[str, str], _Change]
    seen: Mapping[tuple[str, str], int]
    failing: frozenset[tuple[str, str]]
    judged: frozenset[tuple[str, str]]

    @classmethod
    def read(cls, con: duckdb.DuckDBPyConnection, product: str) -> "_Book":
        """The book of a product as it stands."""
        changes = {
            (row["asset"], row["partition"]): _Change(
                row["run_id"], row["written_at"], row["snapshot_id"], row["kind"] == "removed"
            )
            for row in records.latest_changes(con, product).iter_rows(named=True)
        }
        seen: dict[tuple[str, str], int] = {}
        failing: set[tuple[str, str]] = set()
        judged: set[tuple[str, str]] = set()
        for row in records.latest_checks(con, product).iter_rows(named=True):
            place = row["asset"], row["partition"]
            seen[place] = max(row["snapshot_id"], seen.get(place, -1))
            judged.add((row["asset"], row["run_id"]))
            if row["blocking"] and not row["passed"]:
                failing.add(place)
        return cls(changes, seen, frozenset(failing), frozenset(judged))

    def is_settled_since(self, piece: Piece, moment: dt.datetime, run_id: str = "") -> bool:
        """Whether another run wrote it later and its blocking checks hold, or took it out."""
        place = _place(piece)
        change = self.changes.get(place)
        return (
            change is not None
            and change.at > moment
            and change.run_id != run_id
            and (change.is_removal or self._holds(place))
        )

    def is_sound_by(self, piece: Piece, run_id: str) -> bool:
        """Whether what stands was written by a run, and checks have seen it and hold.

        A source loads all that waits in one transaction with its checks: where those of a run are
        kept, and of a day nothing is, no file of the day waited.
        """
        place = asset, _ = _place(piece)
        change = self.changes.get(place)
        if not self._holds(place):
            return False
        if change is None:
            return asset.startswith(RAW) and (asset, run_id) in self.judged
        seen = max(self.seen.get(place, -1), self.seen.get((asset, WHOLE), -1))
        return change.run_id == run_id and not change.is_removal and seen >= change.snapshot

    def _holds(self, place: tuple[str, str]) -> bool:
        return not {place, (place[0], WHOLE)} & self.failing


def _place(piece: Piece) -> tuple[str, str]:
    return piece[0].path[-1], piece[1]


def _read_runs(
    instance: dg.DagsterInstance,
    known: _Known,
    status: dg.DagsterRunStatus,
    most: int,
    since: dt.datetime | None = None,
) -> list[Ended]:
    """The runs that ended last so, in the order in which they ended."""
    found: list[Ended] = []
    for record in instance.get_run_records(
        # The order of the index that run storage has; it is the time of the end, or later.
        dg.RunsFilter(statuses=[status], updated_after=since),
        limit=most,
        order_by="update_timestamp",
    ):
        run = record.dagster_run
        if run.job_name not in known.jobs:
            continue
        at = record.update_timestamp
        if record.end_time is not None:
            at = dt.datetime.fromtimestamp(record.end_time, dt.UTC)
        one = run.tags.get(_PARTITION)
        found.append(
            Ended(
                run,
                at.astimezone(dt.UTC).replace(tzinfo=None),
                known.asked_for(run),
                one or run.tags.get(_FIRST, WHOLE),
                one or run.tags.get(_LAST, WHOLE),
            )
        )
    return sorted(found, key=lambda run: run.at)


def _is_outdone(failed: Ended, good: Sequence[Ended], known: _Known) -> bool:
    """Whether one later run succeeded in all that a failed one was to do: its log tells no more."""
    ends = [replace(failed, last=failed.first), replace(failed, first=failed.last)]
    pieces = frozenset[Piece]().union(*(known.pieces(end, failed.assets) for end in ends))
    return any(later.at > failed.at and all(map(later.has, pieces)) for later in good)


def _read_log(instance: dg.DagsterInstance, run: Ended) -> _Log:
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.STEP_SUCCESS}
    failed: dict[str, Any] = {}
    succeeded: set[str] = set()
    for entry in instance.all_logs(run.run.run_id, of_type=kinds):
        event: Any = entry.dagster_event
        if event.is_step_failure:
            failed[event.step_key] = event.step_failure_data
        else:
            succeeded.add(event.step_key)
    return _Log(failed, frozenset(succeeded))


def _failures(run: Ended, log: _Log, known: _Known) -> list[Failure]:
    """A failure for each step that failed; one for the run where none did."""
    found: list[Failure] = []
    for step, data in log.failed.items():
        if step not in known.steps:
            continue
        product, name = _stand_in(step).path
        wanted = known.pieces(run, run.assets & known.steps[step])
        error = data.error
        is_check = error is not None and error.cls_name == DagsterAssetCheckFailedError.__name__
        identity = Identity(product, "run", name)
        found.append(Failure(identity, run, f"{name}: {_words(data)}", wanted, is_check))
    if not log.failed:
        wanted = known.pieces(run, run.assets - known.assets_of(log.succeeded))
        identity = Identity(_product_of(run.run), "run", run.run.job_name)
        found.append(Failure(identity, run, "no step failed; its log says more", wanted))
    return found


def _product_of(run: dg.DagsterRun) -> str:
    tagged = run.tags.get(PRODUCT_TAG)
    if tagged:
        return tagged
    products = {key.path[0] for key in run.asset_selection or ()}
    return products.pop() if len(products) == 1 else PLATFORM


def _words(data: Any) -> str:
    """A failed step's own words."""
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    said = data.user_failure_data.description if data.user_failure_data else None
    return " ".join((said or (error.message if error is not None else "")).split())


def _left(failure: Failure, good: Sequence[Ended], books: Mapping[str, _Book]) -> frozenset[Piece]:
    """What a failure was to make and nobody has made since."""
    run = failure.ended
    after = [later for later in good if later.at > run.at]
    missing = {
        piece
        for piece in failure.wanted
        if not any(later.has(piece) for later in after)
        and not books[piece[0].path[0]].is_settled_since(piece, run.at, run.run.run_id)
    }
    # Of several days or models, those are made that the run wrote and whose checks hold.
    sound = {
        piece
        for piece in failure.wanted
        if books[piece[0].path[0]].is_sound_by(piece, run.run.run_id)
    }
    if sound == failure.wanted and not failure.is_check:
        # It failed although all of it was made, so that nothing less than a run makes up for it.
        return frozenset(missing)
    return frozenset(missing - sound)


def _findings(judged: Sequence[Failure], ui: str) -> dict[Identity, Finding]:
    """One finding per alert, of all its failures that are not over; the newest one's words."""
    found: dict[Identity, Finding] = {}
    for failure in judged:
        if not failure.left:
            continue
        run = failure.ended
        before = found.get(failure.identity)
        news = {_name(piece) for piece in failure.left} | (before.news if before else set[str]())
        told = sorted(news - {failure.identity.subject}, reverse=True)
        more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
        work = f"{', '.join(told[:_SHOWN])}{more}; " if told else ""
        found[failure.identity] = Finding(
            failure.identity,
            "error",
            f"{work}run {run.run.run_id[:8]} failed: {failure.why}",
            run_link(ui, run.run.run_id),
            frozenset(news),
        )
    return found


def _rest(
    alert: Alert,
    named: frozenset[str],
    known: _Known,
    good: Sequence[Ended],
    parts: Sequence[Ended],
    book: _Book,
) -> frozenset[str] | None:
    """What an open alert names that no run's log speaks of any more; None where it is over.

    The alert knows partitions, or names of assets without any, and not which assets of a step
    lacked each: one that the step made since is taken for all.
    """
    product, subject = alert.identity.product, alert.identity.subject
    assets = known.steps.get(f"{product}__{subject}", frozenset())
    if not assets and subject not in known.jobs:
        return None
    since = [
        run
        for run in ([*good, *parts] if assets else good)
        if run.at > alert.opened_at
        and (run.assets & assets if assets else run.run.job_name == subject)
    ]
    if not named:
        return None if since else named
    pieces = [(key, name) for key in assets for name in named]
    pieces += [(key, WHOLE) for key in assets]
    done = {_name(piece) for piece in pieces if book.is_settled_since(piece, alert.opened_at)}
    done |= {name for name in named if any(_does(run, product, name) for run in since)}
    return named - done or None


def _does(run: Ended, product: str, name: str) -> bool:
    return dg.AssetKey([product, name]) in run.assets or (
        run.first != WHOLE and run.first <= name <= run.last
    )


def _name(piece: Piece) -> str:
    """What an alert calls it: the partition, or the asset where it has none."""
    asset, partition = piece
    return asset.path[-1] if partition == WHOLE else partition


def _stand_in(step: str) -> dg.AssetKey:
    """A step's product and name, as if it were an asset."""
    product, separator, name = step.partition("__")
    return dg.AssetKey([product, name] if separator else [PLATFORM, step])
