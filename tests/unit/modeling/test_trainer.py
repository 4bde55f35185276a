"""What a trainer must offer, how one is found, and the trainers that come with the platform."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import BaseModel
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import log_loss
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from analytics_platform.modeling.encoding import Encoder, EncodingError
from analytics_platform.modeling.onnx_export import onnx_scores
from analytics_platform.modeling.sklearn_trainer import NoParams, SklearnTrainer
from analytics_platform.modeling.trainer import (
    Explains,
    ExportsOnnx,
    HasWeights,
    RecordsHistory,
    TrainerError,
    missing_parts,
    resolve,
)
from tests.unit.modeling import shop

SHOP = "tests.unit.modeling.shop"
TRAINERS: dict[str, Any] = {
    "trees": shop.TREES,
    "linear": shop.LINEAR,
    "forest": SklearnTrainer(
        "is_returned",
        NoParams,
        lambda _p, seed: RandomForestClassifier(10, max_depth=5, random_state=seed),
        shop.NOT_LEARNED,
    ),
    "boosted": SklearnTrainer(
        "is_returned",
        NoParams,
        lambda _p, seed: HistGradientBoostingClassifier(max_iter=20, random_state=seed),
        shop.NOT_LEARNED,
        preparation="none",
    ),
    "gradient": SklearnTrainer(
        "is_returned",
        NoParams,
        lambda _p, seed: GradientBoostingClassifier(
            n_estimators=20, random_state=np.random.RandomState(seed)
        ),
        shop.NOT_LEARNED,
    ),
}
every_trainer = pytest.mark.parametrize("trainer", TRAINERS.values(), ids=TRAINERS)


@pytest.fixture(scope="module")
def orders() -> pl.DataFrame:
    return shop.orders()


@every_trainer
def test_the_same_rows_give_the_same_bytes_and_these_the_same_model(
    trainer: Any, orders: pl.DataFrame
) -> None:
    train, valid = orders[:1600], orders[1600:]
    assert not missing_parts(trainer)
    artifact = trainer.save(trainer.fit(train, valid, trainer.Params(), 1))
    assert trainer.save(trainer.fit(train, valid, trainer.Params(), 1)) == artifact
    loaded = trainer.load(artifact)
    assert trainer.save(loaded) == artifact
    scores = trainer.predict(loaded, valid)
    assert scores.equals(trainer.predict(trainer.fit(train, valid, trainer.Params(), 1), valid))
    assert scores.is_between(0, 1).all()
    assert trainer.predict(loaded, valid.clear()).is_empty()
    # Better than the share alone: it has learned something.
    y = valid["is_returned"].to_numpy()
    assert log_loss(y, scores.to_numpy()) < log_loss(y, np.full(y.size, y.mean()))


@every_trainer
def test_only_the_features_matter(trainer: Any, orders: pl.DataFrame) -> None:
    model = trainer.fit(orders, orders.clear(), trainer.Params(), 1)
    scores = trainer.predict(model, orders)
    turned = orders.select(reversed(orders.columns)).drop("is_returned", "order_id", "day")
    assert trainer.predict(model, turned).equals(scores)
    unseen = trainer.predict(model, orders.with_columns(shop=pl.lit("moon")))
    missing = trainer.predict(model, orders.with_columns(shop=pl.lit(None, dtype=pl.String)))
    assert unseen.equals(missing)
    with pytest.raises(EncodingError, match="price not among"):
        trainer.predict(model, orders.drop("price"))


@pytest.mark.parametrize("name", ["trees", "linear"])
def test_onnx_predicts_nearly_the_same(name: str, orders: pl.DataFrame) -> None:
    trainer = TRAINERS[name]
    model = trainer.fit(orders, orders.clear(), trainer.Params(), 1)
    exported = trainer.to_onnx(model)
    assert exported == trainer.to_onnx(trainer.load(trainer.save(model)))
    apart = onnx_scores(exported, trainer.onnx_inputs(model, orders)) - trainer.predict(
        model, orders
    )
    assert apart.abs().max() < 1e-5  # type: ignore[operator]


def test_a_linear_model_is_the_one_scikit_learn_gives_for_columns_made_by_hand(
    orders: pl.DataFrame,
) -> None:
    size = orders["size"]
    columns = [orders["price"], size.fill_null(size.median()), orders["is_gift"].cast(pl.Float64)]
    by_hand = np.column_stack(
        [
            *((c.to_numpy() - c.mean()) / c.std(ddof=0) for c in columns),
            *((orders["shop"] == name).to_numpy() for name in ("north", "south", "west")),
            size.is_null().to_numpy(),
        ]
    )
    fitted = LogisticRegression(max_iter=500).fit(by_hand, orders["is_returned"].to_numpy())
    model = shop.LINEAR.fit(orders, orders.clear(), shop.Penalty(), 1)
    found = shop.LINEAR.predict(model, orders).to_numpy()
    assert found == pytest.approx(fitted.predict_proba(by_hand)[:, 1], abs=1e-6)


def test_trees_tell_their_loss_gain_contributions_and_leaves(orders: pl.DataFrame) -> None:
    trees = shop.TREES
    for capability in (Explains, ExportsOnnx, RecordsHistory, HasWeights):
        assert isinstance(trees, capability)
    train, valid = orders[:1600], orders[1600:]
    model = trees.fit(train, valid, shop.Params(), 1)
    scores = trees.predict(model, valid)
    history = trees.history(model)
    assert history.group_by("part").len().sort("part").rows() == [("train", 30), ("valid", 30)]
    last = history.filter((pl.col("part") == "valid") & (pl.col("epoch") == 30))["loss"].item()
    assert last == pytest.approx(log_loss(valid["is_returned"].to_numpy(), scores.to_numpy()))
    odds = trees.contributions(model, valid).sum_horizontal()
    assert (1 / (1 + np.exp(-odds.to_numpy()))) == pytest.approx(scores.to_numpy(), abs=1e-9)
    assert trees.importance(model)["feature"][0] == "price"
    # Each row falls into one leaf a tree: their sum is its log-odds.
    leaves = list(trees.weights(model).values())
    fallen = model.booster.predict(model.encoder.matrix(valid), pred_leaf=True)
    sums = sum(leaf[np.asarray(fallen)[:, at]] for at, leaf in enumerate(leaves))
    assert np.asarray(sums) == pytest.approx(odds.to_numpy(), abs=1e-9)


def test_stopping_early_keeps_the_best_round_only(orders: pl.DataFrame) -> None:
    params = shop.Params(num_iterations=300, learning_rate=0.3, early_stopping_rounds=5)
    model = shop.TREES.fit(orders[:1600], orders[1600:], params, 1)
    valid = shop.TREES.history(model).filter(pl.col("part") == "valid")
    assert model.booster.num_trees() == valid["loss"].arg_min() + 1 < 300  # type: ignore[operator]
    loaded = shop.TREES.load(shop.TREES.save(model))
    assert shop.TREES.predict(loaded, orders).equals(shop.TREES.predict(model, orders))


class Evil:
    """Runs a command when it is read by plain pickle."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return subprocess.check_output, (["touch", "/tmp/evil"],)


def _call(module: str, name: str) -> bytes:
    """A pickle that asks for one global and calls it without arguments."""
    return f"c{module}\n{name}\n)R.".encode()


@pytest.mark.parametrize(
    "body",
    [
        pickle.dumps(Evil()),
        _call("builtins", "eval"),
        _call("os", "system"),
        # Imported by a library of the list, and none of its classes.
        _call("sklearn.utils._testing", "os"),
        _call("numpy.testing._private.utils", "runstring"),
    ],
    ids=["subprocess", "eval", "os", "imported", "function"],
)
def test_an_artifact_that_would_act_is_refused(body: bytes, orders: pl.DataFrame) -> None:
    artifact = shop.LINEAR.save(shop.LINEAR.fit(orders, orders, shop.Penalty(), 1))
    header = artifact.partition(b"\n")[0]
    with pytest.raises(TrainerError, match="its pickle asks for"):
        shop.LINEAR.load(header + b"\n" + body)


class Empties:
    """Empties a file when it is read: making a `numpy.memmap` opens it anew."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return np.memmap, (str(self.victim), "uint8", "w+", 0, (1,))


def test_a_class_that_would_act_is_refused_before_it_is_made(
    orders: pl.DataFrame, tmp_path: Path
) -> None:
    victim = tmp_path / "data"
    victim.write_text("what was there")
    header = shop.LINEAR.save(shop.LINEAR.fit(orders, orders, shop.Penalty(), 1)).partition(b"\n")[
        0
    ]
    with pytest.raises(TrainerError, match=r"asks for numpy\.(_core\.)?memmap"):
        shop.LINEAR.load(header + b"\n" + pickle.dumps(Empties(victim)))
    assert victim.read_text() == "what was there"


@pytest.mark.parametrize(
    "body", [b"", b"\x80\x05", pickle.dumps([1])[:-1], b"cnumpy\ndtype\n(Vx\ntR."]
)
def test_a_damaged_artifact_is_told_of(body: bytes, orders: pl.DataFrame) -> None:
    header = shop.LINEAR.save(shop.LINEAR.fit(orders, orders, shop.Penalty(), 1)).partition(b"\n")[
        0
    ]
    with pytest.raises(TrainerError, match="its pickle cannot be read"):
        shop.LINEAR.load(header + b"\n" + body)


@pytest.mark.parametrize(
    "estimator",
    [
        AdaBoostClassifier(n_estimators=3),
        CalibratedClassifierCV(LogisticRegression(max_iter=500), cv=2),
        GaussianNB(),
        GaussianProcessClassifier(),
        KNeighborsClassifier(algorithm="ball_tree"),
        KNeighborsClassifier(algorithm="kd_tree"),
        MLPClassifier((3,), max_iter=1000, random_state=1),
        SGDClassifier(loss="log_loss", random_state=1),
        SGDClassifier(loss="modified_huber", random_state=1),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_other_classifiers_are_read_back(estimator: Any, orders: pl.DataFrame) -> None:
    trainer = SklearnTrainer("is_returned", NoParams, lambda _p, _s: estimator, shop.NOT_LEARNED)
    few = orders[:200]
    model = trainer.fit(few, few.clear(), NoParams(), 1)
    loaded = trainer.load(trainer.save(model))
    assert trainer.predict(loaded, few).equals(trainer.predict(model, few))


def test_a_key_is_no_category(orders: pl.DataFrame) -> None:
    """Spread over columns it would take rows times rows of memory, and say nothing of new rows."""
    key = SklearnTrainer("is_returned", NoParams, lambda _p, _s: None, frozenset({"day"}))
    with pytest.raises(EncodingError, match=r"'order_id'.*2,400 values in 2,400 rows.*not_learned"):
        key.fit(orders, orders.clear(), NoParams(), 1)
    halves = orders.with_columns(order_id=(pl.int_range(pl.len()) // 2).cast(pl.String))
    shop_of = SklearnTrainer(
        "is_returned", NoParams, lambda _p, _s: GaussianNB(), frozenset({"day"})
    )
    # Two rows a value are allowed, and so are a few values of a few rows.
    assert shop_of.fit(halves[:400], orders.clear(), NoParams(), 1)
    assert shop_of.fit(orders[:50], orders.clear(), NoParams(), 1)
    # Trees take the position of a value: one column, however many there are.
    boosted = SklearnTrainer(
        "is_returned", NoParams, lambda _p, _s: GaussianNB(), frozenset({"day", "size"}),
        preparation="none",
    )  # fmt: skip
    assert boosted.fit(orders, orders.clear(), NoParams(), 1)


def test_an_artifact_of_another_kind_is_refused(orders: pl.DataFrame) -> None:
    linear = shop.LINEAR.save(shop.LINEAR.fit(orders, orders, shop.Penalty(), 1))
    with pytest.raises(TrainerError, match="expected an artifact of the lightgbm trainer"):
        shop.TREES.load(linear)
    with pytest.raises(TrainerError, match="whose first line is JSON"):
        shop.TREES.load(b"tree\nversion=v4")
    import sklearn

    old = linear.replace(sklearn.__version__.encode(), b"0.1.0", 1)
    with pytest.raises(TrainerError, match=r"saved by scikit-learn 0\.1\.0"):
        shop.LINEAR.load(old)


def test_resolve_finds_objects_modules_and_classes(tmp_path: Any, monkeypatch: Any) -> None:
    assert resolve(f"{SHOP}.TREES") is shop.TREES
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_trainer.py").write_text(
        "from pydantic import BaseModel as Params\nlabel = 'late'\n"
        "def features(columns): ...\ndef fit(train, valid, params, seed): ...\n"
        "def predict(model, frame): ...\ndef save(model): ...\ndef load(artifact): ...\n"
        "class Whole:\n    Params = Params\n    label = 'late'\n"
        "    features = fit = predict = save = load = lambda self: None\n"
        "class Needs(Whole):\n    def __init__(self, something): ...\n"
    )
    assert resolve("a_trainer") is sys.modules["a_trainer"]
    assert type(resolve("a_trainer.Whole")).__name__ == "Whole"
    with pytest.raises(TrainerError, match="a class is made without arguments"):
        resolve("a_trainer.Needs")


class NeedsOne(BaseModel):
    rate: float


class Half:
    Params = NeedsOne
    label = ""
    save = None

    def fit(self) -> None: ...


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("no_such_module.trainer", "there is no module 'no_such_module'"),
        (f"{SHOP}.TREE", "has no 'TREE'. It has .*TREES"),
        ("not a path", "is no dotted path"),
        (f"{SHOP}.orders", "`label` is missing; `features` is missing"),
        (
            f"{__name__}.Half",
            "`Params` needs a default for rate; `label` must be a column's name, found ''; "
            "`features` is missing; `predict` is missing; `save` must be a function, found "
            "NoneType; `load` is missing",
        ),
    ],
)
def test_what_is_no_trainer_is_told_what_it_lacks(path: str, said: str) -> None:
    with pytest.raises(TrainerError, match=said):
        resolve(path)


def test_a_module_that_a_trainer_needs_is_named(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "needy_trainer.py").write_text("import no_such_library\n")
    with pytest.raises(TrainerError, match="needs the module no_such_library"):
        resolve("needy_trainer")


def test_the_encoder_by_hand() -> None:
    frame = pl.DataFrame({"n": [1, None], "flag": [True, False], "word": ["b", "a"]})
    encoder = Encoder.learned(frame, ["word", "n", "flag"])
    assert Encoder.from_json(encoder.to_json()) == encoder
    again = frame.with_columns(word=pl.Series(["b", "z"]))
    np.testing.assert_array_equal(encoder.matrix(again), [[1.0, 1.0, 1.0], [np.nan, np.nan, 0.0]])
    assert encoder.matrix(frame.clear()).shape == (0, 3)
    with pytest.raises(EncodingError, match=r"'at'.*found Date"):
        Encoder.learned(frame.with_columns(at=pl.date(2024, 1, 1)), ["at"])
    with pytest.raises(EncodingError, match="at least one column"):
        Encoder.learned(frame, [])
