"""What the processes of `test_races` do, each a function that a spawned process can import.

Belongs here: the workers and how they are started, gathered and timed. Does not belong here: what
is expected of them.

A generation is one state of the product: its number stands in every row of two tables and in a
file, all written in one transaction. A reader that finds two numbers saw half of a write.
"""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from analytics_platform.environments import clone, keep_up
from analytics_platform.lake import CheckRecord, FileRecord, FileStore, Lake, WriteRecord
from analytics_platform.lake.records import WHOLE
from analytics_platform.release import (
    NoReleaseError,
    OnHoldError,
    ReleasedProduct,
    ReleaseLog,
    publish,
    resume,
    rollback,
)
from analytics_platform.release.provenance import read_manifest

PRODUCT = "p"
REQUIRED = {"t": ["sound"], "u": ["sound"]}
RELEASED = f"{PRODUCT}.{PRODUCT}"
REPORT = "report.txt"
ROWS = 50
WAIT_SECONDS = 300.0
RETENTION = dt.timedelta(minutes=1)
PAUSE_SECONDS = 0.2
GRACE_SECONDS = 60.0


@dataclass
class Told:
    """What a worker did.

    Attributes:
        done: A value per thing done, such as a generation or a release's number.
        longest_seconds: The longest that one of them took.
        errors: Tracebacks of what it did not expect.
    """

    done: list[int] = field(default_factory=list)
    longest_seconds: float = 0.0
    errors: list[str] = field(default_factory=list)

    @contextmanager
    def timed(self) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.longest_seconds = max(self.longest_seconds, time.monotonic() - started)


Worker = Callable[..., None]


def going(told: Told, until: float) -> bool:
    """Whether to go on: until the moment, and longer for who has done nothing yet."""
    now = time.time()
    return now < until or (not told.done and now < until + GRACE_SECONDS)


def lake_in(root: Path, environment: str = "local", wait_seconds: float = WAIT_SECONDS) -> Lake:
    return Lake(root / environment, writer_wait_seconds=wait_seconds)


def store_in(root: Path) -> FileStore:
    return FileStore(root / "files")


def log_in(root: Path) -> ReleaseLog:
    return ReleaseLog(lake_in(root), store_in(root), PRODUCT)


def write_generation(root: Path, number: int, environment: str = "local") -> None:
    """Write a generation with checks that hold, in one transaction."""
    store = store_in(root)
    report = store.put(str(number).encode(), REPORT)
    with lake_in(root, environment).transaction(f"write generation {number}") as transaction:
        for table in ("t", "u"):
            frame = pl.DataFrame({"generation": [number] * ROWS})
            transaction.replace(PRODUCT, table, frame)
            transaction.record_writes([WriteRecord(PRODUCT, table, WHOLE, f"{number}", ROWS)])
            transaction.record_checks(
                [CheckRecord(PRODUCT, table, "sound", WHOLE, True, True, f"{number}")],
                transaction.snapshot_id,
            )
        transaction.record_files(
            [FileRecord(PRODUCT, "u", WHOLE, report.name, report.sha256, report.size)]
        )


def generations_in(con: duckdb.DuckDBPyConnection, schema: str) -> set[tuple[int, int]]:
    """(generation, rows) of both tables; one pair for a whole generation."""
    return set(
        con.execute(
            " UNION ALL ".join(
                f"SELECT generation, count(*) FROM {schema}.{table} GROUP BY 1"
                for table in ("t", "u")
            )
        ).fetchall()
    )


def released_generation(root: Path) -> int:
    """The generation of the release that is served, whole in its tables and its file.

    Raises:
        ValueError: If the release holds more than one.
    """
    store = store_in(root)
    release = log_in(root).serving()
    with ReleasedProduct(release, store) as product:
        found = generations_in(product.connection, RELEASED)
    files = read_manifest(store, release.manifest)["files"]
    found |= {(int(store.get(file["sha256"], file["name"])), ROWS) for file in files}
    return _only(found, f"release {release.number}")


def _only(found: set[tuple[int, int]], where: str) -> int:
    if len(found) != 1 or {rows for _, rows in found} != {ROWS}:
        raise ValueError(f"{where} is not one whole generation: {sorted(found)}")
    ((generation, _),) = found
    return generation


# Workers. Each gets the folder, where to tell what it did, and when to end.


def append_rows(told: Told, root: Path, worker: int, transactions: int) -> None:
    """Add one row per transaction, whose number no other has."""
    lake = lake_in(root)
    for number in range(worker * transactions, (worker + 1) * transactions):
        with told.timed(), lake.transaction(f"append {number}") as transaction:
            transaction.connection.execute("INSERT INTO lake.p.t VALUES (?)", [number])
            transaction.record_writes([WriteRecord(PRODUCT, "t", str(number), f"{worker}", 1)])
        told.done.append(transaction.snapshot_id)


def write_on(told: Told, root: Path, until: float, numbers: int) -> None:
    """Write one generation after another, from `numbers` on."""
    number = numbers
    while going(told, until):
        with told.timed():
            write_generation(root, number)
        told.done.append(number)
        number += 1


def publish_on(told: Told, root: Path, until: float) -> None:
    """Publish again and again; a hold is nothing unexpected, a refusal is."""
    while going(told, until):
        with told.timed():
            try:
                published = publish(lake_in(root), store_in(root), PRODUCT, REQUIRED, "run")
            except OnHoldError:
                continue
        if published.is_new:
            told.done.append(published.release.number)


def roll_back_and_resume(told: Told, root: Path, until: float) -> None:
    """Roll back, look whether it lasts, resume, pause."""
    log = log_in(root)
    while going(told, until):
        try:
            with told.timed():
                target = rollback(log)
        except NoReleaseError:
            time.sleep(PAUSE_SECONDS)
            continue
        time.sleep(PAUSE_SECONDS)
        found = log.serving().number
        if found != target.number:
            told.errors.append(f"rolled back to {target.number}, and {found} is served")
        resume(log)
        told.done.append(target.number)
        time.sleep(2 * PAUSE_SECONDS)


def keep_up_on(told: Told, root: Path, until: float) -> None:
    """Upkeep with a retention of a minute.

    With none, a reader of the working state could lose a file between planning and opening it.
    """
    while going(told, until):
        with told.timed():
            keep_up(lake_in(root), store_in(root), RETENTION)
        told.done.append(1)
        time.sleep(PAUSE_SECONDS)


def clone_on(told: Told, root: Path, until: float) -> None:
    """Clone over and over, and see a whole generation in each clone."""
    lake, staging = lake_in(root), lake_in(root, "staging")
    while going(told, until):
        with told.timed():
            clone(lake, staging, replace=True)
        with staging.reader() as con:
            told.done.append(_only(generations_in(con, "lake.p"), "the clone"))
        time.sleep(PAUSE_SECONDS)


def read_releases(told: Told, root: Path, until: float) -> None:
    """Read what is served, opened anew each time."""
    while going(told, until):
        with told.timed():
            told.done.append(released_generation(root))


def read_one_release(told: Told, root: Path, until: float) -> None:
    """Read the release that is served at first, held open all the while."""
    with ReleasedProduct(log_in(root).serving(), store_in(root)) as product:
        while going(told, until):
            with told.timed():
                found = generations_in(product.connection, RELEASED)
            told.done.append(_only(found, "the open release"))
            time.sleep(0.02)


def read_working_state(told: Told, root: Path, until: float) -> None:
    """Read the newest working state, opened anew each time."""
    lake = lake_in(root)
    while going(told, until):
        with told.timed(), lake.reader() as con:
            found = generations_in(con, "lake.p")
        told.done.append(_only(found, "the working state"))


def publish_once(told: Told, root: Path, at: float) -> None:
    """Publish at a moment; gives the release's number where it made one."""
    time.sleep(max(0.0, at - time.time()))
    try:
        published = publish(lake_in(root), store_in(root), PRODUCT, REQUIRED, "run")
    except OnHoldError:
        return
    if published.is_new:
        told.done.append(published.release.number)


def hold_turn(told: Told, root: Path, seconds: float, purpose: str) -> None:
    """Hold the writing turn; the file `holding` says when it is held."""
    with lake_in(root).writing(purpose):
        (root / "holding").write_text(str(os.getpid()))
        time.sleep(seconds)


def tell(worker: Worker, account: Path, arguments: tuple[Any, ...]) -> None:
    """The body of every process: do the work and write down what came of it."""
    told = Told()
    try:
        worker(told, *arguments)
    except BaseException:
        told.errors.append(traceback.format_exc())
    account.write_text(json.dumps(vars(told)))


@dataclass
class Process:
    """A worker in a process of its own."""

    name: str
    process: Any
    account: Path

    def told(self, timeout: float) -> Told:
        """What it did, once it has ended.

        Raises:
            RuntimeError: If it does not end in time, or ends without a word.
        """
        self.process.join(timeout)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            raise RuntimeError(f"{self.name} did not end within {timeout:.0f} s")
        if not self.account.exists():
            raise RuntimeError(f"{self.name} ended with {self.process.exitcode}, without a word")
        return Told(**json.loads(self.account.read_text()))


def start(root: Path, name: str, worker: Worker, *arguments: Any) -> Process:
    """Start a worker in a new interpreter, which shares nothing but the disk."""
    account = root / f"{name}.json"
    account.unlink(missing_ok=True)
    process = multiprocessing.get_context("spawn").Process(
        target=tell, args=(worker, account, (root, *arguments)), name=name, daemon=True
    )
    process.start()
    return Process(name, process, account)
