"""What senders get wrong: every kind of bad file is told for what it is, and costs little."""

import csv
import gzip
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import dataframely as dy
import polars as pl
import pytest

from analytics_platform.contracts import (
    ColumnTypeError,
    ContractResult,
    DataError,
    EmptyFileError,
    FileFormat,
    FileShapeError,
    UnreadableFileError,
    apply_contract,
    check_contract,
    read_file,
)
from tests.unit.contracts.files import parquet, put

MIB = 1024**2


class Sale(dy.Schema):
    day = dy.Date(description="Day.")
    shop = dy.String(nullable=True, description="Shop.")
    pieces = dy.Int32(description="Pieces.")
    amount = dy.Float64(nullable=True, description="Amount.")


HEADER = b"day,shop,pieces,amount\n"
ROW = b"2013-01-01,Ulm,2,1.5\n"
CSV = FileFormat("csv")


def applied(
    folder: Path, data: bytes, file_format: FileFormat = CSV, contract: type[dy.Schema] = Sale
) -> ContractResult:
    """What becomes of a file; its rows are accounted for."""
    frame = read_file(put(folder, data, f"sales.{file_format.kind}"), contract, file_format)
    result = apply_contract(frame, contract, file_format=file_format)
    assert frame.height == result.good.height + result.bad.height
    return result


def refused(
    folder: Path,
    data: bytes,
    file_format: FileFormat = CSV,
    contract: type[dy.Schema] = Sale,
    name: str = "",
) -> DataError:
    """The error a file is refused with, whole in its message."""
    with pytest.raises(DataError) as raised:
        read_file(put(folder, data, name or f"sales.{file_format.kind}"), contract, file_format)
    message = str(raised.value)
    assert message.startswith(f"Reading {name or 'sales.'}")
    assert "Expected " in message
    assert "; found " in message
    return raised.value


def good_rows(result: ContractResult) -> list[tuple[object, ...]]:
    return result.good.select("day", "shop", "pieces", "amount").rows()


SOLD = (date(2013, 1, 1), "Ulm", 2, 1.5)


# -- ragged and cut -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(b"2013-01-02,Ulm,2", id="too few"),
        pytest.param(b"2013-01-02,Ulm,2,1.5,", id="too many"),
        pytest.param(b"2013-01-02,Ulm, am Rathaus,2,1.5", id="delimiter not quoted"),
        pytest.param(b'"2013-01-02","Ulm, am ""Rathaus""",2', id="quoted"),
        pytest.param(b" ", id="blanks"),
        pytest.param("2013-01-02,Ülm \u2028,2".encode(), id="not ASCII"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_ragged_row_is_one_bad_row(tmp_path: Path, record: bytes, end: bytes) -> None:
    lines = [HEADER[:-1], ROW[:-1], record, b'2013-01-03,"a' + end + b'b",3,3', b"", ROW[:-1]]

    result = applied(tmp_path, end.join([*lines, b""]))

    assert result.bad.rows() == [("sales.csv", 3, ["shape"], None, record.decode())]
    assert result.counts == {"shape": 1}
    assert result.good["_source_line"].to_list() == [2, 4, 7]


def test_a_bad_row_keeps_its_text_as_it_stands_in_the_file(tmp_path: Path) -> None:
    records = [b'2013-01-01, "x",2 ,1.5', b'"2013-01-01","two\r\nlines ""x""",two,"1.50"']

    result = applied(tmp_path, HEADER + ROW + records[0] + b"\n" + records[1] + b"\r\n" + ROW)

    assert result.bad["text"].to_list() == [record.decode() for record in records]
    assert result.bad["_source_line"].to_list() == [3, 4]
    assert result.good["_source_line"].to_list() == [2, 6]


def test_bad_parquet_rows_have_no_text(tmp_path: Path) -> None:
    class Positive(dy.Schema):
        n = dy.Int32(min=1, description="N.")

    sent = pl.DataFrame({"n": [1, 0]}, schema={"n": pl.Int32})
    result = applied(tmp_path, parquet(sent), FileFormat("parquet"), Positive)

    assert result.bad.rows() == [("sales.parquet", 2, ["n|min"], '{"n": 0}', None)]


def test_ragged_rows_in_later_blocks_are_located(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics_platform.contracts.content._BLOCK_BYTES", 7)
    data = HEADER + ROW * 3 + b"x,y\r\n" + '2013-01-01,"Ü\r\n",2,1.5\r\n'.encode() + b"\nz\n" + ROW

    result = applied(tmp_path, data)

    assert result.bad.select("_source_line", "text").rows() == [(5, "x,y"), (9, "z")]
    assert result.good["_source_line"].to_list() == [2, 3, 4, 6, 10]


def test_a_file_of_ragged_rows_only_is_no_table(tmp_path: Path) -> None:
    error = refused(tmp_path, HEADER + b"2013-01-01,Ulm,2\n" * 3)

    assert type(error) is UnreadableFileError
    assert "no row has as many values as the header" in error.problem
    assert (error.line, error.found) == (2, "3: 2013-01-01,Ulm,2")


@pytest.mark.parametrize("cut", [1, 5, 12, 15])
def test_a_csv_file_cut_within_its_last_row_is_refused(tmp_path: Path, cut: int) -> None:
    error = refused(tmp_path, HEADER + ROW * 2 + ROW[:cut])

    assert type(error) is UnreadableFileError
    assert error.line == 4
    assert "cut off" in error.advice


def test_a_last_line_without_line_end_is_whole(tmp_path: Path) -> None:
    assert good_rows(applied(tmp_path, HEADER + ROW + ROW[:-1])) == [SOLD] * 2


@pytest.mark.parametrize(
    "spoiled",
    [
        pytest.param(b'2013-01-01,"Ulm,2,1.5\n' + ROW * 3, id="to the end"),
        pytest.param(b'2013-01-01,"Ulm,2,1.5\n' + ROW + b'2013-01-01,"Bonn",2,1\n', id="to a next"),
        pytest.param(b'2013-01-01,"Ulm,2,1.5\n' + ROW + b'2013-01-01,x",2,1,1\n', id="shifted"),
        pytest.param(b'2013-01-01,"U"lm,2,1.5\n', id="text after it"),
        pytest.param(b'2013-01-01,"Ulm,2,1.5\n' + ROW * 10_000, id="far away"),
    ],
)
def test_an_unclosed_quote_is_refused_at_its_line(tmp_path: Path, spoiled: bytes) -> None:
    error = refused(tmp_path, HEADER + ROW + spoiled)

    assert type(error) is UnreadableFileError
    assert error.line == 3
    assert "quote may be unpaired" in error.advice


# -- the header ---------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ":"])
def test_a_wrong_delimiter_is_told(tmp_path: Path, delimiter: str) -> None:
    error = refused(tmp_path, (HEADER + ROW).replace(b",", delimiter.encode()))

    assert type(error) is FileShapeError
    assert f"Is the delimiter {delimiter!r}?" in error.advice
    declared = FileFormat("csv", delimiter=delimiter)
    data = (HEADER + ROW).replace(b",", delimiter.encode())
    assert good_rows(applied(tmp_path, data, declared)) == [SOLD]


def test_a_comma_where_another_delimiter_is_declared_is_told(tmp_path: Path) -> None:
    assert "','" in refused(tmp_path, HEADER + ROW, FileFormat("csv", delimiter=";")).advice


def test_a_header_named_twice_is_refused_though_unknown_ones_are_ignored(tmp_path: Path) -> None:
    data = b"day,shop,pieces,amount,shop\n2013-01-01,Ulm,2,1.5,Bonn\n"
    lenient = FileFormat("csv", unknown_columns="ignore")

    assert "named twice shop" in refused(tmp_path, data).problem
    assert "named twice shop" in refused(tmp_path, data, lenient).problem
    twice_unknown = data.replace(b"amount,shop", b"amount,x,x").replace(b"Bonn", b"1,2")
    assert good_rows(applied(tmp_path, twice_unknown, lenient)) == [SOLD]


def test_two_parquet_columns_of_one_name_that_are_ignored_are_no_fault(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    class Counted(dy.Schema):
        pieces = dy.Int64(description="Pieces.")

    arrays = [pa.array([1, 2]), pa.array(["a", "b"]), pa.array(["c", "d"])]
    table = pa.Table.from_arrays(arrays, names=["pieces", "note", "note"])
    pq.write_table(table, tmp_path / "notes.parquet")
    lenient = FileFormat("parquet", unknown_columns="ignore")

    frame = read_file(tmp_path / "notes.parquet", Counted, lenient)

    assert frame["pieces"].to_list() == [1, 2]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_columns_in_another_order_are_matched_by_name(tmp_path: Path, kind: str) -> None:
    file_format = FileFormat(kind)  # type: ignore[arg-type]
    data = b"amount,pieces,shop,day\n1.5,2,Ulm,2013-01-01\n"
    if kind == "parquet":
        data = parquet(
            Sale.validate(pl.DataFrame([SOLD], Sale.create_empty().schema, orient="row")).select(
                "amount", "pieces", "shop", "day"
            )
        )

    assert good_rows(applied(tmp_path, data, file_format)) == [SOLD]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_unknown_columns_may_be_ignored_and_missing_ones_null(tmp_path: Path, kind: str) -> None:
    sent = pl.DataFrame([SOLD], Sale.create_empty().schema, orient="row")
    sent = sent.drop("shop").with_columns(more=1)
    data = parquet(sent) if kind == "parquet" else sent.write_csv().encode()

    def told(**choices: str) -> str:
        return refused(tmp_path, data, FileFormat(kind, **choices)).problem  # type: ignore[arg-type]

    assert told().endswith("missing shop; unknown 'more'")
    assert told(missing_columns="null").endswith("unknown 'more'")
    assert "missing shop" in told(unknown_columns="ignore")
    lenient = FileFormat(kind, unknown_columns="ignore", missing_columns="null")  # type: ignore[arg-type]
    assert good_rows(applied(tmp_path, data, lenient)) == [(SOLD[0], None, 2, 1.5)]
    for name in ("day", "pieces"):
        without = sent.drop(name)
        data = parquet(without) if kind == "parquet" else without.write_csv().encode()
        assert (
            refused(tmp_path, data, lenient)
            .problem.split("; unknown")[0]
            .endswith(f"missing {name}")
        )


def test_a_file_of_something_else_is_no_file_of_nulls(tmp_path: Path) -> None:
    class Nothing(dy.Schema):
        a = dy.String(nullable=True, description="A.")

    lenient = FileFormat("csv", unknown_columns="ignore", missing_columns="null")

    assert "missing a" in refused(tmp_path, b"x,y\n1,2\n", lenient, Nothing).problem


def test_a_column_is_found_by_the_header_it_has_in_the_file(tmp_path: Path) -> None:
    class Spelled(dy.Schema):
        day = dy.Date(metadata={"header": "Tag", "format": "%d.%m.%Y"}, description="Day.")
        sent = dy.Date(metadata={"header": "day"}, nullable=True, description="Sent.")
        at = dy.Datetime(metadata={"format": "%-d/%-m/%Y %I:%M %p"}, description="At.")

    data = b"at,day,Tag\n3/11/2013 04:05 PM,2013-11-04,03.11.2013\n03/11/2013 4:05 PM,,3.11.2013\n"
    result = applied(tmp_path, data, contract=Spelled)

    assert result.good.rows()[0][:3] == (
        date(2013, 11, 3),
        date(2013, 11, 4),
        datetime(2013, 11, 3, 16, 5),  # noqa: DTZ001
    )
    assert result.bad["rules"].to_list() == [["at|type", "day|type"]]
    assert "missing Tag" in refused(tmp_path, b"at,day\n", contract=Spelled).problem


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "no bytes", id="zero bytes"),
        pytest.param(gzip.compress(b""), "no bytes", id="zero bytes in gzip"),
        pytest.param(b"\xef\xbb\xbf", "no header", id="mark only"),
        pytest.param(HEADER, "no rows", id="header only"),
        pytest.param(HEADER[:-1], "no rows", id="header without line end"),
        pytest.param(b"\r\n\r\n", "no header", id="line ends only"),
    ],
)
def test_a_file_without_rows_is_empty(tmp_path: Path, data: bytes, said: str) -> None:
    name = "sales.csv.gz" if data.startswith(b"\x1f") else "sales.csv"

    error = refused(tmp_path, data, name=name)

    assert type(error) is EmptyFileError
    assert said in error.problem


def test_a_thousand_columns_are_read_and_a_missing_one_is_found(tmp_path: Path) -> None:
    from types import new_class

    names = [f"c{n}" for n in range(1_000)]
    members = {name: dy.Int32(description="N.") for name in names}
    wide = new_class("Wide", (dy.Schema,), exec_body=lambda body: body.update(members))
    frame = pl.DataFrame({name: [n, n + 1] for n, name in enumerate(names)}).cast(pl.Int32)

    for kind, data in (("csv", frame.write_csv().encode()), ("parquet", parquet(frame))):
        file_format = FileFormat(kind)  # type: ignore[arg-type]
        assert applied(tmp_path, data, file_format, wide).good.select(names).equals(frame)
    error = refused(tmp_path, frame.drop("c500").write_csv().encode(), contract=wide)
    assert "missing c500" in error.problem
    assert "and 950 more" in error.expected


# -- encodings and line ends --------------------------------------------------------------------

UMLAUT = "day,shop,pieces,amount\n2013-01-01,Köln,2,1.5\n"


@pytest.mark.parametrize(
    ("declared", "data"),
    [
        ("utf-8", UMLAUT.encode()),
        ("utf-8", UMLAUT.encode("utf-8-sig")),
        ("utf-16", UMLAUT.encode("utf-16")),
        ("utf-16", b"\xfe\xff" + UMLAUT.encode("utf-16-be")),
        ("utf-16-le", UMLAUT.encode("utf-16-le")),
        ("utf-16-le", UMLAUT.encode("utf-16")),
        ("utf-16-be", UMLAUT.encode("utf-16-be")),
        ("latin-1", UMLAUT.encode("latin-1")),
        ("ISO-8859-15", UMLAUT.encode("latin-1")),
        ("cp1252", UMLAUT.encode("cp1252")),
    ],
)
@pytest.mark.parametrize("block", [3, 1 << 22])
def test_a_declared_encoding_is_read(
    tmp_path: Path, declared: str, data: bytes, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics_platform.contracts.content._BLOCK_BYTES", block)

    result = applied(tmp_path, data, FileFormat("csv", encoding=declared))

    assert good_rows(result) == [(SOLD[0], "Köln", 2, 1.5)]


@pytest.mark.parametrize(
    ("declared", "data", "line", "said"),
    [
        ("utf-8", UMLAUT.encode("utf-16"), 1, "looks like UTF-16, by its byte order mark"),
        ("utf-8", UMLAUT.encode("utf-32"), 1, "looks like UTF-32"),
        ("utf-8", UMLAUT.encode("utf-16-le"), 1, "looks like UTF-16 without"),
        ("utf-8", UMLAUT.encode("latin-1"), 2, "byte 0xf6 at offset 35"),
        ("utf-16", UMLAUT.encode(), 1, "no byte order mark"),
        ("utf-16", UMLAUT.encode("utf-16")[:-1], 2, "truncated data"),
        ("latin-1", UMLAUT.encode("utf-8-sig"), 1, "looks like UTF-8"),
        ("cp1252", UMLAUT.encode("utf-16"), 1, "looks like UTF-16"),
        ("cp1252", UMLAUT.encode("latin-1") + b"\x81", 3, "byte 0x81"),
        ("utf-8", UMLAUT.encode() + b"\xc3", 3, "unexpected end"),
    ],
)
@pytest.mark.parametrize("block", [4, 1 << 22])
def test_another_encoding_is_told(
    tmp_path: Path,
    declared: str,
    data: bytes,
    line: int,
    said: str,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("analytics_platform.contracts.content._BLOCK_BYTES", block)

    error = refused(tmp_path, data, FileFormat("csv", encoding=declared))

    assert type(error) is UnreadableFileError
    assert error.line == line
    assert said in str(error)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("block", [1, 7, 1 << 22])
def test_lines_end_in_any_of_three_ways(
    tmp_path: Path, end: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics_platform.contracts.content._BLOCK_BYTES", block)
    data = (HEADER + ROW + b"\n" + ROW).decode().replace("\n", end).encode()

    result = applied(tmp_path, data)

    assert good_rows(result) == [SOLD] * 2
    assert result.good["_source_line"].to_list() == [2, 4]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(HEADER + ROW + b"2013-01-01,U\0lm,2,1.5\n", id="in a value"),
        pytest.param(HEADER + ROW + b"\0" * 4096, id="tail never written"),
    ],
)
def test_nul_is_refused_at_its_line(tmp_path: Path, data: bytes) -> None:
    error = refused(tmp_path, data)

    assert type(error) is UnreadableFileError
    assert (error.line, error.problem) == (3, "the text holds a NUL character")


# -- sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [16, 1 << 22])
def test_a_line_longer_than_may_be_is_refused(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics_platform.contracts.content._BLOCK_BYTES", block)
    short = FileFormat("csv", max_line_bytes=100)
    fits = b"2013-01-01," + "ü".encode() * 41 + b",2,1.5\n"
    assert len(fits) == 100

    assert applied(tmp_path, HEADER + ROW + fits, short).good.height == 2
    error = refused(tmp_path, HEADER + ROW + fits.replace(b"1.5", b"1.55") + ROW, short)
    assert type(error) is UnreadableFileError
    assert error.line == 3
    assert error.expected == "at most 100 bytes in a line"


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_larger_than_may_be_is_refused(tmp_path: Path, packed: bool) -> None:
    data = HEADER + ROW * 100
    name = "sales.csv.gz" if packed else "sales.csv"
    sent = gzip.compress(data) if packed else data

    exact = read_file(put(tmp_path, sent, name), Sale, FileFormat("csv", max_bytes=len(data)))
    assert exact.height == 100
    error = refused(tmp_path, sent, FileFormat("csv", max_bytes=len(data) - 1), name=name)
    assert type(error) is UnreadableFileError
    assert error.expected == f"at most {len(data) - 1} bytes uncompressed"
    assert str(len(sent)) in error.found


def test_gzip_is_read_by_name_or_as_declared(tmp_path: Path) -> None:
    packed = gzip.compress(HEADER) + gzip.compress(ROW)

    assert read_file(put(tmp_path, packed, "a.CSV.gz"), Sale, "csv").height == 1
    assert read_file(put(tmp_path, packed), Sale, FileFormat("csv", compression="gzip")).height == 1
    plain = FileFormat("csv", compression="none")
    assert read_file(put(tmp_path, HEADER + ROW, "b.gz"), Sale, plain).height == 1
    assert "compressed with gzip" in refused(tmp_path, packed).advice
    # The store keeps it under a name for people, in which little of this one is left.
    kept = put(tmp_path, packed, "gz")
    assert read_file(kept, Sale, "csv", source_file="sales/\u65e5\u672c.gz").height == 1


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(gzip.compress(HEADER + ROW * 99)[:-9], id="cut off"),
        pytest.param(gzip.compress(HEADER + ROW * 99)[:5], id="cut in its head"),
        pytest.param(gzip.compress(HEADER + ROW)[:-8] + b"\0" * 8, id="wrong checksum"),
        pytest.param(gzip.compress(HEADER + ROW) + b"more", id="something after it"),
        pytest.param(HEADER + ROW, id="not packed"),
    ],
)
def test_broken_gzip_is_refused(tmp_path: Path, data: bytes) -> None:
    error = refused(tmp_path, data, name="sales.csv.gz")

    assert type(error) is UnreadableFileError
    assert error.problem == "it is not whole gzip"


_MEASURE = """
import resource, sys
from pathlib import Path
import dataframely as dy
from analytics_platform.contracts import DataError, FileFormat, read_file

class Sale(dy.Schema):
    day = dy.Date(description="Day.")

limits = dict(pair.split("=") for pair in sys.argv[2:])
warm = Path(sys.argv[1]).with_name("warm.csv")
warm.write_text("day\\n2013-01-01\\n")
read_file(warm, Sale, "csv")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_file(Path(sys.argv[1]), Sale, FileFormat("csv", **{k: int(v) for k, v in limits.items()}))
except DataError as error:
    said = error.problem
else:
    said = "read"
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, said)
"""


def grown(path: Path, **limits: int) -> tuple[float, str]:
    """MiB by which reading a file makes a process grow, and what is said of the file."""
    arguments = [f"{name}={value}" for name, value in limits.items()]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=900,
    )
    kib, said = done.stdout.split(maxsplit=1)
    return int(kib) / 1024, said.strip()


def test_a_gzip_bomb_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"day\n")
        for _ in range(128):
            file.write(b"1" * MIB)

    assert path.stat().st_size < 2 * MIB
    mebibytes, said = grown(path, max_bytes=8 * MIB, max_line_bytes=64 * MIB)
    assert said == "it is larger than may be"
    assert mebibytes < 64
    # The longest line stops it as well, long before the size does.
    assert grown(path)[1] == "a line is longer than may be"


@pytest.mark.load
def test_two_gibibytes_without_a_line_end_cost_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "endless.csv"
    with path.open("wb") as file:
        file.write(b"day\n")
        for _ in range(2047):
            file.write(b"1" * MIB)

    mebibytes, said = grown(path)

    assert said == "a line is longer than may be"
    assert mebibytes < 200


# -- values -------------------------------------------------------------------------------------


def value(folder: Path, written: str, column: str, **declared: str) -> object:
    """What a value is read as; None where its type refuses it."""
    row = {"day": "2013-01-01", "shop": "Ulm", "pieces": "2", "amount": "1.5", column: written}
    text = io.StringIO(newline="")
    file_format = FileFormat("csv", **{"delimiter": ";", **declared})  # type: ignore[arg-type]
    if declared.get("decimal") == "," and column != "amount":
        row["amount"] = "1,5"
    if "date_format" in declared and column != "day":
        row["day"] = ""
    csv.writer(text, delimiter=file_format.delimiter).writerows([row.keys(), row.values()])
    result = applied(folder, text.getvalue().encode(), file_format)
    if result.good.height:
        return result.good[column][0]
    assert result.counts == {f"{column}|type": 1}
    return None


GERMAN = {"decimal": ",", "thousands": "."}


@pytest.mark.parametrize(
    ("written", "column", "declared", "read"),
    [
        ("1,000", "pieces", {}, None),
        ("1,000", "pieces", {"thousands": ","}, 1000),
        ("-1,234,567", "pieces", {"thousands": ","}, -1_234_567),
        ("1234567", "pieces", {"thousands": ","}, 1_234_567),
        ("1,00", "pieces", {"thousands": ","}, None),
        ("1234,567", "pieces", {"thousands": ","}, None),
        (",123", "pieces", {"thousands": ","}, None),
        ("9,999,999,999", "pieces", {"thousands": ","}, None),
        ("0,515", "pieces", {"thousands": ","}, None),
        ("-00,515", "pieces", {"thousands": ","}, None),
        ("1 000", "pieces", {"thousands": " "}, 1000),
        ("1\u202f000", "pieces", {"thousands": "\u202f"}, 1000),
        ("1'000", "pieces", {"thousands": "'"}, 1000),
        ("1,5", "amount", {}, None),
        ("1,5", "amount", {"decimal": ","}, 1.5),
        ("1.5", "amount", {"decimal": ","}, None),
        ("1.234,5", "amount", GERMAN, 1234.5),
        ("-1.234.567,25e1", "amount", GERMAN, -12345672.5),
        ("1.5", "amount", GERMAN, None),
        ("0.515", "amount", GERMAN, None),
        ("0001,5", "amount", GERMAN, 1.5),
        ("1,234.5", "amount", GERMAN, None),
        (",5", "amount", GERMAN, 0.5),
        ("NaN", "amount", {}, None),
        ("nan", "amount", {}, None),
        ("inf", "amount", {}, None),
        ("-Infinity", "amount", {}, None),
        ("1e400", "amount", {}, None),
        ("-1e400", "amount", {}, None),
        ("1e308", "amount", {}, 1e308),
        ("1e-400", "amount", {}, 0.0),
        ("0000-01-01", "day", {}, None),
        ("0001-01-01", "day", {}, date(1, 1, 1)),
        ("9999-12-31", "day", {}, date(9999, 12, 31)),
        ("10000-01-01", "day", {}, None),
        ("31.12.2013", "day", {"date_format": "%d.%m.%Y"}, date(2013, 12, 31)),
        ("1.12.2013", "day", {"date_format": "%d.%m.%Y"}, None),
        ("31x12x2013", "day", {"date_format": "%d.%m.%Y"}, None),
        ("2013-12-31", "day", {"date_format": "%d.%m.%Y"}, None),
        ("30.02.2013", "day", {"date_format": "%d.%m.%Y"}, None),
        ("01.01.0000", "day", {"date_format": "%d.%m.%Y"}, None),
        ("20131231", "day", {"date_format": "%Y%m%d"}, date(2013, 12, 31)),
        ("Dec 31, 2013", "day", {"date_format": "%b %d, %Y"}, date(2013, 12, 31)),
    ],
)
def test_values_are_read_strictly(
    tmp_path: Path, written: str, column: str, declared: dict[str, str], read: object
) -> None:
    assert value(tmp_path, written, column, **declared) == read


@pytest.mark.parametrize(
    ("unit", "written", "read"),
    [
        ("us", "0000-01-01T00:00:00", None),
        ("us", "9999-12-31T23:59:59", datetime(9999, 12, 31, 23, 59, 59)),  # noqa: DTZ001
        ("ns", "9999-12-31T23:59:59", None),
        ("ns", "1600-01-01T00:00:00", None),
        ("ns", "2013-01-01T00:00:00.000001", datetime(2013, 1, 1, 0, 0, 0, 1)),  # noqa: DTZ001
        ("ms", "2013-01-01T00:00:00.000001", None),
        ("ms", "2013-01-01T00:00:00.001", datetime(2013, 1, 1, 0, 0, 0, 1000)),  # noqa: DTZ001
    ],
)
def test_a_time_that_its_unit_cannot_hold_is_refused(
    tmp_path: Path, unit: str, written: str, read: datetime | None
) -> None:
    class Timed(dy.Schema):
        at = dy.Datetime(nullable=True, time_unit=unit, description="At.")  # type: ignore[arg-type]

    result = applied(tmp_path, f"at\n{written}\n".encode(), contract=Timed)

    assert result.good["at"].to_list() == ([read] if read else [])
    assert result.counts == ({} if read else {"at|type": 1})


# -- Parquet ------------------------------------------------------------------------------------

SALES = pl.DataFrame([SOLD] * 50, Sale.create_empty().schema, orient="row")
PARQUET = FileFormat("parquet")

#: Three rows, a bit of whose page header is flipped. Polars 2 ends the process on it (SIGABRT).
DAMAGED = Path(__file__).with_name("damaged_metadata.parquet")


class Thing(dy.Schema):
    """What the damaged file would hold."""

    day = dy.Int32(description="Day.")
    shop = dy.String(description="Shop.")
    pieces = dy.Int64(nullable=True, description="Pieces.")


def test_a_parquet_file_that_ends_other_readers_processes_is_refused() -> None:
    with pytest.raises(UnreadableFileError, match="it is not a whole Parquet file"):
        read_file(DAMAGED, Thing, PARQUET)


@pytest.mark.parametrize("length", [1, 4, 8, 12, 200, -1, -4, -8, -100])
def test_a_truncated_parquet_file_is_refused(tmp_path: Path, length: int) -> None:
    error = refused(tmp_path, parquet(SALES)[:length], PARQUET)

    assert type(error) is UnreadableFileError
    assert "cut off" in error.advice


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (pl.col("pieces").cast(pl.Int64), "Int64"),
        (pl.col("pieces").cast(pl.String), "String"),
        (pl.col("amount").cast(pl.Decimal(10, 2)), "Decimal"),
        (pl.col("day").cast(pl.Datetime("us")), "Datetime"),
    ],
)
def test_a_parquet_column_of_a_changed_type_is_refused(
    tmp_path: Path, change: pl.Expr, found: str
) -> None:
    error = refused(tmp_path, parquet(SALES.with_columns(change)), PARQUET)

    assert type(error) is ColumnTypeError
    assert found in error.found


@pytest.mark.parametrize(
    "nested",
    [pl.concat_list("pieces"), pl.struct("pieces"), pl.concat_list("pieces").reshape((-1, 1))],
    ids=["list", "struct", "array"],
)
def test_nested_columns_are_refused_in_words(tmp_path: Path, nested: pl.Expr) -> None:
    error = refused(tmp_path, parquet(SALES.with_columns(shop=nested)), PARQUET)

    assert type(error) is ColumnTypeError
    assert error.column == "shop"
    assert "no nested columns" in error.advice


def test_few_bytes_of_parquet_that_hold_many_values_are_refused(tmp_path: Path) -> None:
    class Counted(dy.Schema):
        n = dy.Int64(description="N.")

    data = parquet(pl.select(n=pl.repeat(1, 4_000_000, dtype=pl.Int64)))
    assert len(data) < MIB

    error = refused(tmp_path, data, FileFormat("parquet", max_bytes=8 * MIB), Counted)

    assert type(error) is UnreadableFileError
    assert "4000000 rows of 1 columns, at least 32000000 bytes" in error.found


# -- names and permissions ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ['it\'s "so".csv', "two\nlines.csv", "\N{PARTY POPPER}.csv", "*[a]?.csv", "n" * 251 + ".csv"],
    ids=["quotes", "newline", "emoji", "wildcards", "255 bytes"],
)
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    frame = read_file(put(tmp_path, HEADER + ROW, name), Sale, "csv")
    result = apply_contract(frame, Sale)

    assert result.by_file().rows() == [(name, 1, 0)]
    with pytest.raises(UnreadableFileError) as raised:
        read_file(put(tmp_path, b"\xff", name), Sale, "csv")
    assert raised.value.file == name


def test_a_folder_named_like_a_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").mkdir()

    with pytest.raises(IsADirectoryError, match=r"sales\.csv"):
        read_file(tmp_path / "sales.csv", Sale, "csv")


@pytest.fixture
def unreadable(tmp_path: Path) -> Iterator[Path]:
    path = put(tmp_path, HEADER + ROW, "sales.csv")
    path.chmod(0)
    yield path
    path.chmod(0o600)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_an_error_of_the_system(unreadable: Path) -> None:
    with pytest.raises(PermissionError, match=r"sales\.csv"):
        read_file(unreadable, Sale, "csv")


# -- declarations -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"kind": "xlsx"}, "kind must be one of csv, parquet; found 'xlsx'"),
        ({"delimiter": ";;"}, "delimiter must be one character; found ';;'"),
        ({"delimiter": ""}, "delimiter must be one character; found ''"),
        ({"delimiter": "\n"}, r"delimiter must not end a line or be NUL; found '\n'"),
        ({"delimiter": '"'}, "delimiter and quote must differ"),
        ({"quote": "''"}, "quote must be one character or ''"),
        ({"quote": " "}, "quote must not be a space"),
        ({"encoding": "ebcdic"}, "found 'ebcdic'"),
        ({"encoding": "utf-7"}, "found 'utf-7'"),
        ({"encoding": "base64"}, "found 'base64'"),
        ({"encoding": None}, "found None"),
        ({"encoding": "a\0"}, "encoding must be one of"),
        ({"decimal": ""}, "decimal must be one character"),
        ({"decimal": "e"}, "decimal must not be a part of numbers; found 'e'"),
        ({"thousands": "."}, "decimal and thousands must differ; found '.' for both"),
        ({"date_format": "%Y-%m"}, "date_format '%Y-%m' does not name a year, a month and a day"),
        ({"date_format": "%y%m%d"}, "leaves the century to a guess"),
        ({"date_format": "%d.%m.%Y %H"}, "a date has no time of day"),
        ({"date_format": 3}, "date_format 3 must be a text"),
        ({"datetime_format": "%Y-%m-%d"}, "an hour and a minute"),
        ({"datetime_format": "%d.%m.%Y %I:%M"}, "an hour and a minute"),
        ({"datetime_format": "%Y-%m-%dT%H:%M:%SZ%z"}, "has %z, which is not admitted"),
        ({"compression": "zip"}, "compression must be one of auto, none, gzip; found 'zip'"),
        ({"unknown_columns": "drop"}, "found 'drop'"),
        ({"missing_columns": "ignore"}, "found 'ignore'"),
        ({"max_bytes": 0}, "max_bytes must be a whole number of bytes above 0; found 0"),
        ({"max_bytes": 2.0**31}, "found 2147483648.0"),
        ({"max_line_bytes": True}, "found True"),
    ],
)
def test_a_faulty_format_is_refused_as_it_is_declared(
    declared: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match="Declaring a file format") as raised:
        FileFormat(**{"kind": "csv", **declared})  # type: ignore[arg-type]

    assert said in str(raised.value)


def test_formats_that_are_whole_are_admitted() -> None:
    for written in ("%d/%m/%Y", "%Y%j", "%A, %-d %B %Y", "%b %d %Y", "100%% %Y%m%d"):
        FileFormat("csv", date_format=written)
    for written in ("%Y%m%d%H%M%S", "%d.%m.%Y %-H:%M", "%m/%d/%Y %I:%M:%S.%f %p"):
        FileFormat("csv", datetime_format=written)
    check_contract(Sale)
