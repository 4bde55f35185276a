"""Rows of a Parquet file in the contract's types, widened where nothing can be lost.

Columns, types and size are judged before a value is unpacked. The bytes are read by Arrow, because
Polars ends the process on some damaged files, as the fuzzer found; what Arrow gives is validated in
full. Bytes do not belong here (`content`).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import dataframely as dy
import polars as pl

from analytics_platform.contracts.content import ASK_SENDER, guess
from analytics_platform.contracts.definition import (
    SOURCE_FAULT,
    SOURCE_LINE,
    SOURCE_TEXT,
    file_headers,
)
from analytics_platform.contracts.errors import ColumnTypeError, UnreadableFileError
from analytics_platform.contracts.format import FileFormat
from analytics_platform.contracts.headers import match_columns

if TYPE_CHECKING:
    import pyarrow as pa

_FAILURES = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    # Arrow's own errors are these, or come of them.
    OSError,
    ValueError,
    TypeError,
    KeyError,
    NotImplementedError,
    MemoryError,
)


def read_parquet(
    blocks: Iterator[bytes], contract: type[dy.Schema], file_format: FileFormat, file: str
) -> pl.DataFrame:
    """The rows of a Parquet file, in the contract's types; see `read_file`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = b"".join(blocks)
    try:
        opened = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        names, rows = opened.schema_arrow.names, opened.metadata.num_rows
    except _FAILURES as error:
        raise _unreadable(data, file, error) from error
    places = match_columns(names, contract, file_format, file)
    try:
        # Of the columns wanted: of those that are ignored, two may have one name.
        wanted = pa.schema([opened.schema_arrow.field(place) for place in places.values()])
        schema = _frame(wanted.empty_table()).schema
    except _FAILURES as error:
        raise _unreadable(data, file, error) from error
    headers = file_headers(contract)
    columns = contract.columns()
    for name in places:
        _require_flat(schema[headers[name]], columns[name].dtype, headers[name], file)
    _require_small(rows, [schema[headers[name]] for name in places], file_format, file)
    try:
        table = opened.read([headers[name] for name in places], use_threads=False)
        table.validate(full=True)
        frame = _frame(table)
        if frame.height != rows:
            raise ValueError(f"its footer says {rows} rows, and it has {frame.height}")
    except _FAILURES as error:
        raise _unreadable(data, file, error) from error
    values = [
        _widen(frame.get_column(headers[name]), columns[name].dtype, file).alias(name)
        for name in places
    ]
    return pl.DataFrame(values).with_columns(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(SOURCE_LINE),
        pl.lit(None, dtype=pl.String).alias(SOURCE_TEXT),
        pl.lit(None, dtype=pl.String).alias(SOURCE_FAULT),
    )


def _frame(table: "pa.Table") -> pl.DataFrame:
    return cast("pl.DataFrame", pl.from_arrow(table))


def _unreadable(data: bytes, file: str, error: BaseException) -> UnreadableFileError:
    return UnreadableFileError(
        "it is not a whole Parquet file",
        file=file,
        expected="a Parquet file with header and footer",
        found=f"{len(data)} bytes on which the reader fails: {_first_line(error)}",
        # What begins as Parquet does is one, if a broken one.
        advice=f"{'' if data.startswith(b'PAR1') else guess(data[:16])}The file may be cut off. "
        f"{ASK_SENDER}",
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _require_flat(found: pl.DataType, expected: pl.DataType, column: str, file: str) -> None:
    if found.is_nested():
        raise ColumnTypeError(
            "a column holds lists or structures",
            file=file,
            column=column,
            expected=f"one {expected} a row",
            found=str(found),
            advice="Ask the sender for a column a value; a lake's table has no nested columns.",
        )


def _require_small(
    rows: int, dtypes: list[pl.DataType], file_format: FileFormat, file: str
) -> None:
    """Raise where the values would take more memory than a file may: few bytes can hold many."""
    wide = rows * sum(_least_bytes(dtype) for dtype in dtypes)
    if wide > file_format.max_bytes:
        raise UnreadableFileError(
            "it is larger than may be",
            file=file,
            expected=f"at most {file_format.max_bytes} bytes uncompressed",
            found=f"{rows} rows of {len(dtypes)} columns, at least {wide} bytes",
            advice="Have it delivered in parts, or raise max_bytes in the source's format.",
        )


def _least_bytes(dtype: pl.DataType) -> int:
    """What a value takes in memory, at the least."""
    if dtype.is_integer():
        return _bits(dtype)[1] // 8
    return {pl.Boolean: 0, pl.Null: 0, pl.Float32: 4, pl.Date: 4, pl.String: 16}.get(type(dtype), 8)


def _widen(values: pl.Series, expected: pl.DataType, file: str) -> pl.Series:
    """The values in the contract's type, or an error where that could lose something."""
    found = values.dtype
    if found == expected:
        return values
    if _widens(found, expected):
        return values.cast(expected)
    if (
        isinstance(found, pl.Datetime)
        and isinstance(expected, pl.Datetime)
        and found.time_zone == expected.time_zone
    ):
        # Some writers know nanoseconds only; a coarser unit is right if no value uses them.
        cast = values.cast(expected, strict=False)
        if cast.cast(found, strict=False).eq_missing(values).all():
            return cast
    raise ColumnTypeError(
        "a column has the wrong type",
        file=file,
        column=values.name,
        expected=f"{expected}, or a type that widens to it without loss",
        found=str(found),
        advice="Ask the sender for the agreed type, or change the contract if the source changed.",
    )


def _widens(found: pl.DataType, expected: pl.DataType) -> bool:
    """Whether every value of one type is exactly a value of the other."""
    if found == pl.Null:
        return True
    if expected == pl.String:
        return isinstance(found, pl.Categorical | pl.Enum)
    if found.is_integer() and expected.is_integer():
        signed, wide = _bits(found)
        expected_signed, expected_wide = _bits(expected)
        if signed == expected_signed:
            return wide <= expected_wide
        return expected_signed and wide < expected_wide
    if found.is_integer() and expected.is_float():
        # A float holds integers exactly up to its mantissa: 24 bits of 32, 53 of 64.
        return _bits(found)[1] <= (16 if expected == pl.Float32 else 32)
    return found == pl.Float32 and expected == pl.Float64


def _bits(dtype: pl.DataType) -> tuple[bool, int]:
    """Whether an integer type is signed, and its width."""
    name = str(dtype)
    return name.startswith("I"), int(name.lstrip("UInt"))
