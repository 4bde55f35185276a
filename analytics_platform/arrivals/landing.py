"""The landing zone: a folder per product and source, in which an outside system puts files."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import dataframely as dy

from analytics_platform.contracts import FileFormat
from analytics_platform.lake import SchemaChange
from analytics_platform.lake.records import WHOLE

PARTITION = "{partition}"


@dataclass(frozen=True)
class LandingFolder:
    """Where the files of one source arrive, and how they are named.

    Attributes:
        product: The product it belongs to.
        name: The source's name; its tables are `raw_<name>` and `quarantine_<name>`.
        folder: Its folder in the product's landing zone.
        pattern: The file's name, with `{partition}` where its day (ISO) stands.
    """

    product: str
    name: str
    folder: str
    pattern: str

    @property
    def asset(self) -> str:
        """The asset, and the table of rows that hold."""
        return f"raw_{self.name}"

    @property
    def quarantine(self) -> str:
        """The table of rows that broke a rule."""
        return f"quarantine_{self.name}"

    def file_name(self, partition: str) -> str:
        """The name that a partition's file has."""
        return self.pattern.replace(PARTITION, partition)

    def partition_of(self, file_name: str) -> str | None:
        """The partition that a file's name says, or None where the name is not this source's."""
        before, marker, after = self.pattern.partition(PARTITION)
        if not marker:
            return WHOLE if file_name == self.pattern else None
        matched = re.fullmatch(
            re.escape(before) + r"(\d{4}-\d{2}-\d{2})" + re.escape(after), file_name
        )
        if matched is None:
            return None
        try:
            return dt.date.fromisoformat(matched[1]).isoformat()
        except ValueError:
            return None


@dataclass(frozen=True)
class Source(LandingFolder):
    """One kind of arriving file, with one contract.

    Attributes:
        file_format: How its files are written.
        contract: The typed schema and rules of its rows.
        partition_column: The date column of its daily partitions; None for a source delivered
            whole.
        max_quarantined_share: The share of a file's rows, 0 to 1, that may break a rule before
            the partition fails.
        schema_change: What to do when the contract's columns are no longer the table's.
    """

    file_format: FileFormat
    contract: type[dy.Schema]
    partition_column: str | None
    max_quarantined_share: float
    schema_change: SchemaChange = "fail"


@dataclass(frozen=True)
class ArrivedFile:
    """One file as it lies in the landing zone.

    Attributes:
        path: Where it lies.
        name: Its path inside the product's landing zone, as the ledger has it.
        partition: The partition its name says, or `WHOLE`.
        size_bytes: Its size.
        modified_ns: When it was last written, in nanoseconds since 1970.
    """

    path: Path
    name: str
    partition: str
    size_bytes: int
    modified_ns: int

    def sha256(self) -> str:
        """The hash of its content, by which an arrival is identified."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def scan(source: LandingFolder, landing: Path) -> list[ArrivedFile]:
    """The files of a source that lie in the landing zone, by partition.

    Hidden files are still being delivered; names that are not the source's are not its files.
    """
    folder = landing / source.product / source.folder
    if not folder.is_dir():
        return []
    found: list[ArrivedFile] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            partition = source.partition_of(entry.name)
            if partition is None or not entry.is_file(follow_symlinks=False):
                continue
            status = entry.stat(follow_symlinks=False)
            found.append(
                ArrivedFile(
                    Path(entry.path),
                    f"{source.folder}/{entry.name}",
                    partition,
                    status.st_size,
                    status.st_mtime_ns,
                )
            )
    return sorted(found, key=lambda file: file.partition)
