"""The landing zone: the place, near or far, in which outside systems put files.

Belongs here: listing what lies there and copying a file out of it, unchanged or not at all. Does
not belong here: which source a file belongs to (`landing`) and what becomes of it (`decide`).
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from analytics_platform.settings import folder_of

CHUNK_BYTES = 1 << 20

Kind = Literal["file", "folder", "link", "other"]


class FileChangedError(OSError):
    """A file is no longer the one that was seen."""


@dataclass(frozen=True)
class SeenFile:
    """Something that lies in a product's part of the landing zone.

    Attributes:
        path: Its path in the product's part, parted by `/`, as the ledger has it.
        size_bytes: Its size, as it lies there.
        version: Changes whenever the content may have changed; compared, never read.
        modified_at: When it was last written, in seconds since 1970.
        kind: Only a `file` is ever opened.
        fault: Why it cannot be read whatever it is; empty for a file.
    """

    path: str
    size_bytes: int
    version: str
    modified_at: float
    kind: Kind = "file"
    fault: str = ""

    @property
    def folder(self) -> str:
        """The path of what it lies in; empty for the product's part itself."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]


class LandingZone(ABC):
    """A landing zone, with a folder for each product.

    Args:
        url: Where it is.
    """

    shows_rights = False
    """Whether to let a file be read, or not, gives it another version."""

    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    def files(self, product: str) -> list[SeenFile]:
        """All that lies in a product's part, by path; empty where there is no such part.

        What is hidden, by a name that starts with a dot, is still being delivered and is not seen.

        Raises:
            OSError: If the landing zone cannot be looked at.
        """

    @abstractmethod
    def chunks(self, product: str, file: SeenFile) -> Iterator[bytes]:
        """The content of a file, which is the one that was seen from its first byte to its last.

        Raises:
            FileChangedError: If it is another by now, or was changed while it was read.
            OSError: If it cannot be read, or is gone (`FileNotFoundError`).
        """

    def address(self, product: str, path: str) -> str:
        """Where a path is, for people."""
        return f"{self.url.rstrip('/')}/{product}/{path}"

    def sha256(self, product: str, file: SeenFile, seconds: float = math.inf) -> str:
        """The hash of a file's content, by which an arrival is identified.

        Args:
            product: The product.
            file: The file.
            seconds: How long it may take.

        Raises:
            TimeoutError: If it takes longer.
            OSError: As `chunks` does.
        """
        until = time.monotonic() + seconds
        digest = hashlib.sha256()
        for chunk in self.chunks(product, file):
            if time.monotonic() > until:
                raise TimeoutError(f"Hashing {file.path}: it takes longer than {seconds:g} s.")
            digest.update(chunk)
        return digest.hexdigest()


class LocalZone(LandingZone):
    """A landing zone in a folder of this machine.

    Links are seen and never followed: a file outside the landing zone was not delivered into it.
    """

    shows_rights = True

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder

    def files(self, product: str) -> list[SeenFile]:
        """As `LandingZone` has it; folders, links and what else is no file are among them."""
        root = self.folder / product
        if not root.is_dir():
            return []
        # A folder that cannot be listed comes twice, and a name that is not UTF-8 may be spelled
        # like another. A path is seen once: what can be read, else what is wrong with it.
        rank = ("folder", "link", "other", "file")
        seen = sorted(_walk(str(root), ""), key=lambda file: (file.path, rank.index(file.kind)))
        return list({file.path: file for file in seen}.values())

    def chunks(self, product: str, file: SeenFile) -> Iterator[bytes]:
        """As `LandingZone` has it."""
        # Neither a link that took the file's place is followed nor a pipe waited for.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self.folder / product / file.path, flags)
        with open(descriptor, "rb") as content:  # noqa: PTH123 - of a descriptor
            _require_same(os.fstat(descriptor), file)
            while chunk := content.read(CHUNK_BYTES):
                yield chunk
            _require_same(os.fstat(descriptor), file)


def landing_zone(url: str) -> LandingZone:
    """The landing zone at an address.

    Args:
        url: A folder's path or `file://` address, or the address of a bucket or server that
            fsspec has a driver for, such as `s3://bucket/prefix`.

    Raises:
        ValueError: If no driver knows the address, or the driver is not installed.
    """
    folder = folder_of(url)
    if folder is not None:
        return LocalZone(folder)
    # Drivers cost up to a second to import.
    from analytics_platform.arrivals.far_zone import FarZone

    return FarZone(url)


def _walk(folder: str, below: str) -> Iterator[SeenFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
            path = f"{below}{name}"
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone since it was listed
            fault = "" if name == entry.name else "its name is not UTF-8"
            kind = _kind(status.st_mode)
            if kind == "folder" and not fault:
                yield _seen(path, status, "folder", "it is a folder")
                try:
                    yield from _walk(entry.path, f"{path}/")
                except PermissionError as error:
                    yield _seen(path, status, "other", f"the folder cannot be read: {error}")
                continue
            fault = fault or {
                "file": "",
                "link": "it is a link, and links are not followed",
            }.get(kind, "it is no file")
            yield _seen(path, status, "other" if kind == "file" and fault else kind, fault)


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


def _seen(path: str, status: os.stat_result, kind: Kind, fault: str) -> SeenFile:
    return SeenFile(path, status.st_size, _version(status), status.st_mtime, kind, fault)


def _version(status: os.stat_result) -> str:
    # A program may set the time of writing back, but not that of change.
    return f"{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def _require_same(status: os.stat_result, file: SeenFile) -> None:
    if (status.st_size, _version(status)) != (file.size_bytes, file.version):
        raise FileChangedError(
            f"Reading {file.path}: it was changed after it was seen. It is read again as soon as "
            "it stands still; deliver under a hidden name and rename it when complete."
        )
