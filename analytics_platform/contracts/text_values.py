"""From text to typed values, strictly.

What counts as an integer, a number, a boolean, a date in a delivered CSV file. Polars' own casts
are wider than we want (`NaN` and `1e400` become floats, `2013-1-1` a date), and a value read by a
guess is worse than one in quarantine. Reading files does not belong here.
"""

import polars as pl

from analytics_platform.contracts.format import FileFormat
from analytics_platform.contracts.time_format import polars_format, time_format_pattern

_DATETIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,6})?$"
_TRUE = ["true", "True", "TRUE", "1"]
_FALSE = ["false", "False", "FALSE", "0"]
_CSV = FileFormat("csv")

#: The years that a count of nanoseconds in 64 bits holds whole.
_NANOSECOND_YEARS = (1678, 2261)


def parse_text(
    text: pl.Expr,
    dtype: pl.DataType,
    file_format: FileFormat = _CSV,
    own_format: str | None = None,
) -> pl.Expr:
    """The values of a text column in a contract's type; null where the text is not one.

    | type | accepted | refused, for example |
    | --- | --- | --- |
    | integer | `5`, `-5`, `0515` | `5.0`, `+5`, `1e3`, `1,000`, surrounding spaces, overflow |
    | float | `5`, `-0.5`, `.5`, `5e-3` | `NaN`, `inf`, `1e400`, `1,5`, surrounding spaces |
    | boolean | `true`, `True`, `TRUE`, `1` and the like | `yes`, `T`, `1.0` |
    | date | `2013-01-31`, years 0001 to 9999 | `2013-1-31`, `31/01/2013`, `2013-02-30`, year 0000 |
    | datetime | `2013-01-31T05:15:00`, `2013-01-31 05:15:00.25` | a zone, a time without seconds, \
      year 0000, what the column's unit cannot hold: microseconds in `ms`, the year 9999 in `ns` |

    A number nearer to nothing than a float can say, such as `1e-400`, is 0, as any number is the
    float nearest to it. Where the format declares separators, a group after the first has three
    digits, and the first does not start with 0: with `thousands="."` and `decimal=","`, `1.000,5`
    and `1000,5` are numbers; `1.5` is none, nor is `0.515`, whose point parts a fraction. Where it
    or the column declares a format of dates or times, that one alone is accepted, with as many
    digits as the format has.

    Args:
        text: A column of strings; null where the file holds nothing.
        dtype: A type that `check_contract` admits.
        file_format: How the file writes numbers, dates and times.
        own_format: How the column writes its dates or times, where not as the file does.

    Returns:
        An expression of type `dtype`.
    """
    if dtype == pl.String:
        return text
    if dtype.is_integer():
        digits = pl.when(text.str.contains(f"^-?({_whole(file_format)})$")).then(text)
        return _plain(digits, file_format).cast(dtype, strict=False)
    if dtype.is_float():
        point = pl.escape_regex(file_format.decimal)
        whole = _whole(file_format)
        pattern = f"^-?(({whole})({point}[0-9]*)?|{point}[0-9]+)([eE][-+]?[0-9]+)?$"
        number = _plain(pl.when(text.str.contains(pattern)).then(text), file_format)
        number = number.cast(dtype, strict=False)
        return pl.when(number.is_finite()).then(number)
    if dtype == pl.Boolean:
        return (
            pl.when(text.is_in(_TRUE))
            .then(pl.lit(True))
            .when(text.is_in(_FALSE))
            .then(pl.lit(False))
        )
    if dtype == pl.Date:
        written = own_format or file_format.date_format
        day = pl.when(text.str.contains(time_format_pattern(written))).then(text)
        day = day.str.to_date(polars_format(written), strict=False)
        return pl.when(day.dt.year() >= 1).then(day)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        return _moment(text, dtype, own_format or file_format.datetime_format)
    raise ValueError(
        f"Parsing text: expected a string, integer, float, boolean, date or naive datetime type; "
        f"found {dtype}. Run check_contract on the contract first."
    )


def _whole(file_format: FileFormat) -> str:
    """The pattern of a whole number without its sign."""
    if not file_format.thousands:
        return "[0-9]+"
    separator = pl.escape_regex(file_format.thousands)
    return f"[0-9]+|[1-9][0-9]{{0,2}}({separator}[0-9]{{3}})+"


def _plain(number: pl.Expr, file_format: FileFormat) -> pl.Expr:
    """A number that fits its pattern, as Polars writes it."""
    if file_format.thousands:
        number = number.str.replace_all(file_format.thousands, "", literal=True)
    if file_format.decimal != ".":
        number = number.str.replace(file_format.decimal, ".", literal=True)
    return number


def _moment(text: pl.Expr, dtype: pl.Datetime, written: str | None) -> pl.Expr:
    if written is None:
        fitting = pl.when(text.str.contains(_DATETIME)).then(text.str.replace(" ", "T"))
        parser = "%Y-%m-%dT%H:%M:%S%.f"
    else:
        fitting = pl.when(text.str.contains(time_format_pattern(written))).then(text)
        parser = polars_format(written)
    # In microseconds first, which hold all that is accepted: Polars lets the year 9999 overflow
    # in nanoseconds, and drops microseconds in milliseconds, in silence.
    exact = fitting.str.to_datetime(parser, time_unit="us", strict=False)
    exact = pl.when(exact.dt.year() >= 1).then(exact)
    if dtype.time_unit == "us":
        return exact
    if dtype.time_unit == "ns":
        exact = pl.when(exact.dt.year().is_between(*_NANOSECOND_YEARS)).then(exact)
    value = exact.cast(dtype)
    return pl.when(value.cast(pl.Datetime("us")) == exact).then(value)
