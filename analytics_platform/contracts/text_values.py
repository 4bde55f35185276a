"""From text to typed values, strictly.

What counts as an integer, a number, a boolean, a date in a delivered CSV file. Polars' own casts
are wider than we want (`NaN` and `1e400` become floats, `2013-1-1` a date), and a value read by a
guess is worse than one in quarantine. Reading files does not belong here.
"""

import polars as pl

_INTEGER = r"^-?[0-9]+$"
_NUMBER = r"^-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_DATETIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,6})?$"
_TRUE = ["true", "True", "TRUE", "1"]
_FALSE = ["false", "False", "FALSE", "0"]


def parse_text(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The values of a text column in a contract's type; null where the text is not one.

    | type | accepted | refused, for example |
    | --- | --- | --- |
    | integer | `5`, `-5`, `0515` | `5.0`, `+5`, `1e3`, `1,000`, surrounding spaces, overflow |
    | float | `5`, `-0.5`, `.5`, `5e-3` | `NaN`, `inf`, `1e400`, surrounding spaces |
    | boolean | `true`, `True`, `TRUE`, `1` and the like | `yes`, `T`, `1.0` |
    | date | `2013-01-31` | `2013-1-31`, `31/01/2013`, `2013-02-30` |
    | datetime | `2013-01-31T05:15:00`, `2013-01-31 05:15:00.25` | a zone, a time without seconds |

    Args:
        text: A column of strings; null where the file holds nothing.
        dtype: A type that `check_contract` admits.

    Returns:
        An expression of type `dtype`.
    """
    if dtype == pl.String:
        return text
    if dtype.is_integer():
        return pl.when(text.str.contains(_INTEGER)).then(text).cast(dtype, strict=False)
    if dtype.is_float():
        number = pl.when(text.str.contains(_NUMBER)).then(text).cast(dtype, strict=False)
        return pl.when(number.is_finite()).then(number)
    if dtype == pl.Boolean:
        return (
            pl.when(text.is_in(_TRUE))
            .then(pl.lit(True))
            .when(text.is_in(_FALSE))
            .then(pl.lit(False))
        )
    if dtype == pl.Date:
        day = pl.when(text.str.contains(_DATE)).then(text)
        return day.str.to_date("%Y-%m-%d", strict=False)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        moment = pl.when(text.str.contains(_DATETIME)).then(text.str.replace(" ", "T"))
        return moment.str.to_datetime(
            "%Y-%m-%dT%H:%M:%S%.f", time_unit=dtype.time_unit, strict=False
        )
    raise ValueError(
        f"Parsing text: expected a string, integer, float, boolean, date or naive datetime type; "
        f"found {dtype}. Run check_contract on the contract first."
    )
