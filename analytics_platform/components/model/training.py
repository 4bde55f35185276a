"""The challenger: a training, everything that is measured of it, and what its gates say.

A challenger is recorded with its evidence in one transaction and changes nothing that readers see;
the champion's asset decides on it.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg
import duckdb
import polars as pl
from pydantic import BaseModel, Field, ValidationError, create_model

from analytics_platform.components.model.cards import card_of, pictures_of
from analytics_platform.components.model.declaration import ModelDeclaration
from analytics_platform.components.product_spec import NEEDS_DAYS, ProductSpec, file_link
from analytics_platform.lake import FileStore, Lake, StoredFile
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.lake.sql import identifier, table_name
from analytics_platform.modeling import ModelVersion, champion, experiments, gates, registry
from analytics_platform.modeling.artifacts import UnusableVersionError, load_version
from analytics_platform.modeling.card import Pictures
from analytics_platform.modeling.challenge import (
    Challenge,
    ChallengePlan,
    Rival,
    challenge,
    exports_onnx,
)
from analytics_platform.modeling.gates import GateResult
from analytics_platform.modeling.history import ModelHistory, RepeatedTraining
from analytics_platform.modeling.serving import service_of
from analytics_platform.modeling.trainer import Trainer, resolve
from analytics_platform.release.provenance import code_version
from analytics_platform.settings import get_settings

SEED = 1
GATES = {
    gates.BETTER_THAN_BASELINE: "Protects readers from a model that is no better than a historical "
    "rate: ROC AUC, Brier score and log loss on the hold-out.",
    gates.BETTER_THAN_CHAMPION: "Keeps the champion unless the challenger is better on the same "
    "recent hold-out, by a paired bootstrap over its days. A champion that cannot score these rows "
    "any more is replaced by the historical rate; one that learned from them is not compared.",
    gates.NO_SLICE_WORSE: "Protects a part of the rows from paying for the others: no slice of the "
    "hold-out is worse by more than declared.",
    gates.CALIBRATED: "Protects those who read a probability as one: the expected calibration "
    "error on the hold-out is within its bound.",
    gates.FAST_AND_SMALL: "Protects the evening's run: scoring time and size within their bounds.",
    gates.PARITY: "Protects against an artifact that is not what was evaluated: read back in a "
    "fresh process, it predicts the same.",
    gates.ROWS_PARITY: "Protects a service: rows one by one are predicted as the batch is.",
    gates.FEATURES_PARITY: "Protects a service: features of single rows are those of the table.",
    gates.ONNX: "Protects those who run the ONNX export: it predicts the same, within 32 bits.",
}


def build_challenger(
    declared: ModelDeclaration, product: ProductSpec, trainer: Trainer[Any, Any]
) -> dg.AssetsDefinition:
    """The asset that trains a challenger."""
    split = declared.split
    spec = product.asset_spec(
        declared.challenger,
        description=(
            f"{declared.description}\n\nA training: on the days known before a hold-out of the "
            f"newest {split.holdout_days} days, backtested at {split.backtest.folds} earlier "
            "cut-offs. Its version is recorded with all evidence; the gates say whether it may "
            "take the champion's place. A variant is trained from the launchpad, or with "
            "`ap model train`."
        ),
        kinds={"polars"},
        role="challenger",
        deps=[product.key(declared.features), product.key(declared.labels)],
        metadata={NEEDS_DAYS: f"{split.first_day}/{split.ready_on}"},
    )
    checks = [
        dg.AssetCheckSpec(name, asset=spec.key, blocking=True, description=description)
        for name, description in GATES.items()
        # Not every product serves single rows, nor can every model be exported.
        if (name != gates.FEATURES_PARITY or declared.serving is not None)
        and (name != gates.ONNX or exports_onnx(trainer))
    ]
    config_type = _config_type(declared, trainer)

    @dg.multi_asset(name=f"{product.name}__{declared.challenger}", specs=[spec], check_specs=checks)
    def challenger(
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        config: config_type,  # type: ignore[valid-type] - made for this trainer
    ) -> Iterator[Any]:
        try:
            experiments.require_installed()
        except experiments.ExperimentsError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        history = ModelHistory.to_repeat()
        trainings = [(declared, trainer, config)] if history is None else [
            _to_repeat(declared, trainer, config, one)
            for one in history.trainings[declared.name]
        ]  # fmt: skip
        made: tuple[ModelVersion, Challenge] | None = None
        for as_declared, by, training in trainings:
            made = _train(context, lake.lake, as_declared, product, by, training)
        if made is None:
            raise dg.Failure(
                f"The release that is made again needs no version of {declared.name}.",
                allow_retries=False,
            )
        version, found = made
        yield dg.MaterializeResult(asset_key=spec.key, metadata=_metadata(version))
        for gate in _as_checks(found.gates, checks):
            # A challenger that merely lost is no fault: it is recorded, and the champion stays.
            severity = (
                dg.AssetCheckSeverity.WARN if gate.is_comparison else dg.AssetCheckSeverity.ERROR
            )
            yield dg.AssetCheckResult(
                asset_key=spec.key,
                check_name=gate.name,
                passed=gate.passed,
                severity=severity,
                metadata={"version": version.version, **_shown(gate.evidence)},
            )

    return challenger


def _to_repeat(
    declared: ModelDeclaration, trainer: Trainer[Any, Any], config: Any, one: RepeatedTraining
) -> tuple[ModelDeclaration, Trainer[Any, Any], Any]:
    """A training as it was: by its own trainer, with its parameters, seed, day and number."""
    if one.trainer not in {"", declared.trainer}:
        declared = declared.model_copy(update={"trainer": one.trainer})
        trainer = resolve(one.trainer)
    repeated = {
        "params": trainer.Params.model_validate(one.params),
        "seed": one.seed,
        "known_through": one.known_through,
        "note": one.note,
        "version": one.version,
    }
    return declared, trainer, config.model_copy(update=repeated)


def _as_checks(
    found: Sequence[GateResult], checks: Sequence[dg.AssetCheckSpec]
) -> list[GateResult]:
    """A result for each declared check.

    A version that is made again by a former trainer may have gates of its own, and lack others.
    """
    of = {gate.name: gate for gate in found}
    lacking = {"not_asked": "its trainer is another than the one declared now"}
    return [of.get(check.name, GateResult(check.name, True, lacking)) for check in checks]


def _config_type(declared: ModelDeclaration, trainer: Trainer[Any, Any]) -> type[dg.Config]:
    """Run config of a training, with the trainer's parameters as typed defaults."""
    params = trainer.Params
    if not issubclass(params, dg.Config):
        params = create_model(
            params.__name__,
            __base__=dg.Config,
            **{
                name: (field.annotation, field)
                for name, field in params.model_fields.items()  # type: ignore[attr-defined]
            },
        )
    return create_model(
        f"{declared.name.title().replace('_', '')}Training",
        __base__=dg.Config,
        __doc__=f"What a training of {declared.name} may be asked to vary.",
        params=(params, Field(default=params(), description="The trainer's parameters.")),
        seed=(int, Field(default=SEED, description="Of everything drawn by chance.")),
        known_through=(
            str | None,
            Field(default=None, description="Learn as of this day (ISO): the hold-out ends on it."),
        ),
        note=(str, Field(default="", description="Why, for the list of versions.")),
        version=(int, Field(default=0, description="0 for the next number.")),
    )


def _train(
    context: dg.AssetExecutionContext,
    lake: Lake,
    declared: ModelDeclaration,
    product: ProductSpec,
    trainer: Trainer[Any, Any],
    config: Any,
) -> tuple[ModelVersion, Challenge]:
    """Train, measure and record one version."""
    params = _params(trainer, config.params)
    store = FileStore(get_settings().files_path)
    snapshot = lake.snapshot()
    # All that is learned from and compared with is of the snapshot that the version records.
    with lake.reader(snapshot) as con:
        known_through = _known_through(con, declared, product, trainer.label, config.known_through)
        frame = _labelled(con, declared, product, trainer.label, known_through)
        in_force = champion(con, product.name, declared.name)
        con.execute(f"USE lake.{identifier(product.name)}")
        service = None if declared.serving is None else service_of(
            declared.serving, lambda sql, parameters: con.execute(sql, parameters).pl()
        )  # fmt: skip
        rival = None if in_force is None else _rival(in_force, store)
        plan = _plan(declared, known_through, config.seed)
        found = challenge(
            trainer,
            plan,
            frame,
            params,
            champion=rival,
            service=service,
            say=context.log.info,
        )
    pictures = pictures_of(found, trainer.label)
    artifact = store.put(found.artifact, declared.name)
    onnx = None if found.onnx is None else store.put(found.onnx, f"{declared.name}.onnx")
    code = code_version(store)
    version = ModelVersion(
        product=product.name,
        model=declared.name,
        version=config.version,
        artifact_sha256=artifact.sha256,
        artifact_name=artifact.name,
        trained_on=f"{found.fold.train.first}/{found.fold.valid.last}",
        known_through=str(known_through),
        params=params.model_dump(mode="json"),
        seed=config.seed,
        code_sha256=code["sha256"],
        attachments={
            **({} if onnx is None else {"onnx": _address(onnx)}),
            **{
                name: _address(store.put(picture, f"{declared.name}_{name}.svg"))
                for name, picture in vars(pictures).items()
                if picture
            },
        },
        declared={
            "trainer": declared.trainer,
            "serving": declared.serving or "",
            "predictions": declared.predictions,
            "day": declared.time_column,
            "key": declared.key,
            "probability": declared.probability,
        },
        metrics=found.metrics,
        gates=found.gates,
        note=config.note,
        snapshot_id=snapshot,
        run_id=context.run.run_id,
    )
    version = _record(lake, declared, version, found, pictures, store)
    experiments.log_experiment(version, say=context.log.warning)
    for gate in found.gates:
        context.log.info(gate.line())
    return version, found


def _record(
    lake: Lake,
    declared: ModelDeclaration,
    version: ModelVersion,
    found: Challenge,
    pictures: Pictures,
    store: FileStore,
) -> ModelVersion:
    """Record a version with its card, which says its number.

    The card is drawn outside the transaction, so that no other writer waits for pictures. Where
    another training took the number meanwhile, it is drawn again with the next one.

    Raises:
        NumberTakenError: If the number that was asked for is taken.
    """
    while True:
        with lake.reader() as con:
            before = registry.versions(con, version.product, version.model)
        number = version.version or max((one.version for one in before), default=0) + 1
        numbered = replace(version, version=number)
        card = card_of(declared, numbered, found, pictures, before)
        stored = store.put(card, f"{version.model}_{number}.html")
        carded = replace(numbered, attachments={"card": _address(stored), **version.attachments})
        try:
            with lake.transaction(f"record {version.model} {number}") as transaction:
                registry.record_version(transaction, carded)
        except registry.NumberTakenError:
            if version.version:
                raise
            continue
        return carded


def _rival(version: ModelVersion, store: FileStore) -> Rival:
    """The champion with its model, or with the reason why it has none."""
    loaded, unusable = None, ""
    try:
        loaded = load_version(version, store)
    except UnusableVersionError as error:
        unusable = str(error)
    return Rival(
        version=version.version,
        learned_through=version.last_learned,
        features=version.metrics["features"],
        loaded=loaded,
        unusable=unusable,
    )


def _address(file: StoredFile) -> dict[str, str]:
    return {"sha256": file.sha256, "name": file.name}


def _params(trainer: Trainer[Any, Any], given: Any) -> BaseModel:
    """The trainer's own parameters, from the run config's.

    Raises:
        Failure: If a value is not one that the parameter may have.
    """
    try:
        return trainer.Params.model_validate(given.model_dump())
    except ValidationError as error:
        raise dg.Failure(
            f"The parameters are not the trainer's: {error}", allow_retries=False
        ) from error


def _known_through(
    con: duckdb.DuckDBPyConnection,
    declared: ModelDeclaration,
    product: ProductSpec,
    label: str,
    asked: str | None,
) -> dt.date:
    """The last day of the hold-out: as asked for, or the newest day with a known label.

    Raises:
        Failure: If there is no label yet, or none on the day that was asked for.
    """
    day, known = identifier(declared.time_column), identifier(label)
    (newest,) = con.execute(
        f"SELECT max({day}) FROM {table_name(product.name, declared.labels)} "
        f"WHERE {known} IS NOT NULL"
    ).fetchone() or (None,)
    if newest is None:
        raise dg.Failure(f"{declared.labels} holds no known {label} yet.", allow_retries=False)
    if asked is None:
        return newest
    try:
        wanted = dt.date.fromisoformat(asked)
    except ValueError as error:
        raise dg.Failure(f"known_through {asked!r} is no ISO date.", allow_retries=False) from error
    if wanted > newest:
        raise dg.Failure(
            f"known_through {wanted}: outcomes are known through {newest}.", allow_retries=False
        )
    return wanted


def _labelled(
    con: duckdb.DuckDBPyConnection,
    declared: ModelDeclaration,
    product: ProductSpec,
    label: str,
    known_through: dt.date,
) -> pl.DataFrame:
    """Feature rows of the days through `known_through` whose label is known, with the label."""
    key, known, day = (identifier(name) for name in (declared.key, label, declared.time_column))
    return con.execute(
        f"""
        SELECT features.*, labels.{known}
        FROM {table_name(product.name, declared.features)} features
        JOIN {table_name(product.name, declared.labels)} labels USING ({day}, {key})
        WHERE {day} BETWEEN ? AND ? AND labels.{known} IS NOT NULL
        ORDER BY {day}, {key}
        """,
        [declared.first_day, known_through],
    ).pl()


def _plan(declared: ModelDeclaration, known_through: dt.date, seed: int) -> ChallengePlan:
    split, demanded = declared.split, declared.gates
    return ChallengePlan(
        trainer_path=declared.trainer,
        time_column=declared.time_column,
        key=declared.key,
        known_through=known_through,
        first_day=declared.first_day,
        holdout_days=split.holdout_days,
        valid_days=split.valid_days,
        known_after_days=split.known_after_days,
        folds=split.backtest.folds,
        test_days=split.backtest.test_days,
        baseline=declared.baseline,
        ablation=declared.ablation,
        slices=demanded.slices,
        slice_rows=demanded.slice_rows,
        slice_worse=demanded.slice_worse,
        metric=demanded.metric,
        level=demanded.level,
        calibration_error=demanded.calibration_error,
        seconds_per_1000=demanded.seconds_per_1000,
        artifact_bytes=demanded.artifact_bytes,
        seed=seed,
    )


def _metadata(version: ModelVersion) -> dict[str, Any]:
    """What the UI shows of a training."""
    refused = ", ".join(gate.name for gate in version.refused_by)
    baselines = {
        f"{name.replace(' ', '_')}_{metric}": values[metric]
        for name, values in version.metrics["baselines"].items()
        for metric in ("roc_auc", "brier", "log_loss")
    }
    return {
        "version": version.version,
        "may_be_champion": not refused,
        "refused_by": refused or "none",
        "trained_on": version.trained_on,
        "holdout": version.metrics["window"],
        **{f"{part}_rows": rows for part, rows in version.metrics["rows"].items()},
        **{f"holdout_{name}": value for name, value in version.metrics["holdout"].items()},
        **baselines,
        "snapshot": version.snapshot_id,
        "artifact": file_link(version.artifact_sha256, version.artifact_name),
        **{
            what: file_link(file["sha256"], file["name"])
            for what, file in version.attachments.items()
        },
    }


def _shown(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Evidence as Dagster's metadata takes it."""
    return {
        name: value if isinstance(value, (int, float, str, bool)) else str(value)
        for name, value in evidence.items()
    }
