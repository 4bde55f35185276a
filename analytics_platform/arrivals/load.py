"""Load files: rows that hold, rows that do not, and what the ledger says, in one transaction.

A partition is always written whole, from all files that came for it. A file that cannot be read is
rejected with the reason, and what stood of it stays; every other file of the same load goes
through.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from analytics_platform.arrivals.checks import PartitionLoad, judge_load, unreadable_files
from analytics_platform.arrivals.decide import standing_contents
from analytics_platform.arrivals.landing import Source
from analytics_platform.arrivals.report import LoadReport
from analytics_platform.arrivals.rows import (
    judge_rows,
    quarantine_frame,
    rows_per_file,
    rows_per_rule,
)
from analytics_platform.arrivals.zone import FileChangedError, LandingZone, SeenFile
from analytics_platform.contracts import ContractResult, DataError, read_file
from analytics_platform.lake import FileStore, Lake, LakeError, Transaction, WriteRecord, ledger
from analytics_platform.lake.ledger import KnownFile, LedgerEntry
from analytics_platform.lake.records import WHOLE

TRIES = 3
"""How often a load begins anew because another one changed what it began with."""


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file.

    Attributes:
        entry: What the ledger is told.
        content: Where its content is kept; None where it was not read.
        frame: Its rows; None unless they are loaded.
        error: Why it was not loaded; empty where it was, or need not be.
        is_told: Whether the ledger is told: not of a file that could not be read just now.
    """

    entry: LedgerEntry
    content: Path | None = None
    frame: pl.DataFrame | None = None
    error: str = ""
    is_told: bool = True


def load(
    lake: Lake,
    store: FileStore,
    source: Source,
    zone: LandingZone,
    partitions: Sequence[str],
    run_id: str,
    *,
    is_planned: bool = False,
) -> LoadReport:
    """Load the files of some partitions of a source.

    Each partition is made of every file that came for it: of those in the landing zone, and of
    those that were loaded before and have been tidied away since, which the store keeps.

    Args:
        lake: The lake.
        store: Keeps each loaded file by its content, so that its rows can be made again.
        source: The source.
        zone: The landing zone.
        partitions: ISO days, or `[WHOLE]` for a source delivered whole.
        run_id: Dagster's run, for the ledger.
        is_planned: Whether what arrived is the reason, and nobody asked for these partitions: then
            a content that a revert took out stays out, though its file still lies there.

    Returns:
        What became of each file. A file that was not loaded is told there and does not raise.

    Raises:
        OSError: If the landing zone cannot be looked at.
        LakeError: If others wrote these partitions each time that this load was about to.
    """
    for _ in range(TRIES):
        try:
            return _load(lake, store, source, zone, partitions, run_id, is_planned)
        except _OvertakenError:
            continue
    raise LakeError(
        f"Loading {source.product}.{source.asset}: others wrote the same partitions {TRIES} times "
        "meanwhile. Nothing was changed; run it again."
    )


class _OvertakenError(Exception):
    """Another load has changed what the partitions are made of."""


def _load(
    lake: Lake,
    store: FileStore,
    source: Source,
    zone: LandingZone,
    partitions: Sequence[str],
    run_id: str,
    is_planned: bool,
) -> LoadReport:
    with lake.reader() as con:
        known = ledger.known_files(con, source.product, source.name)
        refused = unreadable_files(con, source)
    lying = {file.path: file for file in zone.files(source.product)}
    outcomes = _read(store, source, zone, partitions, lying, known, run_id, is_planned)
    loads = {partition: _summed(partition, outcomes, known) for partition in partitions}
    for partition, one in loads.items():
        # A file that was refused and taken back leaves nothing to load, and nothing to complain of.
        if _has_nothing(one) and partition not in refused:
            expected = zone.address(source.product, source.expected(partition))
            error = (
                f"No file for {source.name} {partition or '(whole)'}: expected {expected}, found "
                "nothing. Deliver it, or choose partitions that have arrived."
            )
            loads[partition] = replace(one, errors=(error,))
    written = [partition for partition in partitions if loads[partition].is_written]
    used = [
        outcome
        for outcome in outcomes
        if outcome.frame is not None and outcome.entry.partition in set(written)
    ]
    partition_of = {outcome.entry.path: outcome.entry.partition for outcome in used}
    frames = [outcome.frame for outcome in used if outcome.frame is not None]
    result = judge_rows(source, frames, partition_of)
    outcomes, loads = _counted(outcomes, used, loads, result)
    with lake.transaction(f"load {source.product}.{source.asset}") as transaction:
        now = ledger.known_files(transaction.connection, source.product, source.name)
        if _standing(now, partitions) != _standing(known, partitions):
            raise _OvertakenError
        if written:
            _write(transaction, source, written, partition_of, result)
        transaction.record_writes(
            [
                WriteRecord(
                    source.product,
                    source.asset,
                    partition,
                    run_id,
                    loads[partition].rows_in_files - loads[partition].quarantined,
                )
                for partition in written
            ],
            columns={source.asset: source.partition_column},
        )
        entries = [
            outcome.entry
            for outcome in outcomes
            if outcome.is_told
            and (outcome.entry.status != "loaded" or outcome.entry.partition in set(written))
        ]
        entries += _taken_out(written, {outcome.entry.path for outcome in used}, known, run_id)
        ledger.append(transaction.connection, entries, transaction.snapshot_id)
        judged = [
            one
            for one in loads.values()
            if one.is_written
            or one.duplicates
            or _is_refused(one.partition, outcomes)
            or _has_nothing(one)
        ]
        checks = judge_load(transaction.connection, source, judged, run_id)
        transaction.record_checks(checks, transaction.snapshot_id)
    errors = [error for one in loads.values() for error in one.errors]
    return LoadReport.of(source, written, entries, errors, result, checks)


def _read(
    store: FileStore,
    source: Source,
    zone: LandingZone,
    partitions: Sequence[str],
    lying: Mapping[str, SeenFile],
    known: Mapping[str, KnownFile],
    run_id: str,
    is_planned: bool,
) -> list[FileOutcome]:
    """Every file of the partitions: copied into the store, told from duplicates, and read."""
    asked = set(partitions)
    paths = {path: source.partition_of(path) for path in lying}
    paths |= {
        path: file.standing.partition for path, file in known.items() if file.standing is not None
    }
    markers = {source.marker_of(path) for path in paths}
    ours = {
        path: partition
        for path, partition in sorted(paths.items())
        if partition in asked and path not in markers
    }
    fetched = {
        path: _fetch(
            store, source, zone, path, partition or WHOLE, lying, known, run_id, is_planned
        )
        for path, partition in ours.items()
    }
    # Where each content stands: what is not of these partitions, unless another content is about
    # to take its place; then what is, in order of paths.
    stands_at: dict[str, str] = {
        sha256: path
        for (of, sha256), path in standing_contents(lying, known).items()
        if of == source.name and path not in fetched
    }
    # A file that stands already comes before one that repeats it.
    first = sorted(fetched, key=lambda path: (not _stands(fetched[path], known.get(path)), path))
    outcomes: list[FileOutcome] = []
    for path in first:
        outcome = fetched[path]
        if outcome.content is None:
            outcomes.append(outcome)
            continue
        sha256 = outcome.entry.content_sha256
        other = stands_at.setdefault(sha256, path)
        if other != path:
            outcomes.append(_repeats(outcome, other))
            continue
        outcomes.append(_parsed(source, outcome))
        if outcomes[-1].error:
            del stands_at[sha256]
    outcomes = _fallen_back(store, source, outcomes, known, stands_at)
    return sorted(outcomes, key=lambda outcome: outcome.entry.path)


def _repeats(outcome: FileOutcome, other: str) -> FileOutcome:
    """A file that is passed over, as another path has its content."""
    reason = f"the same content as {other}, which is loaded"
    entry = replace(outcome.entry, status="duplicate", stored_name=None, reason=reason)
    return FileOutcome(entry, outcome.content)


def _fallen_back(
    store: FileStore,
    source: Source,
    outcomes: Sequence[FileOutcome],
    known: Mapping[str, KnownFile],
    stands_at: dict[str, str],
) -> list[FileOutcome]:
    """The outcomes, with the content that stands of each file whose new content is refused."""
    found = list(outcomes)
    for outcome in outcomes:
        path = outcome.entry.path
        standing = known[path].standing if path in known else None
        if outcome.error and standing is not None:
            other = stands_at.setdefault(standing.content_sha256, path)
            if other != path:
                place = next((n for n, o in enumerate(found) if o.entry.path == other), None)
                if place is None or found[place].entry.partition == standing.partition:
                    continue  # it came under another name
                # The other took it for its own day, as it was about to be replaced here.
                found[place] = _repeats(found[place], path)
                stands_at[standing.content_sha256] = path
            kept = _kept(store, replace(standing, status="loaded"))
            if kept.content is not None:
                found.append(replace(_parsed(source, kept), is_told=False))
    return found


def _taken_out(
    written: Sequence[str], used: Set[str], known: Mapping[str, KnownFile], run_id: str
) -> list[LedgerEntry]:
    """The files whose rows stood in the partitions that were written and stand no more."""
    reason = "what lies there now stands under another name"
    return [
        replace(file.standing, status="withdrawn", reason=reason, run_id=run_id)
        for path, file in known.items()
        if file.standing is not None and file.standing.partition in written and path not in used
    ]


def _stands(outcome: FileOutcome, known: KnownFile | None) -> bool:
    return (
        known is not None
        and known.standing is not None
        and known.standing.content_sha256 == outcome.entry.content_sha256
    )


def _fetch(
    store: FileStore,
    source: Source,
    zone: LandingZone,
    path: str,
    partition: str,
    lying: Mapping[str, SeenFile],
    known: Mapping[str, KnownFile],
    run_id: str,
    is_planned: bool,
) -> FileOutcome:
    """A file's content in the store, or why it is not there."""
    file, before = lying.get(path), known.get(path, KnownFile(None, 0.0, None))
    entry = LedgerEntry(source.product, source.name, partition, path, "loaded", run_id=run_id)
    standing = before.standing
    if file is None:
        # Tidied away; only a path with standing rows comes here.
        if standing is None or not standing.stored_name:
            raise ValueError(f"{path} neither lies in the landing zone nor stands in the lake.")
        return _kept(store, replace(standing, status="loaded", run_id=run_id, reason=""))
    seen = before.seen
    is_seen = seen is not None and (seen.size_bytes, seen.version) == (
        file.size_bytes,
        file.version,
    )
    if standing is not None and seen is not None and is_seen:
        kept = replace(standing, status="loaded", run_id=run_id, reason="")
        if seen.content_sha256 == standing.content_sha256:
            kept = _kept(store, replace(kept, size_bytes=file.size_bytes, version=file.version))
            if kept.content is not None:
                return kept
        elif is_planned and seen.status == "loaded":
            # A revert put an older content back; what lies there is not to come again by itself.
            return replace(_kept(store, kept), is_told=False)
    elif is_planned and seen is not None and is_seen and seen.status == "loaded":
        return FileOutcome(entry, is_told=False)  # taken out by a revert
    entry = replace(entry, size_bytes=file.size_bytes, version=file.version)
    if file.fault:
        return _rejected(entry, f"{path}: {file.fault}")
    marker = source.marker_of(path)
    if marker and (marker not in lying or lying[marker].modified_at < file.modified_at):
        return FileOutcome(entry, error=f"{path} waits for its marker {marker}.", is_told=False)
    if file.size_bytes > source.file_format.max_bytes:
        return _rejected(
            entry,
            f"{path}: expected {source.file_format.max_bytes:,} bytes at the most, found "
            f"{file.size_bytes:,}. Raise the source's max_bytes if such files are right.",
        )
    # The name that a file is kept under is for people; the hash tells which it is.
    name = file.name if re.search("[A-Za-z0-9]", file.name) else "arrival"
    try:
        stored = store.take(zone.chunks(source.product, file), name)
    except FileNotFoundError:
        gone = replace(entry, status="vanished", reason="it was gone when it was to be read")
        return FileOutcome(gone, error=f"{path}: {gone.reason}. Deliver it again.")
    except FileChangedError as error:
        return FileOutcome(entry, error=str(error), is_told=False)
    except OSError as error:
        if isinstance(error, PermissionError) and zone.shows_rights:
            why = error.strerror or error
            return _rejected(entry, f"{path}: it may not be read: {why}. Let it be read.")
        # A matter of the disk, the network or the credentials, and not of the file: it waits.
        return FileOutcome(entry, error=f"{path} could not be read now: {error}", is_told=False)
    entry = replace(entry, content_sha256=stored.sha256, stored_name=stored.name)
    return FileOutcome(entry, stored.path)


def _kept(store: FileStore, entry: LedgerEntry) -> FileOutcome:
    """A file that was loaded before, if the store's copy is what it should be."""
    name = entry.stored_name or ""
    if store.is_intact(entry.content_sha256, name):
        return FileOutcome(entry, store.path(entry.content_sha256, name))
    error = (
        f"{entry.path}: the copy that was kept of it ({entry.content_sha256[:12]}) is damaged or "
        "gone. What stands of it stays; deliver it again."
    )
    return FileOutcome(entry, error=error, is_told=False)


def _standing(known: Mapping[str, KnownFile], partitions: Sequence[str]) -> set[tuple[str, str]]:
    """The contents that the partitions are made of, by path."""
    return {
        (path, file.standing.content_sha256)
        for path, file in known.items()
        if file.standing is not None and file.standing.partition in partitions
    }


def _rejected(entry: LedgerEntry, error: str) -> FileOutcome:
    return FileOutcome(replace(entry, status="rejected", reason=error), error=error)


def _parsed(source: Source, outcome: FileOutcome) -> FileOutcome:
    entry = outcome.entry
    if outcome.content is None:
        return outcome
    try:
        frame = read_file(
            outcome.content, source.contract, source.file_format, source_file=entry.path
        )
    except DataError as error:
        return _rejected(replace(entry, stored_name=None), str(error))
    return replace(outcome, frame=frame)


def _summed(
    partition: str, outcomes: Sequence[FileOutcome], known: Mapping[str, KnownFile]
) -> PartitionLoad:
    """Whether a partition is written: not where files are refused and what stands is the rest."""
    of = [outcome for outcome in outcomes if outcome.entry.partition == partition]
    good = [outcome for outcome in of if outcome.frame is not None]
    errors = tuple(outcome.error for outcome in of if outcome.error)
    now = {(o.entry.path, o.entry.content_sha256) for o in good}
    kept = _standing(known, [partition])
    refused = {outcome.entry.path for outcome in of if outcome.error}
    # Neither under its own name nor under another: to write the partition would lose its rows.
    would_lose = any(
        path in refused and sha256 not in {content for _, content in now} for path, sha256 in kept
    )
    return PartitionLoad(
        partition,
        errors,
        is_written=bool(good) and (now != kept or not errors) and not would_lose,
        duplicates=sum(1 for outcome in of if outcome.entry.status == "duplicate"),
    )


def _counted(
    outcomes: Sequence[FileOutcome],
    used: Sequence[FileOutcome],
    loads: Mapping[str, PartitionLoad],
    result: ContractResult,
) -> tuple[list[FileOutcome], dict[str, PartitionLoad]]:
    """Files and partitions with the numbers of their rows."""
    bad = rows_per_file(result.bad)
    rules = rows_per_rule(result.bad, {o.entry.path: o.entry.partition for o in used})
    counted = dict(loads)
    taken = {id(outcome) for outcome in used}
    found: list[FileOutcome] = []
    for outcome in outcomes:
        if id(outcome) not in taken or outcome.frame is None:
            found.append(outcome)
            continue
        rows, quarantined = outcome.frame.height, bad.get(outcome.entry.path, 0)
        entry = replace(
            outcome.entry,
            rows_in_file=rows,
            rows_loaded=rows - quarantined,
            rows_quarantined=quarantined,
        )
        found.append(replace(outcome, entry=entry))
        one = counted[entry.partition]
        counted[entry.partition] = replace(
            one,
            rows_in_files=one.rows_in_files + rows,
            quarantined=one.quarantined + quarantined,
            counts=rules.get(entry.partition, Counter()),
        )
    return found, counted


def _write(
    transaction: Transaction,
    source: Source,
    written: Sequence[str],
    partition_of: Mapping[str, str],
    result: ContractResult,
) -> None:
    column = source.partition_column
    days = None if column is None else written
    transaction.replace(
        source.product,
        source.asset,
        result.good,
        partition_column=column,
        partitions=days,
        schema_change=source.schema_change,
    )
    transaction.replace(
        source.product,
        source.quarantine,
        quarantine_frame(source, partition_of, result.bad),
        partition_column=column,
        partitions=days,
        # The frame is the platform's own: a lake of before the records' `text` gets it.
        schema_change="add_columns",
    )


def _has_nothing(one: PartitionLoad) -> bool:
    """Whether no file of the partition lies there or stands."""
    return not (one.is_written or one.errors or one.duplicates)


def _is_refused(partition: str, outcomes: Sequence[FileOutcome]) -> bool:
    """Whether a file of the partition was refused; what never arrived is not judged."""
    return any(
        outcome.is_told and outcome.error and outcome.entry.partition == partition
        for outcome in outcomes
    )
