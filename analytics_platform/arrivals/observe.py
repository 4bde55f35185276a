"""Looking at the landing zone: what lies there, what is due, and what the ledger is to be told.

Belongs here: listing, hashing what must be hashed, and writing down what was seen. Does not belong
here: the rules (`decide`) and loading (`load`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from analytics_platform.arrivals.decide import DONE, Decision, decide, to_hash
from analytics_platform.arrivals.landing import LandingFolder
from analytics_platform.arrivals.zone import FileChangedError, LandingZone, SeenFile
from analytics_platform.lake import Lake, ledger

HASHING_SECONDS = 10.0
"""How long one look may read contents; what is left is looked at by the next. Dagster gives a
sensor 60 s."""

FILE_SECONDS = 20.0
"""How long a look may read one content. A file that takes longer is taken for new, and loading it
tells whether it is; a sensor that never came to its end would hold back all others."""


@dataclass(frozen=True)
class Look:
    """What one look at a product's landing zone found.

    Attributes:
        product: The product.
        decisions: What should become of each file.
        is_whole: Whether there was time for every file.
    """

    product: str
    decisions: Sequence[Decision]
    is_whole: bool = True

    @property
    def due(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """What is to be loaded now: by source and partition, the files and their versions."""
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for decision in self.decisions:
            if decision.is_due:
                entry = decision.entry
                of = found.setdefault(entry.source, {})
                told = f"{entry.path} {entry.version}"
                of[entry.partition] = (*of.get(entry.partition, ()), told)
        return found

    @property
    def not_due(self) -> list[Decision]:
        """What waits until it is complete."""
        return [d for d in self.decisions if d.entry.status == "waiting" and not d.is_due]

    @property
    def is_settled(self) -> bool:
        """Whether another look at the same files would find the same."""
        return self.is_whole and not self.not_due


def look(
    con: duckdb.DuckDBPyConnection,
    zone: LandingZone,
    product: str,
    sources: Sequence[LandingFolder],
    seen: Sequence[SeenFile] | None = None,
    hashing_seconds: float = HASHING_SECONDS,
    file_seconds: float = FILE_SECONDS,
) -> Look:
    """Look at a product's part of the landing zone.

    Args:
        con: A connection to the lake, which holds the ledger.
        zone: The landing zone.
        product: The product.
        sources: Its sources.
        seen: What lies there, where it was listed already.
        hashing_seconds: How long contents may be read before another one is begun.
        file_seconds: How long one content may be read.

    Raises:
        OSError: If the landing zone cannot be looked at.
    """
    seen = zone.files(product) if seen is None else seen
    known = ledger.known_files(con, product)
    hashes: dict[str, str] = {}
    later: set[str] = set()
    until = time.monotonic() + hashing_seconds
    for file in to_hash(sources, seen, known):
        if hashes and time.monotonic() > until:
            later.add(file.path)
            continue
        try:
            hashes[file.path] = zone.sha256(product, file, file_seconds)
        except (FileNotFoundError, FileChangedError):
            later.add(file.path)
        except OSError:
            # Loading it will say why; what cannot be read in time is not known to be a duplicate.
            hashes[file.path] = ""
    decisions = decide(product, sources, seen, known, hashes)
    return Look(
        product,
        [decision for decision in decisions if decision.entry.path not in later],
        is_whole=not later,
    )


def write_down(lake: Lake, found: Look) -> int:
    """Tell the ledger what it does not know yet; gives how many events were added.

    What another process told it of a file since the look is newer and stays.

    Raises:
        WriterBusyError: If the lake's turn did not come; nothing is lost, as the next look finds
            the same.
    """
    new = [decision.entry for decision in found.decisions if decision.is_new]
    if not new:
        return 0
    with lake.transaction(f"write down what arrived for {found.product}") as transaction:
        con = transaction.connection
        known = ledger.known_files(con, found.product)
        still = [entry for entry in new if _is_news(entry, known)]
        ledger.append(con, still, transaction.snapshot_id)
    return len(still)


def _is_news(entry: ledger.LedgerEntry, known: Mapping[str, ledger.KnownFile]) -> bool:
    file = known.get(entry.path)
    if file is None or file.seen is None:
        return True
    was = file.seen
    if entry.status == "vanished":
        # Another process may have loaded it before it went.
        return was.status not in {"loaded", "duplicate", "vanished"}
    is_same = (was.size_bytes, was.version) == (entry.size_bytes, entry.version)
    return was != entry and not (was.status in DONE and is_same)


def fingerprint(seen: Sequence[SeenFile]) -> str:
    """Of what lies in a landing zone: the same where nothing was delivered, changed or removed."""
    digest = hashlib.sha256()
    for file in seen:
        digest.update(f"{file.path}\0{file.size_bytes}\0{file.version}\n".encode())
    return digest.hexdigest()[:16]
