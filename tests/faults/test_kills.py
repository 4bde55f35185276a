"""Every operation, killed at the steps that it takes on disk, and looked at afterwards.

Belongs here: SIGKILL. Does not belong here: a full disk (`test_disk_full`), the steps' counting
(`test_stepper`), what readers see and which operations there are (`installation`), what is looked
at after a kill (`sweep`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.installation import OPERATIONS, Operation
from tests.faults.stepper import Scoreboard, Stepper
from tests.faults.sweep import Sweep, kind, lasting, sample, shown_board

# Of each operation; `make test` tries some operations, `make test-slow` the others, and `make
# test-all` every step of all.
SAMPLED = 4

QUICK = {"write", "release", "rollback", "clone"}

every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
some_operations = pytest.mark.parametrize(
    "operation",
    [
        pytest.param(one, id=one.name, marks=[] if one.name in QUICK else pytest.mark.slow)
        for one in OPERATIONS
    ],
)


@pytest.fixture(scope="module")
def board(request: pytest.FixtureRequest) -> Iterator[Scoreboard]:
    with shown_board(request, "Killed at a step, by operation:") as scores:
        yield scores


@some_operations
def test_a_kill_at_each_kind_of_step_leaves_before_or_after(
    operation: Operation, stepper: Stepper, board: Scoreboard, tmp_path: Path
) -> None:
    sweep = Sweep(operation, stepper, board, tmp_path, upkeep_every=4)
    for step in sample(sweep.steps, SAMPLED):
        assert sweep.kill(step, like_whole_run=True)
    sweep.reach_the_end(sweep.kill)
    sweep.judge()


@pytest.mark.load
@every_operation
def test_a_kill_at_every_step_leaves_before_or_after(
    operation: Operation, stepper: Stepper, board: Scoreboard, tmp_path: Path
) -> None:
    sweep = Sweep(operation, stepper, board, tmp_path)
    # The end is where nothing is killed any more: a run may have a few steps more or less.
    while sweep.kill(sweep.hit + 1):
        pass
    assert sweep.hit >= 0.9 * len(sweep.steps)
    sweep.reach_the_end(sweep.kill)
    sweep.judge()


def test_a_sample_has_what_makes_names_and_ends_transactions() -> None:
    steps = [
        ("truncate", "local/writer.json"),
        *[("write", "local/lakes/0123456789ab/catalog.sqlite-shm")] * 30,
        ("write", "local/lakes/0123456789ab/catalog.sqlite-wal"),
        ("write", "local/lakes/0123456789ab/catalog.sqlite-wal"),
        ("fsync", "local/lakes/0123456789ab/catalog.sqlite-wal"),
        ("rename", "local/lakes/0123456789ab/releases/p/.new-x -> local/lakes/…/HEAD"),
        ("fsync", "local/lakes/0123456789ab/releases/p"),
    ]

    assert sample(steps, 8) == [1, 2, 32, 34, 35, 36]
    assert sample(steps[:3], 8) == [1, 2, 3]
    assert lasting(steps) == 4
    assert kind(steps[1]) == ("write", "catalog.sqlite-shm")
