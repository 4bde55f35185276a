"""Good rows and bad rows: a contract applied to rows that were read.

The rows of one file or of hundreds are checked in one pass. Every row ends up either among the
good ones, typed, or among the bad ones with the names of the rules it broke and the row as it was
delivered. Writing either to a table does not belong here.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import dataframely as dy
import polars as pl

from analytics_platform.contracts.definition import (
    DELIVERY,
    PARTITION_RULE,
    PRIMARY_KEY_RULE,
    ROW,
    SOURCE_FAULT,
    SOURCE_FILE,
    SOURCE_LINE,
    SOURCE_TEXT,
    check_contract,
    columns_needed,
    located_contract,
    own_formats,
    unusable_rule,
)
from analytics_platform.contracts.errors import ContractDefinitionError, ContractError
from analytics_platform.contracts.format import FileFormat, FileKind
from analytics_platform.contracts.text_values import parse_text

_RULE = "rule"
_FAILED_PREFIX = "_failed_"
_BROKEN_SCHEMA = {ROW: pl.UInt32, _RULE: pl.String}


@dataclass(frozen=True)
class ContractResult:
    """What became of the rows of one application of a contract.

    Attributes:
        good: Rows that hold: the contract's columns, typed, `_source_file` and `_source_line`.
        bad: Rows that do not: `_source_file`, `_source_line`, `rules` (a sorted list of the names
            of the rules broken), `row` (the values as delivered, as JSON text; null where they
            could not be told to columns) and `text` (the record as it stands in the file, without
            its line end; null for Parquet).
        counts: The number of rows that broke each rule, by the rule's name; a row that broke two
            rules is counted for both.
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    counts: dict[str, int]

    def by_file(self) -> pl.DataFrame:
        """Rows per file: `_source_file`, `good_rows`, `bad_rows`, in order of the file names."""
        return (
            pl.concat(
                [
                    self.good.select(SOURCE_FILE, is_good=pl.lit(True)),
                    self.bad.select(SOURCE_FILE, is_good=pl.lit(False)),
                ]
            )
            .group_by(SOURCE_FILE)
            .agg(
                good_rows=pl.col("is_good").sum().cast(pl.Int64),
                bad_rows=(~pl.col("is_good")).sum().cast(pl.Int64),
            )
            .sort(SOURCE_FILE)
        )


def apply_contract(
    frame: pl.DataFrame,
    contract: type[dy.Schema],
    *,
    file_format: FileFormat | FileKind = "csv",
    partition_column: str | None = None,
    partitions: Mapping[str, date] | None = None,
    is_one_delivery: bool = False,
    loaded: pl.DataFrame | None = None,
) -> ContractResult:
    """Part the rows that keep a contract from those that do not.

    The rules, by name:

    - `shape`: the record has more or fewer values than the header; no other rule is evaluated;
    - `<column>|type`: the text is not a value of the column's type, or a date or time of Parquet
      is not of the years 1 to 9999;
    - `<column>|nullability`, `<column>|min` and so on: dataframely's, of the column's declaration;
    - the names of the contract's own rules;
    - `primary_key`: another row of the same delivery has the same key. All rows of that key are
      bad, as none can be told to be the right one. A delivery is what came for one partition, in
      one file or several; without partitions it is the frame where `is_one_delivery`, or a file.
      A row whose key one of `loaded` has is bad as well, and that one stays as it is;
    - `partition`: the row's date is not the date its file was delivered for, or it has none.

    A rule is not evaluated for a row in which a value it needs is not of its type.

    Args:
        frame: Rows of one or more files as `read_file` gives them, stacked; without the records'
            text and faults, the rows have none.
        contract: The source's contract.
        file_format: How the files write numbers, dates and times: what `read_file` was given.
        partition_column: The date column that must equal the file's partition, for a source
            delivered by day; None for an unpartitioned source.
        partitions: The date each file was delivered for, by `_source_file`; given with
            `partition_column`, for every file in the frame.
        is_one_delivery: Whether the files, of a source without partitions, are parts of one whole.
        loaded: Rows of the same deliveries that hold and are not under test: `_source_file` and
            the columns of the primary key, in the contract's types.

    Returns:
        Good rows, bad rows and counts, rows in the order of the frame.

    Raises:
        ContractDefinitionError: The contract cannot be used, or has no such partition column.
        ContractError: Rows were lost or doubled: a fault of the platform, not of data.
        ValueError: The frame is not one that `read_file` gives, or a file has no partition.
    """
    check_contract(contract)
    _check_call(frame, contract, partition_column, partitions)
    columns = {name: column.dtype for name, column in contract.columns().items()}
    numbered = frame.with_columns(
        pl.lit(None, dtype=pl.String).alias(name)
        for name in (SOURCE_TEXT, SOURCE_FAULT)
        if name not in frame.columns
    ).with_row_index(ROW)
    file_format, formats = FileFormat.of(file_format), own_formats(contract)
    delivery = pl.lit("") if is_one_delivery else pl.col(SOURCE_FILE)
    if partitions is not None:
        days = {file: day.isoformat() for file, day in partitions.items()}
        delivery = pl.col(SOURCE_FILE).replace_strict(days, return_dtype=pl.String)
    texts = numbered.select(
        ROW, *columns, SOURCE_FILE, SOURCE_LINE, delivery.cast(pl.String).alias(DELIVERY)
    )
    if (is_row := numbered[SOURCE_FAULT].is_null()).sum() < numbered.height:
        texts = texts.filter(is_row)
    typed = texts.with_columns(
        parse_text(pl.col(name), dtype, file_format, formats.get(name)).alias(name)
        if texts[name].dtype != dtype
        else pl.when(_has_a_year(name, dtype)).then(pl.col(name)).alias(name)
        for name, dtype in columns.items()
        if texts[name].dtype != dtype or dtype.is_temporal()
    )
    failed = {
        name: (typed[name].is_null() & texts[name].is_not_null()).alias(_FAILED_PREFIX + name)
        for name in columns
    }
    failed = {name: mask for name, mask in failed.items() if mask.any()}
    try:
        held, failure = located_contract(contract).filter(typed)
        details = failure.details()
    except pl.exceptions.PolarsError as error:
        raise unusable_rule(contract, error) from error

    broken = [
        numbered.filter(pl.col(SOURCE_FAULT).is_not_null()).select(
            ROW, pl.col(SOURCE_FAULT).alias(_RULE)
        )
    ]
    broken += [
        typed.select(ROW).filter(mask).with_columns(pl.lit(f"{name}|type").alias(_RULE))
        for name, mask in failed.items()
    ]
    broken += _broken_rules(details, contract, typed.select(ROW).with_columns(failed.values()))
    if partition_column is not None and partitions is not None:
        day = pl.col(SOURCE_FILE).replace_strict(dict(partitions), return_dtype=pl.Date)
        is_other = pl.col(partition_column) != day
        if contract.columns()[partition_column].nullable:
            # No partition has a row without a day; one that must have a day breaks `nullability`.
            is_other |= pl.lit(texts[partition_column].is_null())
        broken.append(typed.filter(is_other).select(ROW, pl.lit(PARTITION_RULE).alias(_RULE)))
    if loaded is not None and (key := contract.primary_key()):
        taken = loaded.select(*key, delivery.cast(pl.String).alias(DELIVERY))
        broken.append(
            typed.join(taken, on=[*key, DELIVERY], how="semi").select(
                ROW, pl.lit(PRIMARY_KEY_RULE).alias(_RULE)
            )
        )
    rules = pl.concat([pl.DataFrame(schema=_BROKEN_SCHEMA), *broken]).unique(maintain_order=True)
    result = ContractResult(
        good=held.join(rules, on=ROW, how="anti", maintain_order="left")
        .join(typed.select(ROW, SOURCE_LINE), on=ROW, how="left", maintain_order="left")
        .select(*columns, SOURCE_FILE, SOURCE_LINE),
        bad=_bad_rows(numbered, rules, list(columns)),
        counts=dict(rules.group_by(_RULE).len().sort(_RULE).iter_rows()),
    )
    if frame.height != result.good.height + result.bad.height:
        raise ContractError(
            f"Applying {contract.__name__} to {frame.height} rows: expected every row to be good "
            f"or bad; found {result.good.height} good and {result.bad.height} bad. "
            "This is a fault of the platform: report it, with the file."
        )
    return result


def _check_call(
    frame: pl.DataFrame,
    contract: type[dy.Schema],
    partition_column: str | None,
    partitions: Mapping[str, date] | None,
) -> None:
    """Raise where the arguments do not fit each other."""
    columns = {name: column.dtype for name, column in contract.columns().items()}
    expected = {*columns, SOURCE_FILE, SOURCE_LINE}
    if set(frame.columns) - {SOURCE_TEXT, SOURCE_FAULT} != expected:
        raise ValueError(
            f"Applying {contract.__name__}: expected a frame with {sorted(expected)}; found "
            f"{sorted(frame.columns)}. Read the file with read_file."
        )
    for name, dtype in columns.items():
        if frame[name].dtype not in (dtype, pl.String):
            raise ValueError(
                f"Applying {contract.__name__}, column {name!r}: expected text or {dtype}; found "
                f"{frame[name].dtype}. Read the file with read_file."
            )
    if (partition_column is None) != (partitions is None):
        raise ValueError(
            f"Applying {contract.__name__}: expected partition_column and partitions together or "
            "neither; found one of them. Give both for a source delivered by day."
        )
    if partition_column is None or partitions is None:
        return
    if columns.get(partition_column) != pl.Date:
        raise ContractDefinitionError(
            f"Applying {contract.__name__}: expected a date column {partition_column!r} to hold "
            f"the partition; found {columns.get(partition_column, 'no such column')}. Correct the "
            "contract, or the partition column the source declares."
        )
    if lacking := sorted(set(frame[SOURCE_FILE].unique()) - set(partitions)):
        raise ValueError(
            f"Applying {contract.__name__}: expected a partition for every file; found none for "
            f"{', '.join(lacking[:5])}{' and more' if len(lacking) > 5 else ''}. Add them."
        )


def _broken_rules(
    details: pl.DataFrame, contract: type[dy.Schema], failed: pl.DataFrame
) -> list[pl.DataFrame]:
    """The rows and names of rules that dataframely found broken and that can be relied on.

    `failed` has, for each column with values that are not of its type, a mask of those rows: in
    them the value is null only because it could not be parsed, and what follows from that null
    would be noise.
    """
    details = details.join(failed, on=ROW, how="left")
    broken = []
    for rule in details.columns:
        if not isinstance(details[rule].dtype, pl.Enum):
            continue
        is_broken = pl.col(rule) == "invalid"
        for name in columns_needed(contract, rule):
            if _FAILED_PREFIX + name in failed.columns:
                is_broken &= ~pl.col(_FAILED_PREFIX + name)
        broken.append(details.filter(is_broken).select(ROW, pl.lit(rule).alias(_RULE)))
    return broken


def _has_a_year(column: str, dtype: pl.DataType) -> pl.Expr:
    """Whether dates or times are of the years 1 to 9999: Parquet has others, which few can read."""
    if dtype == pl.Datetime("ns"):
        return pl.col(column).is_not_null()  # 64 bits hold the years 1677 to 2262
    kind = date if dtype == pl.Date else datetime
    return pl.col(column).is_between(pl.lit(kind.min).cast(dtype), pl.lit(kind.max).cast(dtype))


def _readable(column: str, dtype: pl.DataType) -> pl.Expr:
    """Dates or times as Python holds them; as text where it would hold some of them only."""
    kept = pl.when(_has_a_year(column, dtype)).then(pl.col(column))
    written = "%Y-%m-%d" if dtype == pl.Date else "%Y-%m-%dT%H:%M:%S%.f"
    unit = "days" if dtype == pl.Date else dtype.time_unit  # type: ignore[attr-defined]
    count = pl.format(f"{{}} {unit} since 1970-01-01", pl.col(column).to_physical())
    return pl.coalesce(kept.dt.strftime(written), count)


def _bad_rows(numbered: pl.DataFrame, rules: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """The rows that broke a rule, as delivered."""
    per_row = rules.group_by(ROW).agg(rules=pl.col(_RULE).unique().sort()).sort(ROW)
    bad = per_row.join(numbered, on=ROW, how="left", maintain_order="left")
    # The json module and not struct.json_encode, which turns NaN and infinity into null: the
    # quarantine must show what was delivered.
    values = bad.select(columns)
    values = values.with_columns(
        _readable(name, dtype).alias(name)
        for name, dtype in values.schema.items()
        if dtype.is_temporal()
        and values.filter(pl.col(name).is_not_null() & ~_has_a_year(name, dtype)).height
    )
    rows = [
        json.dumps({name: _json_value(value) for name, value in row.items()}, ensure_ascii=False)
        for row in values.iter_rows(named=True)
    ]
    return bad.select(
        SOURCE_FILE,
        SOURCE_LINE,
        "rules",
        pl.when(pl.col(SOURCE_FAULT).is_null())
        .then(pl.Series("row", rows, dtype=pl.String))
        .alias("row"),
        pl.col(SOURCE_TEXT).alias("text"),
    )


def _json_value(value: object) -> object:
    """A value as JSON can hold it; what is no JSON becomes text."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
