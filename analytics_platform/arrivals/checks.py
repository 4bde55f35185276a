"""What is checked of a source's partitions after a load, counted in the lake itself.

Belongs here: the checks of a landing source and what each looks at. Does not belong here: the
rules of rows (`contracts`), and whether a check that failed stops a release (`release.gate`).
"""

from __future__ import annotations

import bisect
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl

from analytics_platform.arrivals.landing import Source
from analytics_platform.contracts import references
from analytics_platform.lake import CheckRecord, ledger, records
from analytics_platform.lake.records import WHOLE
from analytics_platform.lake.sql import identifier, table_name
from analytics_platform.lake.tables import RAW

READABLE, HOLDS, CONSERVED = "files_are_readable", "contract_holds", "rows_are_conserved"
SOURCE_CONSERVED, USUAL, KNOWN = "source_is_conserved", "volume_is_usual", "references_hold"

_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One check of a landing source.

    Attributes:
        protects: What it protects against, for people.
        blocking: Whether a release needs it to hold.
    """

    protects: str
    blocking: bool = True


@dataclass(frozen=True)
class PartitionLoad:
    """What a load did to one partition.

    Attributes:
        partition: The partition.
        errors: Why files of it could not be loaded.
        is_written: Whether its rows were replaced.
        rows_in_files: Rows in the files that it was written from.
        quarantined: Of them, those that broke a rule.
        duplicates: Files of it whose content stands under another name.
        counts: How many rows broke each rule.
    """

    partition: str
    errors: tuple[str, ...] = ()
    is_written: bool = False
    rows_in_files: int = 0
    quarantined: int = 0
    duplicates: int = 0
    counts: Mapping[str, int] | None = None


def checks_of(source: Source) -> dict[str, Check]:
    """The checks of a source, by name."""
    checks = {
        READABLE: Check(
            "Protects against lost days: every file that came for the partition can be read."
        ),
        HOLDS: Check(
            "Protects what is downstream from a broken delivery: the share of rows that break a "
            f"rule of the contract is {source.max_quarantined_share:.2%} at the most."
        ),
        CONSERVED: Check(
            "Protects against skipped and doubled rows: the rows in the partition's files are "
            "those loaded and those quarantined, counted in the lake."
        ),
        SOURCE_CONSERVED: Check(
            "Protects against rows lost or doubled at any time: over all partitions, the rows in "
            "the files that the ledger says stand are those in the tables."
        ),
    }
    if source.volume is not None:
        usual = source.volume
        checks[USUAL] = Check(
            f"Protects against half a delivery: a partition has {usual.least_share:g} to "
            f"{usual.most_share:g} times the median rows of the {usual.days} days before it."
        )
    if references(source.contract):
        said = ", ".join(
            f"{column} in {of}.{key}" for column, (of, key) in references(source.contract).items()
        )
        checks[KNOWN] = Check(
            f"Warns of values that another source does not know: {said}.", blocking=False
        )
    return checks


def judge_load(
    con: duckdb.DuckDBPyConnection, source: Source, loads: Sequence[PartitionLoad], run_id: str
) -> list[CheckRecord]:
    """The source's checks on each partition, and on the whole source.

    Args:
        con: The connection of the transaction that wrote the rows, the writes and the ledger.
        source: The source.
        loads: What was done to each partition.
        run_id: Dagster's run.
    """
    checks = checks_of(source)
    written = [load for load in loads if load.is_written]
    stored = _stored_rows(con, source)
    found: list[tuple[str, str, bool, dict[str, Any]]] = []
    for load in loads:
        detail: dict[str, Any] = {"errors": list(load.errors)}
        found.append((READABLE, load.partition, not load.errors, detail))
    for load in written:
        share = load.quarantined / load.rows_in_files if load.rows_in_files else 0.0
        detail = {
            "quarantined_share": share,
            "limit": source.max_quarantined_share,
            "rows_per_rule": dict(load.counts or {}),
        }
        found.append((HOLDS, load.partition, share <= source.max_quarantined_share, detail))
        good, bad = stored.get(load.partition, (0, 0))
        detail = {
            "rows_in_files": load.rows_in_files,
            "loaded": good,
            "quarantined": bad,
            "duplicate_files": load.duplicates,
        }
        found.append((CONSERVED, load.partition, load.rows_in_files == good + bad, detail))
    if written:
        found.append((SOURCE_CONSERVED, WHOLE, *_conserved(con, source, stored)))
        partitions = [load.partition for load in written]
        if USUAL in checks:
            found += [(USUAL, *judged) for judged in _usual(con, source, partitions)]
        if KNOWN in checks:
            passed, detail = _known(con, source, partitions)
            found += [(KNOWN, partition, passed, detail) for partition in partitions]
    return [
        CheckRecord(
            source.product,
            source.asset,
            name,
            partition,
            passed,
            checks[name].blocking,
            run_id,
            {} if passed else detail,
        )
        for name, partition, passed, detail in found
    ]


def _stored_rows(con: duckdb.DuckDBPyConnection, source: Source) -> dict[str, tuple[int, int]]:
    """Rows that hold and rows that do not, by partition, counted in the tables."""
    rows: dict[str, list[int]] = {}
    for place, table in enumerate((source.asset, source.quarantine)):
        if not columns_exist(con, source.product, table):
            continue
        column = source.partition_column
        key = "''" if column is None else f"coalesce({identifier(column)}::VARCHAR, 'none')"
        counted = con.execute(
            f"SELECT {key}, count(*) FROM {table_name(source.product, table)} GROUP BY 1"
        ).fetchall()
        for partition, count in counted:
            rows.setdefault(partition, [0, 0])[place] = count
    return {partition: (good, bad) for partition, (good, bad) in rows.items()}


def _conserved(
    con: duckdb.DuckDBPyConnection, source: Source, stored: Mapping[str, tuple[int, int]]
) -> tuple[bool, dict[str, Any]]:
    """Whether the rows in the standing files are those in the tables, partition by partition."""
    standing = ledger.standing_files(con, source.product)
    in_files: dict[str, int] = {}
    for file in standing.iter_rows(named=True):
        if file["source"] == source.name:
            rows = file["rows_in_file"] or 0
            in_files[file["partition"]] = in_files.get(file["partition"], 0) + rows
    differing = [
        f"{partition or source.name}: {in_files.get(partition, 0)} rows in files, "
        f"{sum(stored.get(partition, (0, 0)))} in the tables"
        for partition in sorted(in_files.keys() | stored.keys())
        if in_files.get(partition, 0) != sum(stored.get(partition, (0, 0)))
    ]
    return not differing, {
        "rows_in_files": sum(in_files.values()),
        "loaded": sum(good for good, _ in stored.values()),
        "quarantined": sum(bad for _, bad in stored.values()),
        "differing_partitions": len(differing),
        "differing": differing[:_SHOWN],
    }


def _usual(
    con: duckdb.DuckDBPyConnection, source: Source, partitions: Sequence[str]
) -> Iterator[tuple[str, bool, dict[str, Any]]]:
    usual = source.volume
    if usual is None:
        return
    writes = records.latest_writes(con, source.product)
    rows = {
        write["partition"]: write["rows"] or 0
        for write in writes.iter_rows(named=True)
        if write["asset"] == source.asset
    }
    days = sorted(rows)
    for partition in partitions:
        before = days[: bisect.bisect_left(days, partition)][-usual.days :]
        detail: dict[str, Any] = {"rows": rows.get(partition, 0), "days_before": len(before)}
        if len(before) < usual.at_least:
            yield partition, True, detail
            continue
        median = statistics.median(rows[day] for day in before)
        share = rows.get(partition, 0) / median if median else 1.0
        detail |= {"median": median, "least": usual.least_share, "most": usual.most_share}
        yield partition, usual.least_share <= share <= usual.most_share, detail


def _known(
    con: duckdb.DuckDBPyConnection, source: Source, partitions: Sequence[str]
) -> tuple[bool, dict[str, Any]]:
    """Whether the values of the partitions are known to the sources they refer to."""
    detail: dict[str, Any] = {}
    table = table_name(source.product, source.asset)
    types = _types(con, source.product, source.asset)
    for column, (of, key) in references(source.contract).items():
        name = identifier(column)
        kind, known = types[column], _types(con, source.product, RAW + of).get(key)
        if known is None:
            detail[column] = f"{of} has no column {key}, or was never loaded"
            continue
        if _family(kind) != _family(known):
            # DuckDB would refuse the comparison, and a warning must not undo the load.
            detail[column] = (
                f"it is {kind} and {of}.{key} is {known}, which cannot be compared: give both one "
                "type in their contracts"
            )
            continue
        where = ""
        if source.partition_column is not None:
            days = f"{list(partitions)!r}::DATE[]"
            where = f"AND {identifier(source.partition_column)} IN (SELECT unnest({days}))"
        unknown = con.execute(
            f"SELECT {name}::VARCHAR, count(*) FROM {table} WHERE {name} IS NOT NULL {where} "
            f"AND {name} NOT IN (SELECT {identifier(key)} "
            f"FROM {table_name(source.product, RAW + of)} WHERE {identifier(key)} IS NOT NULL) "
            "GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()
        if unknown:
            shown = ", ".join(f"{value} ({count})" for value, count in unknown[:_SHOWN])
            rows = sum(count for _, count in unknown)
            detail[column] = f"{rows} rows with {len(unknown)} values that {of} lacks: {shown}"
    return not detail, detail


def unreadable_files(con: duckdb.DuckDBPyConnection, source: Source) -> dict[str, tuple[str, ...]]:
    """Why files of a partition were refused when it was last loaded, where some were."""
    checks = records.latest_checks(con, source.product).filter(
        (pl.col("asset") == source.asset) & (pl.col("check") == READABLE) & ~pl.col("passed")
    )
    return {
        partition: tuple(json.loads(detail).get("errors", ()))
        for partition, detail in checks.select("partition", "detail").iter_rows()
    }


def columns_exist(con: duckdb.DuckDBPyConnection, schema: str, table: str) -> set[str]:
    """The columns of a table of the lake; none where there is no such table."""
    return set(_types(con, schema, table))


def _types(con: duckdb.DuckDBPyConnection, schema: str, table: str) -> dict[str, str]:
    """The type of each column of a table of the lake."""
    return dict(
        con.execute(
            "SELECT column_name, data_type FROM duckdb_columns() "
            "WHERE database_name = 'lake' AND schema_name = ? AND table_name = ?",
            [schema, table],
        ).fetchall()
    )


def _family(kind: str) -> str:
    """What types are compared with each other by value."""
    if kind in {"VARCHAR", "BOOLEAN"}:
        return kind
    return "time" if kind.startswith(("DATE", "TIMESTAMP")) else "number"
