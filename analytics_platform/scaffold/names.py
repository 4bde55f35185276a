"""From headers as people write them to column names that Python, SQL and dbt take unquoted.

A name is made of its header alone, so that the next file gives the same names; only doubles are
numbered. What the columns hold is `infer`'s business.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Sequence


def words(text: str) -> frozenset[str]:
    """The words of a list written as text, which stays readable at any length."""
    return frozenset(text.split())


#: Names longer than this are cut; other databases allow 63.
LONGEST = 63

#: Words DuckDB 1.5 does not take as a column's name without quotes (a test asks DuckDB).
SQL_KEYWORDS = words(
    """
    all analyse analyze and anti any array as asc asof asymmetric at authorization binary both by
    case cast check collate collation column concurrently constraint create cross default
    deferrable desc describe distinct do else end except false fetch for foreign freeze from full
    glob group having ilike in initially inner intersect into is isnull join lambda lateral leading
    left like limit natural not notnull null offset on only or order outer overlaps pivot
    pivot_longer pivot_wider placing positional primary qualify references returning right select
    semi show similar some summarize symmetric table tablesample then to trailing true union unique
    unpack unpivot using variadic verbose when where window with
    """
)

#: Names a column of a contract would hide: dataframely's class methods.
SCHEMA_METHODS = words(
    """
    cast column_names columns create_empty create_empty_if_none filter is_valid matches primary_key
    sample to_pydantic_model to_sqlalchemy_columns validate
    """
)

TAKEN = SQL_KEYWORDS | SCHEMA_METHODS | frozenset(keyword.kwlist) | frozenset(keyword.softkwlist)

_SYMBOLS = {
    "°C": " celsius ",
    "°F": " fahrenheit ",
    "°": " degrees ",
    "%": " percent ",
    "€": " eur ",
    "$": " usd ",
    "£": " gbp ",
    "²": "2",
    "³": "3",
    "#": " number ",
    "&": " and ",
}
_LETTERS = str.maketrans(
    {
        "ß": "ss", "æ": "ae", "Æ": "Ae", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "Oe", "đ": "d",
        "Đ": "D", "ł": "l", "Ł": "L", "þ": "th", "Þ": "Th", "ð": "d", "Ð": "D", "\u0131": "i",
    }
)  # fmt: skip


def _from(first: int, spellings: str) -> dict[int, str]:
    return dict(enumerate(spellings.split("|"), first))


# By code point, so that no letter here can be taken for a Latin one.
_CYRILLIC = _from(0x0430, "a|b|v|g|d|e|zh|z|i|j|k|l|m|n|o|p|r|s|t|u|f|kh|ts|ch|sh|shch||y||e|yu|ya")
_GREEK = _from(0x03B1, "a|v|g|d|e|z|i|th|i|k|l|m|n|x|o|p|r|s|s|t|y|f|ch|ps|o")
_WORD_STARTS = re.compile(
    r"(?<=[a-z]{2})(?=[A-Z])|(?<=[a-z0-9])(?=[A-Z][a-z]{2})|(?<=[A-Z])(?=[A-Z][a-z]{2})"
)


def column_name(header: str, position: int = 1) -> str:
    """The column name of one header.

    Args:
        header: The header as the file has it.
        position: The column's place, from 1: the name of a column whose header has no letter.

    Returns:
        Lower-case words joined by `_`, at most 63 characters. A name that would start with a digit
        starts with `column_`; a word of SQL or Python, or one that a contract uses, ends with `_`.
    """
    for symbol, word in _SYMBOLS.items():
        header = header.replace(symbol, word)
    header = re.sub(r"(?<=\w)/(?=\w{1,3}\b)", " per ", header) if "(" in header else header
    words = "_".join(re.findall(r"[A-Za-z0-9]+", _latin(header)))
    name = "_".join(part for part in _WORD_STARTS.sub("_", words).lower().split("_") if part)
    if not name:
        return f"column_{position}"
    if name[0].isdigit():
        name = f"column_{name}"
    name = name[:LONGEST].rstrip("_")
    return f"{name}_" if name in TAKEN else name


def column_names(headers: Sequence[str]) -> list[str]:
    """The column names of a header line, in its order, each one once.

    The first of several columns of one name keeps it; the others are numbered from 2, passing over
    numbers that another column's own header has.
    """
    wanted = [column_name(header, position) for position, header in enumerate(headers, 1)]
    names: list[str] = []
    used: set[str] = set()
    for name in wanted:
        if name in used:
            name = _numbered(name, used | set(wanted))
        used.add(name)
        names.append(name)
    return names


def _numbered(name: str, taken: set[str]) -> str:
    number = 2
    while True:
        end = f"_{number}"
        candidate = name.rstrip("_")[: LONGEST - len(end)].rstrip("_") + end
        if candidate not in taken:
            return candidate
        number += 1


def _latin(text: str) -> str:
    """The text with its letters in ASCII, as far as they have an equivalent."""
    spelled = []
    for letter in unicodedata.normalize("NFKD", text.translate(_LETTERS)):
        code = ord(letter.lower()) if len(letter.lower()) == 1 else ord(letter)
        latin = _CYRILLIC.get(code, _GREEK.get(code))
        if latin is None:
            spelled.append("" if unicodedata.combining(letter) else letter)
        else:
            spelled.append(latin.capitalize() if letter.isupper() else latin)
    return "".join(spelled)
