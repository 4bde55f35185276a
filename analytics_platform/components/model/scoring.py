"""Predictions of the champion, what came true of them, and how each day did."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from analytics_platform.components.model.declaration import ModelDeclaration
from analytics_platform.components.product_spec import (
    ProductSpec,
    check_result,
    frame_asset,
    run_partitions,
)
from analytics_platform.lake import FileStore, Lake
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.lake.sql import identifier, table_name
from analytics_platform.modeling import ModelVersion, champion
from analytics_platform.modeling.artifacts import load_version
from analytics_platform.modeling.evaluate import binary_metrics
from analytics_platform.modeling.guard import guarded_predict
from analytics_platform.modeling.history import ModelHistory
from analytics_platform.modeling.intervals import auc_interval_of_day
from analytics_platform.modeling.registry import version_of
from analytics_platform.modeling.trainer import Trainer
from analytics_platform.settings import get_settings

CONSTANT_ROWS = 10
"""Fewer rows may well have one probability."""

DAILY_METRICS = (
    "roc_auc",
    "roc_auc_low",
    "roc_auc_high",
    "average_precision",
    "brier",
    "log_loss",
)
LEAST_OF_EACH = 5
"""Fewest rows of each outcome from which the interval of a day's ROC AUC means anything."""


def build_predictions(
    declared: ModelDeclaration, product: ProductSpec, trainer: Trainer[Any, Any]
) -> dg.AssetsDefinition:
    """The probability of every row of the features, by the champion."""
    spec = product.asset_spec(
        declared.predictions,
        description=f"The probability of `{trainer.label}` for every row of "
        f"`{declared.features}`, with the version of the model that gave it: the champion of the "
        "moment. `is_in_training` marks the days the model learned from, on which it must not be "
        "judged.",
        kinds={"polars", "ducklake"},
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
        frames = [
            _scored(lake.lake, declared, product, version, of_version)
            for version, of_version in _versions(lake.lake, declared, product, days)
        ]
        yield dg.MaterializeResult(asset_key=spec.key, value=pl.concat(frames))
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


def _versions(
    lake: Lake, declared: ModelDeclaration, product: ProductSpec, days: list[str]
) -> list[tuple[ModelVersion, list[str]]]:
    """The version to score each day with: the champion, or the one that a release was made with."""
    history = ModelHistory.to_repeat()
    with lake.reader() as con:
        in_force = champion(con, product.name, declared.name)
        if in_force is None:
            raise dg.Failure(
                f"{product.name}.{declared.name} has no champion yet; materialise "
                f"{declared.challenger} and {declared.name} first.",
                allow_retries=False,
            )
        if history is None:
            return [(in_force, days)]
        of: dict[int, list[str]] = {}
        for day in days:
            number = history.scored_by(declared.name, day) or in_force.version
            of.setdefault(number, []).append(day)
        return [
            (version_of(con, product.name, declared.name, number), scored)
            for number, scored in sorted(of.items())
        ]


def _scored(
    lake: Lake,
    declared: ModelDeclaration,
    product: ProductSpec,
    version: ModelVersion,
    days: list[str],
) -> pl.DataFrame:
    # By the trainer that made the version, which the product may have replaced since.
    loaded = load_version(version, FileStore(get_settings().files_path))
    features = days_of(lake, product, declared.features, declared.time_column, days)
    # A single flight has one probability, which is no constant model.
    alone = features.height < CONSTANT_ROWS
    scores = guarded_predict(loaded.trainer, loaded.model, features, constant_allowed=alone)
    return features.select(declared.time_column, declared.key, *declared.describe).with_columns(
        scores.alias(declared.probability),
        model_version=pl.lit(version.version, pl.Int64),
        is_in_training=pl.col(declared.time_column) <= version.last_learned,
    )


def _prediction_counts(
    lake: Lake, product: ProductSpec, declared: ModelDeclaration, days: list[str]
) -> tuple[int, int, int]:
    """Rows of features, distinct rows predicted, and predictions outside 0 to 1."""
    day, key = identifier(declared.time_column), identifier(declared.key)
    probability = identifier(declared.probability)
    where = f"WHERE {day} IN (SELECT unnest(?::DATE[]))"
    scored = table_name(product.name, declared.predictions)
    row = lake.query(
        f"""
        SELECT
          (SELECT count(*) FROM {table_name(product.name, declared.features)} {where}) AS expected,
          (SELECT count(DISTINCT {key}) FROM {scored} {where}) AS found,
          (SELECT count(*) - count(DISTINCT {key})
             + count(*) FILTER ({probability} IS NULL OR isnan({probability})
                                OR {probability} NOT BETWEEN 0 AND 1)
           FROM {scored} {where}) AS wrong
        """,
        [days, days, days],
    ).row(0)
    return row[0], row[1], row[2]


def build_outcomes(
    declared: ModelDeclaration, product: ProductSpec, label: str
) -> dg.AssetsDefinition:
    """Predictions beside what happened.

    Args:
        declared: The model.
        product: Its product.
        label: The label's column.
    """
    spec = product.asset_spec(
        declared.outcomes,
        description="Each prediction beside what happened, once that has arrived.",
        kinds={"duckdb", "ducklake"},
        deps=[product.key(declared.predictions), product.key(declared.labels)],
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
        key, known, day = (identifier(name) for name in (declared.key, label, declared.time_column))
        scored = table_name(product.name, declared.predictions)
        where = f"WHERE {day} IN (SELECT unnest(?::DATE[]))"
        frame = lake.lake.query(
            f"""
            SELECT predictions.*, labels.{known}
            FROM {scored} predictions
            JOIN {table_name(product.name, declared.labels)} labels USING ({day}, {key})
            {where} AND labels.{known} IS NOT NULL ORDER BY {day}, {key}
            """,
            [days],
        )
        yield dg.MaterializeResult(asset_key=spec.key, value=frame)
        labelled = lake.lake.query(
            f"""
            SELECT count(*) FROM {table_name(product.name, declared.labels)}
            {where} AND {known} IS NOT NULL AND {key} IN (SELECT {key} FROM {scored} {where})
            """,
            [days, days],
        ).item()
        yield check_result(
            lake.lake,
            context,
            spec.key,
            complete.name,
            passed=labelled == frame[declared.key].n_unique() == frame.height,
            partitions=days,
            metadata={"known_labels": labelled, "joined": frame.height},
        )

    return outcomes


def build_performance(
    declared: ModelDeclaration, product: ProductSpec, label: str
) -> dg.AssetsDefinition:
    """How the predictions of each day did.

    Args:
        declared: The model.
        product: Its product.
        label: The label's column.
    """
    spec = product.asset_spec(
        declared.performance,
        description="How the predictions of each day did: ROC AUC, average precision, Brier score "
        "and log loss, beside the mean prediction and the share that came true. The ROC AUC has a "
        "95 % interval, given the day; a day on which only one outcome occurred has none.",
        kinds={"polars", "ducklake"},
        deps=[product.key(declared.outcomes)],
        partition_column=declared.time_column,
        row_key=[declared.time_column, "model_version"],
    )
    sound = dg.AssetCheckSpec(
        "ranks_better_than_chance",
        asset=spec.key,
        description="Warns when a model has stopped ranking: over the days of the run that the "
        "model did not learn from the mean ROC AUC is above 0.5.",
    )

    @frame_asset(spec, [sound])
    def performance(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        days = run_partitions(context, spec.partitions_def)
        known = days_of(lake.lake, product, declared.outcomes, declared.time_column, days)
        frame = daily_performance(known, declared.time_column, label, declared.probability)
        yield dg.MaterializeResult(asset_key=spec.key, value=frame)
        days_judged, mean = ranking(frame)
        yield check_result(
            lake.lake,
            context,
            spec.key,
            sound.name,
            # Days without a known outcome have nothing to rank.
            passed=mean is None or mean > 0.5,
            partitions=days,
            blocking=False,
            metadata={"days": days_judged, "mean_roc_auc": mean},
        )

    return performance


def daily_performance(
    known: pl.DataFrame, time_column: str, label: str, probability: str
) -> pl.DataFrame:
    """One row per day and model version: its measures.

    Args:
        known: Predictions beside what happened, with `model_version` and `is_in_training`.
        time_column: The date column.
        label: The label's column.
        probability: The prediction's column.
    """
    rows: list[Mapping[str, Any]] = []
    keys = [time_column, "model_version", "is_in_training"]
    for values, group in known.group_by(keys, maintain_order=True):
        metrics: dict[str, float | None] = {}
        if group[label].n_unique() == 2:
            metrics = dict(binary_metrics(group[label], group[probability]))
        positives = int(group[label].sum())
        if LEAST_OF_EACH <= positives <= group.height - LEAST_OF_EACH:
            low, high = auc_interval_of_day(group[label], group[probability])
            metrics |= {"roc_auc_low": low, "roc_auc_high": high}
        rows.append(
            {
                **dict(zip(keys, values, strict=True)),
                "labelled_rows": group.height,
                "positive_share": group[label].mean(),
                "mean_probability": group[probability].mean(),
                **{name: metrics.get(name) for name in DAILY_METRICS},
            }
        )
    schema: dict[str, Any] = {
        time_column: pl.Date,
        "model_version": pl.Int64,
        "is_in_training": pl.Boolean,
        "labelled_rows": pl.Int64,
        "positive_share": pl.Float64,
        "mean_probability": pl.Float64,
        **dict.fromkeys(DAILY_METRICS, pl.Float64),
    }
    return pl.DataFrame(rows, schema=schema)


def ranking(performance: pl.DataFrame) -> tuple[int, float | None]:
    """How many days a model can be judged by, and its mean ROC AUC over them.

    Days that it learned from are none of them: on these a model ranks well whatever it is worth.

    Args:
        performance: As `daily_performance` gives it.

    Returns:
        The days, and None where none of them has a ROC AUC.
    """
    judged = performance.filter(~pl.col("is_in_training"))["roc_auc"].drop_nulls()
    mean = judged.mean()
    return judged.len(), mean if isinstance(mean, float) else None


def days_of(
    lake: Lake, product: ProductSpec, table: str, column: str, days: list[str]
) -> pl.DataFrame:
    """The rows of a table's days, in an order that is the same each time."""
    return lake.query(
        f"SELECT * FROM {table_name(product.name, table)} "
        f"WHERE {identifier(column)} IN (SELECT unnest(?::DATE[])) ORDER BY ALL",
        [days],
    )
