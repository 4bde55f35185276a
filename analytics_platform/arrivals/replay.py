"""Replay quarantined rows: judge them, and no other rows of their files, by the contract of now.

A row that holds now is loaded; one that does not stays, with the rules that it breaks now. Rows
that are loaded already are not judged again: where the contract became stricter for them, or a
file's encoding was mended, the partition is to be loaded anew (`load`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import duckdb
import polars as pl

from analytics_platform.arrivals.checks import (
    PartitionLoad,
    columns_exist,
    judge_load,
    unreadable_files,
)
from analytics_platform.arrivals.landing import Source
from analytics_platform.arrivals.quarantine import quarantined_rows
from analytics_platform.arrivals.report import LoadReport
from analytics_platform.arrivals.rows import (
    judge_rows,
    quarantine_frame,
    rows_per_file,
    rows_per_rule,
)
from analytics_platform.contracts import (
    SOURCE_FILE,
    SOURCE_LINE,
    ContractResult,
    DataError,
    read_records,
)
from analytics_platform.lake import (
    FileStore,
    Lake,
    LakeError,
    Transaction,
    WriteRecord,
    ledger,
)
from analytics_platform.lake.ledger import LedgerEntry
from analytics_platform.lake.sql import identifier, table_name


def replay(
    lake: Lake, store: FileStore, source: Source, partitions: Sequence[str], run_id: str
) -> LoadReport:
    """Judge the quarantined rows of some partitions again, and load those that hold now.

    All of it is one transaction: the rows, the quarantine, the record of each partition in which a
    row moved, the source's checks, and what the ledger says of each file. A row whose key a loaded
    row has stays, with `primary_key`. So does one that cannot be read again, with what it had.

    Args:
        lake: The lake.
        store: Keeps the files that the rows came in.
        source: The source, with its contract and format as they are now.
        partitions: ISO days, or `[WHOLE]` for a source delivered whole. Those without quarantined
            rows are left alone.
        run_id: Dagster's run, for the records.

    Returns:
        What became of each file; `written` are the partitions in which a row moved. Where a file
        cannot be read by the format of now, its partition stays as it is and the report says why.

    Raises:
        SchemaChangedError: If the contract's columns are no longer the table's in a way that the
            source does not allow; nothing is changed.
    """
    with lake.transaction(f"replay {source.product}.{source.asset}") as transaction:
        con = transaction.connection
        kept = quarantined_rows(con, source.product, source.name, partitions=partitions)
        known = ledger.known_files(con, source.product, source.name)
        standing = {path: file.standing for path, file in known.items() if file.standing}
        frames, errors = _read_again(store, source, standing, kept)
        kept = kept.filter(~pl.col("partition").is_in(list(errors)))
        judged = sorted(kept["partition"].unique())
        if not judged:
            nothing = ContractResult(pl.DataFrame(), pl.DataFrame(), {})
            return LoadReport.of(source, [], [], list(errors.values()), nothing, [])

        partition_of = {path: entry.partition for path, entry in standing.items()}
        result = judge_rows(
            source,
            [frame for path, frame in frames.items() if partition_of[path] not in errors],
            partition_of,
            _loaded_keys(con, source, judged),
        )
        result = _with_unread(kept, result)
        _write(transaction, source, judged, partition_of, result)

        moved = rows_per_file(result.good)
        loads = _counted(con, source, judged, standing, result)
        written = sorted({partition_of[path] for path in moved})
        transaction.record_writes(
            [
                WriteRecord(
                    source.product,
                    source.asset,
                    partition,
                    run_id,
                    loads[partition].rows_in_files - loads[partition].quarantined,
                )
                for partition in written
            ],
            columns={source.asset: source.partition_column},
        )
        tried, stay = rows_per_file(kept), rows_per_file(result.bad)
        entries = [
            replace(
                standing[path],
                status="replayed",
                run_id=run_id,
                reason=f"replayed: {moved.get(path, 0)} of {rows} rows hold now",
                rows_loaded=(standing[path].rows_in_file or 0) - stay.get(path, 0),
                rows_quarantined=stay.get(path, 0),
            )
            for path, rows in sorted(tried.items())
        ]
        ledger.append(con, entries, transaction.snapshot_id)
        checks = judge_load(con, source, list(loads.values()), run_id)
        transaction.record_checks(checks, transaction.snapshot_id)
    return LoadReport.of(source, written, entries, list(errors.values()), result, checks)


def _read_again(
    store: FileStore, source: Source, standing: Mapping[str, LedgerEntry], kept: pl.DataFrame
) -> tuple[dict[str, pl.DataFrame], dict[str, str]]:
    """The kept rows as they read now, by file; and why those of a partition cannot be read."""
    frames: dict[str, pl.DataFrame] = {}
    errors: dict[str, str] = {}
    for rows in kept.partition_by(SOURCE_FILE, maintain_order=True):
        path, partition = rows[SOURCE_FILE][0], rows["partition"][0]
        entry = standing.get(path)
        try:
            if entry is None:
                raise LakeError(f"No rows of it stand, so load {partition or source.name} anew.")
            frames[path] = read_records(
                store.path(entry.content_sha256, entry.stored_name or ""),
                source.contract,
                source.file_format,
                list(rows.select(SOURCE_LINE, "text").iter_rows()),
                source_file=path,
            )
        except (DataError, LakeError, OSError) as error:
            errors[partition] = f"Replaying {path}: nothing of its partition was changed. {error}"
    return frames, errors


def _loaded_keys(
    con: duckdb.DuckDBPyConnection, source: Source, partitions: Sequence[str]
) -> pl.DataFrame | None:
    """The keys that loaded rows of the partitions have, with their files."""
    key = source.contract.primary_key()
    if not key or not set(key) <= columns_exist(con, source.product, source.asset):
        return None
    where = "true"
    if source.partition_column is not None:
        days = f"{list(partitions)!r}::DATE[]"
        where = f"{identifier(source.partition_column)} IN (SELECT unnest({days}))"
    columns = ", ".join(map(identifier, [*key, SOURCE_FILE]))
    rows = con.execute(
        f"SELECT {columns} FROM {table_name(source.product, source.asset)} WHERE {where}"
    ).pl()
    dtypes = source.contract.columns()
    # The table may have the types of a contract of before.
    return rows.cast({name: dtypes[name].dtype for name in key}, strict=False)


def _with_unread(kept: pl.DataFrame, result: ContractResult) -> ContractResult:
    """The result with the rows that could not be read again, as they were."""
    place = [SOURCE_FILE, SOURCE_LINE]
    read = pl.concat([result.good.select(place), result.bad.select(place)])
    unread = kept.join(read, on=place, how="anti")
    bad = pl.concat([result.bad, unread.select(result.bad.columns)])
    counts = bad.select("rules").explode("rules").group_by("rules").len().sort("rules")
    return replace(result, bad=bad, counts=dict(counts.iter_rows()))


def _write(
    transaction: Transaction,
    source: Source,
    partitions: Sequence[str],
    partition_of: Mapping[str, str],
    result: ContractResult,
) -> None:
    if result.good.height:
        transaction.append(
            source.product, source.asset, result.good, schema_change=source.schema_change
        )
    transaction.replace(
        source.product,
        source.quarantine,
        quarantine_frame(source, partition_of, result.bad),
        partition_column=source.partition_column,
        partitions=None if source.partition_column is None else partitions,
        schema_change="add_columns",
    )


def _counted(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    partitions: Sequence[str],
    standing: Mapping[str, LedgerEntry],
    result: ContractResult,
) -> dict[str, PartitionLoad]:
    """Each partition with the numbers of its rows as they are now."""
    partition_of = {path: entry.partition for path, entry in standing.items()}
    rules = rows_per_rule(result.bad, partition_of)
    unreadable = unreadable_files(con, source)
    loads = {
        partition: PartitionLoad(
            partition,
            unreadable.get(partition, ()),
            is_written=True,
            rows_in_files=sum(
                entry.rows_in_file or 0
                for entry in standing.values()
                if entry.partition == partition
            ),
            counts=rules.get(partition, {}),
        )
        for partition in partitions
    }
    for path, rows in rows_per_file(result.bad).items():
        one = loads[partition_of[path]]
        loads[one.partition] = replace(one, quarantined=one.quarantined + rows)
    return loads
