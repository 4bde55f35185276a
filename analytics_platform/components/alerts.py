"""The alerter: a sensor that looks at the lake, the releases and the runs, and tells people.

Belongs here: what Dagster and the release log say is wrong, and when to look. Does not belong here:
what is told, to whom and how often (`monitoring.alerts`).
"""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from analytics_platform.arrivals import ACCOUNTED, ARRIVED
from analytics_platform.components.product import PRODUCT_TAG, RELEASE
from analytics_platform.lake import FileStore, Lake, WriterBusyError, records
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.monitoring.alerts import (
    Alert,
    Evidence,
    Finding,
    Identity,
    TickReport,
    asset_link,
    channels_of,
    check_findings,
    note_look,
    run_link,
    tick,
)
from analytics_platform.release import ReleaseLog
from analytics_platform.settings import get_settings

PLATFORM = "platform"
NAME = "platform_alerts"
AD_HOC = "__ASSET_JOB"
"""Dagster's name for the job of what a person selects."""
GATE = "gate_holds"

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
_AD_HOC_RUNS = 20
_SHOWN = 3


def alert_definitions() -> dg.Definitions:
    """The sensor that tells."""

    @dg.sensor(
        name=NAME,
        description=(
            "Tells people of failed checks, points out of control, failed runs, files that never "
            "came and refused releases, once, and of their end; keeps them in the lake for "
            "`ap alerts list`. It starts no run."
        ),
        minimum_interval_seconds=get_settings().alert_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def platform_alerts(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SkipReason:
        if not lake.lake.exists:
            return dg.SkipReason("There is no lake yet.")
        if context.repository_def is None:
            raise dg.DagsterInvariantViolationError(
                f"{NAME} was evaluated outside a code location, so it knows no jobs or checks."
            )
        seen = _standing(lake.lake, context.instance, context.repository_def)
        before = json.loads(context.cursor or "{}")
        due = before.get("due")
        is_due = due is not None and records.now() >= dt.datetime.fromisoformat(due)
        try:
            if before.get("seen") == seen and not is_due:
                note_look(lake.lake)
                return dg.SkipReason("Nothing has changed since the last look.")
            report = tell(lake.lake, context.instance, context.repository_def)
        except WriterBusyError as busy:
            return dg.SkipReason(f"Another look is at work: {busy}")
        # What was seen before telling: what changed meanwhile is looked at next time.
        context.update_cursor(
            json.dumps({"seen": seen, "due": report.due and report.due.isoformat()})
        )
        return dg.SkipReason(report.text())

    return dg.Definitions(sensors=[platform_alerts])


def tell(
    lake: Lake, instance: dg.DagsterInstance, repository: dg.RepositoryDefinition
) -> TickReport:
    """Look once at everything and tell what there is to tell.

    Args:
        lake: The environment's lake.
        instance: Dagster's instance, which knows the runs.
        repository: The code location, which knows the products, their checks and jobs.

    Raises:
        WriterBusyError: If another look is at work.
    """
    return tick(lake, lambda alerts: gather(lake, instance, repository, alerts), get_settings())


def gather(
    lake: Lake,
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    alerts: Sequence[Alert],
) -> Evidence:
    """What is wrong now, by the lake, the release logs and the runs.

    Args:
        lake: The environment's lake.
        instance: Dagster's instance.
        repository: The code location.
        alerts: The alerts so far: a run alert whose job has no finished run left in Dagster's
            storage is left as it is, because upkeep removes the logs of old runs.
    """
    ui = get_settings().ui_url
    store = FileStore(get_settings().files_path)
    findings: list[Finding] = []
    with lake.reader() as con:
        con.execute("BEGIN")
        for product, known in _checks_by_product(repository).items():
            findings += check_findings(con, product, ui, known, {ARRIVED, ACCOUNTED})
    for product in _products(repository):
        findings += _refused_release(ReleaseLog(lake, store, product), ui)
    newest = _newest_runs(instance, repository)
    for (product, job), run in newest.items():
        if run.status == dg.DagsterRunStatus.FAILURE:
            findings.append(_failed_run(instance, product, job, run, ui))
    unjudged = frozenset(
        alert.identity
        for alert in alerts
        if alert.identity.kind == "run"
        and (alert.identity.product, alert.identity.subject) not in newest
    )
    return Evidence(tuple(findings), unjudged)


def _standing(lake: Lake, instance: dg.DagsterInstance, repository: dg.RepositoryDefinition) -> str:
    """A fingerprint of all that a look looks at."""
    settings = get_settings()
    store = FileStore(settings.files_path)
    newest = instance.get_run_records(
        dg.RunsFilter(statuses=_FINISHED), limit=1, order_by="update_timestamp"
    )
    looked_at = [
        str(lake.place),
        lake.snapshot(),
        [ReleaseLog(lake, store, product).head() for product in _products(repository)],
        [(record.dagster_run.run_id, str(record.update_timestamp)) for record in newest],
        sorted(repository.job_names),
        sorted(map(str, repository.asset_graph.asset_check_keys)),
        sorted(channels_of(settings.alert_urls.get_secret_value())),
    ]
    return hashlib.sha256(repr(looked_at).encode()).hexdigest()


def _products(repository: dg.RepositoryDefinition) -> list[str]:
    """The products, which are those that have a release."""
    return sorted(
        key.path[0]
        for key in repository.asset_graph.materializable_asset_keys
        if key.path[-1] == RELEASE
    )


def _checks_by_product(repository: dg.RepositoryDefinition) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for key in repository.asset_graph.asset_check_keys:
        product, asset = key.asset_key.path[0], key.asset_key.path[-1]
        found.setdefault(product, set()).add((asset, key.name))
    return found


def _refused_release(log: ReleaseLog, ui: str) -> list[Finding]:
    newest = log.newest()
    if newest is None or newest.kind != "refusal":
        return []
    problems = "; ".join(newest.problems[:_SHOWN])
    more = len(newest.problems) - _SHOWN
    summary = f"the gate refused: {problems}" + (f"; and {more} more" if more > 0 else "")
    return [
        Finding(
            Identity(log.product, "release", RELEASE),
            "error",
            summary,
            asset_link(ui, log.product, RELEASE, GATE),
        )
    ]


def _newest_runs(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition
) -> Mapping[tuple[str, str], dg.DagsterRun]:
    """The newest finished run of each product and job; one that a person canceled is none."""
    found: dict[tuple[str, str], dg.DagsterRun] = {}
    for job in repository.job_names:
        runs = instance.get_runs(
            dg.RunsFilter(job_name=job, statuses=_FINISHED),
            limit=_AD_HOC_RUNS if job == AD_HOC else 1,
        )
        for run in runs:
            found.setdefault((_product_of(run), job), run)
    return found


def _product_of(run: dg.DagsterRun) -> str:
    tagged = run.tags.get(PRODUCT_TAG)
    if tagged:
        return tagged
    products = {key.path[0] for key in run.asset_selection or ()}
    return products.pop() if len(products) == 1 else PLATFORM


def _failed_run(
    instance: dg.DagsterInstance, product: str, job: str, run: dg.DagsterRun, ui: str
) -> Finding:
    return Finding(
        Identity(product, "run", job),
        "error",
        f"run {run.run_id[:8]} failed: {_why(instance, run.run_id)}",
        run_link(ui, run.run_id),
    )


def _why(instance: dg.DagsterInstance, run_id: str) -> str:
    """The first failed step and its own words."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event: Any = entry.dagster_event
        failure = event.step_failure_data
        error = failure.error
        while error is not None and error.cause is not None:
            error = error.cause
        said = failure.user_failure_data.description if failure.user_failure_data else None
        words = said or (error.message if error is not None else "")
        return f"{(event.step_key or '').rpartition('__')[2]}: {' '.join(words.split())}"
    return "no step failed; its log says more"
