"""The trainer on real months: the same every time, after saving, row by row, and as ONNX."""

import json
from datetime import date

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from assets.flight_delays.delay_model.model import LEVEL, DelayModel
from assets.flight_delays.delay_model.trainer import TRAINER, DelayParams
from assets.flight_delays.features.builder import build_features
from tests.products.flight_delays.conftest import Inputs

PARAMS = DelayParams(num_iterations=30, learning_rate=0.1)
LAST_LEARNED = date(2013, 2, 14)
NOT_FEATURES = {"is_late", "flight_id", "flight_date", "flight_number", "expected_tail_number"}


@pytest.fixture(scope="module")
def labelled(inputs: Inputs) -> pl.DataFrame:
    features = build_features(*inputs, date(2013, 1, 1), date(2013, 2, 28))
    labels = inputs.flights.select("flight_id", "is_late")
    return features.join(labels, on="flight_id").filter(pl.col("is_late").is_not_null()).collect()


@pytest.fixture(scope="module")
def train(labelled: pl.DataFrame) -> pl.DataFrame:
    return labelled.filter(pl.col("flight_date") <= LAST_LEARNED)


@pytest.fixture(scope="module")
def valid(labelled: pl.DataFrame) -> pl.DataFrame:
    return labelled.filter(pl.col("flight_date") > LAST_LEARNED)


@pytest.fixture(scope="module")
def model(train: pl.DataFrame, valid: pl.DataFrame) -> DelayModel:
    return TRAINER.fit(train, valid, PARAMS, 1)


def log_odds(probability: pl.Series) -> np.ndarray:
    p = probability.to_numpy()
    return np.log(p) - np.log1p(-p)


def test_training_is_deterministic_and_the_seed_counts(
    train: pl.DataFrame, valid: pl.DataFrame, model: DelayModel
) -> None:
    assert TRAINER.save(TRAINER.fit(train, valid, PARAMS, 1)) == TRAINER.save(model)
    assert TRAINER.save(TRAINER.fit(train, valid, PARAMS, 2)) != TRAINER.save(model)


def test_saving_changes_nothing_to_the_last_bit(model: DelayModel, labelled: pl.DataFrame) -> None:
    artifact = TRAINER.save(model)
    loaded = TRAINER.load(artifact)
    scores = TRAINER.predict(model, labelled)
    assert TRAINER.predict(loaded, labelled).equals(scores)
    assert TRAINER.save(loaded) == artifact
    assert scores.is_between(0, 1).all()
    assert scores.len() == labelled.height


def test_the_artifact_is_a_line_of_json_and_lightgbms_text(model: DelayModel) -> None:
    line, _, text = TRAINER.save(model).decode().partition("\n")
    assert json.loads(line)["categories"]["origin"] == ["EWR", "JFK", "LGA"]
    assert text.startswith("tree\n")


@pytest.mark.parametrize(
    ("artifact", "found"),
    [
        (b"tree\nversion=v4\n", "whose first line is JSON"),
        (b'{"format": 99}\ntree\n', r"found \(99, None\)"),
        (b"[1]\ntree\n", "found None"),
    ],
)
def test_another_artifact_is_refused(artifact: bytes, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        TRAINER.load(artifact)


def test_a_row_alone_is_predicted_as_among_others(
    model: DelayModel, labelled: pl.DataFrame
) -> None:
    some = labelled.sample(200, seed=5)
    together = TRAINER.predict(model, some)
    alone = pl.concat([TRAINER.predict(model, some[at]) for at in range(some.height)])
    assert alone.equals(together)


def test_an_unseen_category_counts_as_missing(model: DelayModel, labelled: pl.DataFrame) -> None:
    some = labelled.head(50)
    unseen = some.with_columns(carrier=pl.lit("ZZ"), destination=pl.lit("ZZZ"))
    missing = some.with_columns(
        carrier=pl.lit(None, dtype=pl.String), destination=pl.lit(None, dtype=pl.String)
    )
    assert TRAINER.predict(model, unseen).equals(TRAINER.predict(model, missing))


def test_the_order_of_columns_and_the_label_do_not_matter(
    model: DelayModel, labelled: pl.DataFrame
) -> None:
    turned = labelled.drop("is_late").select(reversed(labelled.drop("is_late").columns))
    assert TRAINER.predict(model, turned).equals(TRAINER.predict(model, labelled))


def test_the_columns_it_says_it_learns_from_are_the_ones_it_needs(
    model: DelayModel, labelled: pl.DataFrame
) -> None:
    features = TRAINER.features(labelled.columns)
    assert list(model.features) == features
    assert not set(features) & NOT_FEATURES
    assert TRAINER.predict(model, labelled.select(features)).equals(
        TRAINER.predict(model, labelled)
    )
    for name in ("carrier", "slack_minutes_28d", LEVEL):
        with pytest.raises(ValueError, match=f"{name} not among the"):
            TRAINER.predict(model, labelled.drop(name))


def test_the_level_moves_the_log_odds_by_its_weight(
    model: DelayModel, labelled: pl.DataFrame
) -> None:
    """Nothing else may look at it: twice as late a fortnight adds weight times log 2."""
    twice = labelled.with_columns(pl.col(LEVEL).cast(pl.Float64) + np.log(2))
    moved = log_odds(TRAINER.predict(model, twice)) - log_odds(TRAINER.predict(model, labelled))
    assert moved == pytest.approx(np.full(labelled.height, PARAMS.level_weight * np.log(2)))


def test_the_mean_prediction_is_the_late_share_it_learned_from(
    model: DelayModel, labelled: pl.DataFrame
) -> None:
    """Also of `valid`, which it learns from too: both are in the mean."""
    mean = TRAINER.predict(model, labelled).mean()
    assert mean == pytest.approx(labelled["is_late"].mean(), abs=0.01)


def test_the_recorded_loss_is_that_of_the_predictions(
    train: pl.DataFrame, valid: pl.DataFrame
) -> None:
    once = TRAINER.fit(train, valid, PARAMS.model_copy(update={"include_valid": False}), 1)
    history = TRAINER.history(once)
    assert history.height == 2 * PARAMS.num_iterations
    for part, frame in (("train", train), ("valid", valid)):
        p, y = TRAINER.predict(once, frame).to_numpy(), frame["is_late"].to_numpy()
        last = history.filter(pl.col("part") == part).sort("epoch")["loss"][-1]
        assert last == pytest.approx(-np.log(np.where(y, p, 1 - p)).mean(), abs=1e-6)


def test_it_learns_from_the_newest_known_days_as_from_all_others(
    train: pl.DataFrame, valid: pl.DataFrame, model: DelayModel
) -> None:
    both = TRAINER.fit(pl.concat([train, valid]), valid.clear(), PARAMS, 1)
    assert TRAINER.save(both) == TRAINER.save(model)
    assert set(TRAINER.history(model)["part"]) == {"train"}
    apart = TRAINER.fit(train, valid, PARAMS.model_copy(update={"include_valid": False}), 1)
    without = TRAINER.fit(train, valid.clear(), PARAMS, 1)
    assert TRAINER.predict(apart, valid).equals(TRAINER.predict(without, valid))


def test_contributions_add_up_to_the_log_odds(model: DelayModel, labelled: pl.DataFrame) -> None:
    some = labelled.sample(300, seed=3)
    added = TRAINER.contributions(model, some)
    assert added.columns == [*model.features, "base"]
    assert added.sum_horizontal().to_numpy() == pytest.approx(
        log_odds(TRAINER.predict(model, some)), abs=1e-9
    )


def test_onnx_predicts_the_same_also_where_something_is_missing(
    model: DelayModel, labelled: pl.DataFrame
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    some = labelled.sample(3000, seed=2).with_columns(
        carrier=pl.when(pl.int_range(pl.len()) % 7 == 0).then(pl.lit("ZZ")).otherwise("carrier")
    )
    exported = TRAINER.to_onnx(model)
    assert exported == TRAINER.to_onnx(TRAINER.load(TRAINER.save(model)))
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], TRAINER.onnx_inputs(model, some))
    assert found.sum(axis=1) == pytest.approx(np.ones(some.height), abs=1e-6)
    assert np.abs(found[:, 1] - TRAINER.predict(model, some).to_numpy()).max() < 1e-5


def test_importance_and_weights_are_the_models(model: DelayModel) -> None:
    ranked = TRAINER.importance(model)
    assert ranked["gain"].is_sorted(descending=True)
    assert sorted(ranked["feature"]) == sorted(model.tree_features)
    weights = TRAINER.weights(model)
    assert len(weights) == PARAMS.num_iterations + 1
    assert all(np.isfinite(values).all() for values in weights.values())


def test_no_rows_give_no_scores(model: DelayModel, labelled: pl.DataFrame) -> None:
    assert TRAINER.predict(model, labelled.clear()).is_empty()
    assert TRAINER.contributions(model, labelled.clear()).is_empty()


def test_one_outcome_only_is_refused(train: pl.DataFrame) -> None:
    late = train.filter("is_late")
    with pytest.raises(ValueError, match=r"found a late share of 1\.0"):
        TRAINER.fit(late, late.clear(), PARAMS, 1)


@pytest.mark.parametrize(
    "wrong", [{"learning_rate": 0}, {"num_leaves": 1}, {"bagging_fraction": 1.5}, {"trees": 3}]
)
def test_parameters_out_of_bounds_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        DelayParams.model_validate(wrong)
