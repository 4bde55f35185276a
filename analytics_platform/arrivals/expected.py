"""Which files should be there by now and are not, and which lie there and are no use.

A file is missed when a later day of its source has come, or when its time is over where the source
says by when a day is due.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import duckdb

from analytics_platform.arrivals.landing import LandingFolder
from analytics_platform.lake import ledger
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
    """The paths at which files should lie by now, going by what the ledger saw."""
    came = {
        entry.partition
        for known in ledger.known_files(con, source.product, source.name).values()
        if (entry := known.seen or known.standing) is not None and source.has(entry.partition)
    }
    return [source.expected(partition) for partition in missing_partitions(source, came)]


def files_left_aside(con: duckdb.DuckDBPyConnection, source: LandingFolder) -> list[str]:
    """What the ledger saw in a source's folder that cannot be loaded, with the reason.

    Rejected files are not among them: they fail a check of their own.
    """
    return [
        f"{path}: {known.seen.reason}"
        for path, known in sorted(ledger.known_files(con, source.product).items())
        if known.seen is not None
        and path.rpartition("/")[0] == source.folder
        and known.seen.status in {"unmatched", "out_of_range", "vanished"}
    ]
