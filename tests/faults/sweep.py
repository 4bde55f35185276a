"""A sweep: one operation hit by a fault at one step after another, and looked at each time.

Belongs here: choosing steps, what is looked at after each, and keeping count. Does not belong here:
what a view is and which operations there are (`installation`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import pytest

from tests.faults.installation import (
    Installation,
    Operation,
    difference,
    settled,
    states,
    versions,
)
from tests.faults.stepper import Outcome, Scoreboard, Stepper

_RANDOM = re.compile(r"[0-9a-f]{12,}|\.incoming-.*|\.new-.*|ducklake-[0-9a-f-]+")

STEPS_AROUND = 8

# What the libraries say of a full disk.
NO_SPACE = re.compile(r"(?i)no space left|disk is full|disk I/O error|unable to open database file")


@contextmanager
def shown_board(request: pytest.FixtureRequest, title: str) -> Iterator[Scoreboard]:
    """A scoreboard that is printed at the end, whatever captures output."""
    scores = Scoreboard()
    yield scores
    capture: Any = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        # What a worker of pytest-xdist writes to its standard output is shown nowhere.
        sys.stderr.write(f"\n\n{title}\n{scores.table()}\n\n")
        sys.stderr.flush()


class Sweep:
    """An operation that is hit again and again, each time from the same state before.

    Args:
        operation: The operation.
        stepper: What runs it.
        board: Where each fault is counted.
        folder: A folder of its own.
        upkeep_every: After which of the faults upkeep is run too: each, each second, …

    Attributes:
        steps: Those of a run that was not hit.
        hit: How often it was.
    """

    def __init__(
        self,
        operation: Operation,
        stepper: Stepper,
        board: Scoreboard,
        folder: Path,
        upkeep_every: int = 1,
    ) -> None:
        self._upkeep_every = upkeep_every
        self.operation = operation
        self.board = board
        self.installation = Installation(stepper, folder)
        self.installation.prepare(operation.prepare)
        before = self.installation.view()
        # Readers leave SQLite's shared memory behind, which is fewer steps for the next writer.
        self.installation.restore()
        whole = self.installation.run(operation.call, log=True)
        assert not whole.error, whole.error
        after = self.installation.view()
        assert self.installation.problems(after) == []
        assert versions(after["local lake"]["rows"]) == operation.working
        assert versions(after["staging lake"]["rows"]) == operation.staging
        releases = after["local releases"]
        served = releases["made"].get(releases["serving"], {"rows": []})["rows"]
        assert versions(served) == operation.serving
        self.steps = whole.log
        self.hit = 0
        self._allowed = states(operation, before, after)
        self._seen: set[int] = set()
        self._lasting: set[int] = set()
        self._failures: list[str] = []

    def kill(self, step: int, *, like_whole_run: bool = False) -> bool:
        """Kill the operation at a step and look; whether it came so far.

        Args:
            step: The step, from 1.
            like_whole_run: Try again if the step is another kind of step than in the whole run:
                a folder of the store, named by a hash, may be there already or not.
        """
        outcome = self._killed(step)
        for _ in range(4 if like_whole_run else 0):
            if outcome.killed and kind(outcome.log[-1]) == kind(self.steps[step - 1]):
                break
            outcome = self._killed(step)
        if not outcome.killed:
            if outcome.error:
                self._failures.append(f"not killed at step {step}: {outcome.error}")
            return False
        self._count(outcome, step, lasting(outcome.log[:-1]))
        return True

    def refuse(self, step: int) -> bool:
        """Refuse all space from a step on and look; whether it came so far."""
        self.installation.restore()
        outcome = self.installation.run(self.operation.call, fail_at=step, log=True)
        if outcome.steps < step:
            return False
        told = NO_SPACE.search(outcome.error)
        unclear = [f"the error does not say it: {outcome.error}"] if not told else []
        # What is refused first decides what comes of it, so each is looked at in full.
        self._count(outcome, step, -step, unclear if outcome.error else [])
        return True

    def _killed(self, step: int) -> Outcome:
        self.installation.restore()
        return self.installation.run(self.operation.call, kill_at=step, log=True)

    def reach_the_end(self, hit: Callable[[int], bool]) -> None:
        """Hit around the last step until the operation's end was seen.

        A run may take a few steps more or less than the whole run did: a folder of the store,
        named by a hash, is there already or not.

        Args:
            hit: `kill` or `refuse`.
        """
        for step in range(len(self.steps) - STEPS_AROUND, len(self.steps) + STEPS_AROUND):
            if self._expected <= self._seen:
                return
            hit(step)

    @property
    def _expected(self) -> set[int]:
        """The states that must have been seen if the faults straddled the operation."""
        # Nothing can be hit after the operation's last step, if it is that which makes it true.
        ends_true = self.steps[-1][0] == "rename"
        return {0} if ends_true else {0, len(self._allowed) - 1}

    def judge(self) -> None:
        """Fail with all that did not hold, or if the faults did not straddle the operation."""
        count = len(self._failures)
        assert not count, f"{count} of {self.hit} faults:\n" + "\n".join(self._failures[:12])
        assert self._expected <= self._seen, f"of the states only {self._seen} were seen"

    def _count(
        self, outcome: Outcome, step: int, lasting_steps: int, problems: Sequence[str] = ()
    ) -> None:
        self.hit += 1
        call, path = outcome.log[step - 1]
        try:
            found = [*problems, *self._look(lasting_steps)]
        except Exception as error:  # a reader that fails is a finding, not an end
            found = [*problems, repr(error)]
        self.board.record(self.operation.name, survived=not found)
        if found:
            self._failures.append("\n  ".join([f"step {step} ({call} {path}):", *found]))

    def _look(self, lasting_steps: int) -> list[str]:
        """What readers see, whether all goes on, and whether nothing is lost.

        Where nothing that lasts was done since the fault before, what comes after is the same too,
        so only readers and locks are looked at.
        """
        here, after = self.installation, self._allowed[-1]
        view = here.view()
        if view not in self._allowed:
            nearest = min((difference(view, state) for state in self._allowed), key=len)
            return [f"readers see a mixture: {nearest}"]
        self._seen.add(self._allowed.index(view))
        if view == after:
            self._seen.add(len(self._allowed) - 1)
        problems = [f"a lock stayed: {one}" for one in here.locks()]
        if lasting_steps in self._lasting:
            return problems
        self._lasting.add(lasting_steps)
        problems += here.problems(view)
        again = here.run(self.operation.call)
        is_done = view == after and bool(self.operation.again)
        if again.error and not (is_done and self.operation.again in again.error):
            return [*problems, f"running it again failed: {again.error}"]
        ended: list[str] = []
        if self.hit % self._upkeep_every == 0:
            kept_up = here.run(("keep_up", {}))
            if kept_up.error:
                return [*problems, f"upkeep failed: {kept_up.error}"]
            ended += [f"upkeep left {path}" for path in here.left_over()]
        view = here.view()
        ended += here.problems(view)
        if settled(view) != settled(after):
            ended.append(difference(settled(view), settled(after)))
        return problems + [f"after running it again: {line}" for line in ended]


def kind(step: tuple[str, str]) -> tuple[str, str]:
    """What a step is, without the names that are made up for each run."""
    call, path = step
    if call in {"mkdir", "rmdir"}:
        return call, ""
    if path.startswith("files/"):
        return call, "files"
    return call, _RANDOM.sub("*", PurePath(path).name)


def lasting(steps: Sequence[tuple[str, str]]) -> int:
    """How many of the steps change what is on disk when all processes have ended.

    SQLite makes its shared memory anew when the first process opens the file, and a kill loses
    nothing that was not forced to disk.
    """
    return sum(1 for call, path in steps if "sync" not in call and not path.endswith("-shm"))


def sample(steps: Sequence[tuple[str, str]], limit: int) -> list[int]:
    """Steps to be killed at, from 1: the likeliest to do harm, then one of every kind.

    Names come into being by `rename` and `symlink`; a transaction of SQLite does by the last write
    and the fsync of its log. Each of these is tried, and the step after it.
    """
    every = list(range(1, len(steps) + 1))
    if len(every) <= limit:
        return every
    chosen: dict[int, None] = dict.fromkeys([1, len(every)])
    pivots = [k for k, (call, path) in zip(every, steps, strict=True)
              if call in {"rename", "symlink"} and not path.startswith("files/")]  # fmt: skip
    synced = [k for k, (call, path) in zip(every, steps, strict=True)
              if call in {"fsync", "fdatasync"} and path.endswith("-wal")]  # fmt: skip
    for k in [*pivots[::-1], *synced[-2:][::-1]]:
        chosen |= dict.fromkeys([k, min(k + 1, len(every))])
    kinds: dict[tuple[str, str], int] = {}
    for k, step in zip(every, steps, strict=True):
        kinds.setdefault(kind(step), k)
    # Growing the shared memory of SQLite changes nothing that lasts, so it comes last.
    ranked = sorted(kinds.items(), key=lambda item: (item[0][1].endswith("-shm"), item[1]))
    for _, k in ranked:
        chosen[k] = None
    return sorted(list(chosen)[:limit])
