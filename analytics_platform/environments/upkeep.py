"""Upkeep: merge small files, expire old snapshots, remove files that nothing refers to.

What may go is decided by looking at everything that could need it: the working state of every
environment, every release in every log, every file that a record names. DuckLake's own clean-up
is not used, because it knows one catalog only and would remove what a clone or a release reads.

Belongs here: the lake's and the store's upkeep. Does not belong here: Dagster's logs
(`components.upkeep`), and when upkeep runs.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterable, Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from analytics_platform.environments.clone import all_environments
from analytics_platform.lake import FileStore, Lake, LakeError
from analytics_platform.lake.catalog import (
    data_folder,
    files_of_frozen,
    forget_scheduled,
    referenced_files,
    scheduled_files,
)
from analytics_platform.lake.files import real_paths
from analytics_platform.release.log import (
    DOCUMENT,
    Decision,
    FileAddress,
    ReleaseLog,
    products_with_releases,
)
from analytics_platform.release.provenance import pinned_files, read_manifest

GRACE = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Freed:
    """What upkeep did.

    Attributes:
        merged: Small files that were merged into larger ones.
        snapshots: Snapshots that were expired.
        data_files: Data files that were removed.
        stored_files: Files of the store that were removed.
        lakes: Whole lakes, replaced by a clone, that were removed.
        bytes: How much was freed.
    """

    merged: int
    snapshots: int
    data_files: int
    stored_files: int
    lakes: int
    bytes: int


def keep_up(lake: Lake, store: FileStore, retention: dt.timedelta) -> Freed:
    """Keep one environment's lake up, and the store of files.

    Runs beside readers and runs: it takes the turns that a writer takes. What is younger than the
    retention stays, so a reader that started within it finds everything it needs.

    Args:
        lake: The environment's lake.
        store: The store of files, which all environments share.
        retention: How long snapshots, and files that nothing refers to, are kept.

    Raises:
        LakeError: If a lake of the installation does not lie where it was made. Its catalog names
            no file that is there then, and every one would seem to be needed by nobody.
    """
    if not lake.exists:
        return Freed(0, 0, 0, 0, 0, 0)
    _require_in_place(lake)
    before = dt.datetime.now(dt.UTC) - retention
    # Removing comes first: merging takes room, and the disk may be full.
    with (
        all_environments(lake, "upkeep"),
        lake.writing("remove files that nothing refers to"),
    ):
        forget_scheduled(lake.catalog, before)
        needed = _needed_data(lake, store) | _needed_by_given_up(lake, before)
        _remove_drafts(lake)
        removed, freed, lakes = _remove_data(lake, needed, before)
        stored, freed_store = _remove_stored(lake, store, before)
    # In a turn of its own, so that a waiting writer gets one between.
    merged, snapshots = _compact(lake, store, before)
    return Freed(merged, snapshots, removed, stored, lakes, freed + freed_store)


def missing_files(lake: Lake, store: FileStore) -> list[str]:
    """Files that a lake, a release or a record needs and that are not there; should be empty.

    What a missing catalog or manifest names itself cannot be looked for, so mend those first.
    """
    lost = {
        (address.sha256, address.name)
        for decision in _decisions(lake, store)
        if decision.serving is not None
        for address in (decision.serving.catalog, decision.serving.manifest)
        if not store.has(address.sha256, address.name)
    }
    data = {path for path in _needed_data(lake, store, lost) if not Path(path).is_file()}
    stored = {
        f"{sha256}/{name}"
        for sha256, name in _needed_stored(lake, store, lost)
        if not store.has(sha256, name)
    }
    return [*sorted(data), *sorted(stored)]


def environments_beside(lake: Lake) -> list[Lake]:
    """The lakes of every environment of the installation, this one among them."""
    return [
        Lake(link.parent, lake.writer_wait_seconds)
        for link in sorted(lake.folder.parent.glob("*/lake"))
        if link.is_symlink()
    ]


def _require_in_place(lake: Lake) -> None:
    for other in environments_beside(lake):
        made, lies = data_folder(other.catalog), other.data
        if made != lies:
            raise LakeError(
                f"Keeping up {lake.folder}: the lake of {other.folder.name} was made with its data "
                f"in {made}, and lies in {lies} now. Its catalog and its releases name the files "
                "where they were. Nothing was removed. Put the installation back there, or make a "
                "link to it there."
            )


def _compact(lake: Lake, store: FileStore, before: dt.datetime) -> tuple[int, int]:
    """Merge small files and expire snapshots; gives files merged and snapshots expired."""
    with lake.writer("merge small files and expire snapshots") as con:
        kept_from = _oldest_needed_snapshot(lake, store)
        merged = sum(
            row[2] for row in con.execute("CALL ducklake_merge_adjacent_files('lake')").fetchall()
        )
        old = [
            str(row[0])
            for row in con.execute(
                "SELECT snapshot_id FROM lake.snapshots() "
                "WHERE snapshot_time < ?::TIMESTAMPTZ AND snapshot_id < ? "
                "AND snapshot_id < (SELECT id FROM lake.current_snapshot())",
                [before, kept_from],
            ).fetchall()
        ]
        if old:
            con.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{', '.join(old)}])")
    return merged, len(old)


def _oldest_needed_snapshot(lake: Lake, store: FileStore) -> int:
    """The snapshot up to which each product's changes were judged and released.

    The gate finds a change that no run recorded in DuckLake's list of changes, which goes with
    the snapshot; so a snapshot stays until a release has looked at it.
    """
    with lake.reader() as con:
        products = [
            name
            for (name,) in con.execute(
                "SELECT DISTINCT product FROM lake.ops.writes ORDER BY 1"
            ).fetchall()
        ]
    oldest: list[int] = []
    for product in products:
        newest = ReleaseLog(lake, store, product).newest()
        serving = newest.serving if newest is not None else None
        oldest.append(serving.snapshot if serving is not None else 0)
    return min(oldest, default=0)


def _decisions(lake: Lake, store: FileStore) -> Iterator[Decision]:
    """Every release decision on every product of every environment."""
    for other in environments_beside(lake):
        for product in products_with_releases(other):
            yield from ReleaseLog(other, store, product).decisions()


def _needed_data(
    lake: Lake, store: FileStore, lost: Set[tuple[str, str]] = frozenset()
) -> set[str]:
    """Every data file that a working state or a release of any environment names.

    Files that a catalog has just done with count too: a query that was planned before may open
    them yet. They stay for the retention.

    Args:
        lake: A lake of the installation.
        store: The store of files.
        lost: Addresses of catalogs not to open; opening one that is gone raises.
    """
    needed: set[str] = set()
    for other in environments_beside(lake):
        needed |= referenced_files(other.catalog) | scheduled_files(other.catalog)
    catalogs = {
        (decision.serving.catalog.sha256, decision.serving.catalog.name)
        for decision in _decisions(lake, store)
        if decision.serving is not None
    }
    needed |= files_of_frozen(store.path(sha256, name) for sha256, name in catalogs - lost)
    return real_paths(needed)


def _needed_by_given_up(lake: Lake, before: dt.datetime) -> set[str]:
    """Every data file that a lake names which was replaced since a moment, its origin's among them.

    A reader that opened it before it was replaced may read it still.
    """
    needed: set[str] = set()
    for other in environments_beside(lake):
        for place in (other.folder.resolve() / "lakes").iterdir():
            if place != other.place and not _is_older(place, before):
                # What a killed clone left half made has no reader.
                with suppress(duckdb.Error):
                    catalog = place / "catalog.sqlite"
                    needed |= referenced_files(catalog) | scheduled_files(catalog)
    return real_paths(needed)


def _needed_stored(
    lake: Lake, store: FileStore, lost: Set[tuple[str, str]] = frozenset()
) -> set[tuple[str, str]]:
    """Every file of the store that a decision, a release or a record of any environment names.

    Args:
        lake: A lake of the installation.
        store: The store of files.
        lost: Addresses of manifests not to read; reading one that is gone raises.
    """
    needed: set[tuple[str, str]] = set()
    for other in environments_beside(lake):
        with other.reader() as con:
            rows = con.execute(
                "SELECT sha256, name FROM lake.ops.files WHERE name IS NOT NULL "
                "UNION SELECT artifact_sha256, artifact_name FROM lake.ops.models "
                "UNION SELECT file->>'sha256', file->>'name' FROM (SELECT "
                "unnest(json_extract(attachments, '$.*')) AS file FROM lake.ops.models) "
                "UNION SELECT content_sha256, stored_name FROM lake.ops.arrivals "
                "WHERE stored_name IS NOT NULL"
            ).fetchall()
        needed |= {(sha256, name) for sha256, name in rows}
    manifests: set[FileAddress] = set()
    for decision in _decisions(lake, store):
        needed.add((decision.address, DOCUMENT))
        if decision.serving is not None:
            manifests.add(decision.serving.manifest)
            needed.add((decision.serving.catalog.sha256, decision.serving.catalog.name))
    for address in manifests:
        needed.add((address.sha256, address.name))
        if (address.sha256, address.name) in lost:
            continue
        manifest = read_manifest(store, address)
        named = [manifest["code"], *pinned_files(manifest)]
        needed |= {(entry["sha256"], entry["name"]) for entry in named if entry["name"]}
    return needed


def _remove_drafts(lake: Lake) -> None:
    """Remove what a killed clone or decision left half done; the turns say that none is at work."""
    with lake.releases_turn.held("remove drafts"):
        for draft in [*lake.folder.glob(".lake-*"), *lake.releases.glob("*/.new-*")]:
            draft.unlink()


def _remove_data(lake: Lake, needed: set[str], before: dt.datetime) -> tuple[int, int, int]:
    """Remove data files that nothing names; gives files, bytes and whole lakes."""
    removed, freed, lakes = 0, 0, 0
    for place in sorted((lake.folder.resolve() / "lakes").iterdir()):
        given_up = place != lake.place
        if given_up and not _is_older(place, before):
            # A reader that opened it before it was replaced may read it still.
            continue
        for path in list(_files_below(place / "data")):
            if str(path) not in needed and _is_older(path, before):
                freed += path.stat().st_size
                path.unlink()
                removed += 1
        if given_up and not any(True for _ in _files_below(place / "data")):
            shutil.rmtree(place)
            lakes += 1
    return removed, freed, lakes


def _remove_stored(lake: Lake, store: FileStore, before: dt.datetime) -> tuple[int, int]:
    needed = {f"{sha256}/{name}" for sha256, name in _needed_stored(lake, store)}
    # A run stores a file moments before it records it, and holds no turn in between.
    before = min(before, dt.datetime.now(dt.UTC) - GRACE)
    removed, freed = 0, 0
    for path in list(_files_below(store.root)):
        if f"{path.parent.name}/{path.name}" not in needed and _is_older(path, before):
            freed += path.stat().st_size
            path.unlink()
            removed += 1
    return removed, freed


def _files_below(folder: Path) -> Iterable[Path]:
    return _walk(folder) if folder.is_dir() else ()


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path


def _is_older(path: Path, before: dt.datetime) -> bool:
    return not path.exists() or path.stat().st_mtime < before.timestamp()
