"""A landing zone on another machine: a bucket of S3, or whatever else fsspec reaches.

Belongs here: what a store of objects has instead of folders, times of change and errors of the
operating system. Does not belong here: which store it is, and with which credentials: fsspec's
drivers take these from their own environment variables (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from analytics_platform.arrivals.zone import (
    CHUNK_BYTES,
    FileChangedError,
    LandingZone,
    SeenFile,
)

# One request fetches as much; s3fs's own 50 MiB would be held in memory twice.
BLOCK_BYTES = 8 << 20

# A look must fail before Dagster gives up the sensor's tick, which is after 60 s; the library's own
# patience with an endpoint that never answers is seven minutes.
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {
        "config_kwargs": {
            "connect_timeout": 5,
            "read_timeout": 10,
            "retries": {"mode": "standard", "max_attempts": 2},
        }
    }
}

# What the drivers call the tag of a content, and the time of writing.
_TAGS = ("ETag", "etag", "md5Hash", "generation")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")


class FarZone(LandingZone):
    """A landing zone that fsspec reaches.

    A listing is asked for anew every time. A store of objects has no folders: those that the
    objects' names imply are seen as folders, as they are in a folder of this machine.

    Args:
        url: Where it is, such as `s3://bucket/prefix`.

    Raises:
        ValueError: If no driver knows the address, the driver is not installed, or the address
            holds a password.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._process = os.getpid()
        self._filesystem, self._root = _connect(url)

    def files(self, product: str) -> list[SeenFile]:
        """As `LandingZone` has it; a request per 1,000 objects, and none per object (S3)."""
        seen = [_seen(path, info) for path, info in self._list(product).items()]
        # An object may have the name of a folder, which then goes unsaid: a path is seen once.
        by_path = {folder.path: folder for folder in _folders(seen)}
        for file in sorted(seen, key=lambda file: file.kind != "folder"):
            by_path[file.path] = file
        return sorted(by_path.values(), key=lambda file: file.path)

    def chunks(self, product: str, file: SeenFile) -> Iterator[bytes]:
        """As `LandingZone` has it; holds a few blocks of 8 MiB in memory."""
        name, address = self._name(product, file.path), self.address(product, file.path)
        with _errors_of(f"Opening {address}"):
            content = self._fs.open(name, "rb", block_size=BLOCK_BYTES, cache_type="readahead")
        with content:
            with _errors_of(f"Looking at {address}"):
                # Of an s3fs file the very look that its reads are bound to.
                info = getattr(content, "details", None) or self._fs.info(name)
            _require_same(info, file)
            while chunk := self._read(content, name, file, address):
                yield chunk
            if not _is_bound(content):
                self._look_again(name, file, address)

    def upload(self, product: str, folder: Path) -> Uploaded:
        """Put a folder's files into a product's part, leaving alone what is there already.

        A store of objects shows a file when it is whole; others may show half of one.

        Args:
            product: The product.
            folder: Its files, at any depth, go to the same paths; hidden ones do not go.

        Returns:
            How many files were written, and how many were there with the same content.

        Raises:
            OSError: If the landing zone cannot be looked at or written to.
        """
        there = self._list(product)
        local: dict[str, Path] = {}
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(folder).parts
            if path.is_file() and not any(part.startswith(".") for part in parts):
                local["/".join(parts)] = path
        differing = {
            name: path
            for name, path in local.items()
            if name not in there or not self._holds(product, _seen(name, there[name]), path)
        }
        if differing:
            with _errors_of(f"Uploading to {self.address(product, '')}"):
                self._fs.put(
                    [str(path) for path in differing.values()],
                    [self._name(product, name) for name in differing],
                )
        return Uploaded(len(differing), len(local) - len(differing))

    def _list(self, product: str) -> dict[str, Mapping[str, Any]]:
        """What the driver says of every object, by its path in the product's part."""
        root = self._name(product, "")
        address = self.address(product, "")
        with _errors_of(f"Listing {address}"):
            try:
                found = self._find(root.rstrip("/"))
            except FileNotFoundError as error:
                # Of S3 only a bucket's lack is an error: a part without files is an empty listing.
                raise OSError(f"there is no such place: {error}") from error
        return {
            name[len(root) :]: info
            for name, info in found.items()
            if name.startswith(root) and name != root and not _is_hidden(name[len(root) :])
        }

    def _find(self, root: str) -> dict[str, Mapping[str, Any]]:
        fs = self._fs
        if not _walks(fs):
            return fs.find(root, detail=True)
        # fsspec's own walk takes a folder below the first that it cannot list for empty, and its
        # `on_error` does not reach there (2026.9).
        found: dict[str, Mapping[str, Any]] = {}
        folders = [root]
        while folders:
            folder = folders.pop()
            try:
                listed = fs.ls(folder, detail=True)
            except FileNotFoundError:
                continue  # there is no such part, or the folder is gone since it was listed
            for info in listed:
                name = info["name"].rstrip("/")
                if name == folder:
                    continue
                found[name] = info
                if info["type"] == "directory" and not _is_hidden(name[len(root) :]):
                    folders.append(name)
        return found

    def _read(self, content: Any, name: str, file: SeenFile, address: str) -> bytes:
        try:
            with _errors_of(f"Reading {address}"):
                return content.read(CHUNK_BYTES)
        except OSError as error:
            # A read that is bound to a content fails when another has taken its place.
            try:
                self._look_again(name, file, address)
            except (FileChangedError, FileNotFoundError) as changed:
                raise changed from error
            except OSError:
                pass  # the first error says more
            raise

    def _look_again(self, name: str, file: SeenFile, address: str) -> None:
        with _errors_of(f"Looking at {address}"):
            info = self._fs.info(name)
        _require_same(info, file)

    def _holds(self, product: str, seen: SeenFile, path: Path) -> bool:
        if seen.kind != "file" or seen.size_bytes != path.stat().st_size:
            return False
        with path.open("rb") as content:
            md5 = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False))
            # S3's tag of an object is its MD5, unless it was put in parts or encrypted.
            if seen.version.partition(":")[0].strip('"') == md5.hexdigest():
                return True
            content.seek(0)
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        return self.sha256(product, seen) == sha256

    def _name(self, product: str, path: str) -> str:
        return f"{self._root}/{product}/{path}"

    @property
    def _fs(self) -> Any:
        # A connection does not survive a fork.
        if self._process != os.getpid():
            self._process = os.getpid()
            self._filesystem, self._root = _connect(self.url)
        return self._filesystem


@dataclass(frozen=True)
class Uploaded:
    """What an upload did.

    Attributes:
        written: Files that are new or whose content differed.
        unchanged: Files that were there already with the same content.
    """

    written: int
    unchanged: int


def _connect(url: str) -> tuple[Any, str]:
    import fsspec
    from fsspec.dircache import DirCache

    scheme = url.partition("://")[0]
    if urlsplit(url).password is not None:
        raise ValueError(
            f"The landing zone ({scheme}://…) holds a password, which logs would show. Give it by "
            "the environment variables of the driver."
        )
    if "::" in url:
        raise ValueError(
            f"The landing zone {url} chains file systems, which may keep old listings. Name one, "
            "such as s3://bucket/prefix."
        )
    try:
        # An instance of its own: a shared one has listings that others asked it to keep.
        filesystem, root = fsspec.url_to_fs(
            url, skip_instance_cache=True, **_OPTIONS.get(scheme, {})
        )
    except ImportError as error:
        raise ValueError(
            f"The landing zone {url} needs a driver that is not installed: {error}."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"The landing zone {url}: no driver of fsspec knows {scheme}://, or the address is not "
            f"whole ({error}). Expected a folder or an address such as s3://bucket/prefix."
        ) from error
    if not root.strip("/"):
        raise ValueError(f"The landing zone {url} names no bucket. Write {scheme}://bucket/prefix.")
    filesystem.dircache = DirCache(use_listings_cache=False)
    if scheme == "s3":
        # botocore tries again by itself; s3fs would have it do so five times over.
        filesystem.retries = 1
    return filesystem, root.rstrip("/")


@contextmanager
def _errors_of(doing: str) -> Iterator[None]:
    """Whatever a driver raises as an `OSError` that says what was done, and where."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{doing}: it is gone ({error}).") from error
    except PermissionError as error:
        raise PermissionError(
            f"{doing}: it is not allowed ({error}). Look at the credentials and what they may do."
        ) from error
    except OSError as error:
        raise OSError(f"{doing}: {error}") from error
    except Exception as error:
        # Drivers raise what their libraries raise; botocore's errors are no OSError.
        raise OSError(f"{doing}: {type(error).__name__}: {error}") from error


def _walks(filesystem: Any) -> bool:
    """Whether a driver lists by fsspec's own walk, folder by folder."""
    from fsspec import AbstractFileSystem
    from fsspec.asyn import AsyncFileSystem

    if isinstance(filesystem, AsyncFileSystem):
        return type(filesystem)._find is AsyncFileSystem._find
    return type(filesystem).find is AbstractFileSystem.find


def _is_bound(content: Any) -> bool:
    # s3fs asks for each block on the condition that the object has the tag that it had when opened.
    return "IfMatch" in getattr(content, "read_kw", {})


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") and part not in {".", ".."} for part in path.split("/"))


def _seen(path: str, info: Mapping[str, Any]) -> SeenFile:
    size, version, modified = int(info.get("size") or 0), _version(info), _modified_at(info)
    if path.endswith("/") and size == 0 and not _fault(path.rstrip("/")):
        # By such objects consoles show empty folders.
        return SeenFile(path.rstrip("/"), 0, version, modified, "folder", "it is a folder")
    fault = _fault(path)
    if fault:
        return SeenFile(path, size, version, modified, "other", fault)
    kind = info.get("type")
    if kind == "directory":
        return SeenFile(path, size, version, modified, "folder", "it is a folder")
    if kind == "link" or info.get("islink"):
        fault = "it is a link, and links are not followed"
        return SeenFile(path, size, version, modified, "link", fault)
    if kind != "file":
        return SeenFile(path, size, version, modified, "other", "it is no file")
    return SeenFile(path, size, version, modified)


def _fault(path: str) -> str:
    """Why a name cannot be a file's whatever lies there; a driver would open another, or none."""
    parts = path.split("/")
    if "" in parts:
        return "its path has an empty part"
    if "." in parts or ".." in parts:
        return "its path has a part . or .."
    if "?versionId=" in path:
        return "its name holds ?versionId=, which S3's driver takes for a version"
    return ""


def _folders(files: list[SeenFile]) -> Iterator[SeenFile]:
    """The folders that the objects' names imply, as new as the newest in them."""
    newest: dict[str, float] = {}
    for file in files:
        folder = "" if file.kind == "other" else file.folder
        while folder:
            newest[folder] = max(newest.get(folder, 0.0), file.modified_at)
            folder = folder.rpartition("/")[0]
    for path, modified_at in newest.items():
        yield SeenFile(path, 0, "", modified_at, "folder", "it is a folder")


def _version(info: Mapping[str, Any]) -> str:
    tag = next((str(info[key]) for key in _TAGS if info.get(key)), "")
    modified_at = _modified_at(info)
    if tag:
        # In whole seconds: some stores list milliseconds and say seconds of a single object.
        return f"{tag}:{int(modified_at)}"
    if modified_at:
        return repr(modified_at)
    return hashlib.sha256(repr(sorted(info.items())).encode()).hexdigest()


def _modified_at(info: Mapping[str, Any]) -> float:
    moment = next((info[key] for key in _TIMES if info.get(key)), 0.0)
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)


def _require_same(info: Mapping[str, Any], file: SeenFile) -> None:
    if (int(info.get("size") or 0), _version(info)) != (file.size_bytes, file.version):
        raise FileChangedError(
            f"Reading {file.path}: it was changed after it was seen. It is read again as soon as "
            "it stands still; put an object once, when it is complete."
        )
