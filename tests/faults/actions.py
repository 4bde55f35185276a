"""What the fault tests do to an installation, each as a function that a child process runs.

The installation has one product `p` with one table `t`, partitioned by day, and a report per day.
Belongs here: the platform's operations on that product, with arguments that JSON can carry. Does
not belong here: what must hold afterwards (`installation`), and where they are killed (the tests).
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import duckdb
import polars as pl

from analytics_platform import environments, release
from analytics_platform.lake import (
    CheckRecord,
    FileRecord,
    FileStore,
    Lake,
    SchemaChange,
    WriteRecord,
)
from analytics_platform.release import ReleaseLog

PRODUCT, TABLE = "p", "t"
REQUIRED = {TABLE: ["sound"]}
COLUMNS = {TABLE: "day"}
ROWS = 20
# A turn that stayed with the dead is found out soon.
WAIT_SECONDS = 2.0

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def one_thread() -> Iterator[None]:
    """DuckDB on one thread while the block lasts.

    With several threads the number of steps differs from run to run: how often SQLite's shared
    memory is made anew depends on who reads first.
    """
    connect = duckdb.connect

    def with_one(database: str = ":memory:", **options: Any) -> duckdb.DuckDBPyConnection:
        config = {"threads": 1, **options.pop("config", {})}
        return connect(database, config=config, **options)

    duckdb.connect = with_one
    try:
        yield
    finally:
        duckdb.connect = connect


def _action(function: Callable[P, R]) -> Callable[P, R]:
    @wraps(function)
    def act(*args: P.args, **kwargs: P.kwargs) -> R:
        with one_thread():
            return function(*args, **kwargs)

    return act


def lake_of(home: str | Path, environment: str = "local") -> Lake:
    """The lake of an environment; it waits for its turn briefly."""
    return Lake(Path(home) / environment, WAIT_SECONDS)


def store_of(home: str | Path) -> FileStore:
    """The installation's store of files."""
    return FileStore(Path(home) / "files")


def log_of(home: str | Path, environment: str = "local") -> ReleaseLog:
    """The release log of the product in an environment."""
    return ReleaseLog(lake_of(home, environment), store_of(home), PRODUCT)


def day_rows(day: str, version: int, *, noted: bool = False) -> list[tuple[object, ...]]:
    """The rows of a day in a version, the same for everyone who asks."""
    date = dt.date.fromisoformat(day)
    return [
        (date, number, 1000 * version + number, *([f"note {number}"] if noted else []))
        for number in range(ROWS)
    ]


def report(day: str, version: int) -> bytes:
    """The report of a day in a version."""
    return f"report of {day}, version {version}".encode()


@_action
def write(
    home: str,
    day: str,
    version: int,
    environment: str = "local",
    noted: bool = False,
    schema_change: SchemaChange = "fail",
) -> None:
    """Write a day with its report, its record and its check, as a run of the asset does."""
    names = ["day", "number", "value", *(["note"] if noted else [])]
    frame = pl.DataFrame(day_rows(day, version, noted=noted), schema=names, orient="row")
    stored = store_of(home).put(report(day, version), "report.txt")
    run_id = f"run of version {version}"
    with lake_of(home, environment).transaction(f"write {TABLE}") as transaction:
        rows = transaction.replace(
            PRODUCT,
            TABLE,
            frame,
            partition_column="day",
            partitions=[day],
            schema_change=schema_change,
        )
        transaction.record_writes([WriteRecord(PRODUCT, TABLE, day, run_id, rows)])
        transaction.record_files(
            [FileRecord(PRODUCT, TABLE, day, stored.name, stored.sha256, stored.size)]
        )
        transaction.record_checks(
            [CheckRecord(PRODUCT, TABLE, "sound", day, True, True, run_id)],
            transaction.snapshot_id,
        )


@_action
def write_large(home: str, day: str, rows: int) -> int:
    """Write a day of random numbers to a table of another product; gives their sum."""
    with lake_of(home).transaction("write much") as transaction:
        numbers = transaction.connection.execute(
            "SELECT ?::DATE AS day, (random() * 1e12)::BIGINT AS value FROM range(?)", [day, rows]
        ).pl()
        transaction.replace(
            f"{PRODUCT}_large", "t", numbers, partition_column="day", partitions=[day]
        )
    return int(numbers["value"].sum())


@_action
def publish(home: str) -> int:
    """Release the working state; gives the number."""
    published = release.publish(lake_of(home), store_of(home), PRODUCT, REQUIRED, "run")
    return published.release.number


@_action
def rollback(home: str, to: int) -> None:
    """Give readers an earlier release."""
    release.rollback(log_of(home), to)


@_action
def resume(home: str) -> None:
    """Let releases go on."""
    release.resume(log_of(home))


@_action
def revert(home: str, day: str, environment: str = "local") -> None:
    """Put a day of the working state back to its released state."""
    release.revert(log_of(home, environment), store_of(home), REQUIRED, COLUMNS, [day])


@_action
def clone(home: str, replace: bool = False) -> None:
    """Clone `local` into `staging`."""
    environments.clone(lake_of(home), lake_of(home, "staging"), replace=replace)


@_action
def promote(home: str) -> int:
    """Release the state of `staging` in `local`; gives the number."""
    source, target = lake_of(home, "staging"), lake_of(home)
    promoted = environments.promote(source, target, store_of(home), PRODUCT, REQUIRED, COLUMNS)
    return promoted.published.release.number


@_action
def keep_up(home: str) -> None:
    """Keep every environment up, and keep nothing that is not needed."""
    for environment in ("local", "staging"):
        lake = lake_of(home, environment)
        if lake.exists:
            environments.keep_up(lake, store_of(home), dt.timedelta(0))


@_action
def litter(home: str) -> None:
    """Leave what killed writers and runs leave: files that nothing names, older than any grace."""
    store = store_of(home)
    stored = store.put(b"no record names this", "orphan.txt")
    orphan = lake_of(home).data / PRODUCT / TABLE / "orphan.parquet"
    orphan.write_bytes(b"no catalog names this")
    for path in (stored.path, orphan):
        os.utime(path, (0, 0))
