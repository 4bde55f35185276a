"""What a release was made of: the same code gives the same bytes, and only what stands is named."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from analytics_platform.lake import FileRecord, FileStore, Lake, records
from analytics_platform.release import provenance, publish
from analytics_platform.release.provenance import code_version, read_manifest
from analytics_platform.settings import PROJECT_ROOT
from tests.unit.lake.writing import FIRST, REQUIRED, frame, write


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of a few files, taken for the running code's."""
    root = tmp_path / "project"
    for name, text in {
        "analytics_platform/one.py": "one = 1\n",
        "analytics_platform/__pycache__/one.cpython-311.pyc": "compiled",
        "analytics_platform/__pycache__/stray.py": "stray",
        "assets/defs.yaml": "a: 1\n",
        "dbt_project/models/t.sql": "select 1\n",
        "dbt_project/dbt.duckdb": "binary",
        "data/secret.csv": "not code",
        "tests/test_one.py": "not needed",
        "requirements.lock": "duckdb==1\n",
        "pyproject.toml": "[project]\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(provenance, "PROJECT_ROOT", root)
    return root


def unpacked(store: FileStore, code: dict[str, str]) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(store.get(code["sha256"], code["name"]))) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


def test_the_archive_holds_code_and_nothing_else(project: Path, store: FileStore) -> None:
    code = code_version(store)
    found = unpacked(store, code)
    assert sorted(found) == [
        "analytics_platform/one.py",
        "assets/defs.yaml",
        "dbt_project/models/t.sql",
        "pyproject.toml",
        "requirements.lock",
    ]
    assert found["analytics_platform/one.py"] == b"one = 1\n"
    assert code["lock_sha256"] == hashlib.sha256(b"duckdb==1\n").hexdigest()
    assert (code["commit"], code["has_uncommitted_changes"]) == ("", False), "no checkout"


def test_the_archive_changes_with_a_file_and_with_nothing_else(
    project: Path, store: FileStore
) -> None:
    first = code_version(store)["sha256"]
    changed = project / "analytics_platform" / "one.py"
    text = changed.read_text()
    changed.unlink()
    changed.write_text(text)
    changed.chmod(0o700)
    (project / "analytics_platform/__pycache__/two.pyc").write_text("compiled")
    (project / "data/more.csv").write_text("more")
    assert code_version(store)["sha256"] == first, "times, modes and caches do not count"
    changed.write_text(text + "\n")
    second = code_version(store)["sha256"]
    changed.write_text(text)
    (project / "assets/new.py").write_text("")
    third = code_version(store)["sha256"]
    assert len({first, second, third}) == 3
    (project / "assets/new.py").unlink()
    assert code_version(store)["sha256"] == first


def test_the_running_code_can_be_made_again_from_the_archive(store: FileStore) -> None:
    found = unpacked(store, code_version(store))
    for name in ("analytics_platform/release/provenance.py", "pyproject.toml"):
        assert found[name] == (PROJECT_ROOT / name).read_bytes()
    assert not [name for name in found if "__pycache__" in name or name.startswith("tests")]


def test_the_manifest_names_writes_files_models_and_code(lake: Lake, store: FileStore) -> None:
    report, artifact = store.put(b"<html>", "drift.html"), store.put(b"trees", "model.txt")
    write(lake, frame(FIRST, 1, 2), FIRST)
    write(lake, frame(FIRST, 9), FIRST, product="q")
    with lake.transaction("records") as transaction:
        transaction.record_files(
            [
                FileRecord("p", "t", str(FIRST), "drift.html", "0" * 64, 1),
                FileRecord("q", "t", str(FIRST), "other.html", "1" * 64, 1),
            ]
        )
        models = [
            {"product": product, "model": "delay", "version": version,
             "artifact_sha256": artifact.sha256, "artifact_name": artifact.name,
             "trained_on": "2012", "created_at": records.now()}
            for product, version in (("p", 1), ("p", 2), ("q", 1))
        ]  # fmt: skip
        records.insert(transaction.connection, "models", models)
    with lake.transaction("a newer report") as transaction:
        record = FileRecord("p", "t", str(FIRST), "drift.html", report.sha256, report.size)
        transaction.record_files([record])
    release = publish(lake, store, "p", REQUIRED, "run").release
    manifest = read_manifest(store, release.manifest)
    assert (manifest["product"], manifest["snapshot"]) == ("p", release.snapshot)
    assert manifest["writes"] == {"t": {"2013-01-01": 2}}
    assert manifest["files"] == [
        {"asset": "t", "partition": "2013-01-01", "name": "drift.html", "sha256": report.sha256,
         "size_bytes": 6}
    ]  # fmt: skip
    assert [(model["model"], model["version"]) for model in manifest["models"]] == [
        ("delay", 1),
        ("delay", 2),
    ]
    assert {model["sha256"] for model in manifest["models"]} == {artifact.sha256}
    assert manifest["arrivals"] == []
    assert manifest["settings"] == {"environment": "local"}
    assert store.path(manifest["code"]["sha256"], manifest["code"]["name"]).is_file()
    stored = store.path(release.manifest.sha256, release.manifest.name)
    assert json.loads(stored.read_text()) == manifest
