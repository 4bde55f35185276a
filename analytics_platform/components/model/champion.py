"""The champion: the version in force, decided on after each training or by a person.

It is the asset that predictions are made with, and what a release needs of a model.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import dagster as dg
import duckdb
from pydantic import Field

from analytics_platform.components.model.declaration import ModelDeclaration
from analytics_platform.components.product_spec import (
    ProductSpec,
    check_result,
    file_link,
    file_record,
)
from analytics_platform.lake import FileStore, Lake, StoredFile, Transaction, WriteRecord
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.lake.records import WHOLE
from analytics_platform.lake.sql import table_name
from analytics_platform.modeling import ModelVersion, champions
from analytics_platform.modeling.artifacts import UnusableVersionError, load_version
from analytics_platform.modeling.gates import (
    GateResult,
    compared_champion,
    features_are_produced,
)
from analytics_platform.modeling.history import ModelHistory
from analytics_platform.modeling.registry import version_of, versions
from analytics_platform.settings import get_settings

INTACT = "artifact_is_intact"
PRODUCED = "features_are_produced"


class ChampionConfig(dg.Config):
    """What a person may decide; without it, the newest challenger is decided on by its gates.

    A challenger that was decided on before is not decided on again: the champion stays, and its
    checks run.
    """

    version: int | None = Field(
        default=None, description="The version to put in force. Its gates must hold."
    )
    kind: Literal["promoted", "rolled back"] = Field(
        default="promoted", description="Whether a later version is taken back by it."
    )
    reason: str = Field(default="", description="Why; a person's decision needs a reason.")


def build_champion(declared: ModelDeclaration, product: ProductSpec) -> dg.AssetsDefinition:
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
        "recorded, and the trainer that saved it loads it.",
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
        found = _look(lake.lake, declared, product, in_force)
        yield check_result(
            lake.lake,
            context,
            spec.key,
            intact.name,
            passed=not found.unusable,
            metadata={
                "version": in_force.version,
                "artifact_sha256": in_force.artifact_sha256,
                **({"unusable": found.unusable} if found.unusable else {}),
            },
        )
        yield check_result(
            lake.lake,
            context,
            spec.key,
            produced.name,
            passed=found.produced.passed,
            metadata=dict(found.produced.evidence),
        )

    return champion


@dataclass(frozen=True)
class _Choice:
    """What is to be decided.

    Attributes:
        number: The version that is decided on.
        before: The version in force until now; None before the first.
        kind: What becomes of it; None where it was decided on before and nothing is added.
        reason: Why.
    """

    number: int
    before: int | None
    kind: champions.DecisionKind | None
    reason: str

    @property
    def puts_in_force(self) -> bool:
        """Whether the version is champion from here on."""
        return self.kind not in {None, "refused"}


@dataclass(frozen=True)
class _Look:
    """What was found of a version that predictions are to be made with.

    Attributes:
        unusable: Why it has no model; empty where the artifact has its hash and its trainer loads
            it.
        produced: Whether the features table has each column that it learned from.
    """

    unusable: str
    produced: GateResult


def _look(
    lake: Lake, declared: ModelDeclaration, product: ProductSpec, version: ModelVersion
) -> _Look:
    """Load a version's artifact, and hold its columns against the features table as it stands."""
    unusable = ""
    try:
        load_version(version, FileStore(get_settings().files_path))
    except UnusableVersionError as error:
        unusable = str(error)
    columns = lake.query(
        f"SELECT * FROM {table_name(product.name, declared.features)} LIMIT 0"
    ).columns
    return _Look(unusable, features_are_produced(version.metrics["features"], columns))


def _decide(
    lake: Lake,
    declared: ModelDeclaration,
    product: ProductSpec,
    config: ChampionConfig,
    run_id: str,
) -> tuple[ModelVersion, str]:
    """Decide, write the decision down, and give the version in force and the decision in words.

    Raises:
        Failure: If no version may be in force, a person asked for one that may not, or the one
            that would be cannot predict.
    """
    while True:
        with lake.reader() as con:
            choice = _choose(con, declared, product, config)
            chosen = version_of(con, product.name, declared.name, choice.number)
            stays = (
                chosen
                if choice.before is None
                else version_of(con, product.name, declared.name, choice.before)
            )
        if choice.kind is None:
            return stays, choice.reason
        if choice.puts_in_force:
            # Before the transaction, so that no other writer waits for a model to be read.
            _require_usable(lake, declared, product, chosen)
        with lake.transaction(f"decide on the champion of {product.name}.{declared.name}") as one:
            # Another run may have trained or decided since; what it left is looked at anew.
            if _choose(one.connection, declared, product, config) == choice:
                _write_down(one, product, chosen, choice, run_id)
                break
    said = f"version {choice.number}"
    if not choice.puts_in_force:
        return stays, f"{said} was refused, {choice.before} stays: {choice.reason}"
    if choice.number == choice.before:
        return chosen, f"{said} stays: {choice.reason}"
    return chosen, f"{said} is {choice.kind}: {choice.reason}"


def _choose(
    con: duckdb.DuckDBPyConnection,
    declared: ModelDeclaration,
    product: ProductSpec,
    config: ChampionConfig,
) -> _Choice:
    """Which version is to be decided on, and how; nothing is written.

    Raises:
        Failure: If there is none, or a person asked for one that may not be in force.
    """
    made = versions(con, product.name, declared.name)
    if not made:
        raise dg.Failure(
            f"{product.name}.{declared.name} has no version yet; materialise "
            f"{declared.challenger} first.",
            allow_retries=False,
        )
    log = champions.decisions(con, product.name, declared.name)
    before = champions.champion_number(con, product.name, declared.name)
    history = ModelHistory.to_repeat()
    if history is not None:
        number = history.champions[declared.name]
        return _Choice(number, before, "promoted", "as in the release that is made again")
    if config.version is not None:
        if not config.reason.strip():
            raise dg.Failure(
                "A person's decision on a champion needs a reason: set `reason`.",
                allow_retries=False,
            )
        asked = version_of(con, product.name, declared.name, config.version)
        if asked.refused_by:
            raise _may_not(declared, asked, _said_by_gates(asked))
        return _Choice(config.version, before, config.kind, config.reason)
    newest = made[0]
    number = newest.version
    decided = next((one for one in log if one.version == number), None)
    if decided is not None and before is not None:
        # A person may have taken it back since, or a run is repeated for its checks.
        reason = f"version {before} stays: {number} was {decided.kind} before, and none is newer"
        return _Choice(number, before, None, reason)
    compared = compared_champion(newest.gates)
    refusal = _said_by_gates(newest)
    if not refusal and compared is not None and compared != (before or 0):
        refusal = (
            f"compared with {compared or 'no champion'}, champion is {before or 'none'}; "
            "train again"
        )
    if not refusal:
        return _Choice(number, before, "promoted", "every gate holds")
    if before is None:
        raise _may_not(declared, newest, refusal)
    return _Choice(number, before, "refused", refusal)


def _said_by_gates(version: ModelVersion) -> str:
    """What the gates that did not hold said; empty where all hold."""
    return "; ".join(gate.line() for gate in version.refused_by)


def _may_not(declared: ModelDeclaration, version: ModelVersion, reason: str) -> dg.Failure:
    return dg.Failure(
        f"Version {version.version} of {declared.name} may not be champion: {reason}.",
        allow_retries=False,
    )


def _require_usable(
    lake: Lake, declared: ModelDeclaration, product: ProductSpec, version: ModelVersion
) -> None:
    """Show that a version can predict before it is put in force.

    Raises:
        Failure: If its artifact is not what was recorded, its trainer does not load it, or the
            features table lacks a column.
    """
    found = _look(lake, declared, product, version)
    wrong = [found.unusable] if found.unusable else []
    if not found.produced.passed:
        missing = ", ".join(found.produced.evidence["missing"])
        wrong.append(f"{declared.features} no longer has {missing}")
    if wrong:
        raise dg.Failure(
            f"Version {version.version} of {declared.name} cannot be put in force: "
            f"{'; '.join(wrong)}. Nothing was decided. Restore what is missing, or train again "
            f"with {declared.challenger}.",
            allow_retries=False,
        )


def _write_down(
    one: Transaction, product: ProductSpec, chosen: ModelVersion, choice: _Choice, run_id: str
) -> None:
    """Add a decision to the log, and the write and file of a version that becomes champion."""
    if choice.kind is None:
        return
    champions.decide(
        one, product.name, chosen.model, choice.number, choice.kind, choice.reason, run_id
    )
    if not choice.puts_in_force or choice.number == choice.before:
        return
    one.record_writes([WriteRecord(product.name, chosen.model, WHOLE, run_id, None)])
    artifact = StoredFile(
        chosen.artifact_sha256,
        int(chosen.metrics["artifact_bytes"]),
        chosen.artifact_name,
        FileStore(get_settings().files_path).path(chosen.artifact_sha256, chosen.artifact_name),
    )
    one.record_files([file_record(product, chosen.model, WHOLE, artifact)])
