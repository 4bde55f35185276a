"""Files kept by the hash of their content: reports, plots, model artifacts.

Belongs here: putting bytes on disk once, never changing them, and checking them when they are
read. Does not belong here: what a file shows, and who may see it (`webserver` serves them).
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from analytics_platform.lake.errors import LakeError

URL_PREFIX = "/files"
READ_ONLY = 0o444
LONGEST_NAME = 120

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SAFE_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}")
_UNSAFE_CHARACTERS = re.compile(r"[^A-Za-z0-9._-]+")


class FileNotStoredError(LakeError):
    """No file of that hash and name is in the store."""


class FileCorruptError(LakeError):
    """A file in the store no longer holds the bytes it was stored with."""


@dataclass(frozen=True)
class StoredFile:
    """One file of the store.

    Attributes:
        sha256: SHA-256 of the content, 64 lower-case hexadecimal digits.
        size: Bytes.
        name: The name it is served under; made of letters, digits, dot, dash and underscore.
        path: Where it lies on disk.
    """

    sha256: str
    size: int
    name: str
    path: Path


class FileStore:
    """Immutable files below one folder, laid out `<2 digits>/<sha256>/<name>`.

    The name is part of the address because it decides how a file is served: bytes stored as
    `.png` cannot be asked for as `.html`. Any number of processes may put and get at once: a file
    appears whole under its name, or not at all.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, content: bytes, name: str) -> StoredFile:
        """Keep a file; doing so again changes nothing.

        A stored file that has been damaged meanwhile is replaced by `content`, which has the hash
        it should have.

        Args:
            content: The bytes to keep.
            name: The wanted name, with its extension; characters that are unsafe in a path or a
                URL become underscores.

        Returns:
            The address of the file, with the name it was given.

        Raises:
            ValueError: If nothing is left of `name`.
        """
        safe_name = _safe_name(name)
        sha256 = hashlib.sha256(content).hexdigest()
        path = self._path(sha256, safe_name)
        stored = StoredFile(sha256, len(content), safe_name, path)
        if path.is_file() and path.read_bytes() == content:
            # Upkeep leaves young files alone: what is about to be recorded is young again.
            os.utime(path)
        else:
            self.take([content], safe_name)
        return stored

    def take(self, chunks: Iterable[bytes], name: str) -> StoredFile:
        """Keep what comes in pieces, in bounded memory, under the hash that it turns out to have.

        Args:
            chunks: The content. Where it raises, nothing is kept.
            name: The wanted name, as in `put`.
        """
        safe_name = _safe_name(name)
        self.root.mkdir(parents=True, exist_ok=True)
        # A name that starts with a dot is never served, so a file left by a killed process is
        # invisible.
        handle, temporary = tempfile.mkstemp(dir=self.root, prefix=".incoming-")
        digest, size = hashlib.sha256(), 0
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    size += file.write(chunk)
                file.flush()
                os.fchmod(file.fileno(), READ_ONLY)
                os.fsync(file.fileno())
            sha256 = digest.hexdigest()
            path = self._path(sha256, safe_name)
            path.parent.mkdir(parents=True, exist_ok=True)
            # One that stands already is replaced: it is the same, or was damaged meanwhile.
            os.replace(temporary, path)  # noqa: PTH105 - the one call that is atomic
        except BaseException:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()
            raise
        # Without it a power cut may forget the new name although the bytes are safe.
        sync_folders(path.parent, self.root)
        return StoredFile(sha256, size, safe_name, path)

    def has(self, sha256: str, name: str) -> bool:
        """Whether a file is stored; it is not read."""
        return self._path(sha256, name).is_file()

    def is_intact(self, sha256: str, name: str) -> bool:
        """Whether a file is stored and has the hash that it should have; it is read whole."""
        try:
            with self._path(sha256, name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except (FileNotFoundError, IsADirectoryError):
            return False

    def get(self, sha256: str, name: str) -> bytes:
        """The content of a stored file, checked against its hash.

        Raises:
            FileNotStoredError: If there is no such file; also for a hash or name that cannot be
                one, so that an address from outside needs no check of its own.
            FileCorruptError: If the bytes on disk have another hash.
        """
        if not _SHA256.fullmatch(sha256) or not _SAFE_NAME.fullmatch(name):
            raise FileNotStoredError(
                f"No stored file has the address {sha256!r}/{name!r}: expected 64 lower-case "
                "hexadecimal digits and a name of letters, digits, dots, dashes and underscores."
            )
        path = self._path(sha256, name)
        try:
            content = path.read_bytes()
        except (FileNotFoundError, IsADirectoryError) as error:
            raise FileNotStoredError(
                f"No file {name!r} with SHA-256 {sha256} in {self.root}. Materialise the asset "
                "that makes it again, or set the folder of files to where it was made."
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise FileCorruptError(
                f"Reading {path}: expected SHA-256 {sha256}, found {found}. The file was changed "
                "or damaged after it was stored; materialise the asset that makes it again, or "
                "restore the file from a backup."
            )
        return content

    def path(self, sha256: str, name: str) -> Path:
        """Where a stored file lies, for programs that open it themselves.

        Raises:
            FileNotStoredError: If it is not there.
        """
        path = self._path(sha256, name)
        if not path.is_file():
            raise FileNotStoredError(f"No file {name!r} with SHA-256 {sha256} in {self.root}.")
        return path

    @staticmethod
    def ui_path(stored: StoredFile) -> str:
        """The address of a stored file on the web server, relative to its host.

        The UI makes a link of it when it is given as `MetadataValue.url`, and shows a stored
        picture when it stands in `MetadataValue.md`.
        """
        return ui_path(stored.sha256, stored.name)

    def _path(self, sha256: str, name: str) -> Path:
        return self.root / sha256[:2] / sha256 / name


def ui_path(sha256: str, name: str) -> str:
    """The address of a file on the web server, by its hash and name."""
    return f"{URL_PREFIX}/{sha256}/{name}"


def real_paths(paths: Iterable[str]) -> set[str]:
    """The same paths with no link among their folders, so that they can be compared."""
    real: dict[str, str] = {}
    found: set[str] = set()
    for path in paths:
        folder, _, name = path.rpartition("/")
        if folder not in real:
            real[folder] = os.path.realpath(folder)
        found.add(f"{real[folder]}/{name}")
    return found


def replace_text(path: Path, text: str) -> None:
    """Replace a small file in one step: readers see the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - the one call that is atomic
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    sync_folders(path.parent, path.parent)


def _safe_name(name: str) -> str:
    cleaned = _UNSAFE_CHARACTERS.sub("_", name).lstrip("._-")
    if len(cleaned) > LONGEST_NAME:
        extension = Path(cleaned).suffix[:16]
        cleaned = cleaned[: LONGEST_NAME - len(extension)] + extension
    if not cleaned:
        raise ValueError(
            f"Storing a file named {name!r}: expected at least one letter or digit, found none."
        )
    return cleaned


def sync_folders(folder: Path, root: Path) -> None:
    """Write a folder's names to disk, and those of the folders above it up to `root`."""
    while True:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if folder == root:
            return
        folder = folder.parent
