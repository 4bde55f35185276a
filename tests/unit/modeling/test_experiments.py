"""A training in MLflow's own store, read back with its own client."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from analytics_platform.modeling.experiments import (
    ExperimentsError,
    log_experiment,
    require_installed,
)
from analytics_platform.settings import get_settings
from tests.unit.modeling.test_registry import VERSION

METRICS = {
    "holdout": {"roc_auc": 0.7, "log_loss": 0.4},
    "baselines": {"historical rate": {"roc_auc": 0.65}},
}


def test_a_training_is_found_in_mlflow(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("AP_MLFLOW_TRACKING_URI", uri)
    get_settings.cache_clear()
    said: list[str] = []
    for number in (1, 2):
        version = replace(VERSION, version=number, metrics=METRICS)
        assert log_experiment(version, said.append), said
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("p/m")
    assert experiment is not None
    second, first = client.search_runs([experiment.experiment_id])
    assert {run.data.tags["version"] for run in (first, second)} == {"1", "2"}
    assert second.data.params == {"trees": "3", "rate": "0.1"}
    assert second.data.metrics == {
        "holdout_roc_auc": 0.7,
        "holdout_log_loss": 0.4,
        "historical_rate_roc_auc": 0.65,
    }
    assert second.data.tags["artifact_sha256"] == VERSION.artifact_sha256
    assert second.info.status == "FINISHED"


def test_a_tracking_server_that_fails_is_told_and_fails_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AP_MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    get_settings.cache_clear()
    said: list[str] = []
    version = replace(VERSION, version=1, metrics=METRICS)
    assert not log_experiment(version, said.append)
    assert "m 1 is recorded in the lake, and was not logged to MLflow" in said[0]


def test_a_missing_extra_is_told_before_a_training(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    require_installed()
    monkeypatch.setenv("AP_MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    get_settings.cache_clear()
    with pytest.raises(ExperimentsError, match=r"pip install 'analytics-platform\[mlflow\]'"):
        require_installed()


def test_nothing_is_imported_where_no_server_is_set(home: Path) -> None:
    assert not log_experiment(replace(VERSION, metrics=METRICS), lambda line: None)
