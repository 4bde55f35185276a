"""The tool of the fault tests, tested itself: what it counts, where it kills, what it refuses.

Belongs here: the stepper and its shim. Does not belong here: what the platform survives.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import stepper as tool
from tests.faults.stepper import (
    Outcome,
    Scoreboard,
    Stepper,
    StepperError,
    StepperTimeoutError,
)

ACTIONS = "tests.faults.stepper_actions"

# The steps of `stepper_actions.files`, each with the same change made by other means.
FILES: list[tuple[str, str, Callable[[Path], object]]] = [
    ("mkdir", "inner", lambda at: (at / "inner").mkdir()),
    ("create", "a.txt", lambda at: (at / "a.txt").touch()),
    ("write", "a.txt", lambda at: (at / "a.txt").write_text("one")),
    ("rename", "a.txt -> b.txt", lambda at: (at / "a.txt").rename(at / "b.txt")),
    ("symlink", "link", lambda at: (at / "link").symlink_to("b.txt")),
    ("create", "inner/c.txt", lambda at: (at / "inner/c.txt").touch()),
    ("sendfile", "inner/c.txt", lambda at: (at / "inner/c.txt").write_text("one")),
    # Python asks once more, to learn that nothing is left.
    ("sendfile", "inner/c.txt", lambda at: None),
    ("link", "b.txt -> hard.txt", lambda at: (at / "hard.txt").hardlink_to(at / "b.txt")),
    ("ftruncate", "b.txt", lambda at: (at / "b.txt").write_text("o")),
    ("fsync", "b.txt", lambda at: None),
    ("chmod", "hard.txt", lambda at: (at / "hard.txt").chmod(0o600)),
    ("unlink", "hard.txt", lambda at: (at / "hard.txt").unlink()),
    ("unlink", "inner/c.txt", lambda at: (at / "inner/c.txt").unlink()),
    ("rmdir", "inner", lambda at: (at / "inner").rmdir()),
]


@pytest.fixture(scope="module")
def stepper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stepper]:
    # The tool is tested without the platform, which it does not need.
    folder = tmp_path_factory.mktemp("stepper")
    with Stepper(folder, preload=("duckdb", "polars", "pyarrow")) as started:
        yield started


def run(stepper: Stepper, action: str, root: Path, **options: Any) -> Outcome:
    root.mkdir(exist_ok=True)
    return stepper.run(f"{ACTIONS}:{action}", {"folder": str(root)}, root, {}, **options)


def tree(root: Path) -> dict[str, str]:
    """Every entry below a folder, with what it is and holds."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            held = f"link to {path.readlink()}"
        elif path.is_dir():
            held = "folder"
        else:
            held = f"{path.stat().st_mode & 0o777:o} {path.read_text()!r}"
        found[str(path.relative_to(root))] = held
    return found


def test_every_step_of_an_action_is_seen_in_order(stepper: Stepper, tmp_path: Path) -> None:
    outcome = run(stepper, "files", tmp_path / "root", log=True)

    assert (outcome.error, outcome.result, outcome.killed) == ("", "done", False)
    assert outcome.log == [(call, path) for call, path, _ in FILES]
    assert outcome.steps == len(FILES)


@pytest.mark.parametrize("kill_at", range(1, len(FILES) + 1))
def test_a_kill_leaves_exactly_the_steps_before_it(
    stepper: Stepper, tmp_path: Path, kill_at: int
) -> None:
    outcome = run(stepper, "files", tmp_path / "root", kill_at=kill_at, log=True)

    expected = tmp_path / "expected"
    expected.mkdir()
    for _, _, change in FILES[: kill_at - 1]:
        change(expected)
    assert outcome.killed
    assert outcome.steps == kill_at - 1
    assert outcome.result is None
    assert outcome.log[-1] == FILES[kill_at - 1][:2]
    assert tree(tmp_path / "root") == tree(expected)


@pytest.mark.parametrize("kill_at", [1, 2, 17, 50, 99, 100])
def test_a_kill_among_threads_leaves_exactly_the_steps_before_it(
    stepper: Stepper, tmp_path: Path, kill_at: int
) -> None:
    outcome = run(stepper, "threads", tmp_path / "root", kill_at=kill_at, log=True)

    assert outcome.killed
    assert {path for _, path in outcome.log[:-1]} == tree(tmp_path / "root").keys()
    assert len(outcome.log) == kill_at


def test_an_action_with_fewer_steps_ends_by_itself(stepper: Stepper, tmp_path: Path) -> None:
    outcome = run(stepper, "files", tmp_path / "root", kill_at=len(FILES) + 1)

    assert (outcome.killed, outcome.steps, outcome.result) == (False, len(FILES), "done")
    assert outcome.log == []


def test_what_changes_nothing_below_the_root_is_no_step(stepper: Stepper, tmp_path: Path) -> None:
    root = tmp_path / "root"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root.mkdir()
    (root / "present").write_text("here")
    (root / "out").symlink_to(elsewhere)

    outcome = run(stepper, "nothing", root, log=True)

    assert (outcome.error, outcome.steps, outcome.log) == ("", 0, [])
    assert (elsewhere / "file").read_text() == "outside"


def test_the_root_is_found_behind_symbolic_links(stepper: Stepper, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "root")

    for root in (tmp_path / "root", tmp_path / "link"):
        outcome = stepper.run(
            f"{ACTIONS}:through_link", {"link": str(tmp_path / "link")}, root, {}, log=True
        )
        assert outcome.log[-1] == ("write", "by-link.txt"), outcome.error


@pytest.mark.parametrize(
    ("action", "result", "seen"),
    [
        pytest.param(
            "duckdb_file",
            499500,
            {
                ("create", "file.duckdb"),
                ("pwrite", "file.duckdb"),
                ("write", "file.duckdb.wal"),
                ("fsync", "file.duckdb.wal"),
                ("unlink", "file.duckdb.wal"),
                ("write", "t.parquet"),
            },
            id="DuckDB",
        ),
        pytest.param(
            "sqlite_file",
            3,
            {
                ("create", "file.sqlite"),
                ("create", "file.sqlite-journal"),
                ("unlink", "file.sqlite-journal"),
            },
            id="SQLite of Python",
        ),
        pytest.param(
            "ducklake",
            100000,
            {
                ("create", "catalog.sqlite"),
                ("write", "catalog.sqlite-wal"),
                ("fsync", "catalog.sqlite-wal"),
                ("write", "catalog.sqlite"),
                ("mkdir", "data/main/t"),
                ("create", "data/main/t/*.parquet"),
                ("write", "data/main/t/*.parquet"),
            },
            id="DuckLake on the SQLite of DuckDB",
        ),
        pytest.param(
            "parquet",
            4999950000,
            {
                ("create", "frame.parquet"),
                ("write", "frame.parquet"),
                ("write", "sums.parquet"),
            },
            id="polars",
        ),
    ],
)
def test_writes_of_libraries_are_steps(
    stepper: Stepper, tmp_path: Path, action: str, result: int, seen: set[tuple[str, str]]
) -> None:
    outcome = run(stepper, action, tmp_path / "root", log=True)

    # DuckLake makes up a name for each data file.
    log = {
        (call, f"{os.path.dirname(path)}/*.parquet" if "ducklake-" in path else path)  # noqa: PTH120
        for call, path in outcome.log
    }
    assert (outcome.error, outcome.result) == ("", result)
    assert seen <= log


@pytest.mark.parametrize("action", ["duckdb_file", "sqlite_file"])
def test_counts_are_the_same_every_time(stepper: Stepper, tmp_path: Path, action: str) -> None:
    logs = [run(stepper, action, tmp_path / f"root{n}", log=True).log for n in range(3)]

    assert logs[0]
    assert logs[0] == logs[1] == logs[2]


@pytest.mark.parametrize("action", ["duckdb_file", "sqlite_file"])
def test_a_library_is_killed_at_every_step(stepper: Stepper, tmp_path: Path, action: str) -> None:
    steps = run(stepper, action, tmp_path / "whole").steps

    outcomes = [run(stepper, action, tmp_path / f"root{k}", kill_at=k) for k in range(1, steps + 1)]

    assert [outcome.killed for outcome in outcomes] == [True] * steps


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ("files", "OSError(28, 'No space left on device')"),
        ("duckdb_file", "IOException"),
        ("sqlite_file", "OperationalError"),
        ("ducklake", "unable to open database file"),
        ("parquet", "No space left on device"),
    ],
)
def test_without_space_an_action_fails(
    stepper: Stepper, tmp_path: Path, action: str, error: str
) -> None:
    outcome = run(stepper, action, tmp_path / "root", fail_at=3)

    assert not outcome.killed
    assert error in outcome.error
    assert outcome.result is None


def test_only_calls_that_need_space_are_refused(stepper: Stepper, tmp_path: Path) -> None:
    # From the rename on; the link after it needs space.
    outcome = run(stepper, "files", tmp_path / "root", fail_at=4, log=True)

    assert [call for call, _ in outcome.log] == ["mkdir", "create", "write", "rename", "symlink"]
    expected = tmp_path / "expected"
    expected.mkdir()
    for _, _, change in FILES[:4]:
        change(expected)
    assert tree(tmp_path / "root") == tree(expected)


def test_the_root_may_be_made_by_the_action(stepper: Stepper, tmp_path: Path) -> None:
    root = tmp_path / "root"
    arguments = {"path": str(root), "mode": 0o755}

    killed = stepper.run("os:mkdir", arguments, root, {}, kill_at=1)
    done = stepper.run("os:mkdir", arguments, root, {}, log=True)

    assert killed.killed
    assert done.log == [("mkdir", ".")]


def test_the_environment_is_that_of_the_request(
    stepper: Stepper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AP_ENVIRONMENT", "staging")
    names = ["AP_HOME", "AP_ENVIRONMENT", "LD_PRELOAD"]
    outcome = stepper.run(
        f"{ACTIONS}:environment", {"names": names}, tmp_path, {"AP_HOME": "/somewhere"}
    )

    assert outcome.result == {"AP_HOME": "/somewhere", "AP_ENVIRONMENT": None, "LD_PRELOAD": None}


def test_an_exception_is_reported_with_the_steps_before_it(
    stepper: Stepper, tmp_path: Path
) -> None:
    outcome = run(stepper, "fail", tmp_path / "root")

    assert outcome.steps == 1
    assert outcome.error.startswith("ValueError('as asked')\nTraceback")
    assert "stepper_actions.py" in outcome.error


def test_what_hangs_is_killed_and_shown(stepper: Stepper, tmp_path: Path) -> None:
    with pytest.raises(StepperTimeoutError, match=r"(?s)1 steps.*in hang"):
        run(stepper, "hang", tmp_path / "root", timeout=0.5)

    assert run(stepper, "files", tmp_path / "after").result == "done"


def test_another_death_is_not_taken_for_the_kill(stepper: Stepper, tmp_path: Path) -> None:
    with pytest.raises(StepperError, match="ended with 3 after 0 steps"):
        stepper.run(f"{ACTIONS}:end_itself", {}, tmp_path, {}, kill_at=1)


def test_a_forked_child_counts_nothing(stepper: Stepper, tmp_path: Path) -> None:
    outcome = run(stepper, "fork_and_write", tmp_path / "root", log=True)

    assert outcome.result == 0, outcome.error
    assert outcome.log == [("create", "own")]
    assert (tmp_path / "root" / "child").exists()


def test_children_of_one_zygote_do_not_hang(stepper: Stepper, tmp_path: Path) -> None:
    # The fork happens beside threads that the imports started; their locks must not matter.
    for n in range(60):
        root = tmp_path / "root"
        outcome = run(stepper, ("duckdb_file", "parquet")[n % 2], root, timeout=30)
        assert not outcome.error
        shutil.rmtree(root)


def test_without_a_compiler_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool.shutil, "which", lambda name: None)

    with pytest.raises(StepperError, match="gcc"), Stepper(tmp_path / "stepper"):
        pass


def test_a_zygote_that_cannot_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(StepperError, match="No module named 'no_such_module'"),
        Stepper(tmp_path / "stepper", preload=("no_such_module",)),
    ):
        pass


def test_the_scoreboard_counts_per_operation() -> None:
    board = Scoreboard()
    for survived in (True, True, False):
        board.record("write", survived)
    board.record("clone of a lake", True)

    assert not board.all_survived
    assert board.table() == (
        "operation          tried  survived\n"
        "write                  3         2\n"
        "clone of a lake        1         1\n"
        "all                    4         3"
    )
