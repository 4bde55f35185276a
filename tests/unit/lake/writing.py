"""A product of a few rows, written and checked in one line, for the tests of all lake rooms."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from analytics_platform.lake import CheckRecord, Lake, SchemaChange, WriteRecord
from analytics_platform.lake.records import WHOLE

FIRST, SECOND, THIRD = (dt.date(2013, 1, day) for day in (1, 2, 3))
REQUIRED = {"t": ["sound"]}
COLUMNS = {"t": "day"}


def frame(day: dt.date, *values: object, kind: Any = None) -> pl.DataFrame:
    """Rows of one day, with a column `value`."""
    return pl.DataFrame(
        {"day": [day] * len(values), "value": list(values)},
        schema={"day": pl.Date, "value": kind or pl.Int64},
    )


def write(
    lake: Lake,
    rows: pl.DataFrame,
    *days: dt.date,
    product: str = "p",
    asset: str = "t",
    policy: SchemaChange = "fail",
    passed: bool | None = True,
    record: bool = True,
) -> int:
    """Write days of an asset, or all of it, record it and the result of its check; the snapshot.

    Args:
        lake: The lake.
        rows: The rows.
        days: The partitions; none replaces the whole table.
        product: The product.
        asset: The asset.
        policy: What happens where the columns differ.
        passed: The check's result; None where it did not run.
        record: Whether the write is recorded.
    """
    keys = [str(day) for day in days]
    with lake.transaction("test") as transaction:
        transaction.replace(
            product,
            asset,
            rows,
            partition_column="day" if keys else None,
            partitions=keys or None,
            schema_change=policy,
        )
        if record:
            transaction.record_writes(
                [WriteRecord(product, asset, key, "run", rows.height) for key in keys or [WHOLE]],
                columns={asset: "day" if keys else None},
            )
        if record and passed is not None:
            transaction.record_checks(
                checks(*(keys or [WHOLE]), product=product, asset=asset, passed=passed),
                transaction.snapshot_id,
            )
        return transaction.snapshot_id


def check(
    lake: Lake, *partitions: str, passed: bool = True, product: str = "p", asset: str = "t"
) -> None:
    """Record results of the check `sound` on what stands; on the whole table unless said."""
    with lake.transaction("test") as transaction:
        transaction.record_checks(
            checks(*(partitions or [WHOLE]), product=product, asset=asset, passed=passed),
            transaction.snapshot_id - 1,
        )


def checks(
    *partitions: str, product: str = "p", asset: str = "t", passed: bool = True
) -> list[CheckRecord]:
    """Results of the check `sound`, one per partition."""
    return [
        CheckRecord(product, asset, "sound", partition, passed, True, "run", {"bad_rows": 3})
        for partition in partitions
    ]


def by_hand(lake: Lake, *statements: str) -> int:
    """SQL of a person, in one transaction that no run records; the snapshot."""
    with lake.transaction("by hand") as transaction:
        for statement in statements:
            transaction.connection.execute(statement)
        return transaction.snapshot_id


def view(lake: Lake, asset: str, query: str) -> None:
    """A view of the product, made and recorded by a run."""
    with lake.transaction("test") as transaction:
        name = f"lake.p.{asset}"
        transaction.connection.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
        transaction.record_writes([WriteRecord("p", asset, WHOLE, "run")])


def rows(lake: Lake, table: str = "p.t") -> list[tuple[Any, ...]]:
    """The rows of a table in the working state, ordered."""
    return lake.query(f"SELECT * FROM lake.{table} ORDER BY ALL").rows()


def hashes(folder: Path, but: Sequence[str] = ("-shm", "-wal", ".lock", ".json")) -> dict[str, str]:
    """The hash of every file below a folder but those of SQLite's and the locks' own upkeep."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(tuple(but))
    }
