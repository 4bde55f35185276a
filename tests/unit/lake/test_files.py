"""A stored file is whole, unchanged and only at its own address, whatever happens around it."""

from __future__ import annotations

import hashlib
import os
import stat
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.lake.files import (
    LONGEST_NAME,
    FileCorruptError,
    FileNotStoredError,
    FileStore,
    StoredFile,
)

CONTENT = b"<html>report</html>"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "files")


def files_below(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_file_lies_under_its_hash_and_is_read_back(store):
    stored = store.put(CONTENT, "drift.html")

    assert (stored.sha256, stored.size, stored.name) == (SHA256, len(CONTENT), "drift.html")
    assert files_below(store.root) == [f"{SHA256[:2]}/{SHA256}/drift.html"]
    assert stored.path.read_bytes() == CONTENT
    assert store.get(SHA256, "drift.html") == CONTENT
    assert FileStore.ui_path(stored) == f"/files/{SHA256}/drift.html"


@pytest.mark.parametrize("way", ["put", "take"])
def test_a_stored_file_is_read_only_and_storing_it_again_makes_it_young(
    store: FileStore, way: str
) -> None:
    def keep() -> StoredFile:
        if way == "put":
            return store.put(CONTENT, "drift.html")
        return store.take([CONTENT[:3], CONTENT[3:]], "drift.html")

    stored = keep()
    os.utime(stored.path, (1000, 1000))
    before = stored.path.stat()
    assert keep() == stored
    after = stored.path.stat()
    assert stat.S_IMODE(after.st_mode) == 0o444
    if way == "put":
        assert after.st_ino == before.st_ino, "the bytes were left alone"
    # Upkeep spares young files: what is about to be recorded must not go meanwhile.
    assert time.time() - after.st_mtime < 60


def test_what_comes_in_pieces_is_kept_under_its_hash(store: FileStore) -> None:
    stored = store.take((CONTENT[k : k + 3] for k in range(0, len(CONTENT), 3)), "week 7.csv")
    assert (stored.sha256, stored.size, stored.name) == (SHA256, len(CONTENT), "week_7.csv")
    assert store.get(SHA256, "week_7.csv") == CONTENT


def test_what_stops_coming_is_not_kept(store: FileStore) -> None:
    def stopping() -> Iterator[bytes]:
        yield CONTENT
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        store.take(stopping(), "drift.html")
    assert files_below(store.root) == []


def test_taking_a_file_again_mends_a_damaged_one(store: FileStore) -> None:
    stored = store.put(CONTENT, "drift.html")
    stored.path.chmod(0o644)
    stored.path.write_bytes(CONTENT[::-1])
    store.take([CONTENT], "drift.html")
    assert store.get(SHA256, "drift.html") == CONTENT


def test_a_large_file_is_kept_in_bounded_memory(store: FileStore) -> None:
    chunk, count = 1 << 20, 32
    tracemalloc.start()
    try:
        stored = store.take((bytes(chunk) for _ in range(count)), "large.bin")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stored.size == chunk * count
    assert most < 8 * chunk


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("week 7/2013.html", "week_7_2013.html"),
        ("../../etc/passwd", "etc_passwd"),
        (".hidden.txt", "hidden.txt"),
        ("a" * 300 + ".html", "a" * (LONGEST_NAME - 5) + ".html"),
        ("späť?<x>.png", "sp_x_.png"),
    ],
)
def test_names_are_made_safe(store, name, safe):
    stored = store.put(CONTENT, name)

    assert stored.name == safe
    assert store.get(stored.sha256, stored.name) == CONTENT
    assert stored.path.resolve().is_relative_to(store.root.resolve())


# Syncing to disk takes as long as the machine's other work lets it.
@settings(deadline=None)
@given(name=st.text(max_size=200), content=st.binary(max_size=50))
def test_any_name_is_refused_or_kept_inside_the_store(tmp_path_factory, name, content):
    store = FileStore(tmp_path_factory.mktemp("files"))
    if not any(character.isascii() and character.isalnum() for character in name):
        with pytest.raises(ValueError, match="at least one letter or digit"):
            store.put(content, name)
        return
    stored = store.put(content, name)
    assert store.get(stored.sha256, stored.name) == content
    assert stored.path.parent.parent.parent == store.root
    assert store.put(content, stored.name) == stored


@pytest.mark.parametrize("name", ["", "...", "/", "-_."])
def test_a_name_without_letters_or_digits_is_refused(store, name):
    with pytest.raises(ValueError, match="at least one letter or digit, found none"):
        store.put(CONTENT, name)


@pytest.mark.parametrize(
    ("sha256", "name"),
    [
        pytest.param("0" * 64, "drift.html", id="unknown-hash"),
        pytest.param(SHA256, "drift.png", id="other-name"),
        pytest.param(SHA256.upper(), "drift.html", id="upper-case"),
        pytest.param(SHA256[:63], "drift.html", id="short-hash"),
        pytest.param(SHA256 + "\n", "drift.html", id="line-end"),
        pytest.param("..", "drift.html", id="parent-as-hash"),
        pytest.param(SHA256, "../drift.html", id="parent-in-name"),
        pytest.param(SHA256, "..", id="parent-as-name"),
        pytest.param(SHA256, "", id="no-name"),
        pytest.param(SHA256, "drift.html\x00", id="null-byte"),
        pytest.param(SHA256, "/etc/passwd", id="absolute"),
    ],
)
def test_what_is_not_a_stored_address_is_not_found(store, sha256, name):
    store.put(CONTENT, "drift.html")
    with pytest.raises(FileNotStoredError):
        store.get(sha256, name)


def test_the_path_of_a_stored_file(store: FileStore) -> None:
    stored = store.put(CONTENT, "drift.html")
    assert store.path(SHA256, "drift.html") == stored.path
    with pytest.raises(FileNotStoredError, match=r"No file 'other\.html'"):
        store.path(SHA256, "other.html")


def test_a_file_being_written_cannot_be_read(store):
    stored = store.put(CONTENT, "drift.html")
    (stored.path.parent / ".incoming-x1").write_bytes(CONTENT)
    with pytest.raises(FileNotStoredError):
        store.get(SHA256, ".incoming-x1")


def test_a_damaged_file_is_reported_and_healed_by_the_next_put(store):
    stored = store.put(CONTENT, "drift.html")
    stored.path.chmod(0o644)
    stored.path.write_bytes(b"<html>changed</html>")
    found = hashlib.sha256(b"<html>changed</html>").hexdigest()

    with pytest.raises(FileCorruptError, match=f"expected SHA-256 {SHA256}, found {found}"):
        store.get(SHA256, "drift.html")

    assert store.put(CONTENT, "drift.html") == stored
    assert store.get(SHA256, "drift.html") == CONTENT


@pytest.mark.parametrize("way", ["put", "take"])
def test_a_failed_write_leaves_nothing_behind(store, monkeypatch, way):
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    content = CONTENT if way == "put" else [CONTENT]
    with pytest.raises(OSError, match="No space left"):
        getattr(store, way)(content, "drift.html")
    assert files_below(store.root) == []


def test_many_writers_of_the_same_and_of_other_content(store):
    contents = [f"report {i % 5}".encode() * 10_000 for i in range(100)]
    with ThreadPoolExecutor(16) as pool:
        stored = list(pool.map(lambda content: store.put(content, "report.txt"), contents))

    assert len(files_below(store.root)) == 5
    assert [store.get(file.sha256, file.name) for file in stored] == contents
