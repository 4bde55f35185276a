"""Publish a state that the gate lets through, and read what was published."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from analytics_platform.lake import Lake, LakeError, records
from analytics_platform.lake.sql import identifier
from analytics_platform.release.gate import Verdict, judge


class GateRefusedError(LakeError):
    """A blocking check does not hold, so the state was not released.

    Attributes:
        verdict: What the gate found.
    """

    def __init__(self, product: str, verdict: Verdict) -> None:
        self.verdict = verdict
        listed = "\n".join(f"  - {problem}" for problem in verdict.problems)
        super().__init__(f"The gate of {product} refuses; readers keep the last release.\n{listed}")


class NoReleaseError(LakeError):
    """The product has no release to read."""


@dataclass(frozen=True)
class Release:
    """One decision of the gate: a release, or a refusal.

    Attributes:
        product: The product.
        number: 1, 2, 3, … for releases; None for a refusal.
        snapshot_id: The snapshot of the lake that was judged, and that readers of a release see.
        decided_at: When, in UTC.
        held: How many (check, partition) pairs held.
        is_new: Whether this call made it.
        refusal: Why not, line by line; empty for a release.
    """

    product: str
    number: int | None
    snapshot_id: int
    decided_at: dt.datetime
    held: int
    is_new: bool = False
    refusal: str = ""


def publish(
    lake: Lake, product: str, required: Mapping[str, Sequence[str]], run_id: str
) -> Release:
    """Release the working state, if every blocking check of the product holds on it.

    Judged and recorded in one transaction, so that no write can slip in between. When nothing of
    the product was written since the last release, that release is given and none is made.

    Args:
        lake: The lake.
        product: The product.
        required: Every asset of the product with the names of its blocking checks.
        run_id: Dagster's run.

    Raises:
        GateRefusedError: If a check does not hold; the refusal is recorded.
    """
    with lake.transaction(f"release {product}") as transaction:
        con = transaction.connection
        judged = transaction.snapshot_id - 1
        last = _decision(con, product, "passed")
        verdict = judge(con, product, required)
        if verdict.opens and last is not None and not _written_since(con, product, last):
            return last
        number = (last.number or 0) + 1 if last else 1
        moment = records.now()
        refusal = "\n".join(str(problem) for problem in verdict.problems)
        records.insert(
            con,
            "releases",
            [
                {
                    "product": product,
                    "number": number if verdict.opens else None,
                    "snapshot_id": judged,
                    "run_id": run_id,
                    "passed": verdict.opens,
                    "evidence": json.dumps({"held": verdict.held, "absent": verdict.absent}),
                    "refusal": refusal,
                    "decided_at": moment,
                }
            ],
        )
    if not verdict.opens:
        raise GateRefusedError(product, verdict)
    return Release(product, number, judged, moment, verdict.held, is_new=True)


def latest_release(lake: Lake, product: str) -> Release | None:
    """The release that readers see now."""
    with lake.reader() as con:
        return _decision(con, product, "passed")


def last_decision(lake: Lake, product: str) -> Release | None:
    """The gate's newest decision, be it a release or a refusal."""
    with lake.reader() as con:
        return _decision(con, product, "true")


def released(lake: Lake, product: str) -> duckdb.DuckDBPyConnection:
    """Open a read-only connection that sees the latest release of a product and nothing later.

    The product's tables can be named without a schema. The connection can reach no file outside
    the lake's data.

    Raises:
        NoReleaseError: If there is none yet.
    """
    release = latest_release(lake, product)
    if release is None:
        raise NoReleaseError(
            f"{product} has no release yet. Run `ap run {product}`, or `ap status {product}` to "
            "see what holds one back."
        )
    con = lake.connect(snapshot=release.snapshot_id)
    con.execute(f"USE lake.{identifier(product)}")
    con.execute(f"SET allowed_directories = ['{lake.data}/']")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
    return con


def _decision(con: duckdb.DuckDBPyConnection, product: str, condition: str) -> Release | None:
    row = con.execute(
        f"""
        SELECT number, snapshot_id, decided_at, evidence, refusal FROM lake.ops.releases
        WHERE product = ? AND {condition} ORDER BY decided_at DESC, number DESC LIMIT 1
        """,
        [product],
    ).fetchone()
    if row is None:
        return None
    number, snapshot_id, decided_at, evidence, refusal = row
    return Release(
        product, number, snapshot_id, decided_at, json.loads(evidence)["held"], refusal=refusal
    )


def _written_since(con: duckdb.DuckDBPyConnection, product: str, release: Release) -> bool:
    found = con.execute(
        "SELECT 1 FROM lake.ops.writes WHERE product = ? AND snapshot_id > ? LIMIT 1",
        [product, release.snapshot_id],
    ).fetchone()
    return found is not None
