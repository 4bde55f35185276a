"""A clone's state becomes the origin's release: what changed, with its evidence, or nothing."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable

import polars as pl
import pytest

from analytics_platform.environments import (
    NotACloneError,
    OriginMovedError,
    Promoted,
    clone,
    origin_of,
    promote,
)
from analytics_platform.lake import (
    FileRecord,
    FileStore,
    Lake,
    LakeError,
    WriteRecord,
    chart_records,
    records,
)
from analytics_platform.lake.chart_records import AcknowledgementRecord, LimitsRecord
from analytics_platform.modeling import champions
from analytics_platform.release import (
    GateRefusedError,
    OnHoldError,
    ReleasedProduct,
    ReleaseLog,
    publish,
    rollback,
)
from analytics_platform.release.provenance import read_manifest
from tests.unit.lake.writing import (
    FIRST,
    SECOND,
    THIRD,
    by_hand,
    check,
    frame,
    rows,
    write,
)

REQUIRED = {"raw_x": ["sound"], "t": ["sound"], "new": ["sound"], "seen": ["sound"]}
COLUMNS = {"raw_x": "day"}


@pytest.fixture
def staging(lake: Lake, store: FileStore) -> Lake:
    """A clone of a product with a release: two days of raw rows and a table without partitions."""
    write(lake, frame(FIRST, -1), FIRST, asset="quarantine_x", record=False)
    write(lake, pl.concat([frame(FIRST, 1), frame(SECOND, 2)]), FIRST, SECOND, asset="raw_x")
    write(lake, frame(FIRST, 10))
    publish(lake, store, "p", REQUIRED, "run")
    target = Lake(lake.folder.parent / "staging")
    clone(lake, target)
    return target


def go(staging: Lake, lake: Lake, store: FileStore) -> Promoted:
    return promote(staging, lake, store, "p", REQUIRED, COLUMNS)


def released(lake: Lake, store: FileStore, table: str) -> list[tuple[object, ...]]:
    """The rows of a table that readers see now."""
    with ReleasedProduct(ReleaseLog(lake, store, "p").serving(), store) as reader:
        return reader.execute(f"FROM {table} ORDER BY ALL").fetchall()


def everything(lake: Lake) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables and views of the product."""
    tables = lake.query(
        "SELECT table_name FROM information_schema.tables WHERE table_catalog = 'lake' "
        "AND table_schema = 'p'"
    )
    return {name: rows(lake, f"p.{name}") for name in tables["table_name"]}


def test_only_what_the_clone_wrote_is_taken_over_and_released(
    lake: Lake, staging: Lake, store: FileStore
) -> None:
    report = store.put(b"<html>", "drift.html")
    untouched = lake.query("SELECT rowid, * FROM lake.p.raw_x WHERE day = '2013-01-02'")
    write(staging, frame(FIRST, -5), FIRST, asset="quarantine_x", record=False)
    write(staging, frame(FIRST, 5, 6), FIRST, asset="raw_x")
    write(staging, frame(THIRD, 7), THIRD, asset="raw_x")
    write(staging, pl.DataFrame({"n": [1.5], "s": ["x"]}), asset="new")
    with staging.transaction("records") as transaction:
        con = transaction.connection
        con.execute("CREATE VIEW lake.p.seen AS WITH staged AS (FROM lake.p.raw_x) "
                    "SELECT staged.value, 'staged.value' AS said FROM staged")  # fmt: skip
        transaction.record_writes([WriteRecord("p", "seen", "", "run of staging", 1)])
        transaction.record_files(
            [FileRecord("p", "t", "", report.name, report.sha256, report.size)]
        )
        model = {"product": "p", "model": "delay", "version": 4, "artifact_sha256": report.sha256,
                 "artifact_name": report.name, "trained_on": "2012", "metrics": "{}",
                 "created_at": records.now()}  # fmt: skip
        records.insert(con, "models", [model])
        arrival = {"product": "p", "source": "x", "partition": str(THIRD), "path": "x/3.csv",
                   "content_sha256": report.sha256, "stored_name": report.name,
                   "status": "loaded", "rows_in_file": 1, "recorded_at": records.now()}  # fmt: skip
        records.insert(con, "arrivals", [arrival, {**arrival, "product": "q"}])
    check(staging, asset="seen")
    before = lake.snapshot()

    done = go(staging, lake, store)

    assert done.published.is_new
    assert done.published.release.number == 2
    assert done.taken_over.keys() == {"raw_x", "quarantine_x", "new"}, "`t` was not touched"
    assert everything(lake) == everything(staging)
    assert rows(lake, "p.raw_x") == [(FIRST, 5), (FIRST, 6), (SECOND, 2), (THIRD, 7)]
    assert rows(lake, "p.quarantine_x") == [(FIRST, -5)]
    assert rows(lake, "p.seen") == [(value, "staged.value") for value in (2, 5, 6, 7)]
    assert released(lake, store, "raw_x") == rows(lake, "p.raw_x")
    assert lake.snapshot() == before + 1, "one transaction"
    kept = lake.query("SELECT rowid, * FROM lake.p.raw_x WHERE day = '2013-01-02'")
    assert kept.equals(untouched), "the day that nobody touched was not written again"

    written = lake.query(
        'SELECT asset, "partition", kind FROM lake.ops.writes WHERE snapshot_id > ? ORDER BY ALL',
        [before],
    ).rows()
    assert written == [("new", "", "promoted"), ("raw_x", str(FIRST), "promoted"),
                       ("raw_x", str(THIRD), "promoted"), ("seen", "", "promoted")]  # fmt: skip
    evidence = lake.query(
        "SELECT DISTINCT asset, passed FROM lake.ops.checks WHERE snapshot_id > ? ORDER BY ALL",
        [before],
    ).rows()
    assert evidence == [("new", True), ("raw_x", True), ("seen", True)]
    manifest = read_manifest(store, done.published.release.manifest)
    assert [model["version"] for model in manifest["models"]] == [4]
    assert [file["name"] for file in manifest["files"]] == ["drift.html"]
    assert [file["partition"] for file in manifest["arrivals"]] == [str(THIRD)]
    assert lake.query("SELECT DISTINCT product FROM lake.ops.arrivals").rows() == [("p",)]
    newest = ReleaseLog(lake, store, "p").newest()
    assert newest is not None
    assert newest.note == "promoted from staging"


def test_rows_taken_over_are_counted(lake: Lake, staging: Lake, store: FileStore) -> None:
    write(staging, frame(SECOND, 5), SECOND, asset="raw_x")
    assert go(staging, lake, store).taken_over["raw_x"] == 1


def test_the_origin_needs_the_clone_no_longer(lake: Lake, staging: Lake, store: FileStore) -> None:
    import shutil

    write(staging, frame(FIRST, 5), FIRST, asset="raw_x")
    go(staging, lake, store)
    shutil.rmtree(staging.folder)
    assert rows(lake, "p.raw_x") == [(FIRST, 5), (SECOND, 2)]
    assert released(lake, store, "raw_x") == [(FIRST, 5), (SECOND, 2)]


def _whole(staging: Lake) -> None:
    write(staging, frame(SECOND, 11, 12))


def _emptied(staging: Lake) -> None:
    write(staging, frame(FIRST))


def _other_schema(staging: Lake) -> None:
    write(staging, pl.DataFrame({"other": ["x"], "day": [FIRST]}), policy="replace")


def _more_columns(staging: Lake) -> None:
    wide = frame(FIRST, 5).with_columns(more=pl.lit(1.5))
    write(staging, wide, FIRST, asset="raw_x", policy="add_columns")


def _table_to_view(staging: Lake) -> None:
    by_hand(staging, "DROP TABLE lake.p.t", "CREATE VIEW lake.p.t AS FROM lake.p.raw_x")
    with staging.transaction("record") as transaction:
        transaction.record_writes([WriteRecord("p", "t", "", "run", 1)])
    check(staging)


def _removed(staging: Lake) -> None:
    with staging.transaction("remove") as transaction:
        transaction.connection.execute("DELETE FROM lake.p.raw_x WHERE day = '2013-01-02'")
        transaction.record_writes([WriteRecord("p", "raw_x", str(SECOND), "run", 0, "removed")])


STATES = [_whole, _emptied, _other_schema, _more_columns, _table_to_view, _removed]


@pytest.mark.parametrize("change", STATES, ids=[change.__name__ for change in STATES])
def test_every_kind_of_change_comes_out_equal(
    lake: Lake, staging: Lake, store: FileStore, change: Callable[[Lake], None]
) -> None:
    change(staging)
    expected = everything(staging)
    assert everything(lake) != expected
    done = go(staging, lake, store)
    assert done.published.is_new
    assert everything(lake) == expected
    for table, listed in expected.items():
        assert released(lake, store, table) == listed
    described = (
        "SELECT column_name, data_type FROM information_schema.columns WHERE "
        "table_catalog = 'lake' AND table_schema = 'p' ORDER BY table_name, ordinal_position"
    )
    assert lake.query(described).equals(staging.query(described))
    if change is _removed:
        standing = read_manifest(store, done.published.release.manifest)["writes"]["raw_x"]
        assert list(standing) == [str(FIRST)]


def test_the_clones_gate_decides(lake: Lake, staging: Lake, store: FileStore) -> None:
    write(staging, frame(FIRST, 5), FIRST, asset="raw_x", passed=False)
    before = lake.snapshot(), ReleaseLog(lake, store, "p").head()
    with pytest.raises(GateRefusedError, match="raw_x · sound"):
        go(staging, lake, store)
    assert (lake.snapshot(), ReleaseLog(lake, store, "p").head()) == before


def _write(lake: Lake, store: FileStore) -> None:
    write(lake, frame(SECOND, 8), SECOND, asset="raw_x")


def _by_hand(lake: Lake, store: FileStore) -> None:
    by_hand(lake, "UPDATE lake.p.t SET value = 0")


def _decided(lake: Lake, store: FileStore) -> None:
    # The clone has no releases of its own to go back to; a refusal is a decision too.
    by_hand(lake, "CREATE TABLE lake.p.u AS SELECT 1 AS n")
    with pytest.raises(GateRefusedError):
        publish(lake, store, "p", REQUIRED, "run")


def _version(lake: Lake, store: FileStore, number: int, note: str) -> None:
    """A training that learned from the state which was cloned, and was recorded afterwards."""
    artifact = store.put(note.encode(), "delay")
    with lake.transaction("train") as transaction:
        version = {"product": "p", "model": "delay", "version": number, "note": note,
                   "artifact_sha256": artifact.sha256, "artifact_name": artifact.name,
                   "trained_on": "2012", "metrics": "{}", "snapshot_id": 1,
                   "created_at": records.now()}  # fmt: skip
        records.insert(transaction.connection, "models", [version])


def _decision(lake: Lake, number: int, kind: champions.DecisionKind) -> None:
    with lake.transaction("decide") as transaction:
        champions.decide(transaction, "p", "delay", number, kind, "for a test", "run")


def _trained(lake: Lake, store: FileStore) -> None:
    _version(lake, store, 1, "lost in the origin")


def _decided_on_a_model(lake: Lake, store: FileStore) -> None:
    _decision(lake, 1, "refused")


def _new_table(lake: Lake, store: FileStore) -> None:
    by_hand(lake, "CREATE TABLE lake.p.u AS SELECT 1 AS n")


@pytest.mark.parametrize(
    ("move", "named"),
    [
        (_write, "  - table raw_x changed at snapshot 4\n  - raw_x was written\n"),
        (_by_hand, "  - table t changed at snapshot 4\n"),
        (_decided, "  - a release decision was made\n"),
        (_new_table, "  - table u changed at snapshot 4\n"),
        (_trained, "  - version 1 of delay was trained\n"),
        (_decided_on_a_model, "  - version 1 of delay was decided on\n"),
    ],
    ids=["write", "by-hand", "decision", "new-table", "training", "decision-on-a-model"],
)
def test_an_origin_that_moved_is_not_overwritten(
    lake: Lake,
    staging: Lake,
    store: FileStore,
    move: Callable[[Lake, FileStore], None],
    named: str,
) -> None:
    write(staging, frame(FIRST, 5), FIRST, asset="raw_x")
    assert lake.snapshot() == 4
    move(lake, store)
    stood = everything(lake)
    with pytest.raises(OriginMovedError) as refused:
        go(staging, lake, store)
    assert named.replace("snapshot 4", "snapshot 5") in str(refused.value)
    assert "Clone local again" in str(refused.value)
    assert everything(lake) == stood


def test_a_number_that_both_trained_is_not_taken_over(
    lake: Lake, staging: Lake, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _version(lake, store, 1, "lost in the origin")
    _decision(lake, 1, "refused")
    _version(staging, store, 1, "won in the clone")
    _decision(staging, 1, "promoted")
    write(staging, frame(FIRST, 5), FIRST, asset="raw_x")
    with pytest.raises(OriginMovedError, match="version 1 of delay was trained"):
        go(staging, lake, store)
    # Nor if that were not noticed beforehand.
    module = sys.modules["analytics_platform.environments.promote"]
    monkeypatch.setattr(module, "_require_unmoved", lambda *_: None)
    stood = everything(lake)
    with pytest.raises(LakeError, match="version 1 of delay would stand twice"):
        go(staging, lake, store)
    assert everything(lake) == stood
    with lake.reader() as con:
        assert champions.champion_number(con, "p", "delay") is None


def test_the_clones_trainings_are_taken_over_once(
    lake: Lake, staging: Lake, store: FileStore
) -> None:
    for number, value in ((1, 5), (2, 6)):
        _version(staging, store, number, "won in the clone")
        _decision(staging, number, "promoted")
        write(staging, frame(FIRST, value), FIRST, asset="raw_x")
        go(staging, lake, store)
    with lake.reader() as con:
        assert champions.champion_number(con, "p", "delay") == 2
        assert len(champions.decisions(con, "p", "delay")) == 2


def test_another_product_may_move(lake: Lake, staging: Lake, store: FileStore) -> None:
    write(staging, frame(FIRST, 5), FIRST, asset="raw_x")
    write(staging, frame(FIRST, 1), FIRST, product="q")
    write(lake, frame(FIRST, 9), FIRST, product="q")
    assert go(staging, lake, store).published.is_new
    assert rows(lake, "q.t") == [(FIRST, 9)]


def test_an_origin_on_hold_stays_so(lake: Lake, staging: Lake, store: FileStore) -> None:
    write(lake, frame(FIRST, 11))
    publish(lake, store, "p", REQUIRED, "run")
    rollback(ReleaseLog(lake, store, "p"))
    clone(lake, staging, replace=True)
    write(staging, frame(FIRST, 5), FIRST, asset="raw_x")
    with pytest.raises(OnHoldError):
        go(staging, lake, store)
    assert released(lake, store, "raw_x") == [(FIRST, 1), (SECOND, 2)]


def test_only_a_clone_of_the_present_lake_is_promoted(
    lake: Lake, staging: Lake, store: FileStore
) -> None:
    with pytest.raises(NotACloneError, match="local is no clone"):
        promote(lake, staging, store, "p", REQUIRED, COLUMNS)
    other = Lake(lake.folder.parent / "production")
    clone(lake, other)
    with pytest.raises(NotACloneError, match=r"staging was cloned from local\. Clone production"):
        go(staging, other, store)
    clone(other, lake, replace=True)
    with pytest.raises(NotACloneError, match="from local, whose lake was replaced since"):
        go(staging, lake, store)


def test_promotions_follow_each_other(lake: Lake, staging: Lake, store: FileStore) -> None:
    write(staging, frame(FIRST, 5), FIRST, asset="raw_x")
    assert go(staging, lake, store).published.release.number == 2
    again = go(staging, lake, store)
    assert (again.published.release.number, again.published.is_new) == (2, False)
    assert again.taken_over == {}
    write(staging, frame(SECOND, 6), SECOND, asset="raw_x")
    third = go(staging, lake, store)
    assert (third.published.release.number, third.published.is_new) == (3, True)
    assert "raw_x" in third.taken_over
    assert "t" not in third.taken_over
    assert rows(lake, "p.raw_x") == [(FIRST, 5), (SECOND, 6)]
    base = origin_of(staging).base("p")
    assert (base.origin_snapshot, base.own_snapshot) == (lake.snapshot(), staging.snapshot())
    _write(lake, store)
    with pytest.raises(OriginMovedError):
        go(staging, lake, store)


def test_without_changes_nothing_is_made(lake: Lake, staging: Lake, store: FileStore) -> None:
    before = lake.snapshot()
    done = go(staging, lake, store)
    assert (done.published.is_new, done.published.release.number) == (False, 1)
    assert (done.taken_over, lake.snapshot()) == ({}, before)


@pytest.mark.parametrize("change", [_whole, _removed], ids=["rows", "removed-partition"])
def test_a_promotion_killed_after_its_transaction_is_finished_by_the_next(
    lake: Lake,
    staging: Lake,
    store: FileStore,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Lake], None],
) -> None:
    module = sys.modules["analytics_platform.environments.promote"]
    change(staging)
    with monkeypatch.context() as patched:

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patched.setattr(module, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            go(staging, lake, store)
    taken = lake.snapshot()
    assert everything(lake) == everything(staging)
    assert ReleaseLog(lake, store, "p").serving().number == 1
    done = go(staging, lake, store)
    assert (done.published.release.number, done.published.is_new) == (2, True)
    assert lake.snapshot() == taken, "not taken over twice"
    assert origin_of(staging).base("p").origin_snapshot == taken


def test_rows_that_do_not_come_out_equal_change_nothing(
    lake: Lake, staging: Lake, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A day that no record names was changed by hand in the clone, and nothing tells of it.
    write(staging, frame(FIRST, 5), FIRST, asset="raw_x")
    by_hand(staging, "UPDATE lake.p.raw_x SET value = 99 WHERE day = '2013-01-02'")
    write(staging, frame(FIRST, 6), FIRST, asset="raw_x")
    by_hand(staging, "DELETE FROM lake.ops.outside_changes")
    stood = everything(lake)
    with pytest.raises(LakeError, match=r"Promoting p\.raw_x: .* Nothing was changed"):
        go(staging, lake, store)
    assert everything(lake) == stood


def test_limits_and_known_alarms_of_charts_of_data_are_taken_over(
    lake: Lake, staging: Lake, store: FileStore
) -> None:
    def limits(asset: str) -> LimitsRecord:
        return LimitsRecord("p", asset, "c", "d", "2013-01-01", "{}", "asked for", "run")

    write(staging, frame(SECOND, 5), SECOND, asset="raw_x")
    known = AcknowledgementRecord(
        "p", "t", "c", dt.datetime.fromisoformat("2013-02-08"), "blizzard", "run"
    )
    points = pl.DataFrame({"chart": ["c"], "value": [1.0]})
    with staging.transaction("charts") as transaction:
        con, snapshot = transaction.connection, transaction.snapshot_id
        chart_records.replace_points(con, "p", "pipeline", points)
        chart_records.insert_limits(con, [limits("t"), limits("pipeline")], snapshot)
        chart_records.insert_acknowledgements(con, [known], snapshot)
    go(staging, lake, store)
    with lake.reader() as con:
        assert chart_records.limits_of(con, "p", "t")["reason"].to_list() == ["asked for"]
        assert chart_records.limits_of(con, "p", "pipeline").is_empty()
        assert chart_records.acknowledged(con, "p", "t") == {"c": [known.through]}
    write(staging, frame(SECOND, 6), SECOND, asset="raw_x")
    go(staging, lake, store)
    assert lake.query("FROM lake.ops.chart_limits").height == 1, "once"
