"""What a product declares of a model, and what of it is an error when the location loads."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import assets
from analytics_platform.components.model import Model

DELAY_MODEL = Path(assets.__path__[0]) / "flight_delays" / "delay_model" / "defs.yaml"


def load(**demanded: Any) -> Model:
    """The delay model, with other demands of its gates, as the location reads it."""
    attributes = yaml.safe_load(DELAY_MODEL.read_text())["attributes"]
    attributes["gates"] |= demanded
    return Model.resolve_from_yaml(yaml.safe_dump(attributes))


def test_the_delay_models_gates_are_read() -> None:
    assert load(level=0.9, metric="brier").gates.metric == "brier"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metric", "logloss"),
        ("level", 1.0),
        ("level", 0.4),
        ("level", 95),
        ("slice_rows", 0),
        ("slice_worse", -0.1),
        ("slice_worse", float("inf")),
        ("calibration_error", 3),
        ("seconds_per_1000", 0),
        ("artifact_bytes", 0),
        ("levle", 0.95),
    ],
)
def test_a_gate_that_could_never_or_always_hold_is_refused(name: str, value: object) -> None:
    with pytest.raises(Exception, match=name):
        load(**{name: value})
