"""The champion: the version in force, decided on after each training or by a person.

It is the asset that predictions are made with, and what a release needs of a model.
"""

from collections.abc import Iterator
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from analytics_platform.components.model.declaration import Model
from analytics_platform.components.product_spec import (
    ProductSpec,
    check_result,
    file_link,
    file_record,
)
from analytics_platform.lake import FileStore, Lake, StoredFile, WriteRecord
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.lake.records import WHOLE
from analytics_platform.lake.sql import table_name
from analytics_platform.modeling import ModelVersion, champions
from analytics_platform.modeling.gates import features_are_produced
from analytics_platform.modeling.history import ModelHistory
from analytics_platform.modeling.registry import version_of, versions
from analytics_platform.settings import get_settings

INTACT = "artifact_is_intact"
PRODUCED = "features_are_produced"


class ChampionConfig(dg.Config):
    """What a person may decide; without it, the newest challenger is decided on by its gates."""

    version: int | None = Field(
        default=None, description="The version to put in force. Its gates must hold."
    )
    kind: Literal["promoted", "rolled back"] = Field(
        default="promoted", description="Whether a later version is taken back by it."
    )
    reason: str = Field(default="", description="Why; a person's decision needs a reason.")


def build_champion(declared: Model, product: ProductSpec) -> dg.AssetsDefinition:
    """The asset of the version in force."""
    spec = product.asset_spec(
        declared.name,
        description=(
            f"{declared.description}\n\nThe version in force. A challenger takes its place only if "
            "all its gates hold; `ap model list` shows who was champion when, and why."
        ),
        kinds={"polars"},
        role="champion",
        deps=[product.key(declared.challenger)],
    )
    intact = dg.AssetCheckSpec(
        INTACT,
        asset=spec.key,
        blocking=True,
        description="Protects against a changed or lost artifact: the file has the hash that was "
        "recorded, and the trainer loads it.",
    )
    produced = dg.AssetCheckSpec(
        PRODUCED,
        asset=spec.key,
        blocking=True,
        description="Protects against scoring without a column that the model learned from: each "
        f"is in {declared.features}.",
    )

    @dg.multi_asset(
        name=f"{product.name}__{declared.name}", specs=[spec], check_specs=[intact, produced]
    )
    def champion(
        context: dg.AssetExecutionContext, lake: LakeResource, config: ChampionConfig
    ) -> Iterator[Any]:
        run_id = context.run.run_id
        in_force, reason = _decide(lake.lake, declared, product, config, run_id)
        store = FileStore(get_settings().files_path)
        yield dg.MaterializeResult(
            asset_key=spec.key,
            metadata={
                "version": in_force.version,
                "decision": reason,
                "trained_on": in_force.trained_on,
                **{
                    what: file_link(file["sha256"], file["name"])
                    for what, file in in_force.attachments.items()
                },
            },
        )
        yield check_result(
            lake.lake,
            context,
            spec.key,
            intact.name,
            passed=store.is_intact(in_force.artifact_sha256, in_force.artifact_name),
            metadata={"artifact_sha256": in_force.artifact_sha256},
        )
        columns = lake.lake.query(
            f"SELECT * FROM {table_name(product.name, declared.features)} LIMIT 0"
        ).columns
        gate = features_are_produced(in_force.metrics["features"], columns)
        yield check_result(
            lake.lake,
            context,
            spec.key,
            produced.name,
            passed=gate.passed,
            metadata=dict(gate.evidence),
        )

    return champion


def _decide(
    lake: Lake, declared: Model, product: ProductSpec, config: ChampionConfig, run_id: str
) -> tuple[ModelVersion, str]:
    """Decide, write the decision down, and give the version in force and the decision in words.

    Raises:
        Failure: If no version may be in force, or a person asked for one that may not.
    """
    with lake.transaction(f"decide on the champion of {product.name}.{declared.name}") as one:
        con = one.connection
        made = versions(con, product.name, declared.name)
        if not made:
            raise dg.Failure(
                f"{product.name}.{declared.name} has no version yet; materialise "
                f"{declared.challenger} first.",
                allow_retries=False,
            )
        before = champions.champion_number(con, product.name, declared.name)
        history = ModelHistory.to_repeat()
        if history is not None:
            number = history.champions[declared.name]
            kind, reason = "promoted", "as in the release that is made again"
        elif config.version is not None:
            number, kind, reason = config.version, config.kind, config.reason
            if not reason.strip():
                raise dg.Failure(
                    "A person's decision on a champion needs a reason: set `reason`.",
                    allow_retries=False,
                )
        else:
            number, kind = made[0].version, "promoted"
            reason = "every gate holds"
        chosen = version_of(con, product.name, declared.name, number)
        refused_by = chosen.refused_by
        if refused_by and history is None:
            said = "; ".join(gate.line() for gate in refused_by)
            if config.version is not None or before is None:
                raise dg.Failure(
                    f"Version {number} of {declared.name} may not be champion: {said}.",
                    allow_retries=False,
                )
            champions.decide(one, product.name, declared.name, number, "refused", said, run_id)
            stays = version_of(con, product.name, declared.name, before)
            return stays, f"version {number} was refused, {before} stays: {said}"
        if number == before:
            champions.decide(one, product.name, declared.name, number, kind, reason, run_id)
            return chosen, f"version {number} stays: {reason}"
        champions.decide(one, product.name, declared.name, number, kind, reason, run_id)
        one.record_writes([WriteRecord(product.name, declared.name, WHOLE, run_id, None)])
        artifact = StoredFile(
            chosen.artifact_sha256,
            int(chosen.metrics["artifact_bytes"]),
            chosen.artifact_name,
            FileStore(get_settings().files_path).path(chosen.artifact_sha256, chosen.artifact_name),
        )
        one.record_files([file_record(product, declared.name, WHOLE, artifact)])
    return chosen, f"version {number} is {kind}: {reason}"
