"""A landing zone in a folder of this machine.

Belongs here: what a file system has, such as links, rights and names that are no text. Does not
belong here: stores that are reached over a network (`far_zone`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from analytics_platform.arrivals.zone import (
    CHUNK_BYTES,
    FileChangedError,
    Kind,
    LandingZone,
    SeenFile,
)


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
