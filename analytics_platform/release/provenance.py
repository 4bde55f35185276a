"""What a release was made of, so that it can be made again: files, code, settings, models.

Belongs here: gathering that into one manifest. Does not belong here: making it again
(`reproduce`).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from analytics_platform.lake import FileStore, ledger, records
from analytics_platform.release.log import FileAddress
from analytics_platform.settings import PROJECT_ROOT

# All that decides what a run computes; the lock file says which libraries.
CODE = ("analytics_platform", "assets", "dbt_project")
CODE_FILES = ("pyproject.toml", "requirements.lock", "workspace.yaml")
CODE_SUFFIXES = {".py", ".sql", ".yml", ".yaml", ".md", ".toml", ".lock", ".csv", ".json"}
LOCK_FILE = "requirements.lock"


def write_manifest(
    con: duckdb.DuckDBPyConnection, store: FileStore, product: str, snapshot: int, environment: str
) -> FileAddress:
    """Store the manifest of the state that a connection reads.

    Args:
        con: A connection with the lake attached as `lake`.
        store: The store of files.
        product: The product.
        snapshot: The state's snapshot.
        environment: The environment whose lake it is.
    """
    writes: dict[str, dict[str, int | None]] = {}
    for write in records.latest_writes(con, product).iter_rows(named=True):
        writes.setdefault(write["asset"], {})[write["partition"]] = write["rows"]
    manifest = {
        "product": product,
        "snapshot": snapshot,
        "code": code_version(store),
        "settings": {"environment": environment},
        "arrivals": _arrivals(con, product),
        "models": _models(con, product),
        "files": records.latest_files(con, product).to_dicts(),
        "writes": writes,
    }
    content = json.dumps(manifest, indent=1, default=str).encode()
    return FileAddress.of(store.put(content, f"{product}-manifest.json"))


def read_manifest(store: FileStore, address: FileAddress) -> dict[str, Any]:
    """The manifest of a release."""
    return json.loads(store.get(address.sha256, address.name))


def code_version(store: FileStore) -> dict[str, Any]:
    """The code that is running: an archive in the store, its commit where there is one."""
    archive = store.put(_archive(PROJECT_ROOT), "code.tar.gz")
    commit = _git("rev-parse", "HEAD")
    return {
        "sha256": archive.sha256,
        "name": archive.name,
        "commit": commit,
        "has_uncommitted_changes": bool(commit and _git("status", "--porcelain")),
        "lock_sha256": lock_hash(PROJECT_ROOT),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def lock_hash(root: Path) -> str:
    """The hash of a project's lock file; empty where it has none."""
    lock = root / LOCK_FILE
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else ""


def _archive(root: Path) -> bytes:
    """The same code gives the same bytes: no times, no owners, one order."""
    paths = [root / name for name in CODE_FILES if (root / name).is_file()]
    for folder in CODE:
        paths += [
            path
            for path in (root / folder).rglob("*")
            if path.is_file() and path.suffix in CODE_SUFFIXES and "__pycache__" not in path.parts
        ]
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for path in sorted(paths):
            content = path.read_bytes()
            entry = tarfile.TarInfo(path.relative_to(root).as_posix())
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _git(*arguments: str) -> str:
    """What git says of the project; empty where it is no checkout or git is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(PROJECT_ROOT), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _arrivals(con: duckdb.DuckDBPyConnection, product: str) -> list[dict[str, Any]]:
    """The files whose rows stand."""
    return (
        ledger.standing_files(con, product)
        .select(
            "source",
            "partition",
            "path",
            sha256="content_sha256",
            name="stored_name",
            rows="rows_in_file",
        )
        .to_dicts()
    )


def _models(con: duckdb.DuckDBPyConnection, product: str) -> list[dict[str, Any]]:
    """Every version, because predictions of other days may be an older one's.

    Each with what it takes to train it again, and whether it is the champion.
    """
    champions = dict(
        con.execute(
            "SELECT model, version FROM lake.ops.champions WHERE product = ? AND kind <> 'refused' "
            "QUALIFY row_number() OVER ("
            "PARTITION BY model ORDER BY snapshot_id DESC, decided_at DESC) = 1",
            [product],
        ).fetchall()
    )
    made = con.execute(
        "SELECT model, version, artifact_sha256 AS sha256, artifact_name AS name, trained_on, "
        "known_through, params, seed, note, declared, attachments "
        "FROM lake.ops.models WHERE product = ? ORDER BY model, version",
        [product],
    ).pl()
    return [
        {**entry, "is_champion": champions.get(entry["model"]) == entry["version"]}
        for entry in made.to_dicts()
    ]


def pinned_files(manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    """Every file of the store that a release needs beside its code: by `sha256` and `name`."""
    attached = [
        file
        for model in manifest["models"]
        for file in json.loads(model.get("attachments") or "{}").values()
    ]
    return [*manifest["files"], *manifest["models"], *attached, *manifest["arrivals"]]
