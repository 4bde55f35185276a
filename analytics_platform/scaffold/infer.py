"""What the columns of a sample are, strictly, and why.

A type is inferred only where the contracts' reader takes every value of the sample for it; what is
ambiguous stays text and is said. Each decision carries its reason, as a person will read it and
decide otherwise. Reading files, names and writing do not belong here.
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

import polars as pl

from analytics_platform.contracts.format import ISO_DATE, FileFormat
from analytics_platform.contracts.text_values import parse_text
from analytics_platform.scaffold.names import words

#: Spellings of "nothing" that the platform reads as text, as only the empty value is null.
NULL_SPELLINGS = words(
    """
    NA N/A n/a na NaN nan NAN null NULL Null None none NONE nil - -- . ? #N/A #NA #NULL! \\N
    (null) <NA>
    """
)

_OTHER_BOOLEANS = words("yes no y n t f on off ja nein j oui non si wahr falsch vrai faux")

_INTEGER = r"^-?[0-9]+$"
_LEADING_ZERO = r"^-?0[0-9]+"
_EXPONENT = r"[eE][-+]?[0-9]+$"
_ZONED = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+ ?(Z|UTC|[+-][0-9]{2}:?[0-9]{2})$"
_LOOKS_LIKE_DATE = (
    r"^([0-9]{1,4}[/.-][0-9]{1,2}[/.-][0-9]{1,4}|[0-9]{1,2}[ -][A-Za-z]{3,9}[ -][0-9]{4})"
    r"([ T][0-9]{1,2}:[0-9]{2}.*)?$"
)
_LOOKS_LIKE_NUMBER = r"^[-+]?[0-9][0-9., '\x{a0}\x{202f}]*$"

#: The formats that are tried. Dots are only read day first: no country that writes the month first
#: writes dots.
_DATES = (
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d-%b-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
)
_COMPACT_DATE = "%Y%m%d"
_DATETIMES = tuple(
    f"{day}{gap}{time}"
    for day, gap, time in itertools.product((ISO_DATE, *_DATES), (" ", "T"), ("%H:%M:%S", "%H:%M"))
)
_DAY_NAME = re.compile(r"(^|_)(date|day|datum|tag|jour|dia|fecha|dt)(_|$)")
_FLAG_NAME = re.compile(r"^(is|has|was|can|did)_|_(flag|yn)$")
_ID_NAME = re.compile(
    r"(^|_)(id|key|code|number|no|nr|num|uuid|guid|sku|isbn|iban|ref|reference)_?($|_)"
)
_DATE_IN_NAME = re.compile(r"(?<![0-9])[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")

_MOST_KEY_COLUMNS = 3
_MOST_KEY_CANDIDATES = 12
#: Of fewer rows, nearly every column is unique and a guess says nothing.
_FEWEST_ROWS_FOR_KEY = 5


class NumberStyle(NamedTuple):
    """How a file spells its numbers.

    Attributes:
        decimal: What stands before the fraction.
        thousands: What parts groups of three digits, or None.
    """

    decimal: str = "."
    thousands: str | None = None


PLAIN = NumberStyle()
_STYLES = [
    NumberStyle(decimal, thousands)
    for decimal in (".", ",")
    for thousands in (None, ",", ".", " ", "\u00a0", "\u202f", "'")
    if thousands != decimal
]


class Guess(NamedTuple):
    """A type, why, and how its text is read.

    Attributes:
        dtype: A type that contracts admit.
        reason: What in the sample says so.
        text_format: The format of a date or time that is not ISO.
        notes: What a person should look at.
    """

    dtype: pl.DataType
    reason: str
    text_format: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """One column of a sample, as the contract will have it.

    Attributes:
        header: Its name in the file.
        name: Its name in the contract.
        dtype: Its type.
        nullable: Whether it may be null.
        reason: Why it has this type.
        facts: What the sample shows: range, share of nulls.
        bounds: The observed bounds, spelled as arguments of the contract's column.
        text_format: The format of its dates, where not ISO.
        allow_nan: Whether the sample has NaN.
        notes: What a person should look at.
    """

    header: str
    name: str
    dtype: pl.DataType
    nullable: bool
    reason: str
    facts: str
    bounds: str = ""
    text_format: str | None = None
    allow_nan: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """What a sample's columns are, together.

    Attributes:
        columns: The columns a contract can hold.
        style: How numbers are spelled.
        values: The columns' values in their types, by name.
        left_out: Headers of Parquet columns whose type no contract holds, with the type.
    """

    columns: list[Column]
    style: NumberStyle
    values: pl.DataFrame
    left_out: dict[str, str] = field(default_factory=dict)

    def column(self, name: str) -> Column | None:
        """The column of a name or a header."""
        for column in self.columns:
            if name in (column.name, column.header):
                return column
        return None


def infer_table(
    headers: Sequence[str],
    names: Sequence[str],
    frame: pl.DataFrame,
    delimiter: str = ",",
    *,
    has_types: bool = False,
) -> Table:
    """The columns of a sample.

    Args:
        headers: The names in the file.
        names: The names in the contract, in the same order.
        frame: The values, one column each in the same order; text, or a Parquet file's types.
        delimiter: The file's delimiter: a comma tells on how numbers are spelled.
        has_types: Whether the file itself has types, as Parquet, so that text stays text.
    """
    style = PLAIN if has_types else number_style(frame.get_columns(), delimiter)
    columns: list[Column] = []
    values: list[pl.Series] = []
    left_out: dict[str, str] = {}
    for header, name, series in zip(headers, names, frame.get_columns(), strict=True):
        if not has_types:
            column = infer_text(header, name, series, style, delimiter)
            columns.append(column)
            values.append(typed(series, column, style).alias(name))
            continue
        widened = _widened(series)
        if widened is None:
            left_out[header] = str(series.dtype)
            continue
        columns.append(_typed_column(header, name, widened))
        values.append(widened.alias(name))
    return Table(columns, style, pl.DataFrame(values), left_out)


# Numbers


def number_style(columns: Iterable[pl.Series], delimiter: str = ",") -> NumberStyle:
    """How a file spells its numbers, by the columns that can be read in one way only.

    `1,5` has a decimal comma and `1,234.5` does not; `1,234` alone could be either and has no
    say, but is read by what the others say. Without any that says, a number has a point.

    Args:
        columns: Text columns.
        delimiter: The file's delimiter.
    """
    decimals: Counter[str] = Counter()
    all_readings = [readings for column in columns if (readings := _readings(column))]
    for readings in all_readings:
        if len(readings) == 1:
            decimal, thousands = next(iter(readings))
            if decimal:
                decimals[decimal] += 1
            elif thousands in (".", ","):
                decimals["," if thousands == "." else "."] += 1
    if not decimals:
        decimal = "."
        # In a file parted by semicolons the comma is free for numbers, so that a point may part
        # thousands; elsewhere a point is a decimal point.
        if delimiter == "," and any((".", None) in readings for readings in all_readings):
            decimals["."] += 1
    else:
        decimal = "," if decimals[","] > decimals["."] else "."
    groups: Counter[str] = Counter()
    for readings in all_readings:
        possible = {r for r in readings if r[0] in (None, decimal) and r[1] != decimal}
        if not decimals:
            possible = readings
        if len(possible) == 1 and (thousands := next(iter(possible))[1]):
            groups[thousands] += 1
    return NumberStyle(decimal, groups.most_common(1)[0][0] if groups else None)


def _readings(values: pl.Series) -> set[tuple[str | None, str | None]]:
    """The ways to read a column's numbers: its decimal mark and thousands mark, as far as used."""
    present = _without_spelled_nulls(values.drop_nulls().unique())
    marked = present.filter(~present.str.contains(_INTEGER))
    if marked.is_empty() or not present.str.contains(_LOOKS_LIKE_NUMBER).all():
        return set()
    readings: set[tuple[str | None, str | None]] = set()
    used = set("".join(marked.to_list()))
    for style in _STYLES:
        if style.thousands is not None and style.thousands not in used:
            continue
        if present.str.contains(_number_pattern(style)).all():
            has_decimal = marked.str.contains(style.decimal, literal=True).any()
            has_thousands = style.thousands is not None and (
                marked.str.contains(style.thousands, literal=True).any()
            )
            readings.add(
                (style.decimal if has_decimal else None, style.thousands if has_thousands else None)
            )
    return readings


def _number_pattern(style: NumberStyle) -> str:
    whole = "[0-9]+"
    if style.thousands is not None:
        whole = rf"([1-9][0-9]{{0,2}}({re.escape(style.thousands)}[0-9]{{3}})+|[0-9]+)"
    return rf"^-?{whole}({re.escape(style.decimal)}[0-9]+)?$"


# Text columns


def infer_text(
    header: str, name: str, values: pl.Series, style: NumberStyle = PLAIN, delimiter: str = ","
) -> Column:
    """One column of text: its type where every value has it, a string otherwise.

    Args:
        header: Its name in the file.
        name: Its name in the contract, which decides where values alone do not.
        values: Its values; null where the file holds nothing.
        style: How the file spells numbers.
        delimiter: The file's delimiter.
    """
    present = values.drop_nulls()
    if present.is_empty():
        return Column(
            header, name, pl.String(), True, "no value in the sample", "always empty",
            notes=("the sample says nothing of it: ask what it will hold",),
        )  # fmt: skip
    kept = _without_spelled_nulls(present)
    guess = guess_type(kept, name, style, delimiter) if not kept.is_empty() else None
    nullable = present.len() < values.len()
    if kept.len() < present.len():
        spellings = sorted(present.filter(present.is_in(list(NULL_SPELLINGS))).unique())
        count = present.len() - kept.len()
        without = f"without them: {guess.dtype}" if guess else "there is nothing else"
        note = (
            f"{count:,} of {values.len():,} values are {', '.join(map(repr, spellings))}, which "
            f"the platform reads as text, as only the empty value is null ({without}): ask for "
            "empty values, or turn them into null in staging"
        )
        guess = Guess(pl.String(), "spellings of null among the values", notes=(note,))
        nullable = True
    if guess is None:
        raise ValueError(f"Inferring {name}: expected a value to judge; found none. Report it.")
    notes = guess.notes
    if not notes and guess.dtype == pl.String and present.str.contains(r"^\s|\s$").any():
        notes = ("values have spaces around them, which are kept",)
    column = Column(
        header, name, guess.dtype, nullable, guess.reason, "",
        text_format=guess.text_format, notes=notes,
    )  # fmt: skip
    return _with_facts(column, typed(values, column, style))


def guess_type(
    values: pl.Series, name: str = "", style: NumberStyle = PLAIN, delimiter: str = ","
) -> Guess:
    """The narrowest type that all of these values have.

    Args:
        values: Text without nulls, at least one value.
        name: The column's name.
        style: How the file spells numbers.
        delimiter: The file's delimiter.
    """
    values = values.unique()
    for judge in (_boolean, _number, _date, _datetime):
        guess = judge(values, name, style, delimiter)
        if guess is not None:
            return guess
    return Guess(pl.String(), "values are text", notes=_text_notes(values, style))


def _boolean(values: pl.Series, name: str, _style: NumberStyle, _delimiter: str) -> Guess | None:
    if not _all_parse(values, pl.Boolean()):
        return None
    spellings = set(values.to_list())
    shown = ", ".join(sorted(spellings))
    if spellings - {"0", "1"}:
        return Guess(pl.Boolean(), f"only {shown}")
    if _FLAG_NAME.search(name):
        return Guess(pl.Boolean(), f"only {shown}, and the name is a flag's")
    note = f"only {shown} in the sample: dy.Bool, if it is a flag and no number"
    return Guess(pl.Int32(), "whole numbers", notes=(note,))


def _number(values: pl.Series, name: str, style: NumberStyle, delimiter: str) -> Guess | None:
    has_only_digits = values.str.contains(_INTEGER).all()
    if not has_only_digits and not _all_parse(values, pl.Float64(), style):
        return None
    if values.str.contains(_LEADING_ZERO).any():
        return _text_of_digits()
    if has_only_digits:
        if _compact_dates(values) and _DAY_NAME.search(name):
            return Guess(pl.Date(), f"all are days as {_COMPACT_DATE}, and so is the name",
                         _COMPACT_DATE)  # fmt: skip
        return _integer(values, "", name, style)
    grouped = values.clear()
    if style.thousands is not None:
        grouped = values.filter(values.str.contains(style.thousands, literal=True))
    if grouped.str.contains(r"^-?0[^0-9]|[eE]").any():
        # Read as groups, `0.515` is 515 and `1.500e3` a million and a half: hardly what is meant.
        return None
    if values.str.contains(_EXPONENT).any():
        return Guess(pl.Float64(), "numbers with exponents")
    if style == PLAIN and delimiter != "," and len(_readings(values)) > 1:
        note = "a point parts either a fraction or thousands: the sample does not tell which"
        return Guess(pl.String(), "numbers that can be read in two ways", notes=(note,))
    spelled = f", decimal {style.decimal!r}" if style.decimal != "." else ""
    if not grouped.is_empty():
        spelled += f", thousands {style.thousands!r}"
    if not values.str.contains(style.decimal, literal=True).any():
        return _integer(values, spelled, name, style)
    digits = values.str.replace_all(r"[^0-9]", "").str.strip_chars_start("0").str.len_chars()
    notes = ("more than 15 digits, which Float64 does not keep",) if _most(digits) > 15 else ()
    return Guess(pl.Float64(), f"numbers with a fraction{spelled}", notes=notes)


def _text_of_digits() -> Guess:
    return Guess(pl.String(), "digits with leading zeros: a code, which stays text")


def _integer(values: pl.Series, spelled: str, name: str, style: NumberStyle) -> Guess:
    notes = ()
    if _compact_dates(values):
        notes = (f"all could be days as {_COMPACT_DATE}: dy.Date with that format, if they are",)
    for dtype in (pl.Int32(), pl.Int64()):
        numbers = _parsed(values, dtype, style)
        if numbers.null_count() == 0:
            if dtype == pl.Int32() and _ID_NAME.search(name) and _most(numbers) > 10**9:
                # An identifier grows: near the end of Int32 the next file overflows.
                continue
            return Guess(dtype, f"whole numbers{spelled}", notes=notes)
    return Guess(pl.String(), "digits beyond Int64: an identifier, which stays text")


def _most(values: pl.Series) -> int:
    return max(values.to_list(), default=0)


def _compact_dates(values: pl.Series) -> bool:
    if not values.str.contains(r"^(19|20)[0-9]{6}$").all():
        return False
    return _all_parse(values, pl.Date(), text_format=_COMPACT_DATE)


def _date(values: pl.Series, _name: str, _style: NumberStyle, _delimiter: str) -> Guess | None:
    if _all_parse(values, pl.Date()):
        return Guess(pl.Date(), "ISO dates")
    return _in_one_format(values, _DATES, pl.Date(), "days")


def _datetime(values: pl.Series, _name: str, _style: NumberStyle, _delimiter: str) -> Guess | None:
    if _all_parse(values, pl.Datetime("us")):
        return Guess(pl.Datetime("us"), "ISO dates with times")
    return _in_one_format(values, _DATETIMES, pl.Datetime("us"), "dates with times")


def _in_one_format(
    values: pl.Series, formats: Sequence[str], dtype: pl.DataType, what: str
) -> Guess | None:
    names = [name for name in formats if _all_parse(values, dtype, text_format=name)]
    if not names:
        return None
    day_first = [name for name in names if name.startswith(("%d/", "%d-%m"))]
    if len(names) > 1 and day_first:
        note = (
            f"{' or '.join(names)}: no value of the sample tells the order of day and month; give "
            'the column its type and metadata={"format": "…"} once the sender has said which'
        )
        return Guess(pl.String(), f"{what} that can be read in two ways", notes=(note,))
    return Guess(dtype, f"all are {what} as {names[0]}", names[0])


def _text_notes(values: pl.Series, style: NumberStyle) -> tuple[str, ...]:
    spelled = {value.lower() for value in values.head(10).to_list()}
    if values.len() <= 4 and spelled <= _OTHER_BOOLEANS:
        return ("a boolean spelled as contracts do not accept: turn it into one in staging",)
    if values.str.contains(_ZONED).all():
        return ("times with a zone, and the lake holds naive UTC: turn them into it in staging",)
    if values.str.contains(_LOOKS_LIKE_DATE).all():
        return ("looks like dates, but not all in one format with two-digit days and months, or "
                "English names of months spelled as Jan or January",)  # fmt: skip
    if values.str.contains(r"^[-+0-9., ']+%?$").all() and values.str.contains(r"[0-9]").all():
        if len(_readings(values)) > 1:
            return ("numbers with a comma or point for a fraction or thousands: nothing in the "
                    "sample tells which",)  # fmt: skip
        how = f"decimal {style.decimal!r}" + (
            f", thousands {style.thousands!r}" if style.thousands else ""
        )
        return (f"looks like numbers, but not all are spelled as the rest of the file ({how})",)
    if values.str.contains(r"^'.*'$").all():
        return ("values stand in single quotes, which are kept: the platform reads double quotes",)
    stripped = values.str.strip_chars()
    if (stripped != values).any() and values.len() > 0:
        guess = guess_type(stripped.filter(stripped != ""), "") if (stripped != "").any() else None
        if guess is not None and guess.dtype != pl.String:
            return (f"spaces around the values; without them it would be {guess.dtype}",)
    return ()


def _without_spelled_nulls(values: pl.Series) -> pl.Series:
    return values.filter(~values.is_in(list(NULL_SPELLINGS)))


def _all_parse(
    values: pl.Series,
    dtype: pl.DataType,
    style: NumberStyle = PLAIN,
    text_format: str | None = None,
) -> bool:
    return _parsed(values, dtype, style, text_format).null_count() == 0


def _parsed(
    values: pl.Series,
    dtype: pl.DataType,
    style: NumberStyle = PLAIN,
    text_format: str | None = None,
) -> pl.Series:
    """The values as the contracts' reader will read them."""
    text = pl.lit(values)
    return pl.select(parse_text(text, dtype, _file_format(style), text_format)).to_series()


# Cached, as a format checks itself when it is made, 0.1 ms, and a column is parsed some 70 times.
@cache
def _file_format(style: NumberStyle) -> FileFormat:
    return FileFormat("csv", decimal=style.decimal, thousands=style.thousands or "")


def typed(values: pl.Series, column: Column, style: NumberStyle = PLAIN) -> pl.Series:
    """A column's text in the type inferred for it; null where the text is not of it."""
    return _parsed(values, column.dtype, style, column.text_format)


# Parquet columns


def _widened(values: pl.Series) -> pl.Series | None:
    """The values in a type that contracts admit and the reader widens to, or None."""
    dtype = values.dtype
    if isinstance(dtype, pl.Categorical | pl.Enum | pl.Null):
        return values.cast(pl.String)
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is not None:
            return None
        micro = values.cast(pl.Datetime("us"))
        return micro if micro.cast(dtype).eq_missing(values).all() else values
    plain = (pl.String, pl.Boolean, pl.Date, pl.Float32, pl.Float64)
    integers = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
    return values if dtype in plain + integers else None


def _typed_column(header: str, name: str, values: pl.Series) -> Column:
    nulls = values.null_count()
    notes: tuple[str, ...] = ()
    nan = bool(values.dtype.is_float() and values.is_nan().any())
    if nan:
        notes = ("the sample has NaN, which is no null: ask for null, or keep allow_nan",)
    if nulls == values.len():
        return Column(
            header, name, values.dtype, True, "the file's own type, without a value",
            "always empty", notes=("the sample says nothing of it: ask what it will hold",),
        )  # fmt: skip
    if values.dtype == pl.String:
        spelled = values.drop_nulls().len() - _without_spelled_nulls(values.drop_nulls()).len()
        if spelled:
            notes = (f"{spelled:,} values spell null as text, which the platform keeps as text",)
    column = Column(
        header, name, values.dtype, nulls > 0, "the file's own type", "",
        allow_nan=nan, notes=notes,
    )  # fmt: skip
    return _with_facts(column, values)


# Facts


def _with_facts(column: Column, values: pl.Series) -> Column:
    """The column with what its values show."""
    rows, nulls = values.len(), values.null_count()
    share = "never empty" if nulls == 0 else f"{nulls / rows:.1%} empty"
    present = values.drop_nulls()
    if column.dtype == pl.Boolean:
        return replace(column, facts=f"{float(present.mean() or 0):.1%} true, {share}")  # pyright: ignore[reportArgumentType]
    distinct = present.n_unique()
    if column.dtype == pl.String:
        lengths = present.str.len_chars()
        least, most = lengths.min(), lengths.max()
        span = f"{least}" if least == most else f"{least} to {most}"
        characters = "character" if least == most == 1 else "characters"
        values_ = "value" if distinct == 1 else "values"
        return replace(
            column,
            facts=f"{distinct:,} distinct {values_} of {span} {characters}, {share}",
            bounds=f"min_length={least}, max_length={most}",
        )
    if column.dtype.is_float():
        present = present.filter(present.is_finite())
        if present.is_empty():
            return replace(column, facts=f"no finite value, {share}")
    least, most = present.min(), present.max()
    if isinstance(least, dt.date):
        return replace(
            column,
            facts=f"{_plain_time(least)} to {_plain_time(most)}, {share}",
            bounds=f"min={_constructor(least)}, max={_constructor(most)}",
        )
    if present.dtype.is_float():
        # Of -0.0 and 0.0 the first met is the least: they are equal, and one zero.
        least, most = least + 0.0, most + 0.0  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
    return replace(column, facts=f"{least} to {most}, {share}", bounds=f"min={least}, max={most}")


def _plain_time(value: object) -> str:
    return value.isoformat(" ") if isinstance(value, dt.datetime) else str(value)


def _constructor(value: object) -> str:
    return repr(value).replace("datetime.", "", 1)


# Key and partition


def date_in_name(file_name: str) -> dt.date | None:
    """The one ISO day in a file's name, or None."""
    found = _DATE_IN_NAME.findall(file_name)
    if len(found) != 1:
        return None
    try:
        return dt.date.fromisoformat(found[0])
    except ValueError:
        return None


def partition_pattern(file_name: str) -> str:
    """The file's name with `{partition}` where its day stands."""
    return _DATE_IN_NAME.sub("{partition}", file_name)


def guess_partition(table: Table, file_name: str) -> str | None:
    """The date column that holds one day throughout, the one in the file's name; the first."""
    day = date_in_name(file_name)
    if day is None:
        return None
    for column in table.columns:
        if column.dtype == pl.Date and not column.nullable:
            values = table.values[column.name]
            if values.n_unique() == 1 and values[0] == day:
                return column.name
    return None


def guess_key(table: Table, partition_column: str | None = None) -> list[str]:
    """The fewest columns, three at most, that tell the rows of the sample apart; empty if none do.

    Of several sets of a size, the one with the most names as keys have them. The partition
    column is added, as a key must hold across files.

    Args:
        table: The sample's columns.
        partition_column: The date column of the source's partitions.
    """
    if table.values.height < _FEWEST_ROWS_FOR_KEY:
        return []
    ranked = sorted(
        (rank, position, column.name)
        for position, column in enumerate(table.columns)
        if (rank := _key_rank(table, column)) is not None and column.name != partition_column
    )
    found = _smallest_unique(table.values, ranked[:_MOST_KEY_CANDIDATES])
    if found and partition_column is not None:
        found = [partition_column, *found]
    order = [column.name for column in table.columns]
    return sorted(found, key=order.index)


def _key_rank(table: Table, column: Column) -> int | None:
    """How much a column looks like part of a key, 0 the most; None for one that cannot be."""
    values = table.values[column.name]
    if column.nullable or column.dtype.is_float() or column.dtype == pl.Boolean:
        return None
    if values.n_unique() == 1:
        return None
    if column.dtype == pl.String and _most(values.str.len_chars()) > 64:
        return None
    if _ID_NAME.search(column.name):
        return 0
    if column.dtype.is_temporal():
        return 1
    return 2 if column.dtype == pl.String else 3


def _smallest_unique(values: pl.DataFrame, ranked: Sequence[tuple[int, int, str]]) -> list[str]:
    head = values.head(2000)
    distinct = {name: values[name].n_unique() for _, _, name in ranked}
    for size in range(1, _MOST_KEY_COLUMNS + 1):
        sets = sorted(
            itertools.combinations(ranked, size),
            key=lambda columns: (sum(c[0] for c in columns), [c[1] for c in columns]),
        )
        for columns in sets:
            names = [name for _, _, name in columns]
            most = 1
            for name in names:
                most *= distinct[name]
            if most < values.height:
                continue
            if is_unique(head, names) and is_unique(values, names):
                return names
    return []


def is_unique(values: pl.DataFrame, names: Sequence[str]) -> bool:
    """Whether no two rows share their values in the columns."""
    return values.select(names).n_unique() == values.height
