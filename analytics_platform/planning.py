"""What should run next, decided from the state of the lake and of the landing zone.

The sensor and `ap run` ask the same question and get the same answer, so what runs by itself and
what a person starts cannot differ. Nothing is remembered between two looks: a lost cursor, a
restarted daemon or a killed run changes only when the work is done, not whether.

Belongs here: the rule by which an asset is behind. Does not belong here: how a run is started.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import heapq
import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from analytics_platform.lake.records import WHOLE

Cadence = Literal["daily", "weekly", "monthly", "whole"]
Role = Literal["source", "table", "challenger", "champion", "release"]

MODEL_ROLES: frozenset[Role] = frozenset({"challenger", "champion"})


@dataclass(frozen=True)
class History:
    """The days of another asset that a partition looks back on.

    Attributes:
        asset: The asset whose days are read.
        first_offset: The first of these days, counted from the partition's own: -91 is 91 days
            before. A number beyond the product's first day means all the past.
        last_offset: The last of these days: -2 where the day before is not known yet.
    """

    asset: str
    first_offset: int
    last_offset: int


@dataclass(frozen=True)
class Node:
    """One asset of a product, as far as planning needs to know it.

    Attributes:
        name: The asset's name.
        cadence: How it is partitioned.
        role: A source is behind when files wait; a challenger is trained once it can be, and again
            only on request; a champion is decided on after each training; the release comes last;
            any other table follows its upstreams.
        upstreams: Assets that it reads for the same partition.
        history: Daily assets of which it reads other days than its own. A day is stale that was
            written before a day it looks back on; a past that fails a check bars what would be
            built on it.
        needs_days: First and last day that must stand in every daily upstream before it can run.
    """

    name: str
    cadence: Cadence
    role: Role
    upstreams: tuple[str, ...]
    needs_days: tuple[dt.date, dt.date] | None = None
    history: tuple[History, ...] = ()


@dataclass(frozen=True)
class SourceState:
    """What waits in the landing zone for one source.

    Attributes:
        waiting: Content hashes of files not yet loaded, by partition.
    """

    waiting: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class PlannedRun:
    """One run that should be started.

    Attributes:
        cadence: Says which job.
        assets: The assets to materialise, upstream first.
        first: The first partition; `WHOLE` for a run without partitions.
        last: The last partition.
        reason: In words, for people.
        fingerprint: Identifies this work on the files that wait for it and on the newest write,
            so that failed work is not started again and again until something has changed.
    """

    cadence: Cadence
    assets: tuple[str, ...]
    first: str
    last: str
    reason: str
    fingerprint: str


@dataclass(frozen=True)
class ProductState:
    """Everything that planning looks at.

    Attributes:
        writes: Per asset and partition, the snapshot of the newest write.
        sources: Per source asset, what waits for it.
        failing: Per asset, the partitions on which a blocking check does not hold; `WHOLE` where
            it saw the whole table.
        unverified: Per asset, the partitions that were written and not checked, as a killed run
            leaves them; they are made again.
        judged_snapshot: The snapshot of the gate's newest decision, or -1.
        removed: Per asset, the partitions that were taken out and do not stand, with the snapshot:
            what was made of them is behind.
        trained: Per challenger, its newest version. It is no write: readers see a version only once
            it is champion.
        decided: Per champion, the newest version that was decided on.
    """

    writes: Mapping[str, Mapping[str, int]]
    sources: Mapping[str, SourceState]
    failing: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unverified: Mapping[str, frozenset[str]] = field(default_factory=dict)
    judged_snapshot: int = -1
    removed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    trained: Mapping[str, int] = field(default_factory=dict)
    decided: Mapping[str, int] = field(default_factory=dict)

    def stands(self, asset: str) -> bool:
        """Whether there is anything of an asset that another can read."""
        return bool(self.writes.get(asset)) or asset in self.trained

    def changes(self, asset: str) -> Mapping[str, int]:
        """The snapshot in which each partition was last written or taken out."""
        return {**self.removed.get(asset, {}), **self.writes.get(asset, {})}


def next_run(
    nodes: Sequence[Node],
    state: ProductState,
    without: Iterable[str] = (),
    most_partitions: int | None = None,
) -> PlannedRun | None:
    """Give the next run, or None when nothing is behind.

    Args:
        nodes: The product's assets, upstream first.
        state: The state to judge.
        without: Fingerprints of work that failed on this state; it is passed over.
        most_partitions: The most partitions that one run takes; a longer range is cut, and the
            earliest goes first. No limit unless given.
    """
    failed = set(without)
    behind = _behind(nodes, state)
    for planned in _candidates(nodes, state, behind, most_partitions):
        if planned.fingerprint not in failed:
            return planned
    return None


def _candidates(
    nodes: Sequence[Node],
    state: ProductState,
    behind: Mapping[str, set[str]],
    most_partitions: int | None,
) -> Iterable[PlannedRun]:
    by_cadence: dict[Cadence, list[Node]] = {"daily": [], "weekly": [], "monthly": [], "whole": []}
    for node in nodes:
        if node.role in {"source", "table"} and behind[node.name]:
            by_cadence[node.cadence].append(node)
    newest = _newest_write(state)

    def planned(
        cadence: Cadence, assets: Sequence[str], partitions: Sequence[str], reason: str
    ) -> PlannedRun:
        first, last = partitions[0], partitions[-1]
        waiting = {
            name: sorted(h for key in partitions for h in state.sources[name].waiting.get(key, ()))
            for name in assets
            if name in state.sources
        }
        standing = [cadence, assets, first, last, waiting, newest]
        fingerprint = hashlib.sha256(json.dumps(standing).encode()).hexdigest()[:16]
        return PlannedRun(cadence, tuple(assets), first, last, reason, fingerprint)

    # A run has one cadence: Dagster would plan every partition of a range for tables without any.
    # References go first, because days are joined with them.
    if by_cadence["whole"]:
        names = [node.name for node in by_cadence["whole"]]
        yield planned("whole", names, [WHOLE], "tables are behind")
    for days, assets in _grouped(by_cadence["daily"], behind, most_partitions):
        yield planned("daily", assets, days, f"{len(days)} days")
    models = [node.name for node in nodes if node.role in MODEL_ROLES and behind[node.name]]
    if models:
        yield planned("whole", models, [WHOLE], "a model is to be trained or decided on")
    for weeks, assets in _grouped(by_cadence["weekly"], behind, most_partitions):
        yield planned("weekly", assets, weeks, f"weeks {weeks[0]} to {weeks[-1]}")
    for months, assets in _grouped(by_cadence["monthly"], behind, most_partitions):
        yield planned("monthly", assets, months, f"months {months[0]} to {months[-1]}")
    for node in nodes:
        if node.role == "release" and newest > state.judged_snapshot:
            yield planned("whole", [node.name], [WHOLE], "tables changed since the last decision")


def _behind(nodes: Sequence[Node], state: ProductState) -> dict[str, set[str]]:
    """The partitions of each asset that should be made."""
    known = {node.name: node for node in nodes}
    behind: dict[str, set[str]] = {}
    # Partitions that must not be built on: a blocking check fails on them or further up.
    barred: dict[str, set[str]] = {}
    for node in nodes:
        upstreams = [known[name] for name in node.upstreams if name in known]
        above = set[str]().union(*(barred[up.name] for up in upstreams))
        if WHOLE in above or node.role == "release":
            behind[node.name] = set()
        elif node.role == "source":
            behind[node.name] = set(state.sources.get(node.name, SourceState({})).waiting)
        elif not _can_run(node, upstreams, behind, state):
            behind[node.name] = set()
        else:
            stale = _stale(node, upstreams, behind, state)
            # What a killed run wrote and did not check is made again, whatever it is.
            stale |= state.unverified.get(node.name, set())
            stale -= above
            behind[node.name] = stale - _on_unsound_days(node, stale, behind, state)
        barred[node.name] = above | (state.failing.get(node.name, set()) - behind[node.name])
    return behind


def _stale(
    node: Node, upstreams: Sequence[Node], behind: Mapping[str, set[str]], state: ProductState
) -> set[str]:
    """The partitions that are missing or older than what they are made of."""
    if node.role == "challenger":
        return set() if node.name in state.trained else {WHOLE}
    if node.role == "champion":
        is_due = any(
            behind[up.name] or state.trained.get(up.name, -1) > state.decided.get(node.name, -1)
            for up in upstreams
        )
        return {WHOLE} if is_due else set()
    if node.cadence == "whole":
        return _whole_behind(node, upstreams, behind, state)
    if node.cadence in {"weekly", "monthly"}:
        return _spans_behind(node, upstreams, state)
    return _days_behind(node, upstreams, behind, state) | _days_before_their_history(node, state)


def _days_behind(
    node: Node, upstreams: Sequence[Node], behind: Mapping[str, set[str]], state: ProductState
) -> set[str]:
    written = state.writes.get(node.name, {})
    days: set[str] = set()
    for up in upstreams:
        if up.cadence == "daily":
            above = state.writes.get(up.name, {})
            days |= behind[up.name]
            days |= {day for day, snapshot in above.items() if snapshot > written.get(day, -1)}
    return days


def _days_before_their_history(node: Node, state: ProductState) -> set[str]:
    """The days that stand and were written before a day that they look back on.

    Only what stands in the history counts, and not what waits for it: a correction that fails
    would otherwise have the later days made again and again. They follow in the run after it.
    """
    written = state.writes.get(node.name, {})
    stale: set[str] = set()
    for past in node.history:
        later = [
            (_ordinal(day), snapshot)
            for day, snapshot in sorted(state.changes(past.asset).items(), reverse=True)
        ]
        # The window moves on with the day: its newest write is on top, once those before it go.
        window: list[tuple[int, int]] = []
        for day in sorted(written):
            own = _ordinal(day)
            while later and later[-1][0] <= own + past.last_offset:
                looked_back_on, snapshot = later.pop()
                heapq.heappush(window, (-snapshot, looked_back_on))
            while window and window[0][1] < own + past.first_offset:
                heapq.heappop(window)
            if window and -window[0][0] > written[day]:
                stale.add(day)
    return stale


def _on_unsound_days(
    node: Node, partitions: Iterable[str], behind: Mapping[str, set[str]], state: ProductState
) -> set[str]:
    """The partitions that look back on a day that stands and fails a check.

    A day that is missing from the history, because its file never came or cannot be read, is no
    such day: history is made of what is known.
    """
    barred: set[str] = set()
    for past in node.history:
        failing = state.failing.get(past.asset, set()) - behind.get(past.asset, set())
        if WHOLE in failing:
            return set(partitions)
        standing = state.writes.get(past.asset, {})
        unsound = sorted(_ordinal(day) for day in failing if day in standing)
        for partition in partitions if unsound else ():
            own = _ordinal(partition)
            at = bisect_left(unsound, own + past.first_offset)
            if at < len(unsound) and unsound[at] <= own + past.last_offset:
                barred.add(partition)
    return barred


def _whole_behind(
    node: Node, upstreams: Sequence[Node], behind: Mapping[str, set[str]], state: ProductState
) -> set[str]:
    written = max(state.writes.get(node.name, {}).values(), default=-1)
    stale = any(
        behind[up.name] or max(state.changes(up.name).values(), default=-1) > written
        for up in upstreams
    )
    return {WHOLE} if stale else set()


def _can_run(
    node: Node, upstreams: Sequence[Node], behind: Mapping[str, set[str]], state: ProductState
) -> bool:
    """Whether every upstream stands, or will stand after this same run.

    A day may lack one of several daily upstreams (its weather never came), but a table that was
    never written cannot be read. A new reference table or model is used for partitions to come;
    it does not make past ones stale, or every correction of a name would remake the year. A table
    without partitions waits until the days it is made of are no longer behind.
    """
    if node.cadence == "whole" and any(
        up.cadence == "daily" and behind[up.name] for up in upstreams
    ):
        return False
    stand = all(
        state.stands(up.name) or (up.cadence == node.cadence and behind[up.name])
        for up in upstreams
    )
    return stand and _covers(node, upstreams, behind, state)


def _covers(
    node: Node, upstreams: Sequence[Node], behind: Mapping[str, set[str]], state: ProductState
) -> bool:
    if node.needs_days is None:
        return True
    first, last = node.needs_days
    needed = {str(first + dt.timedelta(days=day)) for day in range((last - first).days + 1)}
    return all(
        needed <= state.writes.get(up.name, {}).keys() and not needed & behind[up.name]
        for up in upstreams
        if up.cadence == "daily"
    )


def _spans_behind(node: Node, upstreams: Sequence[Node], state: ProductState) -> set[str]:
    """Whole weeks or months, by their first day, of which a day is newer than their own write."""
    written = state.writes.get(node.name, {})
    daily = [state.writes.get(up.name, {}) for up in upstreams if up.cadence == "daily"]
    if not daily or not all(daily):
        return set()
    first, last = max(min(days) for days in daily), min(max(days) for days in daily)
    spans: set[str] = set()
    for days in (state.changes(up.name) for up in upstreams if up.cadence == "daily"):
        for day, snapshot in days.items():
            start, following = _span(node.cadence, dt.date.fromisoformat(day))
            whole = first <= str(start) and str(following - dt.timedelta(days=1)) <= last
            if whole and snapshot > written.get(str(start), -1):
                spans.add(str(start))
    return spans


def _span(cadence: Cadence, day: dt.date) -> tuple[dt.date, dt.date]:
    """The first day of the partition that a day lies in, and the first day of the next."""
    if cadence == "monthly":
        start = day.replace(day=1)
        return start, (start + dt.timedelta(days=31)).replace(day=1)
    if cadence == "weekly":
        start = day - dt.timedelta(days=day.weekday())
        return start, start + dt.timedelta(days=7)
    return day, day + dt.timedelta(days=1)


def _grouped(
    nodes: Sequence[Node], behind: Mapping[str, set[str]], most: int | None
) -> list[tuple[list[str], list[str]]]:
    """Runs of adjacent partitions that need the same assets: partitions, assets."""
    needs: dict[str, list[str]] = {}
    for node in nodes:
        for partition in behind[node.name]:
            needs.setdefault(partition, []).append(node.name)
    groups: list[tuple[list[str], list[str]]] = []
    for partition in sorted(needs):
        if groups:
            partitions, assets = groups[-1]
            before = dt.date.fromisoformat(partitions[-1])
            adjacent = str(_span(nodes[0].cadence, before)[1]) == partition
            if adjacent and assets == needs[partition] and len(partitions) != most:
                partitions.append(partition)
                continue
        groups.append(([partition], needs[partition]))
    return groups


def _ordinal(day: str) -> int:
    """The day as a number, which no offset takes out of the calendar."""
    return dt.date.fromisoformat(day).toordinal()


def _newest_write(state: ProductState) -> int:
    changes = [*state.writes.values(), *state.removed.values()]
    return max((max(of.values(), default=-1) for of in changes), default=-1)
