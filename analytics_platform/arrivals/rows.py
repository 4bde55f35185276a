"""Rows of a source's files held against its contract, and those that break it as their table.

Belongs here: what loading files and replaying kept rows do alike. Does not belong here: the rules
(`contracts`), and which rows are judged (`load`, `replay`).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence

import polars as pl

from analytics_platform.arrivals.landing import Source
from analytics_platform.contracts import SOURCE_FILE, ContractResult, apply_contract

RULES_PARTED_BY = ", "
"""Between the names of the rules that a quarantined row broke."""


def judge_rows(
    source: Source,
    frames: Sequence[pl.DataFrame],
    partition_of: Mapping[str, str],
    loaded: pl.DataFrame | None = None,
) -> ContractResult:
    """The rows that keep the source's contract, and those that do not.

    Args:
        source: The source.
        frames: Rows as they were read.
        partition_of: The partition that each file was delivered for, by its path.
        loaded: Rows of these partitions that are loaded, as `apply_contract` takes them.
    """
    if not frames:
        return ContractResult(pl.DataFrame(), pl.DataFrame(), {})
    return apply_contract(
        pl.concat(frames),
        source.contract,
        file_format=source.file_format,
        partition_column=source.partition_column,
        partitions=None if source.partition_column is None else _days(partition_of),
        is_one_delivery=True,
        loaded=loaded,
    )


def rows_per_file(rows: pl.DataFrame) -> dict[str, int]:
    """How many of the rows are of each file."""
    if not rows.height:
        return {}
    return dict(rows.group_by(SOURCE_FILE).len().iter_rows())


def rows_per_rule(bad: pl.DataFrame, partition_of: Mapping[str, str]) -> dict[str, Counter[str]]:
    """How many rows broke each rule, by partition."""
    rules: dict[str, Counter[str]] = {}
    if bad.height:
        broken = bad.select(SOURCE_FILE, "rules").explode("rules")
        for path, rule, count in broken.group_by(SOURCE_FILE, "rules").len().iter_rows():
            rules.setdefault(partition_of[path], Counter())[rule] += count
    return rules


def quarantine_frame(
    source: Source, partition_of: Mapping[str, str], bad: pl.DataFrame
) -> pl.DataFrame:
    """Bad rows as their table has them, with the day that their file was delivered for."""
    frame = bad.with_columns(pl.col("rules").list.join(RULES_PARTED_BY))
    if source.partition_column is None:
        return frame
    return frame.with_columns(
        pl.col(SOURCE_FILE)
        .replace_strict(_days(partition_of), return_dtype=pl.Date)
        .alias(source.partition_column)
    )


def _days(partition_of: Mapping[str, str]) -> dict[str, dt.date]:
    return {path: dt.date.fromisoformat(partition) for path, partition in partition_of.items()}
