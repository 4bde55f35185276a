"""Upkeep as an asset with a schedule: the lake, the store of files, and Dagster's own logs.

Belongs here: when it runs, what it reports, and pruning runs. Does not belong here: deciding which
file may go (`environments.upkeep`).
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import dagster as dg

from analytics_platform.environments import environments_beside, keep_up, missing_files
from analytics_platform.lake import CheckRecord, FileStore, Lake
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.lake.records import WHOLE
from analytics_platform.release import ReleaseLog, products_with_releases
from analytics_platform.settings import get_settings

KEY = dg.AssetKey(["platform", "upkeep"])
NOTHING_LOST = "nothing_needed_is_missing"
NIGHTLY = "30 3 * * *"
MOST_RUNS = 500
"""How many runs one upkeep deletes: each takes some 20 ms, and the next night goes on."""


def upkeep_definitions() -> dg.Definitions:
    """The upkeep asset, its job and its schedule."""
    spec = dg.AssetSpec(
        KEY,
        description=(
            "Merges small files, expires snapshots that no release needs, removes data and stored "
            "files that no working state, release, clone or record of any environment names, and "
            "deletes the logs of old runs whose results were replaced since. What is younger than "
            "AP_RETENTION_DAYS stays. It says what it freed."
        ),
        kinds={"ducklake"},
        owners=["team:platform"],
        group_name="platform",
    )
    check = dg.AssetCheckSpec(
        NOTHING_LOST,
        asset=KEY,
        description="Protects readers: every file that a working state, a release or a record of "
        "any environment names is there.",
    )

    @dg.multi_asset(name="platform__upkeep", specs=[spec], check_specs=[check])
    def upkeep(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        settings = get_settings()
        store = FileStore(settings.files_path)
        retention = dt.timedelta(days=settings.retention_days)
        freed = keep_up(lake.lake, store, retention)
        runs = prune_runs(context.instance, environments_beside(lake.lake), store, retention)
        context.log.info(f"Freed {freed.bytes / 1e6:,.1f} MB; deleted the logs of {runs} runs")
        yield dg.MaterializeResult(
            asset_key=KEY,
            metadata={**asdict(freed), "runs": runs, "retention_days": settings.retention_days},
        )
        missing = missing_files(lake.lake, store)
        told = {"missing": len(missing), "first_missing": "\n".join(missing[:20])}
        with lake.lake.transaction("record what upkeep found") as transaction:
            # Among the checks of products, where alerts look.
            product, asset = KEY.path
            detail = told if missing else {}
            found = CheckRecord(
                product, asset, NOTHING_LOST, WHOLE, not missing, False, context.run.run_id, detail
            )
            transaction.record_checks([found], transaction.snapshot_id - 1)
        yield dg.AssetCheckResult(
            asset_key=KEY, check_name=NOTHING_LOST, passed=not missing, metadata=told
        )

    job = dg.define_asset_job(
        "platform_upkeep",
        selection=dg.AssetSelection.assets(KEY),
        description="Keeps the lake, the stored files and Dagster's logs small.",
    )
    schedule = dg.ScheduleDefinition(
        name="platform_upkeep",
        job=job,
        cron_schedule=NIGHTLY,
        execution_timezone="UTC",
        description="Upkeep, once a night.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return dg.Definitions(assets=[upkeep], jobs=[job], schedules=[schedule])


def prune_runs(
    instance: dg.DagsterInstance,
    lakes: Sequence[Lake],
    store: FileStore,
    retention: dt.timedelta,
) -> int:
    """Delete runs that ended before the retention and whose results were all replaced since.

    A run that made what stands now keeps its log: the UI shows from it when and how each partition
    was made.

    Args:
        instance: Dagster's instance.
        lakes: Every environment's lake, whose records say which runs stand.
        store: The store of files, where release decisions are.
        retention: How long a run's log is kept in any case.

    Returns:
        The number of runs deleted.
    """
    standing: set[str] = set()
    for lake in lakes:
        rows = lake.query(
            """
            SELECT DISTINCT run_id FROM (
                SELECT run_id FROM lake.ops.writes QUALIFY row_number() OVER (
                    PARTITION BY product, asset, "partition"
                    ORDER BY snapshot_id DESC, written_at DESC) = 1
                UNION ALL
                SELECT run_id FROM lake.ops.checks QUALIFY row_number() OVER (
                    PARTITION BY product, asset, "check", "partition"
                    ORDER BY snapshot_id DESC, evaluated_at DESC) = 1)
            """
        )
        standing |= set(rows["run_id"])
        # A release's run is the record of how it came about.
        for product in products_with_releases(lake):
            standing |= {made.run_id for made in ReleaseLog(lake, store, product).decisions()}
    old = instance.get_run_records(
        dg.RunsFilter(
            statuses=[
                dg.DagsterRunStatus.SUCCESS,
                dg.DagsterRunStatus.FAILURE,
                dg.DagsterRunStatus.CANCELED,
            ],
            created_before=dt.datetime.now(dt.UTC) - retention,
        ),
        ascending=True,
    )
    replaced = [record.dagster_run.run_id for record in old]
    replaced = [run_id for run_id in replaced if run_id not in standing][:MOST_RUNS]
    for run_id in replaced:
        instance.delete_run(run_id)
    return len(replaced)
