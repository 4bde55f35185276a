"""The `DataProduct` component: a product's release, its jobs, and the sensor that keeps it current.

One folder under `assets/` is a product; this component stands in its `product/` folder and looks
at the assets of the folders beside it.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel

from analytics_platform.arrivals import ACCOUNTED, ARRIVED, Look, fingerprint, landing_zone
from analytics_platform.components.product_spec import PLAN_TAG, PRODUCT_TAG, ROLE, ProductSpec
from analytics_platform.components.state import (
    cadence_of,
    look_at,
    nodes_of,
    product_state,
    required_checks,
    sources_of,
)
from analytics_platform.lake import FileStore, LakeError
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.planning import PlannedRun, next_run
from analytics_platform.release import (
    GateRefusedError,
    OnHoldError,
    ReleaseLog,
    attach_statement,
    publish,
)
from analytics_platform.settings import get_settings

RELEASE = "release"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
SENSOR_WAIT_SECONDS = 5.0
"""How long a look waits to tell the ledger; Dagster gives a sensor 60 s."""

ATTEMPTS = 2
"""How often the same work is tried on the same state: once more, for what a kill interrupted."""


class DataProduct(dg.Component):
    """A data product: its days, owners and release.

    Args:
        spec: The declaration, as `ProductSpec` documents it.
        folder: The product's folder.
    """

    def __init__(self, spec: ProductSpec, folder: Path) -> None:
        self.spec = spec
        self.folder = folder

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The shape of the `attributes` in `defs.yaml`."""
        return ProductSpec

    @classmethod
    def load(cls, attributes: Any, context: dg.ComponentLoadContext) -> "DataProduct":
        """Take the declaration as its siblings read it."""
        return cls(ProductSpec.model_validate(attributes), context.path.parent)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The release asset, one job per cadence, and the sensor."""
        siblings = [
            context.build_defs(folder)
            for folder in sorted(self.folder.iterdir())
            if folder.is_dir()
            and folder != context.path
            and folder.name != "__pycache__"
            and not folder.name.startswith(".")
            and (any(folder.rglob("defs.yaml")) or any(folder.rglob("[!_]*.py")))
        ]
        definitions = [
            definition
            for defs in siblings
            for definition in defs.assets or []
            if isinstance(definition, dg.AssetsDefinition)
        ]
        assets = [spec for definition in definitions for spec in definition.specs]
        required = required_checks(
            {spec.key.path[-1]: spec.metadata[ROLE] for spec in assets},
            [check for definition in definitions for check in definition.check_specs],
        )
        jobs = _build_jobs(self.spec, assets)
        return dg.Definitions(
            assets=[_build_release(self.spec, assets, required)],
            jobs=jobs,
            sensors=[_build_sensor(self.spec, jobs)],
            schedules=_build_arrival_schedule(self.spec, siblings),
        )


def _ends(assets: Sequence[dg.AssetSpec]) -> list[dg.AssetKey]:
    """The assets that no other asset of the product reads."""
    read = {dep.asset_key for spec in assets for dep in spec.deps}
    return [spec.key for spec in assets if spec.key not in read]


def _build_release(
    product: ProductSpec, assets: Sequence[dg.AssetSpec], required: Mapping[str, Sequence[str]]
) -> dg.AssetsDefinition:
    checks = sum(len(names) for names in required.values())
    spec = product.asset_spec(
        RELEASE,
        description=(
            f"What readers of {product.title} see: one snapshot of the lake, frozen in a "
            f"catalog of its own when all {checks} blocking checks of the product hold on every "
            "partition that was written. Otherwise the gate refuses and names the check, and "
            "readers keep the last release."
        ),
        kinds={"ducklake"},
        role=RELEASE,
        # The ends of the graph stand for all that leads to them; the gate judges every asset.
        deps=_ends(assets),
        metadata={"blocking_checks": checks},
    )
    gate = dg.AssetCheckSpec(
        "gate_holds",
        asset=spec.key,
        description="Protects readers: every blocking check of the product holds on the very "
        "data that is released.",
    )

    @dg.multi_asset(name=f"{product.name}__{RELEASE}", specs=[spec], check_specs=[gate])
    def release(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        store = FileStore(get_settings().files_path)
        try:
            made = publish(lake.lake, store, product.name, required, context.run.run_id)
        except (GateRefusedError, OnHoldError) as refusal:
            problems = (
                refusal.verdict.lines()
                if isinstance(refusal, GateRefusedError)
                else (str(refusal),)
            )
            yield dg.AssetCheckResult(
                asset_key=spec.key,
                check_name=gate.name,
                passed=False,
                metadata={
                    "problems": len(problems),
                    "refused_by": dg.MetadataValue.md(
                        "\n".join(f"- {problem}" for problem in problems)
                    ),
                },
            )
            raise dg.Failure(description=str(refusal), allow_retries=False) from refusal
        yield dg.MaterializeResult(
            asset_key=spec.key,
            metadata={
                "release": made.release.number,
                "snapshot": made.release.snapshot,
                "checks_held": made.release.held,
                "is_new": made.is_new,
                "read_it": f'ap sql {product.name} "select …"',
                "attach_it": dg.MetadataValue.md(
                    f"```sql\n{attach_statement(made.release, store)}\n```"
                ),
            },
        )
        yield dg.AssetCheckResult(
            asset_key=spec.key,
            check_name=gate.name,
            passed=True,
            metadata={"checks_held": made.release.held},
        )

    return release


def job_name(product: str, cadence: str) -> str:
    """The name of the job that runs a product's assets of one cadence."""
    return f"{product}_{cadence}"


def _build_jobs(product: ProductSpec, assets: Sequence[dg.AssetSpec]) -> list[Any]:
    """One job per cadence, because the assets of a run share one set of partitions."""
    of: dict[str, list[dg.AssetKey]] = {"daily": [], "weekly": [], "monthly": [], "whole": []}
    for spec in assets:
        of[cadence_of(spec.partitions_def)].append(spec.key)
    described = {
        "daily": "What follows from arrivals: sources, dbt models, features, predictions.",
        "weekly": "Drift reports of whole weeks.",
        "monthly": "Drift reports of whole months.",
        "whole": "What has no partitions: tables, the model, the release.",
    }
    keys = of | {"whole": [*of["whole"], product.key(RELEASE)]}
    return [
        dg.define_asset_job(
            job_name(product.name, cadence),
            selection=dg.AssetSelection.assets(*keys[cadence]),
            description=described[cadence],
            tags={PRODUCT_TAG: product.name},
        )
        for cadence in keys
        if keys[cadence]
    ]


def _build_arrival_schedule(
    product: ProductSpec, siblings: Sequence[dg.Definitions]
) -> list[dg.ScheduleDefinition]:
    """Checks of what arrives, by the hour: of a file that never comes no sensor hears."""
    keys = [
        key
        for defs in siblings
        for checks in [*(defs.assets or []), *(defs.asset_checks or [])]
        if isinstance(checks, dg.AssetsDefinition)
        for key in checks.check_keys
        if key.name in {ARRIVED, ACCOUNTED}
    ]
    if not keys:
        return []
    job = dg.define_asset_job(
        f"{product.name}_arrivals_check",
        selection=dg.AssetSelection.checks(*keys),
        description="Asks the ledger for files that never came and files that lie aside.",
    )
    return [
        dg.ScheduleDefinition(
            job=job,
            cron_schedule="15 * * * *",
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Every hour: what should have arrived and did not, what lies aside.",
        )
    ]


def run_tags(product: str, planned: PlannedRun) -> dict[str, str]:
    """The tags of a planned run: which work it is, and its range of partitions."""
    tags = {PRODUCT_TAG: product, PLAN_TAG: planned.fingerprint}
    if planned.first:
        tags |= {RANGE_START: planned.first, RANGE_END: planned.last}
    return tags


def given_up(instance: dg.DagsterInstance, product: str) -> set[str]:
    """Fingerprints of work that was tried often enough on the state it was planned for."""
    failed: dict[str, int] = {}
    for run in instance.get_runs(
        dg.RunsFilter(
            tags={PRODUCT_TAG: product},
            statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
        ),
        limit=100,
    ):
        plan = run.tags.get(PLAN_TAG)
        if plan:
            # A canceled run was stopped by a person, who wants it to stay so.
            canceled = run.status == dg.DagsterRunStatus.CANCELED
            failed[plan] = failed.get(plan, 0) + (ATTEMPTS if canceled else 1)
    return {plan for plan, times in failed.items() if times >= ATTEMPTS}


def _nothing(found: Look) -> str:
    """Why no run is started, with what waits in the landing zone."""
    said = "Nothing is behind, or what is behind has failed and is unchanged."
    if found.not_due:
        first = found.not_due[0].entry
        said += f" {len(found.not_due)} files wait; {first.path}: {first.reason}."
    return said


def _build_sensor(product: ProductSpec, jobs: Sequence[Any]) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{product.name}_arrivals",
        description=(
            "Looks at the landing zone and the lake, and starts what is behind: arrived "
            "partitions, what follows from them, and the release. One run at a time."
        ),
        minimum_interval_seconds=get_settings().sensor_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        jobs=jobs,
    )
    def arrivals(context: dg.SensorEvaluationContext, lake: LakeResource) -> Any:
        running = context.instance.get_runs(
            dg.RunsFilter(tags={PRODUCT_TAG: product.name}, statuses=UNFINISHED), limit=1
        )
        if running:
            return dg.SkipReason(f"Run {running[0].run_id} is at work.")
        if context.repository_def is None:
            raise LakeError("The sensor was evaluated outside a code location.")
        graph = context.repository_def.asset_graph
        nodes, sources = nodes_of(graph, product.name), sources_of(graph, product.name)
        settings = get_settings()
        log = ReleaseLog(lake.lake, FileStore(settings.files_path), product.name)
        zone = landing_zone(settings.landing_url)
        seen = zone.files(product.name)
        without = given_up(context.instance, product.name)

        def standing() -> str:
            looked_at = [lake.lake.snapshot(), log.head(), sorted(without), nodes, sources]
            told = f"{fingerprint(seen)} {looked_at!r}"
            return hashlib.sha256(told.encode()).hexdigest()

        if context.cursor == standing():
            return dg.SkipReason("Nothing has changed since the last look, which found no work.")
        found = look_at(lake.lake, sources, product.name, zone, SENSOR_WAIT_SECONDS, seen)
        state = product_state(lake.lake, log.store, graph, product.name, found)
        planned = next_run(nodes, state, without=without, most_partitions=settings.run_partitions)
        if planned is None:
            if found.is_settled:
                # It only spares the next look its work: without it, it finds the same.
                context.update_cursor(standing())
            return dg.SkipReason(_nothing(found))
        return dg.RunRequest(
            job_name=job_name(product.name, planned.cadence),
            asset_selection=[product.key(asset) for asset in planned.assets],
            tags=run_tags(product.name, planned),
        )

    return arrivals
