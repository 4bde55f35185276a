"""What making a release again repeats of its models."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analytics_platform.lake import FileStore, Lake, LakeError, records
from analytics_platform.modeling import champions
from analytics_platform.modeling.history import ModelHistory
from analytics_platform.release import publish, reproduce
from analytics_platform.release.provenance import read_manifest
from tests.unit.lake.writing import FIRST, REQUIRED, SECOND, frame, write


def released(lake: Lake, store: FileStore, trainers: list[str]) -> dict[str, Any]:
    """The history of a release: version 1 scored the first day, the last version the second."""
    days = pl.concat([frame(FIRST, 1), frame(SECOND, 2)])
    scored_by = pl.Series("model_version", [1, len(trainers)], dtype=pl.Int64)
    write(lake, days.with_columns(scored_by))
    artifact = store.put(b"model", "m")
    with lake.transaction("trained") as transaction:
        for number, trainer in enumerate(trainers, start=1):
            declared = {"trainer": trainer, "predictions": "t", "day": "day"}
            version = {"product": "p", "model": "m", "version": number, "note": "why",
                       "artifact_sha256": artifact.sha256, "artifact_name": artifact.name,
                       "known_through": "2012-12-31", "params": "{}", "seed": number,
                       "metrics": "{}", "declared": json.dumps(declared),
                       "created_at": records.now()}  # fmt: skip
            records.insert(transaction.connection, "models", [version])
        champions.decide(transaction, "p", "m", len(trainers), "promoted", "best", "run")
    made = publish(lake, store, "p", REQUIRED, "run").release
    return reproduce._model_history(store, made, read_manifest(store, made.manifest))


@pytest.mark.parametrize(
    ("trainers", "repeated"),
    [(["x.A", "x.A"], ["", ""]), (["x.A", "x.B"], ["x.A", "x.B"])],
    ids=["one-trainer", "another-trainer"],
)
def test_each_version_is_trained_by_its_own_trainer(
    lake: Lake, store: FileStore, trainers: list[str], repeated: list[str]
) -> None:
    document = released(lake, store, trainers)
    history = ModelHistory.of(json.loads(json.dumps(document)))
    assert [one.trainer for one in history.trainings["m"]] == repeated
    # What code from before the trainer could change is told is what it was told then.
    assert all(("trainer" in one) == bool(repeated[0]) for one in document["trainings"]["m"])
    assert [(one.version, one.seed) for one in history.trainings["m"]] == [(1, 1), (2, 2)]
    assert (history.champions, history.scored_by("m", str(FIRST))) == ({"m": 2}, 1)


def packed(store: FileStore, *entries: tarfile.TarInfo) -> dict[str, str]:
    """An archive of empty files, stored."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for entry in entries:
            tar.addfile(entry)
    stored = store.put(content.getvalue(), "code.tar.gz")
    return {"sha256": stored.sha256, "name": stored.name}


def test_the_code_is_unpacked_below_its_folder_and_nowhere_else(
    store: FileStore, tmp_path: Path
) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    reproduce._unpack_code(store, packed(store, tarfile.TarInfo("assets/a.py")), folder)
    assert (folder / "assets" / "a.py").is_file()
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    for entry in (tarfile.TarInfo("../out.py"), tarfile.TarInfo("/out.py"), link):
        with pytest.raises(LakeError, match="not packed by the platform"):
            reproduce._unpack_code(store, packed(store, entry), folder)
    assert [path.name for path in tmp_path.rglob("*out.py")] == []
