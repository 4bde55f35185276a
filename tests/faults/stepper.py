"""Run an action in a child process that dies, or runs out of space, at a step of its choice.

A step is a system call that changes the file system at or below a root folder; `steps.c` counts
them from inside the process. A fault test runs its action once to learn the number of steps, then
once for each step with `kill_at`, and looks at what is left. Belongs here: the tool. Does not
belong here: actions and what must hold after a fault, which are the tests' own.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).resolve().parent
PROJECT_ROOT = HERE.parents[1]

PRELOAD = ("duckdb", "polars", "analytics_platform.lake", "analytics_platform.release")

# No threads beside the first one when the zygote forks; a child makes its own.
SINGLE_THREADED = {
    "OPENBLAS_NUM_THREADS": "1",
    "_RJEM_MALLOC_CONF": "background_thread:false",
    "DUCKDB_JE_MALLOC_CONF": "background_thread:false",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}

START_SECONDS = 120.0
# Beyond a child's own time, for the zygote to notice and answer.
ANSWER_SECONDS = 15.0


class StepperError(RuntimeError):
    """The tool itself failed: nothing is known about the action."""


class StepperTimeoutError(StepperError):
    """The action did not end in its time and was killed."""


@dataclass(frozen=True)
class Outcome:
    """How one run of an action ended.

    Attributes:
        steps: The steps done, or refused for want of space. When killed, those before the kill.
        killed: Whether the process killed itself at `kill_at`.
        error: The exception that the action raised, as repr and traceback; empty if none.
        result: What the action returned, as JSON gives it back; None when killed or failed.
        log: With `log`, each step's call and path relative to the root, in order; for calls on two
            paths `from -> to`. When killed, the last one is the step that was not done.
    """

    steps: int
    killed: bool
    error: str
    result: Any
    log: list[tuple[str, str]] = field(default_factory=list)


class Stepper:
    """Runs actions in forked children with the shim loaded; a context manager.

    One run at a time: a second thread waits. Linux only.

    Args:
        folder: A folder of its own, outside of every root, for the shim and the zygote's log.
        preload: Modules imported once, before the children are forked. They may start no threads.

    Raises:
        StepperError: On entering, if there is no C compiler or the zygote does not start.
    """

    def __init__(self, folder: Path, preload: Sequence[str] = PRELOAD) -> None:
        self.folder = folder.resolve()
        self.preload = tuple(preload)
        self._library = self.folder / "steps.so"
        self._output = self.folder / "zygote.log"
        self._answer = self.folder / "answer.json"
        self._log = self.folder / "steps.log"
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def __enter__(self) -> Stepper:
        if not sys.platform.startswith("linux"):
            raise StepperError("The shim is preloaded into a process as only Linux does it.")
        self.folder.mkdir(parents=True, exist_ok=True)
        _compile(self._library)
        ours, theirs = socket.socketpair()
        env = {
            name: value
            for name, value in os.environ.items()
            # A request says these; what this process happens to have is not a child's.
            if not name.startswith("AP_") and name != "DAGSTER_HOME"
        }
        preloaded = " ".join(filter(None, [str(self._library), env.get("LD_PRELOAD")]))
        env |= {**SINGLE_THREADED, "LD_PRELOAD": preloaded}
        with theirs, self._output.open("wb") as output:
            self._process = subprocess.Popen(
                # -P: the folder of the script is not one to import from.
                [
                    sys.executable,
                    "-P",
                    str(HERE / "zygote.py"),
                    str(PROJECT_ROOT),
                    str(self._library),
                    str(theirs.fileno()),
                    *self.preload,
                ],
                pass_fds=[theirs.fileno()],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for this process, which ends the zygote itself.
                start_new_session=True,
            )
        self._channel = ours
        try:
            self._receive(START_SECONDS, "starting the zygote")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the zygote; it leaves when its channel closes."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def run(
        self,
        action: str,
        args: Mapping[str, Any],
        root: Path,
        env: Mapping[str, str],
        kill_at: int = 0,
        fail_at: int = 0,
        log: bool = False,
        timeout: float = 60,
    ) -> Outcome:
        """Call a function in a child of its own and report how it ended.

        Args:
            action: `module:function`, importable from the project's root.
            args: Keyword arguments of the function, as JSON can carry them.
            root: The folder whose changes are steps; need not exist. Symbolic links are followed.
            env: Environment variables of the child, over those this process had when the stepper
                started; it starts without `AP_…` and `DAGSTER_HOME`.
            kill_at: The step, from 1, before which the child kills itself with SIGKILL; 0 for none.
            fail_at: The step, from 1, from which on every call that needs space fails with ENOSPC;
                0 for none.
            log: Whether the outcome lists the steps.
            timeout: Seconds the action may take.

        Raises:
            StepperTimeoutError: If the action did not end in its time; it was killed.
            StepperError: If the child died in a way that is neither the kill nor the action's end.
        """
        request = {
            "action": action,
            "args": dict(args),
            "root": str(root.resolve()),
            "env": dict(env),
            "kill_at": kill_at,
            "fail_at": fail_at,
            "log": str(self._log),
            "answer": str(self._answer),
            "timeout": timeout,
        }
        doing = f"running {action} below {root} (kill_at={kill_at}, fail_at={fail_at})"
        with self._turn:
            if self._channel is None:
                raise StepperError(f"{doing}: the stepper is not started; use it as `with`.")
            self._answer.unlink(missing_ok=True)
            self._log.unlink(missing_ok=True)
            self._channel.sendall(json.dumps(request).encode() + b"\n")
            end = self._receive(timeout + ANSWER_SECONDS, doing)
            steps = _read_log(self._log)
            if end["timed_out"]:
                raise StepperTimeoutError(
                    f"{doing}: not done after {timeout} s and {len(steps)} steps; it was killed. "
                    f"The child's last words, with where its threads stood:\n{self._tail()}"
                )
            shown = steps if log else []
            # The shim writes a step down before it kills, which tells its kill from others'.
            if end["code"] == -9 and kill_at and len(steps) == kill_at:
                return Outcome(steps=kill_at - 1, killed=True, error="", result=None, log=shown)
            if end["code"] != 0:
                raise StepperError(
                    f"{doing}: the child ended with {end['code']} after {len(steps)} steps, which "
                    f"is not the shim's doing. Its last words:\n{self._tail()}"
                )
            answer = json.loads(self._answer.read_text())
            return Outcome(
                steps=answer["steps"],
                killed=False,
                error=answer["error"],
                result=answer["result"],
                log=shown,
            )

    def _receive(self, seconds: float, doing: str) -> dict[str, Any]:
        if self._channel is None:
            raise StepperError(f"{doing}: the stepper is not started; use it as `with`.")
        self._channel.settimeout(seconds)
        received = b""
        while not received.endswith(b"\n"):
            try:
                part = self._channel.recv(4096)
            except TimeoutError as error:
                # A late answer must not be taken for that of the next request.
                self.close()
                raise StepperError(
                    f"{doing}: no answer from the zygote in {seconds} s.\n{self._tail()}"
                ) from error
            if not part:
                raise StepperError(f"{doing}: the zygote ended. Its last words:\n{self._tail()}")
            received += part
        return json.loads(received)

    def _tail(self) -> str:
        return self._output.read_text(errors="replace")[-4000:]


@dataclass
class Scoreboard:
    """Counts, per operation, the points at which it was killed or refused, and what it survived.

    Attributes:
        counts: Points tried and survived, by operation, in the order they came.
    """

    counts: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    def record(self, operation: str, survived: bool) -> None:
        """Count one point of an operation and whether what must hold held after it."""
        count = self.counts[operation]
        count[0] += 1
        count[1] += survived

    @property
    def all_survived(self) -> bool:
        """Whether every point tried was survived."""
        return all(tried == survived for tried, survived in self.counts.values())

    def table(self) -> str:
        """The counts as plain text, with a line of sums."""
        sums = [sum(column) for column in zip((0, 0), *self.counts.values(), strict=True)]
        rows = [("operation", "tried", "survived")]
        rows += [(name, str(t), str(s)) for name, (t, s) in self.counts.items()]
        rows.append(("all", str(sums[0]), str(sums[1])))
        width = max(len(row[0]) for row in rows)
        return "\n".join(f"{name:<{width}}  {t:>7}  {s:>8}" for name, t, s in rows)


def _compile(library: Path) -> None:
    source = HERE / "steps.c"
    if library.exists() and library.stat().st_mtime > source.stat().st_mtime:
        return
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise StepperError(
            "Compiling tests/faults/steps.c, the library that counts steps: there is no `cc`. "
            "Install a C compiler (Debian: `apt-get install gcc libc6-dev`), or name one in CC."
        )
    draft = library.with_suffix(".draft")
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(draft), str(source), "-ldl"]
    done = subprocess.run([*command, "-pthread"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StepperError(f"Compiling {source} with {compiler} failed:\n{done.stderr}")
    draft.replace(library)


def _read_log(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    # Paths need not be UTF-8.
    lines = os.fsdecode(path.read_bytes()).split("\n")[:-1]
    steps = [line.split("\t") for line in lines]
    return [(call, where) for _, call, where in steps]
