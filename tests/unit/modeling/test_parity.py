"""Parity of real models, and of models that are not the same."""

from typing import Any

import polars as pl
import pytest

from analytics_platform.modeling import parity
from analytics_platform.modeling.trainer import TrainerError
from tests.unit.modeling import shop


@pytest.mark.parametrize("name", ["TREES", pytest.param("LINEAR", marks=pytest.mark.slow)])
def test_a_saved_model_predicts_the_same_by_every_way(name: str) -> None:
    trainer: Any = getattr(shop, name)
    rows = shop.orders()
    model = trainer.fit(rows, rows.clear(), trainer.Params(), 1)
    scores = trainer.predict(model, rows)
    ways = [
        parity.fresh_process(
            f"tests.unit.modeling.shop.{name}", trainer.save(model), rows, "order_id", scores
        ),
        parity.single_rows(trainer, model, rows, "order_id", scores, rows=300),
        parity.onnx(trainer, model, rows, "order_id", scores),
    ]
    assert [way.rows for way in ways] == [2400, 300, 2400]
    assert all(way.holds for way in ways), ways
    assert max(way.largest_difference for way in ways[:2]) <= 1e-9


def test_another_model_is_told_with_the_worst_row() -> None:
    rows = shop.orders()
    model = shop.TREES.fit(rows, rows.clear(), shop.Params(), 1)
    other = shop.TREES.fit(rows, rows.clear(), shop.Params(num_iterations=29), 1)
    scores = shop.TREES.predict(model, rows)
    found = parity.fresh_process(
        "tests.unit.modeling.shop.TREES", shop.TREES.save(other), rows, "order_id", scores
    )
    assert not found.holds
    apart = (shop.TREES.predict(other, rows) - scores).abs()
    assert found.worst == rows["order_id"][apart.arg_max()]
    assert found.largest_difference == pytest.approx(apart.max())
    assert found.rows_far == (apart > 1e-9).sum()


def test_a_batch_that_looks_at_other_rows_is_caught() -> None:
    class Peeks:
        def predict(self, model: Any, frame: pl.DataFrame) -> pl.Series:
            return frame["price"].rank() / (frame.height + 1)

    rows = shop.orders(days=2)
    trainer: Any = Peeks()
    found = parity.single_rows(trainer, None, rows, "order_id", trainer.predict(None, rows))
    assert not found.holds
    assert found.largest_difference > 0.4


@pytest.mark.parametrize(
    ("far", "by", "holds"),
    [(0, 0.0, True), (2, 0.1, True), (3, 0.1, False), (1, 0.2, False)],
)
def test_some_rows_may_be_far_but_neither_many_nor_very(far: int, by: float, holds: bool) -> None:
    keys = pl.Series(range(2000))
    scores = pl.Series([0.5] * 2000)
    found = parity.compare(
        "as ONNX",
        keys,
        scores,
        scores + pl.Series([by] * far + [1e-6] * (2000 - far)),
        tolerance=1e-5,
        share_far_allowed=0.001,
        far_tolerance=0.15,
    )
    assert found.holds is holds
    assert found.evidence()["rows_far"] == far


def test_nothing_compared_does_not_hold() -> None:
    none = pl.Series([], dtype=pl.Float64)
    assert not parity.compare("any", none, none, none).holds


def test_a_way_without_an_answer_is_an_error() -> None:
    keys, scores = pl.Series(["a", "b"]), pl.Series([0.1, 0.2])
    with pytest.raises(parity.ParityError, match="first of them that of b"):
        parity.compare("any", keys, scores, pl.Series([0.1, float("nan")]))
    with pytest.raises(parity.ParityError, match="expected 2 probabilities for 2 rows, found 1"):
        parity.compare("any", keys, scores, scores.head(1))
    with pytest.raises(parity.ParityError, match="artifact of the lightgbm"):
        parity.predict_in_fresh_process(
            "tests.unit.modeling.shop.TREES", b"nothing", shop.orders(1)
        )
    no_onnx: Any = object()
    with pytest.raises(TrainerError, match="does not export ONNX"):
        parity.onnx(no_onnx, None, shop.orders(1), "order_id", scores)
