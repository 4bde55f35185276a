"""Records of a CSV file as rows of text, each with its line and with itself as it was written.

A record with more or fewer values than the header is a row of its own, without values and with the
rule `shape`, so that it does not hold back the others. Where it cannot be told where records begin
and end, the file as a whole is in error. Bytes and encodings do not belong here (`content`), nor
does what a value means (`text_values`).
"""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import dataframely as dy
import polars as pl

from analytics_platform.contracts.content import ASK_SENDER, TextLines, guess
from analytics_platform.contracts.definition import (
    SHAPE_RULE,
    SOURCE_FAULT,
    SOURCE_LINE,
    SOURCE_TEXT,
    file_headers,
)
from analytics_platform.contracts.errors import (
    DataError,
    EmptyFileError,
    UnreadableFileError,
)
from analytics_platform.contracts.format import FileFormat
from analytics_platform.contracts.headers import column_faults, match_columns

_OTHER_DELIMITERS = ",;\t|:"


def read_csv(
    blocks: Iterator[bytes], contract: type[dy.Schema], file_format: FileFormat, file: str
) -> pl.DataFrame:
    """The rows of a CSV file, all values as text; see `read_file`."""
    lines = TextLines(blocks, file_format, file)
    return _CsvReading(lines, contract, file_format, file).frame()


def read_csv_records(
    blocks: Iterator[bytes],
    contract: type[dy.Schema],
    file_format: FileFormat,
    file: str,
    records: Sequence[tuple[int, str]],
) -> pl.DataFrame:
    """Some records of a CSV file as rows, all values as text; see `read_records`.

    Args:
        blocks: The file's bytes; they are read as far as its header goes.
        contract: The source's contract.
        file_format: How the file is written.
        file: The file, as the ledger names it.
        records: The line and the text of each record.
    """
    lines = TextLines(blocks, file_format, file)
    return _CsvReading(lines, contract, file_format, file).records(records)


class _CsvReading:
    """One pass over one file."""

    def __init__(
        self, lines: TextLines, contract: type[dy.Schema], file_format: FileFormat, file: str
    ) -> None:
        self._source = lines
        self._contract = contract
        self._format = file_format
        self._file = file
        self._places: dict[str, int] = {}
        self._width = 0
        # Lines from `_first_kept` on: of the records that are in no frame yet.
        self._kept: list[str] = []
        self._first_kept = 1
        self._has_new_block = False

    def frame(self) -> pl.DataFrame:
        """All rows of the file."""
        # The csv module and not Polars: Polars fills short rows with nulls in silence and knows no
        # line numbers. It costs about 1.5 s per million values, once per delivered file.
        reader = csv.reader(
            chain.from_iterable(self._blocks()), strict=True, **_dialect(self._format)
        )
        frames: list[pl.DataFrame] = []
        records: list[list[str]] = []
        starts: list[int] = []
        ends: list[int] = []
        ragged: list[int] = []
        first_ragged: DataError | None = None
        rows = 0
        line = 1
        try:
            line = self._read_header(reader)
            width = self._width
            self._has_new_block = False
            for record in reader:
                end = reader.line_num
                if record:
                    if len(record) != width:
                        first_ragged = self._shape_error(record, line, end, first_ragged)
                        ragged.append(len(records))
                        record = [""] * width
                    records.append(record)
                    starts.append(line)
                    ends.append(end)
                line = end + 1
                if self._has_new_block:
                    # Lists of Python strings take some twenty times what Polars needs for them.
                    rows += len(records) - len(ragged)
                    frames.append(self._chunk(records, starts, ends, ragged))
                    records, starts, ends, ragged = [], [], [], []
                    del self._kept[: line - self._first_kept]
                    self._first_kept = line
                    self._has_new_block = False
        except csv.Error as error:
            raise self._quoting_error(error, line) from error
        rows += len(records) - len(ragged)
        if first_ragged is not None and not rows:
            # Not one bad row among others: the file is no table, or the header is not its own.
            raise first_ragged
        frames.append(self._chunk(records, starts, ends, ragged))
        return pl.concat(frames, rechunk=True)

    def records(self, kept: Sequence[tuple[int, str]]) -> pl.DataFrame:
        """Rows of records that were told apart before; of the file, only the header is read."""
        reader = csv.reader(
            chain.from_iterable(self._blocks()), strict=True, **_dialect(self._format)
        )
        try:
            self._read_header(reader)
        except csv.Error as error:
            raise self._quoting_error(error, 1) from error
        records: list[list[str]] = []
        ragged: list[int] = []
        for place, (_, text) in enumerate(kept):
            record = _one_record(text, self._format)
            if len(record) != self._width:
                ragged.append(place)
                record = [""] * self._width
            records.append(record)
        return self._rows(records, [line for line, _ in kept], [text for _, text in kept], ragged)

    def _quoting_error(self, error: csv.Error, line: int) -> DataError:
        is_long = "field limit" in str(error)
        return UnreadableFileError(
            "a value is longer than may be" if is_long else "the quoting does not hold",
            file=self._file,
            line=line,
            expected=f"values of at most {csv.field_size_limit()} characters"
            if is_long
            else "values quoted as RFC 4180 has it",
            found=str(error),
            advice=f"A quote may be unpaired from this line on. {ASK_SENDER}",
        )

    def _blocks(self) -> Iterator[list[str]]:
        for block in self._source:
            self._kept.extend(block)
            self._has_new_block = True
            yield block

    def _read_header(self, reader: Any) -> int:
        """Settle which column is which; the line after the header."""
        line = 1
        for record in reader:
            if record:
                text = self._text(line, reader.line_num)
                hint = guess(self._source.head) + self._delimiter_hint(text)
                self._places = match_columns(
                    record, self._contract, self._format, self._file, hint=hint
                )
                self._width = len(record)
                return reader.line_num + 1
            line = reader.line_num + 1
        raise EmptyFileError(
            "it has no header",
            file=self._file,
            expected=f"a header with {', '.join(file_headers(self._contract).values())}",
            found="blank lines only",
            advice=ASK_SENDER,
        )

    def _delimiter_hint(self, header: str) -> str:
        for delimiter in _OTHER_DELIMITERS:
            if delimiter in (self._format.delimiter, self._format.quote):
                continue
            dialect = {**_dialect(self._format), "delimiter": delimiter}
            try:
                names = next(csv.reader([header], **dialect), [])
            except csv.Error:
                continue
            if len(names) > 1 and not column_faults(names, self._contract, self._format):
                return (
                    f"Is the delimiter {delimiter!r}? The header would fit; if so, declare it in "
                    "the source's format. "
                )
        return ""

    def _shape_error(
        self, record: list[str], line: int, end: int, first: DataError | None
    ) -> DataError:
        """What is wrong with the first record of another width, to raise if no record is right.

        Args:
            record: A record of another width than the header.
            line: Its first line.
            end: Its last line.
            first: What was wrong with the first such record; None if this is it.

        Raises:
            UnreadableFileError: The record goes over several lines, so that an unpaired quote may
                have swallowed rows; or the file ends within it.
        """

        def error(problem: str, advice: str) -> DataError:
            return UnreadableFileError(
                problem,
                file=self._file,
                line=line,
                expected=f"{self._width} values ({', '.join(list(self._places)[:50])})",
                found=f"{len(record)}: {_excerpt(self._text(line, end))}",
                advice=f"{advice} {ASK_SENDER}",
            )

        problem = "a row has another number of values than the header"
        if end > line:
            raise error(
                f"{problem}, and goes over {end - line + 1} lines",
                "A quote may be unpaired from this line on.",
            )
        is_last = self._kept[end - self._first_kept][-1] not in "\r\n"
        if is_last and len(record) < self._width:
            raise error(
                "the last row has too few values and no line end", "The file may be cut off."
            )
        return first or error(
            f"no row has as many values as the header; at first, {problem}",
            "The header may be another file's, or a delimiter not quoted.",
        )

    def _text(self, start: int, end: int) -> str:
        lines = self._kept[start - self._first_kept : end + 1 - self._first_kept]
        return "".join(lines).removesuffix("\n").removesuffix("\r")

    def _chunk(
        self, records: list[list[str]], starts: list[int], ends: list[int], ragged: list[int]
    ) -> pl.DataFrame:
        """The records that are in no frame yet as rows, in the order of the file."""
        first = self._first_kept
        if starts and ends[-1] - starts[0] + 1 == len(starts):
            texts = self._kept[starts[0] - first : ends[-1] + 1 - first]
        else:
            texts = [
                self._kept[start - first]
                if start == end
                else "".join(self._kept[start - first : end + 1 - first])
                for start, end in zip(starts, ends, strict=True)
            ]
        return self._rows(records, starts, texts, ragged).with_columns(
            pl.col(SOURCE_TEXT).str.strip_suffix("\n").str.strip_suffix("\r")
        )

    def _rows(
        self, records: list[list[str]], starts: list[int], texts: list[str], ragged: list[int]
    ) -> pl.DataFrame:
        """Records as rows, with their lines and texts; those that are ragged have the fault."""
        columns = list(zip(*records, strict=True)) if records else [()] * self._width
        faults: list[str | None] = list(repeat(None, len(records)))
        for place in ragged:
            faults[place] = SHAPE_RULE
        values = [
            pl.Series(name, columns[place], dtype=pl.String) for name, place in self._places.items()
        ]
        return pl.DataFrame(
            [
                *values,
                pl.Series(SOURCE_LINE, starts, dtype=pl.Int64),
                pl.Series(SOURCE_TEXT, texts, dtype=pl.String),
                pl.Series(SOURCE_FAULT, faults, dtype=pl.String),
            ]
        ).with_columns(pl.when(pl.col(name) != "").then(pl.col(name)) for name in self._places)


def _one_record(text: str, file_format: FileFormat) -> list[str]:
    """The values of a record that stands by itself; none where it is not exactly one."""
    # Not in one pass with its neighbours: an unpaired quote would swallow them.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, **_dialect(file_format))
    try:
        records = [record for record in reader if record]
    except csv.Error:
        return []
    return records[0] if len(records) == 1 else []


def _dialect(file_format: FileFormat) -> dict[str, Any]:
    if not file_format.quote:
        return {"delimiter": file_format.delimiter, "quoting": csv.QUOTE_NONE, "quotechar": None}
    return {"delimiter": file_format.delimiter, "quotechar": file_format.quote}


def _excerpt(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}…"
