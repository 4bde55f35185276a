"""The alerter: a sensor that looks at the lake, the releases and the runs, and tells people.

Belongs here: what the release log says is wrong, and when to look. Does not belong here: which runs
failed for good (`failed_runs`), and what is told, to whom and how often (`monitoring.alerts`).
"""

import datetime as dt
import hashlib
import json
from collections.abc import Sequence

import dagster as dg

from analytics_platform.arrivals import ACCOUNTED, ARRIVED
from analytics_platform.components.failed_runs import run_evidence
from analytics_platform.components.product import RELEASE
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
    tick,
)
from analytics_platform.release import ReleaseLog
from analytics_platform.settings import get_settings

NAME = "platform_alerts"
GATE = "gate_holds"

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
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
        alerts: The alerts so far: one of a run whose log upkeep has removed is judged by itself.
    """
    ui = get_settings().ui_url
    store = FileStore(get_settings().files_path)
    findings: list[Finding] = []
    with lake.reader() as con:
        con.execute("BEGIN")
        for product, known in _checks_by_product(repository).items():
            findings += check_findings(con, product, ui, known, {ARRIVED, ACCOUNTED})
        runs = run_evidence(con, instance, repository, ui, alerts)
    for product in _products(repository):
        findings += _refused_release(ReleaseLog(lake, store, product), ui)
    return Evidence((*findings, *runs.findings), runs.unjudged)


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
