"""Dagster's home folder of this installation, with the settings that the platform relies on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from analytics_platform.settings import get_settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

PROCESS_TAG = "ap/process"
"""The process of a run that `ap run` executes itself."""

DAGSTER_YAML = """\
# Written by `ap` when this folder was made; edit it freely.
telemetry:
  enabled: false
nux:
  enabled: false
event_log_storage:
  # Dagster's own log on SQLite, in the same files, but many events at a time.
  module: analytics_platform.event_log
  class: BatchedEventLog
concurrency:
  runs:
    # The lake has one writer, so runs of a product take turns.
    max_concurrent_runs: 4
    tag_concurrency_limits:
      - key: ap/product
        value:
          applyLimitPerUniqueValue: true
        limit: 1
retention:
  # Ticks that started nothing are of no use the week after.
  sensor:
    purge_after_days:
      skipped: 2
      failure: 30
      success: 30
  schedule:
    purge_after_days: 90
run_monitoring:
  # A run that never came up is marked failed, so that its work is started again.
  enabled: true
  start_timeout_seconds: 180
"""


def prepare_dagster_home() -> Path:
    """Give Dagster's home, made if need be, and name it in this process's environment.

    `DAGSTER_HOME`, where it is set, is left as it is.
    """
    named = os.environ.get("DAGSTER_HOME")
    home = Path(named) if named else get_settings().dagster_home
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        settings.write_text(DAGSTER_YAML)
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def fail_abandoned_runs(instance: DagsterInstance, *, launched_too: bool) -> int:
    """Mark runs as failed whose process is gone, so that their work is started again.

    Dagster's own launcher does not notice a run that was killed: it would stay `STARTED` for ever,
    and the sensor would wait for it.

    Args:
        instance: Dagster's instance.
        launched_too: Whether runs that a web UI launched are to be failed as well. True only when
            a new web UI starts: those runs were children of the one before.

    Returns:
        The number of runs that were marked.
    """
    import dagster as dg

    at_work = [
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ]
    marked = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=at_work)):
        process = run.tags.get(PROCESS_TAG)
        if (process is None and launched_too) or (process and not _lives(int(process))):
            instance.report_run_failed(run, "The process of this run is gone.")
            marked += 1
    return marked


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
