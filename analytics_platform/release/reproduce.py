"""Make a release again in an empty lake, and certify what came out.

Everything comes from the release's manifest: the arrived files and the code by their content, and
the lock file with the code. The pipeline runs in a process of its own, on that code.

Belongs here: setting up, running and comparing. Does not belong here: what a release records
(`provenance`).
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from analytics_platform.lake import FileStore, Lake, LakeError
from analytics_platform.lake.compare import row_difference
from analytics_platform.lake.engine import open_duckdb
from analytics_platform.lake.schema_change import columns_of
from analytics_platform.lake.sql import identifier, literal
from analytics_platform.release.log import Release, ReleaseLog
from analytics_platform.release.provenance import LOCK_FILE, lock_hash, read_manifest
from analytics_platform.settings import PROJECT_ROOT

MODEL_VERSION = "model_version"
LAST_LINES = 30


class ReproductionError(RuntimeError):
    """The release could not be made again at all."""


@dataclass(frozen=True)
class TableResult:
    """One table of the release, made again.

    Attributes:
        table: Its name.
        rows: Its rows in the release.
        added: Rows that only the reproduction has.
        removed: Rows that only the release has.
        difference: What differs beside rows: a column, a type, the whole table; empty otherwise.
    """

    table: str
    rows: int
    added: int = 0
    removed: int = 0
    difference: str = ""

    @property
    def is_identical(self) -> bool:
        """Whether both have the same rows and columns."""
        return not (self.added or self.removed or self.difference)


@dataclass(frozen=True)
class Certificate:
    """What came of making a release again.

    Attributes:
        release: The release.
        code: Its code's hash.
        lock: Its lock file's hash.
        python: The version it was made with, and the one it was made again with.
        tables: The result for each table, predictions among them.
        models: Per version that the release needs, its champion and those that scored a day, the
            hash of its artifact and of the one made again.
        files: Reports and artifacts that came out with another content.
        arrivals: From how many files it was made.
    """

    release: Release
    code: str
    lock: str
    python: tuple[str, str]
    tables: tuple[TableResult, ...]
    models: Mapping[str, tuple[str, str]]
    files: tuple[str, ...]
    arrivals: int

    @property
    def is_identical(self) -> bool:
        """Whether every table, model and file came out the same."""
        return (
            all(table.is_identical for table in self.tables)
            and all(before == after for before, after in self.models.values())
            and not self.files
        )

    def document(self) -> dict[str, Any]:
        """The certificate for programs."""
        return {"identical": self.is_identical, **asdict(self)}

    def text(self) -> str:
        """The certificate for people."""
        release = self.release
        lines = [
            f"Release {release.number} of {release.product}, made again from {self.arrivals} files",
            f"code {self.code[:12]}, lock {self.lock[:12]}, Python {self.python[0]}"
            + (f" (again with {self.python[1]})" if self.python[0] != self.python[1] else ""),
            "",
        ]
        for table in self.tables:
            said = "identical"
            if not table.is_identical:
                said = table.difference or f"DIFFERS: {table.added:,} rows more, " + (
                    f"{table.removed:,} rows less"
                )
            lines.append(f"{table.table:<32} {table.rows:>12,} rows  {said}")
        for name, (before, after) in self.models.items():
            said = "identical" if before == after else f"DIFFERS: {before[:12]} and {after[:12]}"
            lines.append(f"{name:<32} {'artifact':>17}  {said}")
        lines += [f"{name:<32} {'file':>17}  DIFFERS" for name in self.files]
        lines += ["", "IDENTICAL" if self.is_identical else "NOT IDENTICAL"]
        return "\n".join(lines)


def reproduce(log: ReleaseLog, number: int, folder: Path | None = None) -> Certificate:
    """Make a release again and compare it.

    Args:
        log: The product's release log.
        number: The release.
        folder: An empty folder to work in, kept afterwards; a temporary one unless given.

    Raises:
        NoReleaseError: If there is no such release.
        ReproductionError: If the pipeline failed, or the folder is not empty.
    """
    release = log.release(number)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ReproductionError(f"{folder} is not empty; give an empty folder.")
        return _reproduce(log, release, folder.resolve())
    with tempfile.TemporaryDirectory(prefix="ap-reproduce-") as temporary:
        return _reproduce(log, release, Path(temporary).resolve())


def _reproduce(log: ReleaseLog, release: Release, folder: Path) -> Certificate:
    manifest = read_manifest(log.store, release.manifest)
    code, home, landing = folder / "code", folder / "home", folder / "landing"
    _unpack_code(log.store, manifest["code"], code)
    for arrival in manifest["arrivals"]:
        path = landing / release.product / arrival["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(log.store.get(arrival["sha256"], arrival["name"]))
    python = _python(code, manifest["code"]["lock_sha256"], folder)
    history = _model_history(log.store, release, manifest)
    history_path = folder / "models.json"
    history_path.write_text(json.dumps(history))
    _run(python, release.product, code, home, landing, history_path)
    made_store = FileStore(home / "files")
    made_log = ReleaseLog(Lake(home / "local"), made_store, release.product)
    made = made_log.serving()
    made_manifest = read_manifest(made_store, made.manifest)
    again = {
        (entry["model"], entry["version"]): entry["sha256"] for entry in made_manifest["models"]
    }
    needed = [
        (model, training["version"])
        for model, trainings in history["trainings"].items()
        for training in trainings
    ]
    return Certificate(
        release,
        manifest["code"]["sha256"],
        manifest["code"]["lock_sha256"],
        (manifest["code"]["python"], made_manifest["code"]["python"]),
        _compare_tables(log.store, release, manifest, made_store, made, made_manifest),
        {
            f"{entry['model']} {entry['version']}": (
                entry["sha256"],
                again.get((entry["model"], entry["version"]), "none"),
            )
            for entry in manifest["models"]
            if (entry["model"], entry["version"]) in needed
        },
        _compare_files(manifest, made_manifest),
        len(manifest["arrivals"]),
    )


def _unpack_code(store: FileStore, code: Mapping[str, Any], folder: Path) -> None:
    packed = io.BytesIO(store.get(code["sha256"], code["name"]))
    # `extractall` is not told to refuse paths that lead elsewhere: Python 3.11.2 cannot, and these
    # bytes are the ones that `provenance` packed, by their hash.
    with tarfile.open(fileobj=packed, mode="r:gz") as tar:
        for entry in tar:
            content = tar.extractfile(entry) if entry.isfile() else None
            path = folder / entry.name
            if content is None or not path.resolve().is_relative_to(folder.resolve()):
                raise LakeError(
                    f"Unpacking the code of a release: expected files below one folder, found "
                    f"{entry.name!r}. This archive was not packed by the platform."
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())


def _python(code: Path, lock: str, folder: Path) -> str:
    """The interpreter with the locked libraries: this one, or a new one where the lock differs."""
    if lock == lock_hash(PROJECT_ROOT):
        return sys.executable
    venv = folder / "venv"
    python = str(venv / "bin" / "python")
    commands = [
        [sys.executable, "-m", "venv", str(venv)],
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes",
         "-r", str(code / LOCK_FILE)],
    ]  # fmt: skip
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ReproductionError(
                f"Installing the release's lock file failed: {' '.join(command)}\n{done.stderr}"
            )
    return python


def _model_history(
    store: FileStore, release: Release, manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """Which trainings to repeat, who is champion, and who scored which day.

    What days were scored by is read from the released predictions themselves. The shape is that of
    `modeling.history.ModelHistory`, which the run reads.
    """
    trainings: dict[str, list[dict[str, Any]]] = {}
    scored: dict[str, dict[str, int]] = {}
    champions = {e["model"]: e["version"] for e in manifest["models"] if e["is_champion"]}
    trainers = {e["model"]: set[str]() for e in manifest["models"]}
    for entry in manifest["models"]:
        trainers[entry["model"]].add(_trainer(entry))
    con = open_duckdb()
    try:
        catalog = store.path(release.catalog.sha256, release.catalog.name)
        con.execute(f"ATTACH {literal(f'ducklake:{catalog}')} AS released (READ_ONLY)")
        for entry in manifest["models"]:
            model = entry["model"]
            if model not in scored:
                scored[model] = _scored(con, release.product, json.loads(entry["declared"]))
            if entry["version"] in {champions.get(model), *scored[model].values()}:
                trainings.setdefault(model, []).append(
                    {
                        "version": entry["version"],
                        "known_through": entry["known_through"],
                        "params": json.loads(entry["params"]),
                        "seed": entry["seed"],
                        "note": entry["note"] or "",
                        # Code from before a trainer could be changed does not know the word.
                        **({"trainer": _trainer(entry)} if len(trainers[model]) > 1 else {}),
                    }
                )
    finally:
        con.close()
    return {"trainings": trainings, "champions": champions, "scored": scored}


def _trainer(entry: Mapping[str, Any]) -> str:
    """The dotted path of the trainer of a version in a manifest."""
    return json.loads(entry["declared"]).get("trainer", "")


def _scored(
    con: duckdb.DuckDBPyConnection, product: str, declared: Mapping[str, str]
) -> dict[str, int]:
    """The version that scored each day, by the released predictions; none before the first."""
    relation = f"released.{identifier(product)}.{identifier(declared['predictions'])}"
    exists = con.execute(
        "SELECT 1 FROM information_schema.tables WHERE table_catalog = 'released' "
        "AND table_schema = ? AND table_name = ?",
        [product, declared["predictions"]],
    ).fetchone()
    if exists is None:
        return {}
    day = identifier(declared["day"])
    return dict(
        con.execute(
            f"SELECT {day}::VARCHAR, max({MODEL_VERSION}) FROM {relation} GROUP BY 1"
        ).fetchall()
    )


def _run(
    python: str, product: str, code: Path, home: Path, landing: Path, model_history: Path
) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AP_", "DAGSTER_", "DBT_", "PYTHONPATH"))
    }
    environment |= {
        "AP_HOME": str(home),
        "AP_LANDING": str(landing),
        # The files are those that were loaded: complete, and without their markers.
        "AP_SETTLE_SECONDS": "0",
        "AP_WAIT_FOR_MARKERS": "false",
        "AP_MODEL_HISTORY": str(model_history),
        "PYTHONPATH": str(code),
        "TZ": "UTC",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }
    done = subprocess.run(
        [python, "-c", "from analytics_platform.cli.main import app; app()", "run", product],
        cwd=code,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-LAST_LINES:])
        raise ReproductionError(f"Running {product} again on the recorded code failed:\n{said}")


def _compare_tables(
    store: FileStore,
    release: Release,
    manifest: Mapping[str, Any],
    made_store: FileStore,
    made: Release,
    made_manifest: Mapping[str, Any],
) -> tuple[TableResult, ...]:
    con = open_duckdb()
    try:
        schemas: dict[str, dict[str, str]] = {}
        for alias, catalog in (
            ("released", store.path(release.catalog.sha256, release.catalog.name)),
            ("again", made_store.path(made.catalog.sha256, made.catalog.name)),
        ):
            con.execute(f"ATTACH {literal(f'ducklake:{catalog}')} AS {alias} (READ_ONLY)")
            schemas[alias] = {
                name: f"{alias}.{identifier(release.product)}.{identifier(name)}"
                for (name,) in con.execute(
                    "SELECT table_name FROM information_schema.tables "
                    "WHERE table_catalog = ? AND table_schema = ? ORDER BY 1",
                    [alias, release.product],
                ).fetchall()
            }
        results: list[TableResult] = []
        for name, relation in schemas["released"].items():
            row = con.execute(f"SELECT count(*) FROM {relation}").fetchone()
            rows = row[0] if row else 0
            other = schemas["again"].get(name)
            if other is None:
                results.append(TableResult(name, rows, difference="MISSING in the reproduction"))
                continue
            before, after = columns_of(con, relation), columns_of(con, other)
            if before != after:
                results.append(TableResult(name, rows, difference=f"COLUMNS {before} and {after}"))
                continue
            found = row_difference(
                con,
                _by_content(relation, before, manifest),
                _by_content(other, after, made_manifest),
            )
            results.append(TableResult(name, rows, found.added, found.removed))
        results += [
            TableResult(name, 0, difference="ONLY in the reproduction")
            for name in schemas["again"].keys() - schemas["released"].keys()
        ]
        return tuple(results)
    finally:
        con.close()


def _by_content(relation: str, columns: Mapping[str, str], manifest: Mapping[str, Any]) -> str:
    """A table with model versions replaced by the artifact's hash.

    A version's number says how often a model was trained before, which is not the release's
    content; which artifact it was is.
    """
    if MODEL_VERSION not in columns or not manifest["models"]:
        return relation
    versions = " ".join(
        f"WHEN {entry['version']:d} THEN {literal(entry['sha256'])}" for entry in manifest["models"]
    )
    return (
        f"(SELECT * REPLACE (CASE {MODEL_VERSION} {versions} END AS {MODEL_VERSION}) "
        f"FROM {relation})"
    )


def _compare_files(
    manifest: Mapping[str, Any], made_manifest: Mapping[str, Any]
) -> tuple[str, ...]:
    """Names of files that came out with another content, or not at all."""
    again = {
        (entry["asset"], entry["partition"], entry["name"]): entry["sha256"]
        for entry in made_manifest["files"]
    }
    return tuple(
        entry["name"]
        for entry in manifest["files"]
        if again.get((entry["asset"], entry["partition"], entry["name"])) != entry["sha256"]
    )
