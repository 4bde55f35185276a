"""What docs/models.md shows is run as it stands there."""

import re
from datetime import date
from typing import Any

import polars as pl
import pytest

from analytics_platform.modeling.guard import guarded_fit, guarded_predict
from analytics_platform.modeling.trainer import missing_parts
from analytics_platform.settings import PROJECT_ROOT
from assets.flight_delays.features.builder import build_features
from tests.products.flight_delays.conftest import Inputs


@pytest.fixture(scope="module")
def trainer() -> Any:
    """The trainer of the document, made by the code that it shows."""
    document = (PROJECT_ROOT / "docs/models.md").read_text()
    chapter = document.split("## A trainer of your own")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", chapter, re.DOTALL)
    made: dict[str, Any] = {"__name__": "of_the_document"}
    exec(compile(code, "docs/models.md", "exec"), made)
    return made["TRAINER"]


def test_the_trainer_of_the_document_learns_the_product(trainer: Any, inputs: Inputs) -> None:
    assert not missing_parts(trainer)
    features = build_features(*inputs, date(2013, 2, 15), date(2013, 2, 19)).collect()
    labels = inputs.flights.select("flight_id", "is_late").drop_nulls().collect()
    rows = features.join(labels, on="flight_id", how="inner", maintain_order="left")
    train, later = rows[:3000], rows[3000:]
    model = guarded_fit(trainer, train, later, trainer.Params(), 1)
    scores = guarded_predict(trainer, trainer.load(trainer.save(model)), later)
    assert scores.equals(trainer.predict(model, later))
    # It has learned something: late flights are scored higher than others.
    means = later.select("is_late", score=scores).group_by("is_late").agg(pl.mean("score"))
    late, others = (means.filter(is_late=value)["score"].item() for value in (True, False))
    assert late > others
