"""What should become of each file, decided from what lies there and what the ledger knows.

Pure functions: they look at nothing but their arguments, so that two sensors, `ap run` and a test
come to the same answer. Belongs here: the rules. Does not belong here: looking, hashing and
writing down (`observe`), loading (`load`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from analytics_platform.arrivals.landing import LandingFolder, sources_of
from analytics_platform.arrivals.zone import SeenFile
from analytics_platform.lake.ledger import NO_SOURCE, KnownFile, LedgerEntry, Status

#: What the newest event of a file says once all that can be done with it was done.
DONE: frozenset[Status] = frozenset({"loaded", "duplicate", "rejected"})

BEING_WRITTEN = "it was changed a moment ago and may not be complete"


@dataclass(frozen=True)
class Decision:
    """What should become of one file.

    Attributes:
        entry: What the ledger should say of it.
        is_new: Whether the ledger does not say so yet.
        is_due: Whether it is to be loaded now.
    """

    entry: LedgerEntry
    is_new: bool
    is_due: bool = False


def to_hash(
    sources: Sequence[LandingFolder], seen: Sequence[SeenFile], known: Mapping[str, KnownFile]
) -> list[SeenFile]:
    """The files whose content may be one that is known, so that it must be looked at.

    A file whose size no known file of its source has is new for certain.
    """
    sizes: dict[tuple[str, int | None], int] = {}
    for file in known.values():
        for entry in {file.seen, file.standing} - {None}:
            if entry is not None and entry.content_sha256:
                key = (entry.source, entry.size_bytes)
                sizes[key] = sizes.get(key, 0) + 1
    found: list[SeenFile] = []
    for file in seen:
        of = sources_of(file.path, sources) if file.kind == "file" else []
        if len(of) != 1:
            continue
        source, partition = of[0]
        if not source.has(partition):
            continue
        before = known.get(file.path)
        if before is not None and before.seen is not None and _is_same(before.seen, file):
            continue
        if sizes.get((source.name, file.size_bytes)):
            found.append(file)
    return found


def decide(
    product: str,
    sources: Sequence[LandingFolder],
    seen: Sequence[SeenFile],
    known: Mapping[str, KnownFile],
    hashes: Mapping[str, str],
    now: float | None = None,
) -> list[Decision]:
    """Decide of every file that lies there, and of every one that should and does not.

    Args:
        product: The product.
        sources: Its sources.
        seen: All that lies in its part of the landing zone.
        known: What the ledger knows, by path.
        hashes: The hash of each file that `to_hash` gave and that could be read.
        now: Seconds since 1970; this moment unless said.

    Returns:
        One decision per file, of those that the ledger need not be told among them.
    """
    now = time.time() if now is None else now
    lying = {file.path: file for file in seen}
    # A marker may outlast its file, which may be tidied away once it is loaded.
    markers = {
        source.marker_of(path)
        for path in lying.keys() | known.keys()
        for source in sources
        if source.marker and source.partition_of(path) is not None
    }
    stands_at = standing_contents(lying, known)
    decisions: list[Decision] = []
    for file in seen:
        if file.path in markers:
            continue
        of = sources_of(file.path, sources)
        if len(of) != 1:
            if of or file.kind != "folder":
                names = [source.name for source, _ in of]
                decisions.append(_unmatched(product, file, names, known.get(file.path)))
            continue
        source, partition = of[0]
        before = known.get(file.path, KnownFile(None, 0.0, None))
        decisions.append(
            _decide(source, partition, file, before, hashes.get(file.path), stands_at, lying, now)
        )
    decisions += _vanished(lying, known)
    return decisions


def _decide(
    source: LandingFolder,
    partition: str,
    file: SeenFile,
    before: KnownFile,
    sha256: str | None,
    stands_at: Mapping[tuple[str, str], str],
    lying: Mapping[str, SeenFile],
    now: float,
) -> Decision:
    entry = LedgerEntry(
        source.product,
        source.name,
        partition,
        file.path,
        "waiting",
        file.size_bytes,
        file.version,
        sha256 or "",
    )
    was = before.seen
    is_same = was is not None and _is_same(was, file)
    if file.fault:
        return _told(replace(entry, status="rejected", reason=f"{file.path}: {file.fault}"), was)
    if not source.has(partition):
        reason = (
            f"{partition} is not from {source.first_day} up to, but not including, "
            f"{source.end_day}, the product's days"
        )
        return _told(replace(entry, status="out_of_range", reason=reason), was)
    if was is not None and is_same and was.status in DONE:
        stands = (source.name, was.content_sha256) in stands_at
        if was.status != "duplicate" or stands:
            return Decision(was, is_new=False)
        # What it was a duplicate of stands no more, so that its own rows are missing now.
        entry = replace(entry, content_sha256=was.content_sha256)
    if (
        was is not None
        and not is_same
        and sha256
        and sha256 == was.content_sha256
        and was.status in DONE
        and (was.status != "duplicate" or (source.name, sha256) in stands_at)
    ):
        # Touched, or delivered again: the very content of before.
        return Decision(replace(was, version=file.version), is_new=True)
    other = stands_at.get((source.name, sha256 or ""), file.path)
    # One whose path has rows, or fails a check, is not passed over: loading it settles that.
    is_settled = before.standing is None and (was is None or was.status != "rejected")
    if sha256 and other != file.path and is_settled:
        reason = f"the same content as {other}, which is loaded"
        return _told(replace(entry, status="duplicate", reason=reason), was)
    reason = _not_complete(source, file, before if is_same else None, lying, now)
    return replace(_told(replace(entry, reason=reason), was), is_due=not reason)


def _not_complete(
    source: LandingFolder,
    file: SeenFile,
    before: KnownFile | None,
    lying: Mapping[str, SeenFile],
    now: float,
) -> str:
    """Why a file may not be complete yet; empty where it is."""
    if marker := source.marker_of(file.path):
        # An older marker is that of the file's content before.
        if marker not in lying or lying[marker].modified_at < file.modified_at:
            return f"it waits for its marker {marker}"
        return ""
    has_stood = before.seconds if before is not None and before.seen is not None else 0.0
    # The sender's clock may be ahead of this one; then it must have stood since it was first seen.
    if max(now - file.modified_at, has_stood) < source.settle_seconds:
        return BEING_WRITTEN
    return ""


def standing_contents(
    lying: Mapping[str, SeenFile], known: Mapping[str, KnownFile]
) -> dict[tuple[str, str], str]:
    """Where each content stands, by source and hash, unless another is about to take its place."""
    found: dict[tuple[str, str], str] = {}
    for path, file in known.items():
        if file.standing is None:
            continue
        lies, was = lying.get(path), file.seen
        if lies is None or (was is not None and was.status in DONE and _is_same(was, lies)):
            found[file.standing.source, file.standing.content_sha256] = path
    return found


def _unmatched(
    product: str, file: SeenFile, sources: Sequence[str], before: KnownFile | None
) -> Decision:
    """A file of no source; or of several, of which none is to be guessed."""
    reason = file.fault or (
        f"{' and '.join(sources)} all have files of this name in this folder: their patterns must "
        "differ"
        if sources
        else "no source of the product has files of this name in this folder, or its day is none"
    )
    entry = LedgerEntry(
        product,
        NO_SOURCE,
        "",
        file.path,
        "unmatched",
        file.size_bytes,
        file.version,
        reason=reason,
    )
    return _told(entry, before.seen if before else None)


def _vanished(lying: Mapping[str, SeenFile], known: Mapping[str, KnownFile]) -> Iterator[Decision]:
    """Files that are gone and were never loaded. One that was loaded may be tidied away."""
    for path, file in known.items():
        was = file.seen
        if path in lying or was is None:
            continue
        if was.status in {"waiting", "rejected", "unmatched", "out_of_range"}:
            reason = f"it is gone; before, it was {was.status.replace('_', ' ')}"
            yield Decision(replace(was, status="vanished", reason=reason), is_new=True)


def _told(entry: LedgerEntry, was: LedgerEntry | None) -> Decision:
    """A decision, and whether the ledger says so already."""
    is_new = was is None or (
        (was.status, was.version, was.size_bytes, was.source, was.partition, was.reason)
        != (entry.status, entry.version, entry.size_bytes, entry.source, entry.partition,
            entry.reason)
    )  # fmt: skip
    return Decision(entry if is_new or was is None else was, is_new)


def _is_same(entry: LedgerEntry, file: SeenFile) -> bool:
    return (entry.size_bytes, entry.version) == (file.size_bytes, file.version)
