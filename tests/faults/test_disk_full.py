"""A disk that is full: at a step of an operation, and a small one in earnest.

Belongs here: the want of space. Does not belong here: kills (`test_kills`), which operations there
are and what readers see (`installation`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.actions import PRODUCT, lake_of
from tests.faults.installation import (
    D1,
    D2,
    OPERATIONS,
    Call,
    Installation,
    Operation,
    View,
)
from tests.faults.stepper import Scoreboard, Stepper
from tests.faults.sweep import NO_SPACE, Sweep, sample, shown_board

SAMPLED = 4
REFUSED = [
    pytest.param(one, id=one.name, marks=pytest.mark.slow if one.name == "release" else [])
    for one in OPERATIONS
    if one.name in {"write", "release"}
]

SMALL_MEGABYTES = 16
BALLAST_BYTES = 6 << 20
# Random numbers do not compress well: 3 MB.
LARGE_ROWS = 500_000

refused_operations = pytest.mark.parametrize("operation", REFUSED)


@pytest.fixture(scope="module")
def board(request: pytest.FixtureRequest) -> Iterator[Scoreboard]:
    with shown_board(request, "Refused space from a step on, by operation:") as scores:
        yield scores


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room; skips where none may be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if mount is None or unmount is None or os.geteuid() != 0:
        pytest.skip("mounting a tmpfs takes root, mount and umount")
    options = ["-t", "tmpfs", "-o", f"size={SMALL_MEGABYTES}m", "tmpfs", str(folder)]
    done = subprocess.run([mount, *options], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([unmount, "--lazy", str(folder)], check=True)


@refused_operations
def test_without_space_from_a_step_on_nothing_is_lost(
    operation: Operation, stepper: Stepper, board: Scoreboard, tmp_path: Path
) -> None:
    sweep = Sweep(operation, stepper, board, tmp_path, upkeep_every=4)
    for step in sample(sweep.steps, SAMPLED):
        assert sweep.refuse(step)
    sweep.judge()


@pytest.mark.load
@refused_operations
def test_without_space_from_any_step_on_nothing_is_lost(
    operation: Operation, stepper: Stepper, board: Scoreboard, tmp_path: Path
) -> None:
    sweep = Sweep(operation, stepper, board, tmp_path)
    # The end is where nothing is refused any more: a run may have a few steps more or less.
    while sweep.refuse(sweep.hit + 1):
        pass
    assert sweep.hit >= 0.9 * len(sweep.steps)
    sweep.reach_the_end(sweep.refuse)
    sweep.judge()


def test_a_small_disk_that_fills_up_loses_nothing(stepper: Stepper, small_disk: Path) -> None:
    installation = Installation(stepper, small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(BALLAST_BYTES))
    before = prepare(installation)

    written, refused = fill(installation)

    # While it is full, and again when there is room.
    assert installation.view() == before
    assert large(installation) == written
    ballast.unlink()
    assert installation.locks() == []
    again = installation.run(refused)
    assert not again.error, again.error
    assert large(installation) == {**written, refused[1]["day"]: again.result}
    remount = ["mount", "-o", f"remount,size={4 * SMALL_MEGABYTES}m", str(small_disk)]
    subprocess.run(remount, check=True)  # merging small files takes room
    kept_up = installation.run(("keep_up", {}))
    assert not kept_up.error, kept_up.error
    assert installation.left_over() == []
    view = installation.view()
    assert view == before
    assert installation.problems(view) == []
    assert large(installation) == {**written, refused[1]["day"]: again.result}


def test_upkeep_frees_a_disk_that_is_almost_full(stepper: Stepper, small_disk: Path) -> None:
    installation = Installation(stepper, small_disk)
    before = prepare(installation)
    orphan = lake_of(installation.home).data / PRODUCT / "orphan.parquet"
    orphan.write_bytes(bytes(BALLAST_BYTES))
    os.utime(orphan, (0, 0))
    written, _ = fill(installation)

    installation.run(("keep_up", {}))

    assert installation.view() == before
    assert large(installation) == written
    assert not orphan.exists()


def prepare(installation: Installation) -> View:
    """Release two small days; gives what readers see."""
    for call in [*(("write", {"day": day, "version": 1}) for day in (D1, D2)), ("publish", {})]:
        outcome = installation.run(call)
        assert not outcome.error, outcome.error
    return installation.view()


def fill(installation: Installation) -> tuple[dict[str, int], Call]:
    """Write large days until there is no room; gives the sum of each, and the call refused."""
    written: dict[str, int] = {}
    for number in range(1, 20):
        day = f"2014-01-{number:02}"
        call: Call = ("write_large", {"day": day, "rows": LARGE_ROWS})
        outcome = installation.run(call)
        if outcome.error:
            assert NO_SPACE.search(outcome.error), outcome.error
            assert written, "the disk was full before anything large was written"
            return written, call
        written[day] = outcome.result
    raise AssertionError(f"the disk took {len(written)} large days and is not full")


def large(installation: Installation) -> dict[str, int]:
    """The sum of each day that stands in the large table, and only if all its rows do."""
    with lake_of(installation.home).reader() as con:
        rows = con.execute(
            f"SELECT day, count(*), sum(value)::BIGINT FROM lake.{PRODUCT}_large.t "
            "GROUP BY day ORDER BY day"
        ).fetchall()
    assert {count for _, count, _ in rows} == {LARGE_ROWS}
    return {str(day): total for day, _, total in rows}
