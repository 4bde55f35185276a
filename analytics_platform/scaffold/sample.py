"""Reading a sample nobody has described: its encoding, delimiter, header and values.

Of a CSV file all values are text here; what they mean is decided in `infer`. A sample must be a
whole table, as the reader of contracts is as strict with every later file.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from analytics_platform.contracts import FileKind
from analytics_platform.scaffold.errors import SampleError

#: A larger sample is refused: it is read into memory as text, and says no more.
LARGEST_BYTES = 128 * 2**20

#: Rows of the copy that the project's test reads.
COPIED_ROWS = 50

#: Preferred from the left where several part all lines alike: a comma also stands in numbers.
DELIMITERS = (";", "\t", "|", ",")

_SINGLE_BYTE = ("cp1252", "latin-1")


@dataclass(frozen=True)
class Sample:
    """A sample as a table.

    Attributes:
        file_name: Its name.
        file_format: csv or parquet.
        headers: The columns' names as the file has them.
        frame: The values, in columns `0`, `1`, …; text for CSV, null where the file holds nothing.
        copy: The bytes of a file with the first rows.
        copied_rows: How many rows the copy has.
        encoding: The text's encoding, for CSV.
        delimiter: What parts the values, for CSV.
        notes: What a person should know of the file as a whole.
    """

    file_name: str
    file_format: FileKind
    headers: list[str]
    frame: pl.DataFrame
    copy: bytes
    copied_rows: int
    encoding: str = "utf-8"
    delimiter: str = ","
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.frame.height


def read_sample(path: Path) -> Sample:
    """Read a sample: csv, csv.gz or parquet, told by the name.

    Raises:
        SampleError: The sample is not a whole table with a header and a row.
    """
    name = path.name
    lower = name.lower()
    if not path.is_file():
        raise SampleError(
            name, expected="a file", found=f"none at {path}", advice="Name one with --sample."
        )
    if path.stat().st_size > LARGEST_BYTES:
        raise _too_large(name)
    data = path.read_bytes()
    if lower.endswith(".parquet"):
        return read_parquet(data, name)
    if lower.endswith(".gz"):
        return replace(read_csv(_unpacked(data, name), name[: -len(".gz")]), file_name=name)
    if lower.endswith((".csv", ".tsv", ".txt")):
        return read_csv(data, name)
    raise SampleError(
        name,
        expected="a name that ends with .csv, .tsv, .txt, .csv.gz or .parquet",
        found=repr(path.suffix),
        advice="Rename the sample, or export it as CSV.",
    )


def _too_large(name: str) -> SampleError:
    return SampleError(
        name,
        expected=f"at most {LARGEST_BYTES // 2**20} MiB",
        found="more",
        advice="Give the first 100,000 lines: they say as much.",
    )


def _unpacked(data: bytes, name: str) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as file:
            unpacked = file.read(LARGEST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise SampleError(
            name, expected="a whole gzip file", found=str(error), advice="Fetch it again."
        ) from error
    if len(unpacked) > LARGEST_BYTES:
        raise _too_large(name)
    return unpacked


def read_parquet(data: bytes, name: str) -> Sample:
    """A Parquet file's bytes as a sample, its columns in their own types.

    Raises:
        SampleError: It is not a Parquet file with a row.
    """
    try:
        frame = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise SampleError(
            name,
            expected="a whole Parquet file",
            found=(str(error).splitlines() or [type(error).__name__])[0],
            advice="Fetch it again.",
        ) from error
    if frame.is_empty():
        raise _no_rows(name, frame.columns)
    copy = io.BytesIO()
    frame.head(COPIED_ROWS).write_parquet(copy)
    return Sample(
        name,
        "parquet",
        frame.columns,
        frame.rename({column: str(i) for i, column in enumerate(frame.columns)}),
        copy.getvalue(),
        min(frame.height, COPIED_ROWS),
    )


def read_csv(data: bytes, name: str) -> Sample:
    """A CSV file's bytes as a sample, its values as text.

    Raises:
        SampleError: It is not a whole table with a header and a row.
    """
    if not data:
        raise SampleError(
            name, expected="a header and rows", found="no byte", advice="Fetch it again."
        )
    text, encoding, mark = decode(data, name)
    lines = list(io.StringIO(text, newline=""))
    delimiter = find_delimiter(lines, name)
    records, ends = _records(lines, delimiter, name)
    headers, rows = records[0], records[1:]
    _require_names(name, headers)
    if not rows:
        raise _no_rows(name, headers)
    for record, line in zip(records, [1, *(end + 1 for end in ends[:-1])], strict=True):
        if len(record) != len(headers):
            raise SampleError(
                f"{name}, line {line}",
                expected=f"{len(headers)} values parted by {delimiter!r}, as in the header",
                found=f"{len(record)}",
                advice="Remove titles above the header and totals below the rows, and quote values "
                "that hold the delimiter; the files to come need the same.",
            )
    frame = pl.DataFrame(
        [
            pl.Series(str(i), [value or None for value in values], dtype=pl.String)
            for i, values in enumerate(zip(*rows, strict=True))
        ]
    )
    copied = min(len(rows), COPIED_ROWS)
    head = "".join(lines[: ends[copied]])
    sample = Sample(
        name, "csv", headers, frame, mark + head.encode(encoding), copied, encoding,
        delimiter,
    )  # fmt: skip
    if encoding in _SINGLE_BYTE:
        sample.notes.append(
            f"the text is not UTF-8 and was read as {encoding}: look whether accents and symbols "
            "are right, as any byte has a meaning there"
        )
    return sample


def _require_names(name: str, headers: list[str]) -> None:
    """Columns are found by their names, so each must have one of its own."""
    faults = [f"{header!r} twice" for header, n in Counter(headers).items() if header and n > 1]
    faults += [f"none over column {n}" for n, header in enumerate(headers, 1) if not header]
    if faults:
        raise SampleError(
            name,
            expected="a header with a name of its own for each column",
            found=", ".join(faults),
            advice="Ask the sender for names that differ, and correct the sample likewise.",
        )


def _no_rows(name: str, headers: list[str]) -> SampleError:
    return SampleError(
        name,
        expected="at least one row",
        found=f"only the header {', '.join(headers)[:80]}",
        advice="Give a sample with rows: types cannot be told from names.",
    )


def decode(data: bytes, name: str) -> tuple[str, str, bytes]:
    """The text, its encoding, and the byte order mark in front of it.

    UTF-8 unless a mark or a byte says otherwise; then Windows' Western code page, or Latin-1 where
    a byte has no meaning in that.

    Raises:
        SampleError: It is no text.
    """
    encodings = ["utf-8", *_SINGLE_BYTE]
    mark = b""
    for found, name_of in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(found):
            encodings, mark = [name_of], found
            break
    for encoding in encodings:
        try:
            text = data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" in text:
            break
        return text, encoding, b"" if encoding == "utf-16" else mark
    raise SampleError(
        name,
        expected="text in UTF-8, UTF-16 with a byte order mark, or a Western code page",
        found="NUL characters or half characters",
        advice="Save it as UTF-8. If it is a spreadsheet or packed, export it as CSV first.",
    )


def find_delimiter(lines: list[str], name: str) -> str:
    """The delimiter that parts every line of the beginning into as many values as the header.

    Where several do, the one that gives the most; where none does, a file of one column, if no
    delimiter stands in its header.

    Raises:
        SampleError: The header has delimiters, but the lines do not follow it.
    """
    fields: dict[str, int] = {}
    ragged: dict[str, int] = {}
    for delimiter in DELIMITERS:
        counts = []
        try:
            for record in csv.reader(lines, delimiter=delimiter, strict=True):
                counts += [len(record)] if record else []
                if len(counts) > 2000:
                    break
        except csv.Error:
            continue
        if not counts:
            raise SampleError(
                name, expected="a header and rows", found="blank lines", advice="Fetch it again."
            )
        if counts[0] > 1:
            (fields if len(set(counts)) == 1 else ragged)[delimiter] = counts[0]
    if fields:
        return max(fields, key=lambda delimiter: fields[delimiter])
    if ragged:
        # The header's own delimiter; reading on names the line that does not follow it.
        return max(ragged, key=lambda delimiter: ragged[delimiter])
    return ","


def _records(lines: list[str], delimiter: str, name: str) -> tuple[list[list[str]], list[int]]:
    """The records that are not blank, and the physical line on which each ends."""
    records: list[list[str]] = []
    ends: list[int] = []
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for record in reader:
            if record:
                records.append(record)
                ends.append(reader.line_num)
    except csv.Error as error:
        raise SampleError(
            f"{name}, line {reader.line_num}",
            expected="values quoted as RFC 4180 has it, a quote inside doubled",
            found=str(error),
            advice="A quote may be unpaired before this line; correct it.",
        ) from error
    return records, ends
