"""Dagster's home folder of this installation, with the settings that the platform relies on."""

from __future__ import annotations

import os
from pathlib import Path

from analytics_platform.settings import get_settings

DAGSTER_YAML = """\
# Written by `ap` when this folder was made; edit it freely.
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    # The lake has one writer, so runs of a product take turns.
    max_concurrent_runs: 4
    tag_concurrency_limits:
      - key: ap/product
        value:
          applyLimitPerUniqueValue: true
        limit: 1
run_monitoring:
  # A run whose process was killed is marked failed, so that its work is started again.
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
