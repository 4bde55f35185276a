"""Load files: rows that hold, rows that do not, and the ledger's entries, in one transaction.

A file that cannot be read is rejected with the reason, and what the lake held of its partition
stays. The other partitions of the same load go through.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from analytics_platform.arrivals.landing import ArrivedFile, Source, scan
from analytics_platform.contracts import (
    SOURCE_FILE,
    ContractResult,
    DataError,
    apply_contract,
    read_file,
)
from analytics_platform.lake import CheckRecord, FileStore, Lake, WriteRecord, records
from analytics_platform.lake.records import WHOLE
from analytics_platform.lake.sql import identifier, table_name

READABLE, HOLDS, CONSERVED = "files_are_readable", "contract_holds", "rows_are_conserved"

CHECKS = {
    READABLE: "Protects against lost days: every file of the partition is there and can be read.",
    HOLDS: "Protects what is downstream from a broken delivery: the share of rows that break a "
    "rule of the contract is within the declared limit.",
    CONSERVED: "Protects against skipped and doubled rows: rows in files = loaded + quarantined, "
    "counted in the lake.",
}


@dataclass(frozen=True)
class FileOutcome:
    """What became of one partition's file.

    Attributes:
        file: The file; None where none lies in the landing zone.
        partition: Its partition.
        error: Why it was rejected; empty for a file that was loaded.
        sha256: The hash of its content.
        stored_name: Its name in the store of files; empty where it was rejected.
        rows: Rows in the file.
        quarantined: Rows that broke a rule.
    """

    file: ArrivedFile | None
    partition: str
    error: str = ""
    sha256: str = ""
    stored_name: str = ""
    rows: int = 0
    quarantined: int = 0


@dataclass(frozen=True)
class LoadReport:
    """What a load did.

    Attributes:
        outcomes: One per partition asked for.
        frame: The rows loaded.
        counts: How many rows broke each rule.
        passed: Per check, whether it held on every partition.
        details: Per check, what a person needs to find the cause.
    """

    outcomes: Sequence[FileOutcome]
    frame: pl.DataFrame
    counts: dict[str, int]
    passed: dict[str, bool]
    details: dict[str, dict[str, Any]]

    @property
    def loaded(self) -> list[FileOutcome]:
        """The partitions that were loaded."""
        return [outcome for outcome in self.outcomes if not outcome.error]

    @property
    def rejected(self) -> list[FileOutcome]:
        """The partitions that were not."""
        return [outcome for outcome in self.outcomes if outcome.error]


@dataclass
class _Reading:
    outcomes: list[FileOutcome] = field(default_factory=list)
    frames: list[pl.DataFrame] = field(default_factory=list)


def load(
    lake: Lake,
    store: FileStore,
    source: Source,
    landing: Path,
    partitions: Sequence[str],
    run_id: str,
) -> LoadReport:
    """Load the files of some partitions of a source.

    Args:
        lake: The lake.
        store: Keeps each loaded file by its content, so that its rows can be made again.
        source: The source.
        landing: The landing zone.
        partitions: ISO days, or `[WHOLE]` for a source delivered whole.
        run_id: Dagster's run, for the ledger.

    Returns:
        What became of each file. A rejected file is told there and does not raise.
    """
    reading = _read(store, source, landing, partitions)
    result = _apply(source, reading)
    outcomes = _with_quarantined(reading.outcomes, result)
    good_days = [outcome.partition for outcome in outcomes if not outcome.error]
    with lake.transaction(f"load {source.product}.{source.asset}") as transaction:
        if good_days:
            days = None if source.partition_column is None else good_days
            column = source.partition_column
            transaction.replace(
                source.product,
                source.asset,
                result.good,
                partition_column=column,
                partitions=days,
                schema_change=source.schema_change,
            )
            transaction.replace(
                source.product,
                source.quarantine,
                _quarantine_frame(source, outcomes, result.bad),
                partition_column=column,
                partitions=days,
                # The frame is the platform's own: a lake of before the records' `text` gets it.
                schema_change="add_columns",
            )
        transaction.record_writes(
            [
                WriteRecord(
                    source.product,
                    source.asset,
                    outcome.partition,
                    run_id,
                    outcome.rows - outcome.quarantined,
                )
                for outcome in outcomes
                if not outcome.error
            ]
        )
        _record_arrivals(transaction.connection, source, outcomes, run_id)
        checks = _judge(transaction.connection, source, outcomes, result, run_id)
        transaction.record_checks(checks, transaction.snapshot_id)
    return LoadReport(
        outcomes,
        result.good,
        result.counts,
        passed={name: all(c.passed for c in checks if c.check == name) for name in CHECKS},
        details={name: _first_detail(checks, name) for name in CHECKS},
    )


def _read(store: FileStore, source: Source, landing: Path, partitions: Sequence[str]) -> _Reading:
    files = {file.partition: file for file in scan(source, landing)}
    reading = _Reading()
    for partition in partitions:
        file = files.get(partition)
        if file is None:
            expected = landing / source.product / source.folder / source.file_name(partition)
            error = (
                f"No file for {source.name} {partition or '(whole)'}: expected {expected}, found "
                "nothing. Deliver it, or choose partitions that have arrived."
            )
            reading.outcomes.append(FileOutcome(None, partition, error))
            continue
        sha256 = ""
        try:
            sha256 = file.sha256()
            frame = read_file(file.path, source.contract, source.file_format, source_file=file.name)
            stored = store.put_file(file.path, file.path.name, sha256)
            _require_unchanged(file)
        except (DataError, OSError) as error:
            reading.outcomes.append(FileOutcome(file, partition, str(error), sha256))
            continue
        reading.frames.append(frame)
        reading.outcomes.append(FileOutcome(file, partition, "", sha256, stored.name, frame.height))
    return reading


def _require_unchanged(file: ArrivedFile) -> None:
    status = file.path.stat()
    if (status.st_size, status.st_mtime_ns) != (file.size_bytes, file.modified_ns):
        raise OSError(
            f"Reading {file.name}: the file was changed while it was read. It is read again as "
            "soon as it stands still; deliver under a hidden name and rename it when complete."
        )


def _apply(source: Source, reading: _Reading) -> ContractResult:
    if not reading.frames:
        empty = pl.DataFrame()
        return ContractResult(empty, empty, {})
    days = {
        outcome.file.name: dt.date.fromisoformat(outcome.partition)
        for outcome in reading.outcomes
        if outcome.file is not None and outcome.partition != WHOLE
    }
    return apply_contract(
        pl.concat(reading.frames),
        source.contract,
        file_format=source.file_format,
        partition_column=source.partition_column,
        partitions=days if source.partition_column else None,
    )


def _with_quarantined(outcomes: Sequence[FileOutcome], result: ContractResult) -> list[FileOutcome]:
    bad: dict[str, int] = {}
    if result.bad.height:
        bad = dict(result.bad.group_by(SOURCE_FILE).len().iter_rows())
    return [
        replace(outcome, quarantined=bad.get(outcome.file.name, 0) if outcome.file else 0)
        for outcome in outcomes
    ]


def _quarantine_frame(
    source: Source, outcomes: Sequence[FileOutcome], bad: pl.DataFrame
) -> pl.DataFrame:
    frame = bad.with_columns(pl.col("rules").list.join(", "))
    if source.partition_column is None:
        return frame
    days = {
        outcome.file.name: dt.date.fromisoformat(outcome.partition)
        for outcome in outcomes
        if outcome.file is not None
    }
    return frame.with_columns(
        pl.col(SOURCE_FILE)
        .replace_strict(days, return_dtype=pl.Date)
        .alias(source.partition_column)
    )


def _record_arrivals(
    con: Any, source: Source, outcomes: Sequence[FileOutcome], run_id: str
) -> None:
    moment = records.now()
    records.insert(
        con,
        "arrivals",
        [
            {
                "product": source.product,
                "source": source.name,
                "partition": outcome.partition,
                "path": outcome.file.name,
                "size_bytes": outcome.file.size_bytes,
                "modified_ns": outcome.file.modified_ns,
                "content_sha256": outcome.sha256,
                "stored_name": outcome.stored_name or None,
                "status": "rejected" if outcome.error else "loaded",
                "reason": outcome.error,
                "run_id": run_id,
                "rows_in_file": outcome.rows,
                "rows_loaded": outcome.rows - outcome.quarantined,
                "rows_quarantined": outcome.quarantined,
                "recorded_at": moment,
            }
            for outcome in outcomes
            if outcome.file is not None
        ],
    )


def _judge(
    con: Any,
    source: Source,
    outcomes: Sequence[FileOutcome],
    result: ContractResult,
    run_id: str,
) -> list[CheckRecord]:
    """The three checks on each partition, the last one counted in the lake."""
    stored = _stored_rows(con, source, [o.partition for o in outcomes if not o.error])
    checks: list[CheckRecord] = []

    def note(name: str, outcome: FileOutcome, passed: bool, detail: dict[str, Any]) -> None:
        checks.append(
            CheckRecord(
                source.product,
                source.asset,
                name,
                outcome.partition,
                passed,
                True,
                run_id,
                {} if passed else detail,
            )
        )

    for outcome in outcomes:
        if outcome.file is None:
            # Nothing has arrived, so there is nothing to judge; the caller is told.
            continue
        note(READABLE, outcome, not outcome.error, {"error": outcome.error})
        if outcome.error:
            continue
        share = outcome.quarantined / outcome.rows if outcome.rows else 0.0
        note(
            HOLDS,
            outcome,
            share <= source.max_quarantined_share,
            {
                "file": outcome.file.name if outcome.file else "",
                "quarantined_share": share,
                "limit": source.max_quarantined_share,
                "rows_per_rule": result.counts,
            },
        )
        good, bad = stored.get(outcome.partition, (0, 0))
        note(
            CONSERVED,
            outcome,
            outcome.rows == good + bad,
            {"rows_in_file": outcome.rows, "loaded": good, "quarantined": bad},
        )
    return checks


def _stored_rows(con: Any, source: Source, partitions: Sequence[str]) -> dict[str, tuple[int, int]]:
    if not partitions:
        return {}
    counts: list[dict[str, int]] = []
    for table in (source.asset, source.quarantine):
        name = table_name(source.product, table)
        if source.partition_column is None:
            counts.append({WHOLE: con.execute(f"SELECT count(*) FROM {name}").fetchone()[0]})
            continue
        column = identifier(source.partition_column)
        counts.append(
            dict(
                con.execute(
                    f"SELECT {column}::VARCHAR, count(*) FROM {name} "
                    f"WHERE {column} IN (SELECT unnest(?::DATE[])) GROUP BY ALL",
                    [list(partitions)],
                ).fetchall()
            )
        )
    good, bad = counts
    return {partition: (good.get(partition, 0), bad.get(partition, 0)) for partition in partitions}


def _first_detail(checks: Sequence[CheckRecord], name: str) -> dict[str, Any]:
    of_name = [check for check in checks if check.check == name]
    failed = [check for check in of_name if not check.passed]
    detail: dict[str, Any] = {"partitions": len(of_name), "failed_partitions": len(failed)}
    if failed:
        detail["first_failed_partition"] = failed[0].partition
        detail.update(failed[0].detail)
    return detail
