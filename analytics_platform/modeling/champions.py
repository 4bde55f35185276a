"""Which version of a model is in force, since when and why: a log that is only added to.

Belongs here: decisions on champions and what follows from them. Does not belong here: what a
version is (`registry`) and whether it may be champion (`gates`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

import duckdb

from analytics_platform.lake import Transaction, records
from analytics_platform.modeling.registry import ModelVersion, version_of

DecisionKind = Literal["promoted", "rolled back", "refused"]
"""Became champion; became champion again, because a person took a later one back; did not become
champion, because a gate did not hold or it had beaten another than the one in force."""


@dataclass(frozen=True)
class ChampionDecision:
    """One entry of the log.

    Attributes:
        version: The version that was decided on.
        kind: What was decided.
        reason: Why, in words.
        run_id: Dagster's run.
        snapshot_id: The snapshot that made it visible.
        decided_at: When, UTC.
    """

    version: int
    kind: DecisionKind
    reason: str
    run_id: str
    snapshot_id: int
    decided_at: dt.datetime

    @property
    def puts_in_force(self) -> bool:
        """Whether the version is champion from here on."""
        return self.kind != "refused"


def decide(
    transaction: Transaction,
    product: str,
    model: str,
    version: int,
    kind: DecisionKind,
    reason: str,
    run_id: str,
) -> None:
    """Add a decision to the log."""
    records.insert(
        transaction.connection,
        "champions",
        [
            {
                "product": product,
                "model": model,
                "version": version,
                "kind": kind,
                "reason": reason,
                "run_id": run_id,
                "snapshot_id": transaction.snapshot_id,
                "decided_at": records.now(),
            }
        ],
    )


def decisions(con: duckdb.DuckDBPyConnection, product: str, model: str) -> list[ChampionDecision]:
    """The log of a model, newest first."""
    rows = con.execute(
        "SELECT version, kind, reason, run_id, snapshot_id, decided_at FROM lake.ops.champions "
        "WHERE product = ? AND model = ? ORDER BY snapshot_id DESC, decided_at DESC",
        [product, model],
    ).fetchall()
    return [ChampionDecision(*row) for row in rows]


def champion_number(
    con: duckdb.DuckDBPyConnection, product: str, model: str, on: dt.datetime | None = None
) -> int | None:
    """The number of the version in force now, or at a moment; None before the first.

    Args:
        con: A connection to the lake.
        product: The product.
        model: The model.
        on: The moment, in UTC without a zone; now unless given.
    """
    for decision in decisions(con, product, model):
        if decision.puts_in_force and (on is None or decision.decided_at <= on):
            return decision.version
    return None


def champion(con: duckdb.DuckDBPyConnection, product: str, model: str) -> ModelVersion | None:
    """The version in force; None before the first."""
    number = champion_number(con, product, model)
    return None if number is None else version_of(con, product, model, number)


def champion_before(con: duckdb.DuckDBPyConnection, product: str, model: str) -> int | None:
    """The version that was in force before the one that is; what a rollback goes back to.

    A version that was itself rolled back is passed over, so that two rollbacks in a row go two
    champions back.
    """
    stack: list[int] = []
    for decision in reversed(decisions(con, product, model)):
        if decision.kind == "promoted" and decision.version not in stack[-1:]:
            stack.append(decision.version)
        elif decision.kind == "rolled back":
            while stack and stack[-1] != decision.version:
                stack.pop()
            if not stack:
                stack.append(decision.version)
    return stack[-2] if len(stack) > 1 else None


def decided_versions(con: duckdb.DuckDBPyConnection, product: str) -> dict[str, int]:
    """Per model, the newest version that was ever decided on."""
    return dict(
        con.execute(
            "SELECT model, max(version) FROM lake.ops.champions WHERE product = ? GROUP BY model",
            [product],
        ).fetchall()
    )
