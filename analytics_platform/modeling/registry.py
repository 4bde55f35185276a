"""The versions of each model: which artifact, learned from what, how good, and what its gates say.

A version is recorded once, in one transaction with all that is known of it, and never changed.
Belongs here: versions. Does not belong here: which of them is in force (`champions`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from analytics_platform.lake import Lake, Transaction, records
from analytics_platform.modeling.gates import GateResult


class NoVersionError(LookupError):
    """There is no such version of the model; the message lists those there are."""


class NumberTakenError(ValueError):
    """A version is to be recorded under a number that another one has."""


@dataclass(frozen=True)
class ModelVersion:
    """One trained version of a model.

    Attributes:
        product: The product.
        model: The model's name.
        version: 1, 2, 3, …; 0 in what is to be recorded.
        artifact_sha256: The content hash of its artifact in the file store.
        artifact_name: The artifact's file name there.
        trained_on: First and last day of training, as `first/last`.
        known_through: The last day whose outcomes were known to it, its hold-out included, ISO.
        params: The parameters, as JSON can hold them.
        seed: The seed of everything drawn by chance.
        code_sha256: The content hash of the code that trained it.
        attachments: Files beside the artifact by what they are (`card`, `onnx`), each with its
            `sha256` and `name` in the file store.
        declared: How it is used: its `trainer` and `serving` (dotted paths, the latter empty where
            it serves batches only), the table of its `predictions`, and that table's `day`, `key`
            and `probability` columns.
        metrics: What was measured, as JSON can hold it.
        gates: What each gate said.
        note: Who or what asked for the training.
        snapshot_id: The snapshot of the lake that it learned from.
        run_id: Dagster's run.
        created_at: When, UTC, ISO; empty in what is to be recorded.
    """

    product: str
    model: str
    version: int
    artifact_sha256: str
    artifact_name: str
    trained_on: str
    known_through: str
    params: Mapping[str, Any]
    seed: int
    code_sha256: str
    attachments: Mapping[str, Mapping[str, str]]
    declared: Mapping[str, str]
    metrics: Mapping[str, Any]
    gates: tuple[GateResult, ...]
    note: str = ""
    snapshot_id: int = -1
    run_id: str = ""
    created_at: str = field(default="", compare=False)

    @property
    def last_learned(self) -> dt.date:
        """The last day of training."""
        return dt.date.fromisoformat(self.trained_on.partition("/")[2])

    @property
    def refused_by(self) -> tuple[GateResult, ...]:
        """The gates that did not hold; a version may be champion only if there are none."""
        return tuple(gate for gate in self.gates if not gate.passed)


_COLUMNS = (
    "version, artifact_sha256, artifact_name, trained_on, known_through, params, seed, "
    "code_sha256, attachments, declared, metrics, gates, note, snapshot_id, run_id, "
    "created_at"
)


def record_version(transaction: Transaction, version: ModelVersion) -> int:
    """Record a new version and give its number.

    Args:
        transaction: The transaction to record it in.
        version: What was trained. A number of 0 becomes the next one; another is kept, where a
            release is made again with the versions that it had.

    Raises:
        NumberTakenError: If that number is taken.
    """
    con = transaction.connection
    numbers = [row[0] for row in con.execute(
        "SELECT version FROM lake.ops.models WHERE product = ? AND model = ?",
        [version.product, version.model],
    ).fetchall()]  # fmt: skip
    number = version.version or max(numbers, default=0) + 1
    if number in numbers:
        raise NumberTakenError(f"Recording {version.model}: there is a version {number} already.")
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
                "known_through": version.known_through,
                "params": json.dumps(version.params, sort_keys=True),
                "seed": version.seed,
                "code_sha256": version.code_sha256,
                "attachments": json.dumps(version.attachments),
                "declared": json.dumps(version.declared),
                "metrics": json.dumps(version.metrics),
                "gates": json.dumps([gate.document() for gate in version.gates]),
                "note": version.note,
                "snapshot_id": version.snapshot_id,
                "run_id": version.run_id,
                "created_at": records.now(),
            }
        ],
    )
    return number


def versions(con: duckdb.DuckDBPyConnection, product: str, model: str) -> list[ModelVersion]:
    """Every version of a model, newest first."""
    rows = con.execute(
        f"SELECT {_COLUMNS} FROM lake.ops.models WHERE product = ? AND model = ? "
        "ORDER BY version DESC",
        [product, model],
    ).fetchall()
    return [_version(product, model, row) for row in rows]


def version_of(
    con: duckdb.DuckDBPyConnection, product: str, model: str, number: int
) -> ModelVersion:
    """One version.

    Raises:
        NoVersionError: If there is none of that number.
    """
    made = versions(con, product, model)
    for version in made:
        if version.version == number:
            return version
    numbers = ", ".join(str(version.version) for version in reversed(made)) or "none"
    raise NoVersionError(f"{product}.{model} has no version {number}; there are: {numbers}.")


def models_of(lake: Lake, product: str) -> list[str]:
    """The models of a product that have a version."""
    rows = lake.query(
        "SELECT DISTINCT model FROM lake.ops.models WHERE product = ? ORDER BY model", [product]
    )
    return rows["model"].to_list()


def newest_versions(con: duckdb.DuckDBPyConnection, product: str) -> dict[str, int]:
    """Per model, the number of its newest version."""
    return dict(
        con.execute(
            "SELECT model, max(version) FROM lake.ops.models WHERE product = ? GROUP BY model",
            [product],
        ).fetchall()
    )


def _version(product: str, model: str, row: Sequence[Any]) -> ModelVersion:
    names = [name.strip() for name in _COLUMNS.split(",")]
    fields = dict(zip(names, row, strict=True))
    for name in ("params", "attachments", "declared", "metrics"):
        fields[name] = json.loads(fields[name])
    fields["gates"] = tuple(GateResult.of(gate) for gate in json.loads(fields["gates"]))
    fields["created_at"] = fields["created_at"].isoformat(sep=" ", timespec="seconds")
    return ModelVersion(product=product, model=model, **fields)
