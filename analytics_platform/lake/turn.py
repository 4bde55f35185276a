"""Turns: one holder at a time among all processes, freed by the kernel when the holder dies.

Belongs here: the file lock, who holds it, and what a waiting process says. Does not belong here:
what is done in a turn.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from analytics_platform.lake.errors import WriterBusyError

if TYPE_CHECKING:
    from filelock import FileLock

LOG = logging.getLogger(__name__)
POLL_SECONDS = 0.005
FIRST_WORD_SECONDS, NEXT_WORD_SECONDS = 2.0, 30.0


class Turn:
    """The right to do something alone.

    The lock is the kernel's (`flock`), so it goes with the process that holds it, however that
    ends. A thread that holds the turn may take it again.

    Args:
        path: The lock file; the holder's name stands beside it, in `<name>.json`.
        wait_seconds: How long to wait before giving up.
    """

    def __init__(self, path: Path, wait_seconds: float) -> None:
        self.path = path
        self.wait_seconds = wait_seconds
        self._holder_path = path.with_suffix(".json")
        self._threads = threading.local()

    @contextmanager
    def held(self, purpose: str) -> Iterator[None]:
        """Hold the turn; other processes that wait for it are told the purpose.

        Raises:
            WriterBusyError: If the turn did not come within the wait; names the holder.
        """
        lock = self._lock()
        self._acquire(lock, purpose)
        try:
            if lock.lock_counter == 1:
                self._holder_path.write_text(
                    json.dumps({"pid": os.getpid(), "purpose": purpose, "since": time.time()})
                )
            yield
        finally:
            lock.release()

    def _acquire(self, lock: FileLock, purpose: str) -> None:
        import filelock

        started = time.monotonic()
        patience = FIRST_WORD_SECONDS
        while True:
            waited = time.monotonic() - started
            left = self.wait_seconds - waited
            try:
                lock.acquire(timeout=max(0.0, min(patience, left)), poll_interval=POLL_SECONDS)
            except filelock.Timeout as timeout:
                if left <= patience:
                    raise WriterBusyError(
                        f"Waited {self.wait_seconds:.0f} s for the turn {self.path} to do: "
                        f"{purpose}. It is held by {self._holder()}. Try again when that is done, "
                        "or set AP_WRITER_WAIT_SECONDS higher."
                    ) from timeout
                LOG.warning("Waiting to %s: the turn is held by %s", purpose, self._holder())
                patience = NEXT_WORD_SECONDS
            else:
                return

    def _lock(self) -> FileLock:
        import filelock

        lock = getattr(self._threads, "lock", None)
        if lock is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path)
            self._threads.lock = lock
        return lock

    def _holder(self) -> str:
        try:
            holder = json.loads(self._holder_path.read_text())
            since = dt.datetime.fromtimestamp(holder["since"], dt.UTC)
        except (OSError, ValueError, KeyError):
            return "a process that left no name"
        return (
            f"process {holder['pid']} for {max(0.0, time.time() - holder['since']):.0f} s "
            f"(since {since:%H:%M:%S} UTC) to do: {holder['purpose']}"
        )
