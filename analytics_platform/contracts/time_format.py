"""Formats of dates and times: which are admitted, and exactly which text each accepts.

A strptime format says too little: parsers take `%d` for one digit or two and `%Y` for any year.
Here a format also gives a pattern that its text must match to the character. Parsing columns does
not belong here (`text_values`).
"""

import re
from functools import cache

import polars as pl

#: A directive, what its text looks like, and its text for 2001-11-23 16:45:56.25, a Friday.
_DIRECTIVES = {
    "%Y": ("[0-9]{4}", "2001"),
    "%m": ("[0-9]{2}", "11"),
    "%-m": ("[1-9][0-9]?", "11"),
    "%b": ("[A-Z][a-z]{2}", "Nov"),
    "%B": ("[A-Z][a-z]{2,8}", "November"),
    "%d": ("[0-9]{2}", "23"),
    "%-d": ("[1-9][0-9]?", "23"),
    "%j": ("[0-9]{3}", "327"),
    "%a": ("[A-Z][a-z]{2}", "Fri"),
    "%A": ("[A-Z][a-z]{5,8}", "Friday"),
    "%H": ("[0-9]{2}", "16"),
    "%-H": ("(?:0|[1-9][0-9]?)", "16"),
    "%I": ("[0-9]{2}", "04"),
    "%-I": ("[1-9][0-9]?", "4"),
    "%M": ("[0-9]{2}", "45"),
    # Not 60: a leap second has no place in a column of times.
    "%S": ("[0-5][0-9]", "56"),
    # Polars takes the dot with the digits after it; `%f` alone is something else to it.
    ".%f": (r"\.[0-9]{1,6}", ".25"),
    "%p": ("(?:AM|PM)", "PM"),
    "%%": ("%", "%"),
}
_OF_A_TIME = {"%H", "%-H", "%I", "%-I", "%M", "%S", ".%f", "%p"}
_PIECES = re.compile(r"\.%f|%-?.|%|[^%.]+|\.", re.DOTALL)


def time_format_fault(time_format: object, *, of_a_date: bool) -> str | None:
    """What keeps a format from being used, in words that follow "the format …"; None if nothing.

    Args:
        time_format: A strptime format of the directives Y m b B d j a A H I M S p, `.%f` (one to
            six digits) and, for numbers without leading zero, `%-d`, `%-m`, `%-H` and `%-I`.
        of_a_date: Whether it is for dates, which have no time of day.
    """
    if not isinstance(time_format, str) or not time_format:
        return "must be a text such as '%d/%m/%Y'"
    directives = [piece for piece in _pieces(time_format) if "%" in piece]
    if unknown := sorted({piece for piece in directives if piece not in _DIRECTIVES}):
        why = ": a year of two digits leaves the century to a guess" if "%y" in unknown else ""
        return f"has {', '.join(unknown)}, which is not admitted{why}"
    times = [piece for piece in directives if piece in _OF_A_TIME]
    if of_a_date and times:
        return f"has {', '.join(times)}, but a date has no time of day"
    # Whether the directives make up a whole date, and a whole time, is the parser's to say.
    sample = "".join(_DIRECTIVES.get(p, (p, p))[1] for p in _pieces(time_format))
    expected = "2001-11-23 00:00:00.000000"
    if not of_a_date:
        seconds = ("56" if "%S" in times else "00") + (".250000" if ".%f" in times else ".000000")
        expected = f"2001-11-23 16:45:{seconds}"
    try:
        texts = pl.Series([sample])
        parsed = (
            texts.str.to_date(polars_format(time_format)).cast(pl.Datetime("us"))
            if of_a_date
            else texts.str.to_datetime(polars_format(time_format), time_unit="us")
        )
        found = parsed.dt.strftime("%Y-%m-%d %H:%M:%S%.6f")[0]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        found = None
    if found != expected:
        whole = "a year, a month and a day"
        return f"does not name {whole if of_a_date else whole + ', an hour and a minute'}"
    return None


@cache
def time_format_pattern(time_format: str) -> str:
    """The regular expression (of Polars) that text of a format matches as a whole."""
    parts = [
        _DIRECTIVES[piece][0] if piece in _DIRECTIVES else pl.escape_regex(piece)
        for piece in _pieces(time_format)
    ]
    return f"^{''.join(parts)}$"


def polars_format(time_format: str) -> str:
    """A format as Polars spells it."""
    return "".join("%.f" if piece == ".%f" else piece for piece in _pieces(time_format))


def _pieces(time_format: str) -> list[str]:
    return _PIECES.findall(time_format)
