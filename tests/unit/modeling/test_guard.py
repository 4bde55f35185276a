"""The guard against faults put in one at a time: each is an error that names what is wrong."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from analytics_platform.modeling import guard
from analytics_platform.modeling.guard import guarded_fit, guarded_predict
from analytics_platform.modeling.lightgbm_trainer import LightGbmParams, LightGbmTrainer
from analytics_platform.modeling.sklearn_trainer import NoParams, SklearnTrainer

ROWS = 200
FEATURES = ("a", "b", "c")
NOT_FINITE = st.sampled_from([math.inf, -math.inf, math.nan])


def rows(seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=ROWS), rng.normal(size=ROWS)
    return pl.DataFrame(
        {
            "a": a,
            "b": b,
            "c": rng.choice(["x", "y", "z"], ROWS),
            "late": rng.random(ROWS) < 1 / (1 + np.exp(-a - b)),
        }
    )


class Linear:
    """A trainer whose every step a test may break."""

    Params = NoParams
    label = "late"

    def __init__(self, **broken: Callable[..., Any]) -> None:
        for name, part in broken.items():
            setattr(self, name, part)

    def features(self, columns: list[str]) -> list[str]:
        return [name for name in columns if name != self.label]

    def fit(self, train: pl.DataFrame, valid: pl.DataFrame, params: BaseModel, seed: int) -> Any:
        return {"coefficients": np.array([1.0, 1.0])}

    def predict(self, model: Any, frame: pl.DataFrame) -> pl.Series:
        numbers = frame.select("a", "b").to_numpy() @ model["coefficients"]
        return pl.Series(1 / (1 + np.exp(-numbers)))

    def save(self, model: Any) -> bytes:
        return model["coefficients"].tobytes()

    def load(self, artifact: bytes) -> Any:
        return {"coefficients": np.frombuffer(artifact)}


def train(frame: pl.DataFrame, **broken: Callable[..., Any]) -> Any:
    return guarded_fit(Linear(**broken), frame, frame.clear(), NoParams(), seed=1)


def test_what_is_sound_passes() -> None:
    frame = rows().with_columns(a=pl.when(pl.int_range(ROWS) > 5).then("a"))
    model = guarded_fit(
        SklearnTrainer("late", NoParams, lambda _p, _s: LogisticRegression()),
        frame,
        rows(1),
        NoParams(),
        1,
    )
    assert set(model.encoder.features) == set(FEATURES)


@given(st.sampled_from(["a", "b"]), st.integers(0, ROWS - 1), st.sampled_from([1, -1]))
@settings(deadline=None, max_examples=25)
def test_an_infinite_feature_is_named(name: str, row: int, sign: int) -> None:
    frame = rows()
    frame[row, name] = sign * math.inf
    with pytest.raises(
        guard.FeatureError, match=rf"'{name}' is infinite in 1 of 200 rows.* row {row}, "
    ):
        train(frame)
    with pytest.raises(guard.FeatureError, match=f"'{name}' is infinite"):
        guarded_predict(Linear(), {"coefficients": np.ones(2)}, frame)


@given(st.sampled_from(FEATURES), st.integers(0, ROWS - 1), st.sampled_from([None, math.nan]))
@settings(deadline=None, max_examples=25)
def test_a_missing_feature_is_named_where_none_may_be(
    name: str, row: int, missing: float | None
) -> None:
    frame = rows()
    frame[row, name] = None if name == "c" else missing
    guard.check_features(frame, FEATURES)
    with pytest.raises(guard.FeatureError, match=rf"'{name}' is missing in 1 of 200.* row {row}"):
        guard.check_features(frame, FEATURES, missing_allowed=False)


@pytest.mark.parametrize(
    ("late", "said"),
    [
        (pl.lit(True), "found true"),
        (pl.lit(False), "found false"),
        (pl.when(pl.int_range(ROWS) > 0).then("late"), "null in 1 of 200 rows"),
        (pl.col("late").cast(pl.Float64) / 0, "no number"),
        (pl.col("late").cast(pl.Int64) * 2, "found 0, 2"),
    ],
)
def test_labels_that_cannot_be_learned_are_said(late: pl.Expr, said: str) -> None:
    with pytest.raises(guard.LabelError, match=f"(?i){said}"):
        train(rows().with_columns(late=late))


@pytest.mark.parametrize(
    ("leak", "how"),
    [
        (pl.col("late").cast(pl.Float64) * 3 - pl.col("a") / 1e6, "its value"),
        (-(pl.col("late").cast(pl.Float64)), "its value"),
        (pl.when("late").then("a"), "being missing"),
        (pl.when("late").then(pl.lit("k1")).otherwise(pl.lit("k2")), "the share of its values"),
        # Neither high nor low: a code of which every third value means late.
        (
            pl.int_range(ROWS) % 10 * 3 + pl.col("late").cast(pl.Int64),
            "the share of its values",
        ),
    ],
    ids=["number", "opposite", "missing", "category", "code"],
)
def test_a_feature_that_knows_the_outcome_is_named(leak: pl.Expr, how: str) -> None:
    with pytest.raises(guard.LeakError, match=f"'leak' tells 'late' by {how}"):
        train(rows().with_columns(leak=leak))


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_what_does_not_know_the_outcome_is_no_leak(seed: int) -> None:
    frame = rows(seed).with_columns(
        key=pl.int_range(ROWS).cast(pl.String), number=pl.int_range(ROWS), empty=pl.lit(None)
    )
    found = guard.check_no_leak(frame, [*FEATURES, "key", "number", "empty"], "late")
    assert found["a"] > 0.6
    assert found["key"] < 0.6
    assert found["empty"] == 0.5


@given(st.integers(0, 19), NOT_FINITE, st.sampled_from(["train", "valid"]))
@settings(deadline=None, max_examples=25)
def test_a_loss_that_is_no_number_names_its_epoch(epoch: int, value: float, part: str) -> None:
    history = losses({part: [0.7 - at / 100 if at != epoch else value for at in range(20)]})
    with pytest.raises(guard.LossError, match=rf"loss on {part} is .* at epoch {epoch + 1}, "):
        guard.check_history(history)


def losses(parts: dict[str, list[float]]) -> pl.DataFrame:
    return pl.concat(
        pl.DataFrame({"epoch": range(1, len(found) + 1), "part": part, "loss": found})
        for part, found in parts.items()
    )


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"train": [0.6, 0.5, 0.61]}, r"rose: 0.6 at epoch 1, 0.61 at epoch 3"),
        ({"train": [0.6, 0.1, 1.1, 0.1]}, r"diverged: 1.1 at epoch 3, after 0.1"),
        ({"train": [0.6, 0.5], "valid": [0.6, 6.1]}, r"valid diverged: 6.1 at epoch 2"),
    ],
)
def test_a_loss_that_diverges_names_its_epoch(parts: dict[str, list[float]], said: str) -> None:
    with pytest.raises(guard.LossError, match=said):
        guard.check_history(losses(parts))
    guard.check_history(losses({"train": [0.6, 0.5, 0.5], "valid": [0.6, 0.65, 0.7]}))


def test_the_loss_of_a_real_descent_that_diverges_is_caught() -> None:
    def descend(frame: pl.DataFrame, rate: float) -> pl.DataFrame:
        """Gradient descent on the log loss with an L2 penalty, by hand."""
        x, y = frame.select("a", "b").to_numpy(), frame["late"].cast(pl.Float64).to_numpy()
        weights, found = np.zeros(2), []
        for _ in range(30):
            score = 1 / (1 + np.exp(-np.clip(x @ weights, -500, 500)))
            found.append(float(np.mean(np.logaddexp(0, x @ weights) - y * (x @ weights))))
            weights = weights - rate * (x.T @ (score - y) / y.size + 0.1 * weights)
        return losses({"train": found})

    guard.check_history(descend(rows(), rate=0.5))
    with pytest.raises(guard.LossError, match=r"loss on train (diverged|rose): .* at epoch"):
        guard.check_history(descend(rows(), rate=25.0))


@given(st.integers(0, 1), NOT_FINITE)
@settings(deadline=None, max_examples=10)
def test_a_weight_that_is_no_number_is_named(place: int, value: float) -> None:
    wrong = np.ones(2)
    wrong[place] = value
    with pytest.raises(guard.WeightError, match=rf"coefficients.*1 of 2.*\({place},\)"):
        train(rows(), fit=lambda *_: {"coefficients": wrong})


@pytest.mark.parametrize(
    ("estimator", "spoil", "named"),
    [
        (LogisticRegression, lambda e: e.coef_.__setitem__((0, 1), np.nan), r"\.coef_"),
        (
            lambda: RandomForestClassifier(3, random_state=1),
            lambda e: e.estimators_[1].tree_.value.__setitem__((0, 0, 0), np.inf),
            r"estimators_\[1\]\.tree_\.value",
        ),
    ],
    ids=["coefficients", "trees"],
)
def test_a_spoiled_estimator_is_named(
    estimator: Callable[[], Any], spoil: Callable[[Any], None], named: str
) -> None:
    trainer = SklearnTrainer("late", NoParams, lambda _p, _s: estimator())
    model = trainer.fit(rows(), rows(1), NoParams(), 1)
    guard.check_weights(trainer.weights(model))
    spoil(model.pipeline[-1])
    with pytest.raises(guard.WeightError, match=named):
        guard.check_weights(trainer.weights(model))


def test_a_spoiled_tree_of_lightgbm_is_named() -> None:
    trainer = LightGbmTrainer("late")
    params = LightGbmParams(num_iterations=5, min_data_in_leaf=20)
    model = guarded_fit(trainer, rows(), rows(1), params, 1)
    model.booster.set_leaf_output(2, 0, math.inf)
    with pytest.raises(guard.WeightError, match="tree 3"):
        guard.check_weights(trainer.weights(model))


@given(st.integers(0, ROWS - 1), st.sampled_from([math.inf, math.nan, None, -0.001, 1.001]))
@settings(deadline=None, max_examples=25)
def test_a_score_that_is_no_probability_is_named(row: int, value: float | None) -> None:
    scores = pl.Series(np.linspace(0, 1, ROWS))
    scores[row] = value
    with pytest.raises(guard.ScoreError, match=rf"1 of 200 scores.* row {row}, "):
        train(rows(), predict=lambda *_: scores)


def test_scores_that_say_nothing_are_errors() -> None:
    constant = pl.Series([0.2] * ROWS)
    with pytest.raises(guard.ScoreError, match=r"200 rows got the same score, 0\.2"):
        train(rows(), predict=lambda *_: constant)
    with pytest.raises(guard.ScoreError, match="each of 200 rows, found 3"):
        train(rows(), predict=lambda *_: constant.head(3))
    with pytest.raises(guard.ScoreError, match="as floats, found"):
        train(rows(), predict=lambda *_: constant.cast(pl.Int64))
    guard.check_scores(constant.head(1), 1)
    guard.check_scores(constant, ROWS, constant_allowed=True)


@pytest.mark.parametrize(
    "operation",
    [
        lambda: np.exp(np.array([1000.0])),
        lambda: np.array([0.0]) / np.array([0.0]),
        lambda: np.log(np.array([0.0])),
        lambda: np.array([1e300]) * np.array([1e300]),
        lambda: np.mean(np.array([])),
    ],
    ids=["overflow", "no number", "divide", "product", "empty mean"],
)
def test_arithmetic_that_goes_wrong_is_an_error_where_it_does(
    operation: Callable[[], Any],
) -> None:
    def fit(*_: Any) -> Any:
        operation()
        return {"coefficients": np.ones(2)}

    with pytest.raises(guard.ArithmeticOverflowError, match="Training late on 200 rows"):
        train(rows(), fit=fit)


def test_a_fit_that_does_not_converge_is_an_error() -> None:
    trainer = SklearnTrainer("late", NoParams, lambda _p, _s: LogisticRegression(max_iter=1))
    with pytest.raises(guard.ArithmeticOverflowError, match=r"(?i)converge"):
        guarded_fit(trainer, rows(), rows(1), NoParams(), 1)


def test_a_parameter_that_is_no_number_is_named() -> None:
    class Rate(BaseModel):
        rate: float = math.nan

    with pytest.raises(guard.NumbersError, match="'rate' is nan"):
        guarded_fit(Linear(), rows(), rows(1), Rate(), 1)  # type: ignore[arg-type]
