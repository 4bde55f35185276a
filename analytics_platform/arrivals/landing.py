"""What a product declares of its landing zone: whose files lie where, and how they are named."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import dataframely as dy
import polars as pl

from analytics_platform.contracts import SOURCE_FILE, SOURCE_LINE, FileFormat
from analytics_platform.lake import SchemaChange
from analytics_platform.lake.records import WHOLE
from analytics_platform.lake.tables import QUARANTINE, RAW

PARTITION = "{partition}"
ANY = "*"
FILE = "{file}"

QUARANTINE_COLUMNS = frozenset({SOURCE_FILE, SOURCE_LINE, "rules", "row", "text"})
"""What a quarantine has of every row, beside the source's partition column."""

_DAY = r"(?P<partition>\d{4}-\d{2}-\d{2})"
# What a terminal, a log line or a path's end would be broken by.
_PRINTABLE = r"[^/\x00-\x1f\x7f]*"


@dataclass(frozen=True, kw_only=True)
class LandingFolder:
    """Where the files of one source arrive, and how they are named.

    Attributes:
        product: The product it belongs to.
        name: The source's name; its tables are `raw_<name>` and `quarantine_<name>`.
        folder: Its folder in the product's landing zone.
        pattern: The file's name: `{partition}` where its day (ISO) stands, `*` for whatever tells
            several files of a day apart.
        marker: The name of the file that says that another is complete, with `{file}` for the
            other's name; empty where none does.
        settle_seconds: How long a file must have stood still before it is loaded by itself.
        due_hours: How many hours after a day has begun (UTC) its file is due; negative for one that
            comes before its day. None where only a later day's file tells that one is missing.
        first_day: The first day that may be delivered; None for a source delivered whole.
        end_day: The day after the last one.

    Raises:
        ValueError: If the folder, the pattern, the marker or the time to settle is none.
    """

    product: str
    name: str
    folder: str
    pattern: str
    marker: str = ""
    settle_seconds: float = 0.0
    due_hours: float | None = None
    first_day: dt.date | None = None
    end_day: dt.date | None = None

    def __post_init__(self) -> None:
        if any(not part or part.startswith(".") for part in self.folder.split("/")):
            raise ValueError(
                f"Source {self.name}: the folder {self.folder!r} must be a path in the product's "
                "landing zone, such as 'sales' or 'shops/sales', of which no part is hidden: no "
                "file would be found there. Correct its defs.yaml."
            )
        if not self.settle_seconds >= 0:
            raise ValueError(
                f"Source {self.name}: expected settle_seconds of 0 or more; found "
                f"{self.settle_seconds:g}. Correct its defs.yaml."
            )
        if self.pattern.startswith("."):
            raise ValueError(
                f"Source {self.name}: the pattern {self.pattern!r} is that of hidden files, which "
                "are still being delivered and never seen. Correct its defs.yaml."
            )
        if self.pattern.count(PARTITION) > 1 or "/" in self.pattern or not self.pattern:
            raise ValueError(
                f"Source {self.name}: the pattern {self.pattern!r} must be a file's name with "
                f"{PARTITION} once at the most. Correct its defs.yaml."
            )
        if self.marker and (self.marker.count(FILE) != 1 or self.marker == FILE):
            raise ValueError(
                f"Source {self.name}: the marker {self.marker!r} must hold {FILE} once, and more "
                f"than that, as {FILE}.done does. Correct its defs.yaml."
            )

    @property
    def asset(self) -> str:
        """The asset, and the table of rows that hold."""
        return RAW + self.name

    @property
    def quarantine(self) -> str:
        """The table of rows that broke a rule."""
        return QUARANTINE + self.name

    @cached_property
    def _named(self) -> re.Pattern[str]:
        parts = re.split(r"(\{partition\}|\*)", self.pattern)
        said = {PARTITION: _DAY, ANY: _PRINTABLE}
        return re.compile("".join(said.get(part, re.escape(part)) for part in parts))

    def partition_of(self, path: str) -> str | None:
        """The partition that a path says, or None where it is not this source's.

        Args:
            path: A path in the product's landing zone.
        """
        folder, _, name = path.rpartition("/")
        if folder != self.folder:
            return None
        matched = self._named.fullmatch(name)
        if matched is None:
            return None
        day = matched.groupdict().get("partition")
        if day is None:
            return WHOLE
        try:
            return dt.date.fromisoformat(day).isoformat()
        except ValueError:
            return None

    def expected(self, partition: str) -> str:
        """The path at which a partition's file is looked for."""
        return f"{self.folder}/{self.pattern.replace(PARTITION, partition)}"

    def marker_of(self, path: str) -> str:
        """The path of the file that says that another is complete; empty where none does."""
        if not self.marker:
            return ""
        folder, _, name = path.rpartition("/")
        return f"{folder}/{self.marker.replace(FILE, name)}"

    def has(self, partition: str) -> bool:
        """Whether a partition is one of the product's."""
        if self.first_day is None or self.end_day is None or partition == WHOLE:
            return True
        return self.first_day <= dt.date.fromisoformat(partition) < self.end_day


@dataclass(frozen=True)
class UsualVolume:
    """How many rows a partition usually has, against the median of recent ones.

    Attributes:
        least_share: The least, as a share of the median.
        most_share: The most, as a share of the median.
        days: Of how many days before it, at the most, the median is taken.
        at_least: Of how many days it must be taken to say anything.

    Raises:
        ValueError: If the numbers contradict each other.
    """

    least_share: float = 0.5
    most_share: float = 2.0
    days: int = 28
    at_least: int = 7

    def __post_init__(self) -> None:
        if not (0 <= self.least_share <= 1 <= self.most_share and 1 <= self.at_least <= self.days):
            raise ValueError(
                f"Declaring the usual volume: expected 0 ≤ least_share ≤ 1 ≤ most_share and "
                f"1 ≤ at_least ≤ days; found {self}. Correct the source's defs.yaml."
            )


@dataclass(frozen=True, kw_only=True)
class Source(LandingFolder):
    """One kind of arriving file, with one contract.

    Attributes:
        file_format: How its files are written.
        contract: The typed schema and rules of its rows.
        partition_column: The date column of its daily partitions; None for a source delivered
            whole.
        max_quarantined_share: The share of a partition's rows, 0 to 1, that may break a rule
            before the partition fails.
        schema_change: What to do when the contract's columns are no longer the table's.
        volume: How many rows are usual; None where any number is.

    Raises:
        ValueError: As `LandingFolder`, or if the share is none, or the partition column is not one
            of the contract's dates, has a name that the quarantine needs, or does not go with the
            pattern.
    """

    file_format: FileFormat
    contract: type[dy.Schema]
    partition_column: str | None
    max_quarantined_share: float
    schema_change: SchemaChange = "fail"
    volume: UsualVolume | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.max_quarantined_share <= 1:
            raise ValueError(
                f"Source {self.name}: expected max_quarantined_share to be a share of the rows, 0 "
                f"to 1; found {self.max_quarantined_share:g}, by which no delivery, or every one, "
                "would be too bad. Correct its defs.yaml."
            )
        column = self.partition_column
        if (column is None) == (PARTITION in self.pattern):
            raise ValueError(
                f"Source {self.name}: expected {PARTITION} in the pattern and a partition_column "
                f"together or neither; found the pattern {self.pattern!r} and "
                f"{'none' if column is None else repr(column)}. Correct its defs.yaml."
            )
        if column is None:
            return
        if column in QUARANTINE_COLUMNS:
            raise ValueError(
                f"Source {self.name}: the partition column may not be {column!r}, as the "
                "quarantine has a column of that name. Name it otherwise in the contract, with "
                "the file's own name as its header."
            )
        declared = self.contract.columns().get(column)
        if declared is None or declared.dtype != pl.Date:
            found = "no such column" if declared is None else str(declared.dtype)
            raise ValueError(
                f"Source {self.name}: expected the partition column {column!r} to be a date of "
                f"{self.contract.__name__}; found {found}. Correct its defs.yaml or contract.py."
            )


def sources_of(path: str, sources: Sequence[LandingFolder]) -> list[tuple[LandingFolder, str]]:
    """The sources whose file may lie at a path, each with its partition; at best there is one."""
    return [
        (source, partition)
        for source in sources
        if (partition := source.partition_of(path)) is not None
    ]
