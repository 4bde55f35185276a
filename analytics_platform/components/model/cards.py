"""A version's pictures and card, from what its training found out."""

import datetime as dt
from collections.abc import Sequence

from analytics_platform.components.model.declaration import ModelDeclaration
from analytics_platform.modeling import ModelVersion, plots
from analytics_platform.modeling.backtest import MODEL
from analytics_platform.modeling.card import (
    CardContent,
    Gate,
    PastVersion,
    Pictures,
    Upstream,
    card_html,
)
from analytics_platform.modeling.challenge import Challenge
from analytics_platform.modeling.evaluate import calibration_table
from analytics_platform.modeling.split import Days

SHOWN_METRICS = ("roc_auc", "log_loss", "expected_calibration_error")


def pictures_of(found: Challenge, label: str) -> Pictures:
    """The pictures of a training."""
    outcome, score = found.holdout[label], found.scores[MODEL]
    return Pictures(
        calibration=plots.calibration_plot(calibration_table(outcome, score)),
        roc=plots.roc_plot(outcome, found.scores),
        importance=b"" if found.importance.is_empty() else plots.importance_plot(found.importance),
        scores=plots.score_plot(outcome, score),
        backtest=b"" if found.backtest is None else plots.backtest_plot(found.backtest.folds),
        slices=b"" if found.slices.is_empty() else plots.slices_plot(found.slices, MODEL),
    )


def card_of(
    declared: ModelDeclaration,
    version: ModelVersion,
    found: Challenge,
    pictures: Pictures,
    before: Sequence[ModelVersion],
) -> bytes:
    """The card of a version, as one HTML page.

    Args:
        declared: The model.
        version: The version, with its number.
        found: What its training found out.
        pictures: The pictures.
        before: The versions before it, newest first.
    """
    rows = version.metrics["rows"]
    snapshot = version.snapshot_id
    return card_html(
        CardContent(
            product=version.product,
            model=version.model,
            version=version.version,
            role="may be champion" if not version.refused_by else "refused by its gates",
            purpose=declared.description,
            not_for=declared.not_for,
            limits=declared.limits,
            trained_at=dt.datetime.now(dt.UTC).replace(microsecond=0),
            snapshot=snapshot,
            code_version=version.code_sha256,
            trainer=declared.trainer,
            artifact_sha256=version.artifact_sha256,
            artifact_bytes=len(found.artifact),
            seed=version.seed,
            params=version.params,
            features=found.features,
            training=Days(found.fold.train.first, found.fold.valid.last),
            training_rows=rows["train"] + rows["valid"],
            holdout=found.fold.test,
            holdout_rows=rows["holdout"],
            known_after_days=found.fold.known_after_days,
            metrics=found.intervals,
            folds=None if found.backtest is None else found.backtest.folds,
            slices=found.slices,
            ablations=() if found.ablation is None else (found.ablation,),
            lineage=[
                Upstream(f"{version.product}/{asset}", role, snapshot, sum(rows.values()))
                for asset, role in ((declared.features, "features"), (declared.labels, "labels"))
            ],
            gates=[Gate(gate.name, gate.passed, gate.evidence) for gate in version.gates],
            history=[
                PastVersion(
                    past.version,
                    "refused" if past.refused_by else "held its gates",
                    past.trained_on,
                    {name: past.metrics["holdout"][name] for name in SHOWN_METRICS},
                    dt.datetime.fromisoformat(past.created_at),
                    past.note,
                )
                for past in before
            ],
            pictures=pictures,
        )
    )
