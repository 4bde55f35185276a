"""Publish a state that the gate lets through, and take a release back."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from analytics_platform.lake import FileStore, Lake, LakeError
from analytics_platform.lake.catalog import freeze
from analytics_platform.lake.lake import current_snapshot
from analytics_platform.release.gate import Verdict, judge
from analytics_platform.release.log import (
    Decision,
    FileAddress,
    NoReleaseError,
    Release,
    ReleaseLog,
    now,
)
from analytics_platform.release.provenance import pinned_files, read_manifest, write_manifest


class GateRefusedError(LakeError):
    """A blocking check does not hold, so the state was not released.

    Attributes:
        verdict: What the gate found.
    """

    def __init__(self, product: str, verdict: Verdict) -> None:
        self.verdict = verdict
        listed = "\n".join(f"  - {line}" for line in verdict.lines())
        super().__init__(f"The gate of {product} refuses; readers keep what they have.\n{listed}")


class OnHoldError(LakeError):
    """A person rolled back, and nothing is released until a person resumes."""


@dataclass(frozen=True)
class Published:
    """What `publish` gives.

    Attributes:
        release: What readers see now.
        is_new: Whether this call made it; False where nothing was written since.
    """

    release: Release
    is_new: bool


def publish(
    lake: Lake,
    store: FileStore,
    product: str,
    required: Mapping[str, Sequence[str]],
    run_id: str,
    note: str = "",
) -> Published:
    """Release the working state, if every blocking check of the product holds on it.

    The lake's writing turn is held while the state is judged and frozen, so that no write can
    slip in between. The release becomes true when the log's pointer is replaced, in one step.

    Args:
        lake: The lake.
        store: The store of files.
        product: The product.
        required: Every asset of the product with the names of its blocking checks.
        run_id: Dagster's run; empty for a command.
        note: Where it came from, for the log.

    Raises:
        GateRefusedError: If a check does not hold; the refusal is recorded.
        OnHoldError: If a rollback holds releases back.
    """
    log = ReleaseLog(lake, store, product)
    with lake.writing(f"release {product}"), lake.reader() as con:
        snapshot = current_snapshot(con)
        newest = log.newest()
        can_revert = newest is not None and newest.serving is not None
        verdict = judge(con, product, required, can_revert=can_revert)
        if newest is not None and newest.on_hold:
            _refuse_on_hold(log, snapshot, run_id)
        if not verdict.opens:
            _refuse(log, snapshot, verdict, run_id)
            raise GateRefusedError(product, verdict)
        if (
            newest is not None
            and newest.serving is not None
            and not _written_since(con, product, newest.serving.snapshot)
        ):
            return Published(newest.serving, is_new=False)
        catalog = _freeze(lake, store, product, snapshot)
        manifest = write_manifest(con, store, product, snapshot, lake.folder.name)
        _require_pinned(store, product, manifest)
        with log.changing(f"release {product}"):
            newest = log.newest()
            if newest is not None and newest.on_hold:
                # A rollback that came while this was made.
                _refuse_on_hold(log, snapshot, run_id)
            number = (newest.latest_number if newest else 0) + 1
            release = Release(product, number, snapshot, now(), catalog, manifest, verdict.held)
            log.decide(
                "release",
                snapshot=snapshot,
                at=release.released_at,
                run_id=run_id,
                note=note,
                absent=verdict.absent,
                serving=release,
                latest_number=number,
            )
    return Published(release, is_new=True)


def rollback(log: ReleaseLog, to: int | None = None, note: str = "") -> Release:
    """Give readers an earlier release back: data, predictions, model and reports together.

    Waits for no writer of the lake. Nothing is released afterwards until `resume`, or the next
    run would release again what was taken back.

    Args:
        log: The product's release log.
        to: The release's number. Unless said, the earlier one that readers saw last: one that a
            rollback has taken from them is not given back.
        note: The reason.

    Raises:
        NoReleaseError: If there is no such release.
    """
    with log.changing(f"roll back {log.product}"):
        serving = log.serving()
        if to is None:
            seen = (one.serving for one in log.decisions() if one.serving is not None)
            target = next((one for one in seen if one.number < serving.number), None)
            if target is None:
                raise NoReleaseError(
                    f"{log.product} has no release before {serving.number} to go back to."
                )
        else:
            target = log.release(to)
        log.decide("rollback", serving=target, on_hold=True, note=note)
    return target


def resume(log: ReleaseLog, note: str = "") -> Decision:
    """Let releases go on after a rollback; the next run judges the working state anew.

    Raises:
        NoReleaseError: If nothing is on hold.
    """
    with log.changing(f"resume {log.product}"):
        newest = log.newest()
        if newest is None or not newest.on_hold:
            raise NoReleaseError(f"{log.product} is not on hold; there is nothing to resume.")
        return log.decide("resume", on_hold=False, note=note)


def require_not_on_hold(log: ReleaseLog) -> None:
    """Raise where a rollback holds further releases back.

    Raises:
        OnHoldError: With the command that lets them go on.
    """
    newest = log.newest()
    if newest is not None and newest.on_hold:
        raise OnHoldError(
            f"{log.product} was rolled back and is on hold. Mend the cause, then "
            f"`ap release resume {log.product}`."
        )


def _refuse_on_hold(log: ReleaseLog, snapshot: int, run_id: str) -> None:
    try:
        require_not_on_hold(log)
    except OnHoldError as held:
        with log.changing(f"refuse {log.product}"):
            log.decide("refusal", snapshot=snapshot, run_id=run_id, problems=(str(held),))
        raise


def _refuse(log: ReleaseLog, snapshot: int, verdict: Verdict, run_id: str) -> None:
    with log.changing(f"refuse {log.product}"):
        log.decide(
            "refusal",
            snapshot=snapshot,
            run_id=run_id,
            problems=verdict.lines(),
            absent=verdict.absent,
        )


def _require_pinned(store: FileStore, product: str, address: FileAddress) -> None:
    """Refuse to release what names a file that is not there.

    Raises:
        LakeError: If a report, an artifact or an arrived file is missing.
    """
    for entry in pinned_files(read_manifest(store, address)):
        try:
            store.path(entry["sha256"], entry["name"])
        except LakeError as error:
            raise LakeError(
                f"Releasing {product}: {error} Materialise the asset that makes it again."
            ) from error


def _freeze(lake: Lake, store: FileStore, product: str, snapshot: int) -> FileAddress:
    with tempfile.TemporaryDirectory(prefix="ap-freeze-") as folder:
        frozen = Path(folder) / "frozen.ducklake"
        freeze(lake.catalog, product, snapshot, frozen)
        stored = store.put(frozen.read_bytes(), f"{product}-{snapshot}.ducklake")
    return FileAddress.of(stored)


def _written_since(con: duckdb.DuckDBPyConnection, product: str, snapshot: int) -> bool:
    found = con.execute(
        "SELECT 1 FROM lake.ops.writes WHERE product = ? AND snapshot_id > ? LIMIT 1",
        [product, snapshot],
    ).fetchone()
    return found is not None
