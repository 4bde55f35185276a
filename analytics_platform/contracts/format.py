"""How one source writes its files: what `read_file` must know before it opens one.

A `FileFormat` is declared once per source and is checked as it is made, so that a slip in it
surfaces as the code location loads. Reading does not belong here.
"""

import codecs
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from analytics_platform.contracts.time_format import time_format_fault

FileKind: TypeAlias = Literal["csv", "parquet"]

ISO_DATE = "%Y-%m-%d"

#: The encodings that may be declared, by the codec's own name: those of whole texts that senders
#: still use. Codecs that keep a state over the text, or are none of text, are left out.
ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16, low byte first",
    "utf-16-be": "UTF-16, high byte first",
    "iso8859-1": "Latin-1",
    "iso8859-15": "Latin-9",
    "cp1252": "Windows-1252",
}

_GIB = 1024**3
_MIB = 1024**2
_NOT_IN_NUMBERS = frozenset("0123456789+-eE")
_CHOICES: dict[str, tuple[str, ...]] = {
    "kind": get_args(FileKind),
    "compression": ("auto", "none", "gzip"),
    "unknown_columns": ("fail", "ignore"),
    "missing_columns": ("fail", "null"),
}


@dataclass(frozen=True)
class FileFormat:
    """How the files of a source are written.

    A column may differ from the rest of its file; its contract says so in the column's metadata:
    `{"header": "Flight Date", "format": "%d/%m/%Y"}`.

    Attributes:
        kind: csv or parquet. What concerns text is of no effect for Parquet.
        delimiter: What parts values, one character.
        quote: What values with delimiters or line breaks are wrapped in, doubled inside them; ""
            where no value ever is, and the character is like any other.
        encoding: UTF-8 (a byte order mark is skipped), UTF-16 (which must have one),
            Latin-1, Latin-9 or Windows-1252.
        decimal: What parts a number from its fraction, one character.
        thousands: What may part a number's groups of three digits, one character; "" for none.
        date_format: The strptime format of dates, matched to the character.
        datetime_format: The same of times; None for ISO 8601 with seconds and without a zone.
        compression: `gzip`, `none`, or `auto`: gzip where the file's name ends in `.gz`.
        unknown_columns: Whether a column the contract does not know fails the file or is ignored.
        missing_columns: Whether a missing column fails the file, or is null where the contract
            has it nullable.
        max_bytes: The most a file may hold, uncompressed.
        max_line_bytes: The most one line of text may hold.

    Raises:
        ValueError: A value is not one of those admitted; the message names all that are not.
    """

    kind: FileKind
    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    decimal: str = "."
    thousands: str = ""
    date_format: str = ISO_DATE
    datetime_format: str | None = None
    compression: Literal["auto", "none", "gzip"] = "auto"
    unknown_columns: Literal["fail", "ignore"] = "fail"
    missing_columns: Literal["fail", "null"] = "fail"
    max_bytes: int = 2 * _GIB
    max_line_bytes: int = 16 * _MIB

    def __post_init__(self) -> None:
        if faults := [*self._choice_faults(), *self._character_faults(), *self._other_faults()]:
            raise ValueError(
                f"Declaring a file format: {'; '.join(faults)}. Correct the source's declaration."
            )

    @classmethod
    def of(cls, file_format: "FileFormat | FileKind") -> "FileFormat":
        """The format itself, or the usual format of a kind."""
        return file_format if isinstance(file_format, cls) else cls(kind=file_format)  # type: ignore[arg-type]

    @property
    def codec(self) -> str:
        """The encoding by its codec's name, one of `ENCODINGS`."""
        return codecs.lookup(self.encoding).name

    def _choice_faults(self) -> list[str]:
        return [
            f"{name} must be one of {', '.join(choices)}; found {getattr(self, name)!r}"
            for name, choices in _CHOICES.items()
            if getattr(self, name) not in choices
        ]

    def _character_faults(self) -> list[str]:
        faults = []
        characters = {
            "delimiter": self.delimiter,
            "quote": self.quote,
            "decimal": self.decimal,
            "thousands": self.thousands,
        }
        for name, value in characters.items():
            may_be_none = name in ("quote", "thousands")
            if isinstance(value, str) and (len(value) == 1 or (may_be_none and not value)):
                if value in ("\n", "\r", "\0"):
                    faults.append(f"{name} must not end a line or be NUL; found {value!r}")
                elif name in ("decimal", "thousands") and value in _NOT_IN_NUMBERS:
                    faults.append(f"{name} must not be a part of numbers; found {value!r}")
            else:
                or_none = " or ''" if may_be_none else ""
                faults.append(f"{name} must be one character{or_none}; found {value!r}")
        if self.delimiter == self.quote:
            faults.append(f"delimiter and quote must differ; found {self.quote!r} for both")
        if self.quote == " ":
            faults.append("quote must not be a space; found ' '")
        if self.decimal == self.thousands:
            faults.append(f"decimal and thousands must differ; found {self.decimal!r} for both")
        return faults

    def _other_faults(self) -> list[str]:
        faults = []
        try:
            is_known = codecs.lookup(self.encoding).name in ENCODINGS
        except (LookupError, TypeError, ValueError):
            is_known = False
        if not is_known:
            faults.append(
                f"encoding must be one of {', '.join(ENCODINGS)}; found {self.encoding!r}"
            )
        if fault := time_format_fault(self.date_format, of_a_date=True):
            faults.append(f"date_format {self.date_format!r} {fault}")
        if self.datetime_format is not None and (
            fault := time_format_fault(self.datetime_format, of_a_date=False)
        ):
            faults.append(f"datetime_format {self.datetime_format!r} {fault}")
        for name in ("max_bytes", "max_line_bytes"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                faults.append(f"{name} must be a whole number of bytes above 0; found {value!r}")
        return faults
