"""Single rows: whatever refuses them below, the caller gets this room's error, or the answer."""

import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import duckdb
import polars as pl
import pytest

from analytics_platform.lake import FileStore
from analytics_platform.modeling.encoding import EncodingError
from analytics_platform.modeling.guard import ScoreError
from analytics_platform.modeling.serving import Predictor, ReleasedPredictor, ServingError
from analytics_platform.modeling.trainer import TrainerError
from tests.unit.modeling import shop


class Asked:
    """Features as they are given; a row may name an error to raise."""

    def features(self, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
        for row in rows:
            if "raises" in row:
                raise row["raises"]
        return pl.DataFrame(rows)

    def rows_of(self, features: pl.DataFrame) -> list[dict[str, Any]]:
        return features.to_dicts()


@pytest.fixture(scope="module")
def ready() -> Predictor:
    orders = shop.orders()
    model = shop.LINEAR.fit(orders, orders.clear(), shop.Penalty(), 1)
    return Predictor(shop.LINEAR, model, Asked(), 3, "order_id", "return_probability")


def test_a_row_has_its_key_probability_and_version(ready: Predictor) -> None:
    (row,) = ready.predict(shop.orders()[:1].to_dicts())
    assert (row["order_id"], row["model_version"]) == ("o0", 3)
    assert 0 < row["return_probability"] < 1
    assert ready.predict([]) == []


@pytest.mark.parametrize(
    "error",
    [
        OverflowError("date value out of range"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        pl.exceptions.ComputeError("a column"),
        duckdb.CatalogException("no table"),
        EncodingError("no column"),
        ScoreError("a score of 2"),
        TrainerError("no trainer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_builder_or_trainer_refuses_is_a_serving_error(
    ready: Predictor, error: Exception
) -> None:
    said = f"Predicting 1 rows with version 3: {type(error).__name__}: "
    with pytest.raises(ServingError, match=said):
        ready.predict([{"raises": error}])


def test_a_serving_error_and_a_fault_of_the_code_stay_what_they_are(ready: Predictor) -> None:
    with pytest.raises(ServingError, match=r"^Row 1 lacks size$"):
        ready.predict([{"raises": ServingError("Row 1 lacks size")}])
    with pytest.raises(AttributeError):
        ready.predict([{"raises": AttributeError("a typo")}])


def service(_read: Any) -> Asked:
    return Asked()


def entry(**changed: Any) -> dict[str, Any]:
    declared = {
        "trainer": "tests.unit.modeling.shop.LINEAR",
        "serving": f"{__name__}.service",
        "predictions": "predictions_orders",
        "key": "order_id",
        "probability": "return_probability",
    }
    declared |= {name: changed.pop(name) for name in list(changed) if name in declared}
    return {
        "model": "returns",
        "is_champion": True,
        "version": 1,
        "declared": json.dumps(declared),
    } | changed


@pytest.mark.parametrize(
    ("models", "name", "said"),
    [
        ([], None, "holds no champion yet.*`ap run` does what is due"),
        ([entry(is_champion=False)], "returns", "holds no champion yet"),
        ([entry()], "retruns", "champions of returns, and there is none of 'retruns'. Name one"),
        ([entry(), entry(model="b")], None, "champions of returns, b, and no model was named"),
        ([entry(serving="")], None, "declares no serving path.*read predictions_orders"),
        ([entry(trainer="no.such")], None, "Loading returns 1: TrainerError: .*no module 'no'"),
        ([entry(serving="no.such")], None, "serving path 'no.such' names nothing"),
    ],
)
def test_a_release_without_such_a_champion_says_what_it_has(
    models: list[dict[str, Any]], name: str | None, said: str, store: FileStore
) -> None:
    with pytest.raises(ServingError, match=said):
        ReleasedPredictor.open(models, name, store, _Reader())


@pytest.mark.parametrize("artifact", [b"garbage", b""])
def test_an_artifact_that_cannot_be_loaded_is_a_serving_error(
    artifact: bytes, store: FileStore
) -> None:
    stored = store.put(artifact, "returns")
    champion = entry(sha256=stored.sha256, name=stored.name)
    with pytest.raises(ServingError, match="Loading returns 1: "):
        ReleasedPredictor.open([champion], None, store, _Reader())


class _Reader(SimpleNamespace):
    connection: Any = None

    def close(self) -> None: ...
