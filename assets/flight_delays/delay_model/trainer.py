"""How the delay model learns: LightGBM on the features of `features/builder.py`.

Belongs here: which columns the model sees, its parameters, how categories become numbers, and how
the model is kept. Does not belong here: windows, metrics and gates (`defs.yaml` and the platform's
`modeling` room), and how a feature comes about (the builder).

Log-odds are a straight line in one column, the network's recent lateness for its weather, plus the
trees' sum for all others. The line is there because trees would learn which weeks were bad from
that column, and could not go beyond the worst week they saw (docs/adr/0016).

The artifact is a line of JSON followed by LightGBM's own text: a person can read it, and reading
it runs no code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from assets.flight_delays.delay_model.model import LEVEL, DelayModel
from assets.flight_delays.delay_model.onnx_export import to_onnx

if TYPE_CHECKING:
    import lightgbm
    import numpy as np

LABEL = "is_late"
CATEGORICAL = ("carrier", "origin", "destination", "aircraft_manufacturer")
NOT_LEARNED = frozenset(
    {
        "flight_date",
        "flight_id",
        "scheduled_departure_at",
        "expected_tail_number",
        LABEL,
        # The number orders flights by nothing.
        "flight_number",
        # These say which weeks a day lies in, and a tree learns the weeks: with them the folds
        # gave a ROC AUC of 0.730, without 0.739.
        "temperature_fahrenheit",
        "network_late_share_28d",
        "network_late_share_90d",
        "network_delay_minutes_28d",
        "network_delay_minutes_90d",
    }
)
THREADS = 2
FORMAT = 1
BASE = "base"
ONNX_INPUT = "features"
TREES_PER_NODE = 25
"""Trees that ONNX sums in single precision before it goes on in double."""

_HISTORY = {"epoch": pl.Int64, "part": pl.String, "loss": pl.Float64}


class DelayParams(BaseModel):
    """What a training may be asked to vary; a person sets it in the launchpad."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_iterations: int = Field(default=375, ge=1, le=5000, description="Trees.")
    learning_rate: float = Field(default=0.02, gt=0, le=1, description="Shrinkage of each tree.")
    num_leaves: int = Field(default=31, ge=2, le=1024, description="Most leaves of a tree.")
    min_data_in_leaf: int = Field(default=200, ge=1, description="Fewest flights in a leaf.")
    feature_fraction: float = Field(
        default=0.25, gt=0, le=1, description="Share of the columns that a tree may use."
    )
    bagging_fraction: float = Field(
        default=0.7, gt=0, le=1, description="Share of the flights that a tree sees."
    )
    lambda_l2: float = Field(default=5.0, ge=0, description="L2 penalty on the values of leaves.")
    max_bin: int = Field(default=127, ge=2, le=255, description="Most bins of a column.")
    level_weight: float = Field(
        default=1.0,
        ge=0,
        le=2,
        description="How far the network's recent lateness for its weather carries over into the "
        "log-odds of the day: 0 not at all, 1 in full.",
    )
    include_valid: bool = Field(
        default=True,
        description="Learn from `valid` too: the newest days say most about the next. If not, the "
        "loss on them is recorded.",
    )


class DelayTrainer:
    """Learns and predicts `is_late`; satisfies `analytics_platform.modeling.trainer.Trainer`."""

    Params = DelayParams
    label = LABEL

    def features(self, columns: Sequence[str]) -> list[str]:
        """The columns the model learns from, of those in the table; `LEVEL` last."""
        _require(columns, [LEVEL])
        return [*_tree_features(columns), LEVEL]

    def fit(
        self, train: pl.DataFrame, valid: pl.DataFrame, params: DelayParams, seed: int
    ) -> DelayModel:
        """Train on labelled feature rows; the same rows, parameters and seed give the same trees.

        Args:
            train: Features and the boolean `is_late`, never null.
            valid: Later rows of the same columns, or none: learned from too, or else the loss on
                them is recorded. The model is not calibrated on them: a correction learnt from the
                last known month made the next ones worse on every fold.
            params: The parameters.
            seed: Of bagging and column sampling.

        Raises:
            ValueError: If `train` has no rows, a column is missing, or only one outcome occurs.
        """
        if params.include_valid:
            train, valid = pl.concat([train, valid.select(train.columns)]), valid.clear()
        return _fit(train, valid, params, seed)

    def predict(self, model: DelayModel, frame: pl.DataFrame) -> pl.Series:
        """The probability of `is_late` for each row; a category unseen in training is as missing.

        Args:
            model: As `fit` or `load` gave it.
            frame: Features, with at least the columns that the model learned from.
        """
        import numpy as np

        matrix = _matrix(frame, model.tree_features, model.categories)
        if not matrix.shape[0]:
            return pl.Series("late_probability", [], dtype=pl.Float64)
        raw = np.asarray(model.booster.predict(matrix, raw_score=True, num_threads=THREADS))
        log_odds = raw + (model.level_weight * _level(frame) + model.intercept)
        return pl.Series("late_probability", 1.0 / (1.0 + np.exp(-log_odds)), dtype=pl.Float64)

    def save(self, model: DelayModel) -> bytes:
        """A line of JSON, then LightGBM's text; floats are written so that they read back equal."""
        header = {
            "format": FORMAT,
            "trainer": "flight_delays.delay_model",
            "tree_features": list(model.tree_features),
            "categories": {name: list(values) for name, values in model.categories.items()},
            "level": LEVEL,
            "level_weight": model.level_weight,
            "intercept": model.intercept,
        }
        return f"{json.dumps(header)}\n{model.booster.model_to_string()}".encode()

    def load(self, artifact: bytes) -> DelayModel:
        """The model of an artifact.

        Raises:
            ValueError: If it is no artifact of this trainer and format.
        """
        import lightgbm

        line, _, text = artifact.partition(b"\n")
        header = _header(line)
        return DelayModel(
            lightgbm.Booster(model_str=text.decode()),
            tuple(header["tree_features"]),
            {name: tuple(values) for name, values in header["categories"].items()},
            header["level_weight"],
            header["intercept"],
            pl.DataFrame(schema=_HISTORY),
        )

    def history(self, model: DelayModel) -> pl.DataFrame:
        """The log loss of each round, on `train` and `valid`."""
        return model.history

    def weights(self, model: DelayModel) -> Mapping[str, np.ndarray]:
        """The numbers learned: the leaves of each tree, and the line."""
        import numpy as np

        leaves = {
            f"leaf values of tree {number}": np.array(
                [
                    model.booster.get_leaf_output(number - 1, leaf)
                    for leaf in range(tree["num_leaves"])
                ]
            )
            for number, tree in enumerate(model.booster.dump_model()["tree_info"], start=1)
        }
        return {**leaves, "line": np.array([model.level_weight, model.intercept])}

    def importance(self, model: DelayModel) -> pl.DataFrame:
        """Columns `feature` and `gain`, the most useful first.

        `LEVEL` stands outside the trees and has no gain, so it is not among them.
        """
        return pl.DataFrame(
            {
                "feature": list(model.tree_features),
                "gain": model.booster.feature_importance("gain").tolist(),
            },
            schema={"feature": pl.String, "gain": pl.Float64},
        ).sort("gain", "feature", descending=[True, False])

    def contributions(self, model: DelayModel, frame: pl.DataFrame) -> pl.DataFrame:
        """What each feature added to each row's log-odds, and `base`; a row sums to its log-odds.

        SHAP values of the trees (Lundberg and others 2018); `LEVEL` adds weight times value.
        """
        import numpy as np

        matrix = _matrix(frame, model.tree_features, model.categories)
        names = [*model.tree_features, BASE]
        if not matrix.shape[0]:
            return pl.DataFrame(schema=dict.fromkeys([*model.features, BASE], pl.Float64))
        found = np.asarray(model.booster.predict(matrix, pred_contrib=True, num_threads=THREADS))
        return pl.DataFrame(found, schema=names).select(
            *model.tree_features,
            pl.Series(LEVEL, model.level_weight * _level(frame)),
            pl.col(BASE) + model.intercept,
        )

    def to_onnx(self, model: DelayModel) -> bytes:
        """The model as ONNX, with an output `probabilities` of shape (rows, 2).

        Raises:
            ModuleNotFoundError: If the extra `onnx` is not installed.
        """
        return to_onnx(model, ONNX_INPUT, TREES_PER_NODE)

    def onnx_inputs(self, model: DelayModel, frame: pl.DataFrame) -> dict[str, np.ndarray]:
        """The matrix in single precision, which is what ONNX's trees read; `LEVEL` is last."""
        import numpy as np

        trees = _matrix(frame, model.tree_features, model.categories)
        whole = np.column_stack([trees, _level(frame)])
        return {ONNX_INPUT: np.ascontiguousarray(whole, dtype=np.float32)}


TRAINER = DelayTrainer()


def _fit(train: pl.DataFrame, valid: pl.DataFrame, params: DelayParams, seed: int) -> DelayModel:
    """Train, with the loss of each round on each frame that has rows."""
    import lightgbm
    import numpy as np

    _require(train.columns, [LABEL, LEVEL])
    late = train[LABEL].mean()
    if not isinstance(late, float) or not 0 < late < 1:
        raise ValueError(
            f"Training the delay model on {train.height} flights: expected late ones and others, "
            f"found a late share of {late}. Train on more days."
        )
    features = _tree_features(train.columns)
    categories = {
        name: tuple(sorted(train[name].drop_nulls().unique().to_list()))
        for name in features
        if name in CATEGORICAL
    }
    # The line's mean over the rows is the log-odds of their late share; the trees start from there.
    intercept = float(np.log(late / (1 - late)) - params.level_weight * _level(train).mean())
    fixed = {"max_bin": params.max_bin, "verbosity": -1}

    def dataset(frame: pl.DataFrame, reference: lightgbm.Dataset | None) -> lightgbm.Dataset:
        return lightgbm.Dataset(
            _matrix(frame, features, categories),
            frame[LABEL].cast(pl.Float64).to_numpy(),
            init_score=params.level_weight * _level(frame) + intercept,
            reference=reference,
            feature_name=features,
            categorical_feature=[features.index(name) for name in categories],
            params=fixed,
        )

    data = dataset(train, None)
    sets = {"train": data}
    if valid.height:
        sets["valid"] = dataset(valid, data)
    losses: dict[str, dict[str, list[float]]] = {}
    booster = lightgbm.train(
        {
            **params.model_dump(exclude={"level_weight", "include_valid"}),
            "objective": "binary",
            "metric": "binary_logloss",
            "boost_from_average": False,
            "bagging_freq": 1,
            "cat_smooth": 50,
            "min_data_per_group": 200,
            "seed": seed,
            # The order of additions, and with it the last bits, depends on threads and layout.
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": THREADS,
            "verbosity": -1,
        },
        data,
        valid_sets=list(sets.values()),
        valid_names=list(sets),
        callbacks=[lightgbm.record_evaluation(losses)],
    )
    history = pl.DataFrame(
        [
            (epoch, part, loss)
            for part, found in losses.items()
            for epoch, loss in enumerate(found["binary_logloss"], start=1)
        ],
        schema=_HISTORY,
        orient="row",
    )
    return DelayModel(booster, tuple(features), categories, params.level_weight, intercept, history)


def _tree_features(columns: Sequence[str]) -> list[str]:
    return [name for name in columns if name not in NOT_LEARNED and name != LEVEL]


def _level(frame: pl.DataFrame) -> np.ndarray:
    """The column of the line, in log-odds; 0 (as usual) where nothing is known."""
    return frame[LEVEL].cast(pl.Float64).fill_null(0.0).to_numpy()


def _matrix(
    frame: pl.DataFrame, features: Sequence[str], categories: Mapping[str, tuple[str, ...]]
) -> np.ndarray:
    """Features as numbers, C-ordered: a category by its position, anything missing as NaN."""
    import numpy as np

    _require(frame.columns, [*features, LEVEL])
    columns = frame.select(
        pl.col(name).replace_strict(
            {value: float(at) for at, value in enumerate(categories[name])},
            default=None,
            return_dtype=pl.Float64,
        )
        if name in categories
        else pl.col(name).cast(pl.Float64)
        for name in features
    )
    return np.ascontiguousarray(columns.to_numpy(), dtype=np.float64)


def _require(columns: Sequence[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        raise ValueError(
            f"Reading the features of the delay model: expected the columns {', '.join(needed)}; "
            f"{', '.join(missing)} not among the {len(columns)} found. Build the features anew, or "
            "use the model version that learned from these columns."
        )


def _header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError as error:
        raise ValueError(
            f"Loading the delay model: expected an artifact whose first line is JSON, found "
            f"{line[:60]!r}. It was saved by an older trainer: train anew."
        ) from error
    found = (header.get("format"), header.get("level")) if isinstance(header, dict) else None
    if found != (FORMAT, LEVEL):
        raise ValueError(
            f"Loading the delay model: expected format {FORMAT} with the level {LEVEL}, found "
            f"{found}. Load it with the trainer that saved it, or train anew."
        )
    return header
