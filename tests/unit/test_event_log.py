"""The batched event log against Dagster's own: the same runs leave the same events."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from analytics_platform.event_log import BATCH_SIZE, BatchedEventLog

DAYS = dg.DailyPartitionsDefinition("2013-01-01", end_date="2014-01-01")
RANGE = {
    "dagster/asset_partition_range_start": "2013-01-05",
    "dagster/asset_partition_range_end": "2013-02-13",
}
PARTITIONS = 40
BATCHED = """
event_log_storage:
  module: analytics_platform.event_log
  class: BatchedEventLog
"""

Make = Callable[[str], dg.DagsterInstance]


@dg.asset(
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("holds", asset="upper")],
)
def upper():  # Dagster reads an annotation as that of the one output, and a check is another
    return dg.MaterializeResult(
        metadata={"rows": 3},
        check_results=[dg.AssetCheckResult(check_name="holds", passed=True)],
    )


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run(), deps=[upper])
def lower() -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(metadata={"rows": 2})


DEFINITIONS = dg.Definitions(
    assets=[upper, lower], jobs=[dg.define_asset_job("days", "*", partitions_def=DAYS)]
)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Instances in homes of their own, by what their `dagster.yaml` says of the event log."""
    monkeypatch.delenv(BATCH_SIZE, raising=False)

    def make(configured: str) -> dg.DagsterInstance:
        home = tmp_path / ("batched" if configured else "default")
        home.mkdir(exist_ok=True)
        (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n" + configured)
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        return dg.DagsterInstance.get()

    return make


def run(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = DEFINITIONS.get_repository_def().get_job("days")
    return job.execute_in_process(instance=instance, tags=RANGE)


def told(instance: dg.DagsterInstance, run_id: str) -> list[tuple[Any, ...]]:
    """What a run's log and the index say, without what differs between any two runs."""
    events = [entry.get_dagster_event() for entry in instance.all_logs(run_id)
              if entry.is_dagster_event]  # fmt: skip
    log = [(e.event_type_value, e.step_key, e.asset_key, e.partition) for e in events]
    index: list[tuple[Any, ...]] = []
    for key in (upper.key, lower.key):
        made = instance.fetch_materializations(key, limit=1000).records
        planned = instance.fetch_planned_materializations(key, limit=1000).records
        index += [("made", key, record.partition_key) for record in made]
        index += [("planned", key, record.partition_key) for record in planned]
        newest = instance.get_latest_materialization_event(key)
        assert newest is not None
        index.append(("newest", key, newest.asset_materialization.metadata))  # type: ignore[union-attr]
    return [*sorted(log, key=repr), *sorted(index, key=repr)]


def test_a_run_leaves_the_events_that_it_leaves_in_the_default_log(make: Make) -> None:
    found = []
    for configured in ("", BATCHED):
        with make(configured) as instance:
            result = run(instance)
            assert result.success
            found.append(told(instance, result.run_id))
            assert len(instance.get_materialized_partitions(lower.key)) == PARTITIONS
            assert type(instance.event_log_storage) is (
                BatchedEventLog if configured else SqliteEventLogStorage
            )
    assert found[0] == found[1]
    assert len(found[0]) > 8 * PARTITIONS


def test_dagsters_own_log_reads_what_was_batched_and_goes_on(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make(BATCHED) as instance:
        before = run(instance)
        written = told(instance, before.run_id)
    monkeypatch.delenv(BATCH_SIZE)
    (tmp_path / "batched" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage) is SqliteEventLogStorage
        assert told(instance, before.run_id) == written
        assert run(instance).success


def test_a_batch_is_one_transaction_in_each_file(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 planned of two assets and of a check, then 40 made of each: three batches."""
    opened: list[int] = []
    stored = BatchedEventLog.store_event_batch

    def counted(self: BatchedEventLog, events: Any) -> None:
        stored(self, events)
        opened.append(len(events))

    monkeypatch.setattr(BatchedEventLog, "store_event_batch", counted)
    with make(BATCHED) as instance:
        assert run(instance).success
    assert sorted(opened)[:2] == [PARTITIONS, PARTITIONS]
    assert sum(opened) == 4 * PARTITIONS + 1


def test_a_batch_that_fails_leaves_nothing_and_its_events_go_in_one_by_one(
    make: Make, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[int] = []
    original = BatchedEventLog._store_asset_event

    def breaks_once(self: BatchedEventLog, *args: Any) -> None:
        seen.append(1)
        if len(seen) == PARTITIONS // 2:
            raise OSError("the disk is full")
        original(self, *args)

    monkeypatch.setattr(BatchedEventLog, "_store_asset_event", breaks_once)
    with make(BATCHED) as instance:
        result = run(instance)
        assert result.success
        logged = told(instance, result.run_id)
    assert "the disk is full" in capfd.readouterr().err
    planned = [row for row in logged if row[:2] == ("planned", lower.key)]
    assert len(planned) == len(set(planned)) == PARTITIONS
    assert len([row for row in logged if row[0] == "ASSET_MATERIALIZATION_PLANNED"]) == (
        2 * PARTITIONS
    )


def test_a_size_that_a_person_chose_stays(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BATCH_SIZE, "7")
    with make(BATCHED) as instance:
        assert run(instance).success
    assert os.environ[BATCH_SIZE] == "7"


def test_without_a_home_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with pytest.raises(dg.DagsterInvariantViolationError, match="Set DAGSTER_HOME to the folder"):
        BatchedEventLog.from_config_value(None, {})
