"""Training again by itself: by the clock, or when a declared check fails, and not too often."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import dagster as dg

from analytics_platform.components.model.declaration import ModelDeclaration
from analytics_platform.components.product_spec import PRODUCT_TAG, ProductSpec
from analytics_platform.lake import Lake, records
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.modeling.registry import versions
from analytics_platform.settings import get_settings


def job_of(declared: ModelDeclaration, product: ProductSpec) -> str:
    """The name of the job that trains a challenger and decides on it."""
    return f"{product.name}_{declared.name}_training"


def build_retraining(declared: ModelDeclaration, product: ProductSpec) -> dg.Definitions:
    """The training job, its schedule and its sensor, as far as they are declared."""
    job = dg.define_asset_job(
        job_of(declared, product),
        selection=dg.AssetSelection.assets(
            product.key(declared.challenger), product.key(declared.name)
        ),
        description=f"Trains a challenger of {declared.name} and decides whether it is champion.",
        tags={PRODUCT_TAG: product.name},
    )
    schedules: list[dg.ScheduleDefinition] = []
    sensors: list[dg.SensorDefinition] = []
    if declared.retrain.cron is not None:
        schedules.append(_schedule(declared, product, job))
    if declared.retrain.when_failing:
        sensors.append(_sensor(declared, product, job))
    return dg.Definitions(jobs=[job], schedules=schedules, sensors=sensors)


def _schedule(declared: ModelDeclaration, product: ProductSpec, job: Any) -> dg.ScheduleDefinition:
    cron = declared.retrain.cron or ""

    @dg.schedule(
        name=f"{job_of(declared, product)}_by_the_clock",
        cron_schedule=cron,
        job=job,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Trains {declared.name} again, if the last training is "
        f"{declared.retrain.at_most_every_days:g} days old or older.",
    )
    def by_the_clock(lake: LakeResource) -> Any:
        too_early = too_early_for(lake.lake, declared, product.name)
        if too_early:
            return dg.SkipReason(too_early)
        return dg.RunRequest(run_config=training_config(declared, product, "by the clock"))

    return by_the_clock


def _sensor(declared: ModelDeclaration, product: ProductSpec, job: Any) -> dg.SensorDefinition:
    named = ", ".join(f"{of.asset} · {of.check}" for of in declared.retrain.when_failing)

    @dg.sensor(
        name=f"{job_of(declared, product)}_when_out_of_control",
        job=job,
        minimum_interval_seconds=max(60, get_settings().sensor_interval_seconds),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Trains {declared.name} again when one of these fails: {named}; once a "
        f"result, and every {declared.retrain.at_most_every_days:g} days at the most.",
    )
    def when_out_of_control(lake: LakeResource) -> Any:
        reasons = out_of_control(lake.lake, declared, product.name)
        if not reasons:
            return dg.SkipReason("Nothing that was declared fails since the last training.")
        too_early = too_early_for(lake.lake, declared, product.name)
        if too_early:
            return dg.SkipReason(too_early)
        config = training_config(declared, product, "; ".join(reasons))
        # A result asks for one training; the next one has a run of its own.
        return dg.RunRequest(run_key="; ".join(reasons), run_config=config)

    return when_out_of_control


def training_config(declared: ModelDeclaration, product: ProductSpec, note: str) -> dict[str, Any]:
    """The run config of a training with a note, and everything else as declared."""
    return {"ops": {f"{product.name}__{declared.challenger}": {"config": {"note": note}}}}


def too_early_for(
    lake: Lake, declared: ModelDeclaration, product: str, now: dt.datetime | None = None
) -> str:
    """Why a training would be too soon after the last one; empty if it is not.

    Args:
        lake: The lake.
        declared: The model.
        product: The product.
        now: This moment in UTC without a zone, unless said.
    """
    with lake.reader() as con:
        made = versions(con, product, declared.name)
    if not made:
        return f"{declared.name} has no version yet; the first is trained as soon as it can be."
    now = records.now() if now is None else now
    age = now - dt.datetime.fromisoformat(made[0].created_at)
    least = dt.timedelta(days=declared.retrain.at_most_every_days)
    if age >= least:
        return ""
    return (
        f"Version {made[0].version} was trained {age.total_seconds() / 86400:.1f} days ago, and "
        f"{declared.name} is trained every {least.days} days at the most."
    )


def out_of_control(lake: Lake, declared: ModelDeclaration, product: str) -> Sequence[str]:
    """The declared checks that fail on a state newer than the last training, one line each."""
    with lake.reader() as con:
        made = versions(con, product, declared.name)
        trained = made[0].snapshot_id if made else -1
        checks = records.latest_checks(con, product, since=trained).to_dicts()
    wanted = {(of.asset, of.check) for of in declared.retrain.when_failing}
    return [
        f"{check['asset']} · {check['check']} fails at snapshot {check['snapshot_id']}"
        for check in checks
        if (check["asset"], check["check"]) in wanted and not check["passed"]
    ]
