"""Reading one delivered file so that bad rows can be told apart.

A CSV file is read as text with its line numbers, a Parquet file with its own types; what concerns
the file as a whole (size, encoding, truncation, columns, types) is an error here. What concerns one
row is the contract's business (`filtering`). Fetching and remembering files do not belong here.
"""

from collections.abc import Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path

import dataframely as dy
import polars as pl

from analytics_platform.contracts.content import ASK_SENDER, read_blocks
from analytics_platform.contracts.csv_file import read_csv, read_csv_records
from analytics_platform.contracts.definition import (
    SOURCE_FAULT,
    SOURCE_FILE,
    SOURCE_LINE,
    SOURCE_TEXT,
    check_contract,
)
from analytics_platform.contracts.errors import EmptyFileError
from analytics_platform.contracts.format import FileFormat, FileKind
from analytics_platform.contracts.parquet_file import read_parquet


def read_file(
    path: Path,
    contract: type[dy.Schema],
    file_format: FileFormat | FileKind,
    *,
    source_file: str | None = None,
    allow_no_rows: bool = False,
) -> pl.DataFrame:
    """The rows of one file, not yet held against the contract's rules.

    Columns are matched by name, in any order. A CSV file has a header, is quoted as RFC 4180 has
    it, and its lines are ended in any of the usual ways; lines without any character are skipped.
    An empty value is null. A value holds 131,072 characters at the most.

    A record that has more or fewer values than the header is a row without values and with the
    fault `shape`, unless every record is one, it goes over several lines or the file ends within
    it: then where the rows begin and end cannot be relied on, and the file is in error.

    Args:
        path: The file.
        contract: The source's contract.
        file_format: How the file is written; of `csv` and `parquet` alone, the usual way.
        source_file: The name the ledger knows the file by; the file's own name by default. Give
            one that is unique among files that are checked together.
        allow_no_rows: Whether a file without rows is a delivery; otherwise it is an error.

    Returns:
        One row per record of the file: the contract's columns in its order, as text (CSV) or in
        the contract's types (Parquet), then

        - `_source_file`;
        - `_source_line`: the physical line on which a CSV record starts (the header is on line 1,
          unless blank lines come before it), or the 1-based position of a Parquet row;
        - `_source_text`: the record as it stands in the file, without its line end; null for
          Parquet. It adds the size of the file to the frame, as which rows are bad is not known
          before they are filtered, and the file may be gone by then;
        - `_source_fault`: `shape`, or null.

    Raises:
        ContractDefinitionError: The contract cannot be used.
        UnreadableFileError: The bytes are not a whole file of the format, or are too many.
        EmptyFileError: No bytes, or no rows where rows are required.
        FileShapeError: Columns are missing, unknown or named twice.
        ColumnTypeError: A Parquet column does not widen to the contract's type without loss.
        OSError: The file cannot be opened.
        ValueError: The format is unknown.
    """
    check_contract(contract)
    file_format = FileFormat.of(file_format)
    file = path.name if source_file is None else source_file
    read = read_csv if file_format.kind == "csv" else read_parquet
    with closing(read_blocks(path, file_format, file)) as blocks:
        first = next(blocks, None)
        if first is None:
            raise EmptyFileError(
                "it has no bytes",
                file=file,
                expected=f"a {file_format.kind} file with rows",
                found="0 bytes",
                advice=ASK_SENDER,
            )
        frame = read(chain([first], blocks), contract, file_format, file)
    if frame.is_empty() and not allow_no_rows:
        raise EmptyFileError(
            "it has no rows",
            file=file,
            expected="one row or more",
            found="columns only",
            advice=ASK_SENDER,
        )
    return _with_all_columns(frame, contract, file_format, file)


def read_records(
    path: Path,
    contract: type[dy.Schema],
    file_format: FileFormat | FileKind,
    records: Sequence[tuple[int, str | None]],
    *,
    source_file: str | None = None,
) -> pl.DataFrame:
    """Some rows of a file that was read before, by the contract and the format of now.

    A CSV record is read from its text alone, and of the file only the header: so a text that was
    decoded wrongly stays so, and one that is no record by itself, or of another width than the
    header, has the fault `shape` whatever stands beside it. A Parquet row is taken from the file.

    Args:
        path: The file.
        contract: The source's contract.
        file_format: How the file is written.
        records: The `_source_line` and, of CSV, the `_source_text` of each row wanted. A CSV
            record without text is left out.
        source_file: The name the ledger knows the file by; the file's own name by default.

    Returns:
        The rows as `read_file` gives them, in the order of `records`.

    Raises:
        As `read_file` does.
    """
    check_contract(contract)
    file_format = FileFormat.of(file_format)
    file = path.name if source_file is None else source_file
    if file_format.kind == "parquet":
        frame = read_file(path, contract, file_format, source_file=source_file)
        wanted = pl.Series(SOURCE_LINE, [line for line, _ in records], dtype=pl.Int64).to_frame()
        return wanted.join(frame, on=SOURCE_LINE, maintain_order="left").select(frame.columns)
    texts = [(line, text) for line, text in records if text is not None]
    with closing(read_blocks(path, file_format, file)) as blocks:
        frame = read_csv_records(blocks, contract, file_format, file, texts)
    return _with_all_columns(frame, contract, file_format, file)


def _with_all_columns(
    frame: pl.DataFrame, contract: type[dy.Schema], file_format: FileFormat, file: str
) -> pl.DataFrame:
    """The rows with the columns that the file may lack, and with its name."""
    dtypes = dict.fromkeys(contract.column_names(), pl.String())
    if file_format.kind == "parquet":
        dtypes = {name: column.dtype for name, column in contract.columns().items()}
    return frame.with_columns(
        *(
            pl.lit(None, dtype=dtype).alias(name)
            for name, dtype in dtypes.items()
            if name not in frame.columns
        ),
        pl.lit(file, dtype=pl.String).alias(SOURCE_FILE),
    ).select(*dtypes, SOURCE_FILE, SOURCE_LINE, SOURCE_TEXT, SOURCE_FAULT)
