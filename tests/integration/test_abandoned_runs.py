"""A run whose process was killed does not block the product for ever."""

import os
import subprocess
import sys
from collections.abc import Iterator

import dagster as dg
import pytest

from analytics_platform.cli.instance import (
    PROCESS_TAG,
    fail_abandoned_runs,
    prepare_dagster_home,
)
from analytics_platform.settings import Settings


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job
def idle() -> None:
    nothing()


@pytest.fixture
def instance(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    prepare_dagster_home()
    with dg.DagsterInstance.get() as made:
        yield made


def _started(instance: dg.DagsterInstance, tags: dict[str, str]) -> str:
    run = instance.create_run_for_job(idle, status=dg.DagsterRunStatus.STARTED, tags=tags)
    return run.run_id


def test_runs_of_dead_processes_fail_and_others_go_on(instance: dg.DagsterInstance) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = _started(instance, {PROCESS_TAG: str(gone.pid)})
    alive = _started(instance, {PROCESS_TAG: str(os.getpid())})
    launched = _started(instance, {})

    def status(run_id: str) -> dg.DagsterRunStatus:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        return run.status

    assert fail_abandoned_runs(instance, launched_too=False) == 1
    assert status(dead) == dg.DagsterRunStatus.FAILURE
    assert status(alive) == status(launched) == dg.DagsterRunStatus.STARTED
    assert fail_abandoned_runs(instance, launched_too=True) == 1
    assert status(launched) == dg.DagsterRunStatus.FAILURE
    assert status(alive) == dg.DagsterRunStatus.STARTED
