"""Versions and champions: what is recorded stays, and any past moment can be asked for."""

import datetime as dt
from dataclasses import replace

import pytest

from analytics_platform.lake import Lake
from analytics_platform.modeling import champions
from analytics_platform.modeling.gates import CALIBRATED, GateResult
from analytics_platform.modeling.registry import (
    ModelVersion,
    NoVersionError,
    models_of,
    newest_versions,
    record_version,
    version_of,
    versions,
)

HOLDS = GateResult(CALIBRATED, True, {"expected_calibration_error": 0.01, "most": 0.03})
FAILS = GateResult(CALIBRATED, False, {"expected_calibration_error": 0.09, "most": 0.03})
VERSION = ModelVersion(
    product="p",
    model="m",
    version=0,
    artifact_sha256="a" * 64,
    artifact_name="m.json",
    trained_on="2013-01-01/2013-08-30",
    known_through="2013-10-31",
    params={"trees": 3, "rate": 0.1},
    seed=7,
    code_sha256="c" * 64,
    attachments={"card": {"sha256": "d" * 64, "name": "card.html"}},
    declared={"trainer": "x.y", "predictions": "t"},
    metrics={"holdout": {"roc_auc": 0.7}},
    gates=(HOLDS,),
    note="first",
    snapshot_id=3,
    run_id="run",
)


def record(lake: Lake, version: ModelVersion = VERSION) -> int:
    with lake.transaction("record") as transaction:
        return record_version(transaction, replace(version, snapshot_id=transaction.snapshot_id))


def decide(lake: Lake, version: int, kind: champions.DecisionKind = "promoted") -> dt.datetime:
    with lake.transaction("decide") as transaction:
        champions.decide(transaction, "p", "m", version, kind, f"{kind} for a test", "run")
    with lake.reader() as con:
        return champions.decisions(con, "p", "m")[0].decided_at


def test_a_version_comes_back_as_it_was_recorded(lake: Lake) -> None:
    assert record(lake) == 1
    assert record(lake, replace(VERSION, seed=8, gates=(HOLDS, FAILS))) == 2
    with lake.reader() as con:
        second, first = versions(con, "p", "m")
        assert version_of(con, "p", "m", 1) == first
        assert newest_versions(con, "p") == {"m": 2}
    assert first == replace(VERSION, version=1, snapshot_id=first.snapshot_id)
    assert (first.refused_by, second.refused_by) == ((), (FAILS,))
    assert first.created_at <= second.created_at
    assert models_of(lake, "p") == ["m"]
    assert models_of(lake, "q") == []


def test_a_number_is_given_once(lake: Lake) -> None:
    assert record(lake, replace(VERSION, version=4)) == 4
    assert record(lake) == 5
    with pytest.raises(ValueError, match="there is a version 4 already"):
        record(lake, replace(VERSION, version=4))
    with lake.reader() as con, pytest.raises(NoVersionError, match="no version 9; there are: 4, 5"):
        version_of(con, "p", "m", 9)


def test_who_was_champion_when(lake: Lake) -> None:
    for _ in range(3):
        record(lake)
    with lake.reader() as con:
        assert champions.champion(con, "p", "m") is None
    moments = [
        decide(lake, 1),
        decide(lake, 2, "refused"),
        decide(lake, 3),
        decide(lake, 1, "rolled back"),
    ]
    tick = dt.timedelta(microseconds=1)
    with lake.reader() as con:
        at = [champions.champion_number(con, "p", "m", moment) for moment in moments]
        before = champions.champion_number(con, "p", "m", moments[0] - tick)
        in_force = champions.champion(con, "p", "m")
        assert champions.decided_versions(con, "p") == {"m": 3}, "however often one is taken back"
    assert (before, at) == (None, [1, 1, 3, 1])
    assert in_force is not None
    assert in_force.version == 1


@pytest.mark.parametrize(
    ("decisions", "before"),
    [
        ([], None),
        ([(1, "promoted")], None),
        ([(1, "promoted"), (2, "promoted")], 1),
        ([(1, "promoted"), (1, "promoted")], None),
        ([(1, "promoted"), (2, "refused")], None),
        ([(1, "promoted"), (2, "promoted"), (1, "rolled back")], None),
        ([(1, "promoted"), (2, "promoted"), (3, "promoted"), (2, "rolled back")], 1),
        ([(1, "promoted"), (2, "promoted"), (1, "rolled back"), (3, "promoted")], 1),
    ],
)
def test_what_a_rollback_goes_back_to(
    lake: Lake, decisions: list[tuple[int, champions.DecisionKind]], before: int | None
) -> None:
    for version, kind in decisions:
        decide(lake, version, kind)
    with lake.reader() as con:
        assert champions.champion_before(con, "p", "m") == before
