"""Reading one delivered file so that bad rows can be told apart.

A CSV file is read as text with its line numbers, a Parquet file with its own types; what concerns
the file as a whole (encoding, truncation, columns, types) is an error here. What concerns one row
is the contract's business (`filtering`). Fetching, unpacking and remembering files do not belong
here.
"""

import csv
import io
from pathlib import Path
from typing import Literal, get_args

import dataframely as dy
import polars as pl

from analytics_platform.contracts.definition import (
    SOURCE_FILE,
    SOURCE_LINE,
    check_contract,
)
from analytics_platform.contracts.errors import (
    ColumnTypeError,
    EmptyFileError,
    FileShapeError,
    UnreadableFileError,
)

FileFormat = Literal["csv", "parquet"]

_ASK_SENDER = "Ask the sender to deliver the file again."


def read_file(
    path: Path,
    contract: type[dy.Schema],
    file_format: FileFormat,
    *,
    source_file: str | None = None,
    allow_no_rows: bool = False,
) -> pl.DataFrame:
    """The rows of one file, not yet held against the contract's rules.

    Columns are matched by name, in any order. A CSV file is UTF-8 (a byte order mark is skipped),
    comma-separated, with a header, quoted as RFC 4180 has it, its lines ended in any of the usual
    ways; lines without any character are skipped. An empty value is null.

    Args:
        path: The file.
        contract: The source's contract.
        file_format: `csv` or `parquet`.
        source_file: The name the ledger knows the file by; the file's own name by default. Give
            one that is unique among files that are checked together.
        allow_no_rows: Whether a file without rows is a delivery; otherwise it is an error.

    Returns:
        The contract's columns in its order, as text (CSV) or in the contract's types (Parquet),
        then `_source_file` and `_source_line`: the physical line on which a CSV record starts (the
        header is on line 1), or the 1-based position of a Parquet row.

    Raises:
        ContractDefinitionError: The contract cannot be used.
        UnreadableFileError: The bytes are not a whole file of the format.
        EmptyFileError: No bytes, or no rows where rows are required.
        FileShapeError: Columns are missing, unknown or named twice.
        ColumnTypeError: A Parquet column does not widen to the contract's type without loss.
        OSError: The file cannot be opened.
        ValueError: The format is unknown.
    """
    check_contract(contract)
    if file_format not in get_args(FileFormat):
        raise ValueError(
            f"Reading {path}: expected a file format of {get_args(FileFormat)}; found "
            f"{file_format!r}. Correct the source's declaration."
        )
    file = path.name if source_file is None else source_file
    data = path.read_bytes()
    if not data:
        raise EmptyFileError(
            "it has no bytes",
            file=file,
            expected=f"a {file_format} file with rows",
            found="0 bytes",
            advice=_ASK_SENDER,
        )
    read = _read_csv if file_format == "csv" else _read_parquet
    frame = read(data, contract, file)
    if frame.is_empty() and not allow_no_rows:
        raise EmptyFileError(
            "it has no rows",
            file=file,
            expected="one row or more",
            found="columns only",
            advice=_ASK_SENDER,
        )
    return frame.with_columns(pl.lit(file, dtype=pl.String).alias(SOURCE_FILE)).select(
        *contract.column_names(), SOURCE_FILE, SOURCE_LINE
    )


def _read_csv(data: bytes, contract: type[dy.Schema], file: str) -> pl.DataFrame:
    """All values as text, with the line each record starts on."""
    # The csv module and not Polars: Polars fills short rows with nulls in silence and knows no
    # line numbers. It costs about 1.5 s per million values, once per delivered file.
    reader = csv.reader(io.StringIO(_decode(data, file), newline=""), strict=True)
    records: list[list[str]] = []
    lines: list[int] = []
    header: list[str] = []
    line = 1
    try:
        for record in reader:
            if not header:
                if record:
                    _check_columns(record, contract, file)
                    header = record
            elif record:
                if len(record) != len(header):
                    raise UnreadableFileError(
                        "a row has another number of values than the header",
                        file=file,
                        line=line,
                        expected=f"{len(header)} values ({', '.join(header)})",
                        found=f"{len(record)}: {_excerpt(record)}",
                        advice=f"The file may be cut off, or a comma not quoted. {_ASK_SENDER}",
                    )
                records.append(record)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise UnreadableFileError(
            "the quoting does not hold",
            file=file,
            line=line,
            expected="values quoted as RFC 4180 has it",
            found=str(error),
            advice=f"A quote may be unpaired from this line on. {_ASK_SENDER}",
        ) from error
    if not header:
        raise EmptyFileError(
            "it has no header",
            file=file,
            expected=f"a header with {', '.join(contract.column_names())}",
            found="blank lines only",
            advice=_ASK_SENDER,
        )
    values = zip(*records, strict=True) if records else ((),) * len(header)
    frame = pl.DataFrame(
        [
            pl.Series(name, column, dtype=pl.String)
            for name, column in zip(header, values, strict=True)
        ]
    )
    return frame.with_columns(
        pl.when(pl.col(pl.String) != "").then(pl.col(pl.String))
    ).with_columns(pl.Series(SOURCE_LINE, lines, dtype=pl.Int64))


def _decode(data: bytes, file: str) -> str:
    """The text of a CSV file, without a byte order mark."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFileError(
            "the text is not UTF-8",
            file=file,
            line=data.count(b"\n", 0, error.start) + 1,
            expected="UTF-8 text",
            found=f"byte 0x{data[error.start]:02x} at offset {error.start} ({error.reason})",
            advice="Ask the sender for UTF-8, neither compressed nor in a national code page.",
        ) from error
    if "\x00" in text:
        offset = text.index("\x00")
        raise UnreadableFileError(
            "the text holds a NUL character",
            file=file,
            line=text.count("\n", 0, offset) + 1,
            expected="UTF-8 text",
            found=f"NUL at character {offset}",
            advice="It may be UTF-16, or a file whose tail was never written. " + _ASK_SENDER,
        )
    return text


def _excerpt(record: list[str]) -> str:
    text = ",".join(record)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _check_columns(found: list[str], contract: type[dy.Schema], file: str) -> None:
    """Raise unless the file's columns are exactly the contract's, in any order."""
    expected = contract.column_names()
    faults = []
    if missing := [name for name in expected if name not in found]:
        faults.append(f"missing {', '.join(missing)}")
    if unknown := [name for name in dict.fromkeys(found) if name not in expected]:
        faults.append(f"unknown {', '.join(map(repr, unknown))}")
    if twice := [name for name in dict.fromkeys(found) if found.count(name) > 1]:
        faults.append(f"named twice {', '.join(twice)}")
    if faults:
        raise FileShapeError(
            "the columns are not the contract's: " + "; ".join(faults),
            file=file,
            expected=", ".join(expected),
            found=", ".join(found),
            advice=f"Correct the file, or {contract.__name__} if the source has changed.",
        )


def _read_parquet(data: bytes, contract: type[dy.Schema], file: str) -> pl.DataFrame:
    """The rows in the contract's types."""
    try:
        # Read from memory: a path would be searched for hive partitions and glob characters.
        frame = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise UnreadableFileError(
            "it is not a whole Parquet file",
            file=file,
            expected="a Parquet file with header and footer",
            found=f"{len(data)} bytes on which the reader fails: {_first_line(error)}",
            advice=f"The file may be cut off. {_ASK_SENDER}",
        ) from error
    _check_columns(frame.columns, contract, file)
    columns = [
        _widen(frame.get_column(name), column.dtype, file)
        for name, column in contract.columns().items()
    ]
    return pl.DataFrame(columns).with_columns(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(SOURCE_LINE)
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


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
        cast = values.cast(expected)
        if cast.cast(found).eq_missing(values).all():
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
