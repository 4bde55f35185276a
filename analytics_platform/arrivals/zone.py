"""What a landing zone is: the place, near or far, in which outside systems put files.

Belongs here: what is seen of a file, and what every zone can do. Does not belong here: how a folder
(`local_zone`) or a store (`far_zone`) does it, which source a file belongs to (`landing`) and what
becomes of it (`decide`).
"""

from __future__ import annotations

import hashlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

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
