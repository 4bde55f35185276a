"""Files nobody thought of: reading one fails in words or accounts for every record of it.

The judge is a second parser, written here character by character from RFC 4180. A mutation that
leaves a file readable must leave it with the records, lines and texts that parser finds.
"""

import csv
import gzip
import io
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import dataframely as dy
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st

from analytics_platform.contracts import ContractError, FileFormat, apply_contract, read_file
from tests.unit.contracts.files import parquet


class Parcel(dy.Schema):
    day = dy.Date(primary_key=True, description="Day.")
    at = dy.Datetime(nullable=True, description="At.")
    name = dy.String(nullable=True, description="Name.")
    grams = dy.Int16(nullable=True, min=0, description="Grams.")
    price = dy.Float64(nullable=True, description="Price.")
    sent = dy.Bool(nullable=True, description="Sent.")


class Texts(dy.Schema):
    a = dy.String(nullable=True, description="A.")
    b = dy.String(nullable=True, description="B.")
    c = dy.String(nullable=True, description="C.")


VALID = (
    b"day,at,name,grams,price,sent\n"
    b'2013-01-01,2013-01-01T05:15:00,"Ada, ""Countess""",250,1.5,true\r\n'
    b'2013-01-02,,"two\nlines",7,.5,0\n'
    b"\n"
    b"2013-01-03,2013-01-03 00:00:00.25,K\xc3\xb6ln,,1e3,\n"
)
FRAME = pl.DataFrame({"n": [1, 2, 3], "s": ["a", None, "c"]}, {"n": pl.Int32, "s": pl.String})


class Pair(dy.Schema):
    n = dy.Int32(nullable=True, description="N.")
    s = dy.String(nullable=True, description="S.")


# -- the second parser --------------------------------------------------------------------------


class Record(NamedTuple):
    line: int
    text: str
    values: list[str]


def parse(text: str, delimiter: str = ",", quote: str = '"') -> list[Record]:
    """The records of a text, the header among them; ValueError where its quotes do not pair."""
    records = []
    position, line = 0, 1
    while position < len(text):
        start, values, value = position, [], ""
        quoted = False
        at_start = True
        while position < len(text):
            character = text[position]
            if quoted:
                if character != quote:
                    value += character
                elif text[position + 1 : position + 2] == quote:
                    value += quote
                    position += 1
                else:
                    quoted = False
                    if text[position + 1 : position + 2] not in ("", delimiter, "\r", "\n"):
                        raise ValueError("text after a quoted value")
            elif character == delimiter:
                values.append(value)
                value, at_start = "", True
                position += 1
                continue
            elif character in "\r\n":
                break
            elif quote and character == quote and at_start:
                quoted = True
            else:
                value += character
            at_start = False
            position += 1
        if quoted:
            raise ValueError("a quote is not closed")
        record = text[start:position]
        if record:
            records.append(Record(line, record, [*values, value]))
        position += 2 if text[position : position + 2] == "\r\n" else 1
        line += 1 + len(re.findall(r"\r\n|\r|\n", record))
    return records


def test_the_second_parser_knows_its_trade() -> None:
    assert [record[::2] for record in parse(VALID.decode())[1:]] == [
        (2, ["2013-01-01", "2013-01-01T05:15:00", 'Ada, "Countess"', "250", "1.5", "true"]),
        (3, ["2013-01-02", "", "two\nlines", "7", ".5", "0"]),
        (6, ["2013-01-03", "2013-01-03 00:00:00.25", "Köln", "", "1e3", ""]),
    ]
    for text in ('"a', '"a"b', '"a" '):
        with pytest.raises(ValueError, match="quote"):
            parse(text)


# -- any bytes ----------------------------------------------------------------------------------

NUISANCES = [b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe"]
NUISANCES += [b";", b"\x1f\x8b", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0c", b"\x1a", b" ", b"\\", b"'"]
NUISANCES += [b"NaN", b"inf", b"1e400", b"0000-01-01", b"9999-12-31", b"-", b"99999", b"x" * 300]


@st.composite
def mutated(draw: st.DrawFn, valid: bytes) -> bytes:
    """A valid file with some of it removed, doubled, replaced or put in."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["cut", "put", "remove", "double", "replace", "flip"])):
            case "cut":
                del data[start:]
            case "put":
                data[start:start] = draw(st.sampled_from(NUISANCES))
            case "remove":
                del data[start:end]
            case "double":
                data[start:start] = data[start:end]
            case "replace":
                data[start:end] = draw(st.binary(max_size=8))
            case "flip" if start < len(data):
                data[start] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


def reads_or_says(folder: Path, data: bytes, file_format: FileFormat) -> None:
    """Any bytes: an error in words, or rows that are those of the second parser."""
    contract = Parcel if file_format.kind == "csv" else Pair
    path = folder / f"any.{file_format.kind}"
    path.write_bytes(data)
    try:
        frame = read_file(path, contract, file_format, allow_no_rows=True)
    except ContractError as error:
        assert str(error)  # noqa: PT017
        return
    result = apply_contract(frame, contract, file_format=file_format)
    assert result.good.height + result.bad.height == frame.height
    assert len(result.good.rows()) + len(result.bad.rows()) == frame.height
    if file_format.kind == "parquet":
        return
    header, *records = parse(data.decode("utf-8-sig"))
    assert frame["_source_line"].to_list() == [record.line for record in records]
    assert frame["_source_text"].to_list() == [record.text for record in records]
    width = len(header.values)
    assert frame["_source_fault"].is_not_null().to_list() == [
        len(record.values) != width for record in records
    ]
    for row, record in zip(frame.iter_rows(named=True), records, strict=True):
        if len(record.values) == width:
            assert {name: row[name] for name in header.values} == {
                name: value or None
                for name, value in zip(header.values, record.values, strict=True)
            }


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


CSV, PARQUET = FileFormat("csv"), FileFormat("parquet")
GZIP = FileFormat("csv", compression="gzip")
any_bytes = st.one_of(
    st.tuples(mutated(VALID), st.just(CSV)),
    st.tuples(st.binary(max_size=200), st.sampled_from([CSV, PARQUET, GZIP])),
    st.tuples(
        st.binary(max_size=200).map(lambda data: VALID.split(b"\n", 1)[0] + b"\n" + data),
        st.just(CSV),
    ),
)
any_packed_bytes = st.one_of(
    st.tuples(mutated(parquet(FRAME)), st.just(PARQUET)),
)


def short(check: Callable[..., None], examples: int) -> Callable[..., None]:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )(check)


def test_any_bytes_are_read_or_refused_in_words(tmp_path: Path) -> None:
    @given(any_bytes)
    def check(case: tuple[bytes, FileFormat]) -> None:
        reads_or_says(tmp_path, *case)

    short(check, 200)()


def test_broken_parquet_is_read_or_refused_in_words(tmp_path: Path) -> None:
    @given(any_packed_bytes)
    def check(case: tuple[bytes, FileFormat]) -> None:
        reads_or_says(tmp_path, *case)

    short(check, 100)()


def test_broken_gzip_is_refused(tmp_path: Path) -> None:
    """The checksum finds every change of what it covers; nothing else may change the rows."""
    whole = tmp_path / "whole.csv"
    whole.write_bytes(VALID)
    expected = read_file(whole, Parcel, CSV, source_file="f")

    @given(mutated(packed(VALID)))
    def check(data: bytes) -> None:
        path = tmp_path / "any.csv.gz"
        path.write_bytes(data)
        try:
            frame = read_file(path, Parcel, CSV, source_file="f")
        except ContractError:
            return
        assert frame.equals(expected)

    short(check, 100)()


# -- round trip ---------------------------------------------------------------------------------

values = st.text(
    st.one_of(
        st.sampled_from(list("\",;|'\t\r\n \\xü\u2028\x0c\x85")),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    max_size=8,
)


@st.composite
def written(draw: st.DrawFn) -> tuple[list[tuple[str, ...]], bytes, FileFormat]:
    """Rows, and a file of them as the csv module writes it, in some dialect."""
    rows = draw(st.lists(st.tuples(values, values, values), min_size=1, max_size=12))
    delimiter = draw(st.sampled_from(",;|\t: ~é"))
    quote = draw(st.sampled_from("\"'`^"))
    encoding = draw(st.sampled_from(["utf-8", "utf-16", "utf-16-be", "cp1252", "latin-1"]))
    text = io.StringIO(newline="")
    # Before Python 3.13 the module leaves a line end bare that is not the file's own.
    has_breaks = any(end in value for row in rows for value in row for end in "\r\n")
    quoting = [csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC, *[csv.QUOTE_MINIMAL] * (not has_breaks)]
    writer = csv.writer(
        text,
        delimiter=delimiter,
        quotechar=quote,
        lineterminator=draw(st.sampled_from(["\n", "\r\n", "\r"])),
        quoting=draw(st.sampled_from(quoting)),
    )
    writer.writerows([Texts.column_names(), *rows])
    if encoding in ("cp1252", "latin-1"):
        # What the encoding does not know is left out of the rows as well.
        def known(value: str) -> str:
            return value.encode(encoding, "ignore").decode(encoding)

        rows = [tuple(map(known, row)) for row in rows]
        data = text.getvalue().encode(encoding, "ignore")
    else:
        data = text.getvalue().encode(encoding)
    return rows, data, FileFormat("csv", delimiter=delimiter, quote=quote, encoding=encoding)


def reads_back(folder: Path, case: tuple[list[tuple[str, ...]], bytes, FileFormat]) -> None:
    rows, data, file_format = case
    path = folder / "written.csv"
    path.write_bytes(data)

    frame = read_file(path, Texts, file_format)

    assert frame.select("a", "b", "c").rows() == [tuple(v or None for v in row) for row in rows]
    codec = file_format.codec
    text = data.decode(codec if codec != "utf-8" else "utf-8-sig")
    records = parse(text, file_format.delimiter, file_format.quote)[1:]
    assert frame.select("_source_line", "_source_text").rows() == [record[:2] for record in records]


def test_what_the_csv_module_writes_is_read_back(tmp_path: Path) -> None:
    @given(written())
    @example(([("", "", "")], b"a,b,c\n,,\n", CSV))
    @example(([("\ufeff", "", "")], "a,b,c\n\ufeff,,\n".encode(), CSV))
    def check(case: tuple[list[tuple[str, ...]], bytes, FileFormat]) -> None:
        reads_back(tmp_path, case)

    short(check, 150)()


@pytest.mark.parametrize("block", [1, 2, 3, 5, 17])
def test_where_blocks_end_does_not_matter(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics_platform.contracts.content._BLOCK_BYTES", block)

    @given(any_bytes)
    def check(case: tuple[bytes, FileFormat]) -> None:
        reads_or_says(tmp_path, *case)

    @given(written())
    def check_written(case: tuple[list[tuple[str, ...]], bytes, FileFormat]) -> None:
        reads_back(tmp_path, case)

    short(check, 25)()
    short(check_written, 25)()


@pytest.mark.load
def test_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for `AP_FUZZ_MINUTES`, an hour by default, with new examples throughout."""
    end = time.monotonic() + 60 * float(os.environ.get("AP_FUZZ_MINUTES", "60"))
    rounds = int(time.time())
    while time.monotonic() < end:
        rounds += 1
        block = [1, 3, 16, 1 << 22][rounds % 4]
        monkeypatch.setattr("analytics_platform.contracts.content._BLOCK_BYTES", block)

        @seed(rounds)
        @given(st.one_of(any_bytes, any_packed_bytes))
        def check(case: tuple[bytes, FileFormat]) -> None:
            reads_or_says(tmp_path, *case)

        @seed(rounds)
        @given(written())
        def check_written(case: tuple[list[tuple[str, ...]], bytes, FileFormat]) -> None:
            reads_back(tmp_path, case)

        short(check, 500)()
        short(check_written, 200)()
