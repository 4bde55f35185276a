"""The versions of each model: which artifact, learned from what, how good on the hold-out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analytics_platform.lake import Lake, Transaction, records


@dataclass(frozen=True)
class ModelVersion:
    """One trained version of a model.

    Attributes:
        product: The product.
        model: The model's name.
        version: 1, 2, 3, …; ignored when recording.
        artifact_sha256: The content hash of its artifact in the file store.
        artifact_name: The artifact's file name there.
        trained_on: First and last day of training, as `first/last`.
        metrics: Metrics by window or rival, as JSON can hold them.
    """

    product: str
    model: str
    version: int
    artifact_sha256: str
    artifact_name: str
    trained_on: str
    metrics: Mapping[str, Any]


def record_version(
    transaction: Transaction, version: ModelVersion, *, snapshot_id: int, run_id: str
) -> int:
    """Record a new version and give its number.

    Args:
        transaction: The transaction to record it in.
        version: What was trained; its number is assigned here.
        snapshot_id: The snapshot of the lake that it learned from.
        run_id: Dagster's run.
    """
    con = transaction.connection
    row = con.execute(
        "SELECT coalesce(max(version), 0) + 1 FROM lake.ops.models WHERE product = ? AND model = ?",
        [version.product, version.model],
    ).fetchone()
    number = int(row[0]) if row else 1
    records.insert(
        con,
        "models",
        [
            {
                "product": version.product,
                "model": version.model,
                "version": number,
                "artifact_sha256": version.artifact_sha256,
                "artifact_name": version.artifact_name,
                "trained_on": version.trained_on,
                "snapshot_id": snapshot_id,
                "run_id": run_id,
                "metrics": json.dumps(version.metrics),
                "created_at": records.now(),
            }
        ],
    )
    return number


def latest_version(lake: Lake, product: str, model: str) -> ModelVersion | None:
    """The newest version of a model, which is the one in force; None before the first."""
    with lake.reader() as con:
        row = con.execute(
            "SELECT version, artifact_sha256, artifact_name, trained_on, metrics "
            "FROM lake.ops.models WHERE product = ? AND model = ? ORDER BY version DESC LIMIT 1",
            [product, model],
        ).fetchone()
    if row is None:
        return None
    return ModelVersion(product, model, row[0], row[1], row[2], row[3], json.loads(row[4]))
