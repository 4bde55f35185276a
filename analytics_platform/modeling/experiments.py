"""Log a training to MLflow, where a tracking server is set; the lake stays the record.

MLflow is an extra and takes seconds to import, so it is imported only when something is logged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from analytics_platform.modeling.registry import ModelVersion
from analytics_platform.settings import get_settings

PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""MLflow's own would have a training wait for minutes on a server that is down."""


class ExperimentsError(RuntimeError):
    """A tracking server is set, and MLflow is not installed."""


def require_installed() -> None:
    """Show that MLflow can be imported where a tracking server is set; to ask before a training.

    Raises:
        ExperimentsError: If a tracking server is set and the extra is not installed.
    """
    if get_settings().mlflow_tracking_uri is None:
        return
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        raise ExperimentsError(
            "AP_MLFLOW_TRACKING_URI is set and MLflow is not installed: "
            "pip install 'analytics-platform[mlflow]', or unset it."
        ) from error


def log_experiment(version: ModelVersion, say: Callable[[str], None]) -> bool:
    """Log a version as a run of the experiment `<product>/<model>`.

    A tracking server that cannot be reached or refuses does not fail a training, whose record is
    in the lake; `say` is told.

    Args:
        version: What was trained and recorded.
        say: Is told what went wrong.

    Returns:
        Whether it was logged; False also where no tracking server is set.

    Raises:
        ExperimentsError: If a tracking server is set and the extra is not installed.
    """
    uri = get_settings().mlflow_tracking_uri
    if uri is None:
        return False
    require_installed()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(tracking_uri=uri)
        name = f"{version.product}/{version.model}"
        found = client.get_experiment_by_name(name)
        experiment = client.create_experiment(name) if found is None else found.experiment_id
        run = client.create_run(
            experiment, run_name=f"version {version.version}", tags=_tags(version)
        )
        for param, value in version.params.items():
            client.log_param(run.info.run_id, param, value)
        for metric, value in _metrics(version).items():
            client.log_metric(run.info.run_id, metric, value)
        client.set_terminated(run.info.run_id)
    except (MlflowException, OSError) as error:
        say(
            f"{version.model} {version.version} is recorded in the lake, and was not logged to "
            f"MLflow: {type(error).__name__}: {error}"
        )
        return False
    return True


def _tags(version: ModelVersion) -> dict[str, str]:
    """What the training was made of, and what came of it."""
    return {
        "version": str(version.version),
        "snapshot": str(version.snapshot_id),
        "code_sha256": version.code_sha256,
        "artifact_sha256": version.artifact_sha256,
        "trained_on": version.trained_on,
        "seed": str(version.seed),
        "dagster_run": version.run_id,
        "refused_by": ", ".join(gate.name for gate in version.refused_by) or "none",
        "mlflow.note.content": version.note,
    }


def _metrics(version: ModelVersion) -> Mapping[str, float]:
    """Every number of the hold-out, the model's and the baselines'."""
    found: dict[str, Any] = {
        f"holdout_{name}": value for name, value in version.metrics["holdout"].items()
    }
    for whose, values in version.metrics["baselines"].items():
        found |= {f"{whose.replace(' ', '_')}_{name}": value for name, value in values.items()}
    return {name: float(value) for name, value in found.items()}
