"""The trainer on real months: the same every time, and the same after saving."""

from datetime import date

import polars as pl
import pytest

from assets.flight_delays.delay_model.trainer import TrainParams, fit, importance, predict, save
from assets.flight_delays.features.builder import build_features
from tests.products.flight_delays.conftest import Inputs

PARAMS = TrainParams(num_iterations=20)


@pytest.fixture(scope="module")
def labelled(inputs: Inputs) -> pl.DataFrame:
    features = build_features(*inputs, date(2013, 1, 1), date(2013, 2, 28))
    labels = inputs.flights.select("flight_id", "is_late")
    return features.join(labels, on="flight_id").filter(pl.col("is_late").is_not_null()).collect()


def test_training_is_deterministic_and_saving_changes_nothing(labelled: pl.DataFrame) -> None:
    first, second = fit(labelled, PARAMS), fit(labelled, PARAMS)
    assert save(first) == save(second)
    scores = predict(first, labelled)
    assert predict(save(first), labelled).equals(scores)
    assert save(fit(labelled, TrainParams(num_iterations=20, seed=2))) != save(first)
    assert scores.is_between(0, 1).all()


def test_an_unseen_category_counts_as_missing(labelled: pl.DataFrame) -> None:
    model = fit(labelled, PARAMS)
    some = labelled.head(50)
    unseen = some.with_columns(carrier=pl.lit("ZZ"), destination=pl.lit("ZZZ"))
    missing = some.with_columns(
        carrier=pl.lit(None, dtype=pl.String), destination=pl.lit(None, dtype=pl.String)
    )
    assert predict(model, unseen).equals(predict(model, missing))


def test_the_order_of_columns_does_not_matter(labelled: pl.DataFrame) -> None:
    model = fit(labelled, PARAMS)
    turned = labelled.select(reversed(labelled.columns))
    assert predict(model, turned).equals(predict(model, labelled))


def test_the_label_is_not_among_the_features(labelled: pl.DataFrame) -> None:
    used = set(importance(fit(labelled, PARAMS))["feature"])
    assert not used & {"is_late", "flight_id", "flight_date", "expected_tail_number"}


def test_no_rows_give_no_scores(labelled: pl.DataFrame) -> None:
    assert predict(fit(labelled, PARAMS), labelled.clear()).is_empty()
