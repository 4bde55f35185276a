"""Which files should be there by now and are not, and which lie there and are no use.

A file is missed when a later day of its source has come, or when its time is over where the source
says by when a day is due.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Container, Iterable

import duckdb

from analytics_platform.arrivals.landing import LandingFolder
from analytics_platform.lake import ledger
from analytics_platform.lake.ledger import LedgerEntry
from analytics_platform.lake.records import WHOLE

ARRIVED, ACCOUNTED = "files_have_arrived", "files_are_accounted_for"
"""The two checks that look at this; they warn, since another day's data is no worse for it."""


def missing_partitions(
    source: LandingFolder, came: Iterable[str], now: dt.datetime | None = None
) -> list[str]:
    """The partitions of which no file ever came and one should have, oldest first.

    Args:
        source: The source.
        came: The partitions of which a file was seen, whatever became of it.
        now: This moment in UTC, unless said.
    """
    came = set(came)
    if source.first_day is None or source.end_day is None:
        is_due = source.due_hours is not None
        return [WHOLE] if is_due and WHOLE not in came else []
    now = dt.datetime.now(dt.UTC) if now is None else now
    last = max((dt.date.fromisoformat(day) for day in came), default=None)
    if source.due_hours is not None:
        # The newest day d of which midnight and the hours are over.
        over = (now - dt.timedelta(hours=source.due_hours)).date()
        last = over if last is None else max(last, over)
    if last is None:
        return []
    last = min(last, source.end_day - dt.timedelta(days=1))
    days = (last - source.first_day).days + 1
    every = (str(source.first_day + dt.timedelta(days=day)) for day in range(max(days, 0)))
    return [day for day in every if day not in came]


def missing_files(con: duckdb.DuckDBPyConnection, source: LandingFolder) -> list[str]:
    """The paths at which files should lie by now, going by what the ledger saw.

    A file that went before it was loaded, or was refused and taken back, is as good as never come.
    """
    came = {
        entry.partition
        for known in ledger.known_files(con, source.product, source.name).values()
        for entry in (known.seen, known.standing)
        if entry is not None and entry.status != "vanished" and source.has(entry.partition)
    }
    return [source.expected(partition) for partition in missing_partitions(source, came)]


def files_left_aside(con: duckdb.DuckDBPyConnection, source: LandingFolder) -> list[str]:
    """What the ledger saw in a source's folder that is not loaded, with the reason.

    A file that a load rejected is not among them, be it gone: it fails a check of its own.
    """
    known = ledger.known_files(con, source.product)
    went_as = ledger.before_vanishing(con, source.product)
    # One that came before its file was told as a name of no source.
    markers = {source.marker_of(path) for path in known if source.partition_of(path) is not None}
    days_that_stand = {
        file.standing.partition
        for file in known.values()
        if file.standing is not None and file.standing.source == source.name
    }
    return [
        f"{path}: {file.seen.reason}"
        for path, file in sorted(known.items())
        if file.seen is not None
        and path.rpartition("/")[0] == source.folder
        and path not in markers
        and _lies_aside(source, file.seen, went_as.get(path, "waiting"), days_that_stand)
    ]


def _lies_aside(
    source: LandingFolder, entry: LedgerEntry, went_as: str, days_that_stand: Container[str]
) -> bool:
    """Whether a file should be asked about that is not loaded and of which no load speaks."""
    is_ours = entry.source == source.name and source.has(entry.partition)
    match entry.status:
        case "unmatched" | "out_of_range":
            return True
        case "vanished":
            # What nobody could load may be tidied away.
            return is_ours and went_as == "waiting"
        case "rejected":
            # Of links, folders and the like, which no load takes up.
            return is_ours and not entry.run_id
        case "duplicate":
            # Another day's content under this day's name, of which nothing else came.
            return is_ours and entry.partition not in days_that_stand
        case _:
            return False
