"""The `Model` component: a model, its predictions, and how they did, as assets.

YAML says which table, label and windows; the `trainer.py` beside it says how to learn. A trainer
offers `TrainParams`, `fit(train, params)`, `save(model)`, `importance(model)` and
`predict(model_or_artifact, frame)`.
"""

import base64
import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from analytics_platform.components.product_spec import (
    NEEDS_DAYS,
    ProductSpec,
    check_result,
    file_record,
    frame_asset,
    product_of,
    run_partitions,
)
from analytics_platform.lake import FileStore, Lake, WriteRecord
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.lake.records import WHOLE
from analytics_platform.lake.sql import identifier, table_name
from analytics_platform.modeling import ModelVersion, latest_version, record_version
from analytics_platform.modeling.evaluate import (
    binary_metrics,
    calibration_table,
    historical_rate_baseline,
)
from analytics_platform.settings import get_settings

PREDICTIONS = "predictions_flights"
OUTCOMES = "predictions_outcomes"
PERFORMANCE = "performance_daily"


class Window(dg.Model, dg.Resolvable):
    """Days from `first` through `last`.

    Attributes:
        first: The first day, ISO.
        last: The last day, ISO, included.
    """

    first: str
    last: str


class Model(dg.Component, dg.Model, dg.Resolvable):
    """A binary classifier and what follows from it.

    Attributes:
        name: The model's name, which is its asset's.
        description: What it predicts, for whom.
        features: The daily feature table; one row per `key`.
        labels: The daily table that holds the label once it is known.
        key: The column that identifies a row in both.
        time_column: The date column in both.
        label: The boolean column to predict; null where it is not known.
        describe: Columns of `features` to carry along with each prediction.
        training: Days to learn from.
        holdout: Later days to evaluate on; nothing is tuned on them.
        baseline: Columns of `features` by whose historical rate the model is measured.
    """

    name: str
    description: str
    features: str
    labels: str
    key: str
    time_column: str
    label: str
    describe: list[str]
    training: Window
    holdout: Window
    baseline: list[str]

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The model, its predictions, their outcomes, and the performance of each day."""
        product = product_of(context.path)
        trainer = context.load_defs_relative_python_module(context.path / "trainer.py")
        return dg.Definitions(
            assets=[
                _build_model(self, product, trainer),
                _build_predictions(self, product, trainer),
                _build_outcomes(self, product),
                _build_performance(self, product),
            ]
        )


def _build_model(declared: Model, product: ProductSpec, trainer: Any) -> dg.AssetsDefinition:
    spec = product.asset_spec(
        declared.name,
        description=(
            f"{declared.description}\n\nTrained on {declared.training.first} to "
            f"{declared.training.last}, evaluated on {declared.holdout.first} to "
            f"{declared.holdout.last}, which nothing was tuned on. Kept as text by content hash."
        ),
        kinds={"lightgbm", "polars"},
        role="model",
        deps=[product.key(declared.features), product.key(declared.labels)],
        metadata={NEEDS_DAYS: f"{declared.training.first}/{declared.holdout.last}"},
    )
    beats = dg.AssetCheckSpec(
        "beats_the_baseline",
        asset=spec.key,
        blocking=True,
        description="Protects readers from a model that is no better than the historical rate by "
        f"{', '.join(declared.baseline)}: ROC AUC, Brier score and log loss on the hold-out.",
    )
    parity = dg.AssetCheckSpec(
        "saved_model_predicts_the_same",
        asset=spec.key,
        blocking=True,
        description="Protects against an artifact that differs from what was evaluated: the model "
        "read back from its file gives the same predictions on the hold-out, to the last bit.",
    )

    @dg.multi_asset(
        name=f"{product.name}__{declared.name}", specs=[spec], check_specs=[beats, parity]
    )
    def model(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        snapshot = lake.lake.snapshot()
        train = _labelled(lake.lake, product, declared, declared.training)
        holdout = _labelled(lake.lake, product, declared, declared.holdout)
        context.log.info(f"Training on {train.height} rows, evaluating on {holdout.height}")
        params = trainer.TrainParams()
        fitted = trainer.fit(train, params)
        artifact = trainer.save(fitted)
        label = holdout[declared.label]
        score = trainer.predict(fitted, holdout)
        rate = historical_rate_baseline(
            train, holdout, keys=declared.baseline, label=declared.label
        )
        metrics, baseline = binary_metrics(label, score), binary_metrics(label, rate)
        store = FileStore(get_settings().files_path)
        stored = store.put(artifact.encode(), f"{declared.name}.txt")
        with lake.lake.transaction(f"record model {declared.name}") as transaction:
            version = record_version(
                transaction,
                ModelVersion(
                    product=product.name,
                    model=declared.name,
                    version=0,
                    artifact_sha256=stored.sha256,
                    artifact_name=stored.name,
                    trained_on=f"{declared.training.first}/{declared.training.last}",
                    metrics={
                        "holdout": metrics,
                        "baseline": baseline,
                        "window": f"{declared.holdout.first}/{declared.holdout.last}",
                    },
                ),
                snapshot_id=snapshot,
                run_id=context.run.run_id,
            )
            transaction.record_writes(
                [WriteRecord(product.name, declared.name, WHOLE, context.run.run_id, None)]
            )
            transaction.record_files([file_record(product, declared.name, WHOLE, stored)])
        yield dg.MaterializeResult(
            asset_key=spec.key,
            metadata={
                "version": version,
                "training_rows": train.height,
                "holdout_rows": holdout.height,
                **{f"holdout_{name}": value for name, value in metrics.items()},
                **{f"baseline_{name}": value for name, value in baseline.items()},
                "snapshot": snapshot,
                "artifact": dg.MetadataValue.url(store.ui_path(stored)),
                **_plots(label, score, rate, trainer.importance(fitted)),
            },
        )
        better = (
            metrics["roc_auc"] > baseline["roc_auc"]
            and metrics["brier"] < baseline["brier"]
            and metrics["log_loss"] < baseline["log_loss"]
        )
        yield check_result(
            lake.lake,
            context,
            spec.key,
            beats.name,
            passed=better,
            metadata={
                f"{whose}_{name}": values[name]
                for whose, values in (("model", metrics), ("baseline", baseline))
                for name in ("roc_auc", "brier", "log_loss")
            },
        )
        reread = trainer.predict(store.get(stored.sha256, stored.name).decode(), holdout)
        difference = (reread - score).abs().max()
        yield check_result(
            lake.lake,
            context,
            spec.key,
            parity.name,
            passed=difference == 0.0,
            metadata={"rows": holdout.height, "largest_difference": difference},
        )

    return model


def _labelled(lake: Lake, product: ProductSpec, declared: Model, window: Window) -> pl.DataFrame:
    """Feature rows of a window whose label is known, with the label."""
    key, label, day = (
        identifier(name) for name in (declared.key, declared.label, declared.time_column)
    )
    return lake.query(
        f"""
        SELECT features.*, labels.{label}
        FROM {table_name(product.name, declared.features)} features
        JOIN {table_name(product.name, declared.labels)} labels USING ({day}, {key})
        WHERE {day} BETWEEN ?::DATE AND ?::DATE AND labels.{label} IS NOT NULL
        ORDER BY {day}, {key}
        """,
        [window.first, window.last],
    )


def _plots(
    label: pl.Series, score: pl.Series, rate: pl.Series, importance: pl.DataFrame
) -> dict[str, Any]:
    from analytics_platform.modeling import plots

    pictures = {
        "calibration": plots.calibration_plot(calibration_table(label, score)),
        "roc_curve": plots.roc_plot(label, {"model": score, "historical rate": rate}),
        "importance": plots.importance_plot(importance),
    }
    return {
        name: dg.MetadataValue.md(
            f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})"
        )
        for name, png in pictures.items()
    }


def _build_predictions(declared: Model, product: ProductSpec, trainer: Any) -> dg.AssetsDefinition:
    spec = product.asset_spec(
        PREDICTIONS,
        description=f"The probability of `{declared.label}` for every row of "
        f"`{declared.features}`, with the version of the model that gave it. `is_in_training` "
        "marks the days the model learned from, on which it must not be judged.",
        kinds={"lightgbm", "ducklake"},
        deps=[product.key(declared.features), product.key(declared.name)],
        partition_column=declared.time_column,
        row_key=[declared.time_column, declared.key],
    )
    valid = dg.AssetCheckSpec(
        "every_row_has_one_probability",
        asset=spec.key,
        blocking=True,
        description="Protects readers from missing, doubled or impossible predictions: each row "
        "of the features has exactly one, between 0 and 1.",
    )

    @frame_asset(spec, [valid])
    def predictions(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        days = run_partitions(context, spec.partitions_def)
        version = latest_version(lake.lake, product.name, declared.name)
        if version is None:
            raise dg.Failure(
                f"{declared.name} has no version yet; materialise {declared.name} first.",
                allow_retries=False,
            )
        artifact = FileStore(get_settings().files_path).get(
            version.artifact_sha256, version.artifact_name
        )
        features = _days_of(lake.lake, product, declared.features, declared.time_column, days)
        frame = features.select(
            declared.time_column, declared.key, *declared.describe
        ).with_columns(
            late_probability=trainer.predict(artifact.decode(), features),
            model_version=pl.lit(version.version, pl.Int64),
            is_in_training=pl.col(declared.time_column)
            <= dt.date.fromisoformat(version.trained_on.split("/")[1]),
        )
        yield dg.MaterializeResult(asset_key=spec.key, value=frame)
        expected, found, wrong = _prediction_counts(lake.lake, product, declared, days)
        yield check_result(
            lake.lake,
            context,
            spec.key,
            valid.name,
            passed=expected == found and wrong == 0,
            partitions=days,
            metadata={"rows_of_features": expected, "predictions": found, "wrong": wrong},
        )

    return predictions


def _prediction_counts(
    lake: Lake, product: ProductSpec, declared: Model, days: list[str]
) -> tuple[int, int, int]:
    """Rows of features, distinct rows predicted, and predictions outside 0 to 1."""
    day, key = identifier(declared.time_column), identifier(declared.key)
    where = f"WHERE {day} IN (SELECT unnest(?::DATE[]))"
    row = lake.query(
        f"""
        SELECT
          (SELECT count(*) FROM {table_name(product.name, declared.features)} {where}) AS expected,
          (SELECT count(DISTINCT {key}) FROM {table_name(product.name, PREDICTIONS)} {where})
            AS found,
          (SELECT count(*) - count(DISTINCT {key})
             + count(*) FILTER (late_probability IS NULL OR isnan(late_probability)
                                OR late_probability NOT BETWEEN 0 AND 1)
           FROM {table_name(product.name, PREDICTIONS)} {where}) AS wrong
        """,
        [days, days, days],
    ).row(0)
    return row[0], row[1], row[2]


def _build_outcomes(declared: Model, product: ProductSpec) -> dg.AssetsDefinition:
    spec = product.asset_spec(
        OUTCOMES,
        description="Each prediction beside what happened, once that has arrived.",
        kinds={"duckdb", "ducklake"},
        deps=[product.key(PREDICTIONS), product.key(declared.labels)],
        partition_column=declared.time_column,
        row_key=[declared.time_column, declared.key],
    )
    complete = dg.AssetCheckSpec(
        "every_known_outcome_is_joined",
        asset=spec.key,
        blocking=True,
        description="Protects the measured performance from rows lost in the join: every "
        "prediction whose label is known is there once.",
    )

    @frame_asset(spec, [complete])
    def outcomes(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        days = run_partitions(context, spec.partitions_def)
        key, label, day = (
            identifier(name) for name in (declared.key, declared.label, declared.time_column)
        )
        where = f"WHERE {day} IN (SELECT unnest(?::DATE[]))"
        frame = lake.lake.query(
            f"""
            SELECT predictions.*, labels.{label}
            FROM {table_name(product.name, PREDICTIONS)} predictions
            JOIN {table_name(product.name, declared.labels)} labels USING ({day}, {key})
            {where} AND labels.{label} IS NOT NULL ORDER BY {day}, {key}
            """,
            [days],
        )
        yield dg.MaterializeResult(asset_key=spec.key, value=frame)
        known = lake.lake.query(
            f"""
            SELECT count(*) FROM {table_name(product.name, declared.labels)}
            {where} AND {label} IS NOT NULL AND {key} IN
              (SELECT {key} FROM {table_name(product.name, PREDICTIONS)} {where})
            """,
            [days, days],
        ).item()
        yield check_result(
            lake.lake,
            context,
            spec.key,
            complete.name,
            passed=known == frame[declared.key].n_unique() == frame.height,
            partitions=days,
            metadata={"known_labels": known, "joined": frame.height},
        )

    return outcomes


def _build_performance(declared: Model, product: ProductSpec) -> dg.AssetsDefinition:
    spec = product.asset_spec(
        PERFORMANCE,
        description="How the predictions of each day did: ROC AUC, average precision, Brier score "
        "and log loss, beside the mean prediction and the share that came true. A day on which "
        "only one outcome occurred has no ROC AUC.",
        kinds={"polars", "ducklake"},
        deps=[product.key(OUTCOMES)],
        partition_column=declared.time_column,
        row_key=[declared.time_column, "model_version"],
    )
    sound = dg.AssetCheckSpec(
        "ranks_better_than_chance",
        asset=spec.key,
        description="Warns when a model has stopped ranking: over the days of the run the mean "
        "ROC AUC is above 0.5.",
    )

    @frame_asset(spec, [sound])
    def performance(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        days = run_partitions(context, spec.partitions_def)
        known = _days_of(lake.lake, product, OUTCOMES, declared.time_column, days)
        frame = _performance(known, declared)
        yield dg.MaterializeResult(asset_key=spec.key, value=frame)
        mean = frame["roc_auc"].mean()
        yield check_result(
            lake.lake,
            context,
            spec.key,
            sound.name,
            # Days without a known outcome have nothing to rank.
            passed=not isinstance(mean, float) or mean > 0.5,
            partitions=days,
            blocking=False,
            metadata={"days": frame.height, "mean_roc_auc": mean},
        )

    return performance


def _performance(known: pl.DataFrame, declared: Model) -> pl.DataFrame:
    """One row per day and model version: its measures."""
    rows: list[Mapping[str, Any]] = []
    keys = [declared.time_column, "model_version", "is_in_training"]
    for values, group in known.group_by(keys, maintain_order=True):
        metrics: dict[str, float | None] = {}
        if group[declared.label].n_unique() == 2:
            metrics = dict(binary_metrics(group[declared.label], group["late_probability"]))
        rows.append(
            {
                **dict(zip(keys, values, strict=True)),
                "scored_flights": group.height,
                "late_share": group[declared.label].mean(),
                "mean_late_probability": group["late_probability"].mean(),
                **{name: metrics.get(name) for name in DAILY_METRICS},
            }
        )
    schema: dict[str, Any] = {
        declared.time_column: pl.Date,
        "model_version": pl.Int64,
        "is_in_training": pl.Boolean,
        "scored_flights": pl.Int64,
        "late_share": pl.Float64,
        "mean_late_probability": pl.Float64,
        **dict.fromkeys(DAILY_METRICS, pl.Float64),
    }
    return pl.DataFrame(rows, schema=schema)


DAILY_METRICS = ("roc_auc", "average_precision", "brier", "log_loss")


def _days_of(
    lake: Lake, product: ProductSpec, table: str, column: str, days: list[str]
) -> pl.DataFrame:
    return lake.query(
        f"SELECT * FROM {table_name(product.name, table)} "
        f"WHERE {identifier(column)} IN (SELECT unnest(?::DATE[])) ORDER BY ALL",
        [days],
    )
