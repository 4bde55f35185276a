"""A trainer that learns gradient-boosted trees with LightGBM; a product names columns and defaults.

Belongs here: how LightGBM is called so that the same rows give the same trees, how its model is
saved, explained and exported. Does not belong here: which columns a product's model sees.

The artifact is a line of JSON (columns and categories) followed by LightGBM's own text: a person
can read it, and reading it runs no code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from analytics_platform.modeling.encoding import Encoder
from analytics_platform.modeling.trainer import TrainerError

if TYPE_CHECKING:
    import lightgbm
    import numpy as np

FORMAT = 1
ONNX_INPUT = "features"
TREES_PER_NODE = 25
"""Trees summed in single precision before ONNX goes on in double; fewer are nearer and slower."""


class LightGbmParams(BaseModel):
    """What a training may vary; each is LightGBM's parameter of that name.

    Attributes:
        num_iterations: Trees, at most.
        learning_rate: Shrinkage of each tree.
        num_leaves: Leaves of a tree.
        min_data_in_leaf: Fewest rows in a leaf.
        feature_fraction: Share of columns that a tree may use.
        bagging_fraction: Share of rows that a tree sees.
        lambda_l2: L2 penalty on leaf values.
        max_bin: Most bins of a column.
        cat_smooth: Draws rates of small categories together.
        min_data_per_group: Fewest rows of a category that a split sets apart.
        early_stopping_rounds: Stop when the loss on `valid` has not fallen for so many trees; 0
            learns every tree.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_iterations: int = Field(default=150, ge=1)
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    num_leaves: int = Field(default=31, ge=2)
    min_data_in_leaf: int = Field(default=200, ge=0)
    feature_fraction: float = Field(default=1.0, gt=0, le=1)
    bagging_fraction: float = Field(default=1.0, gt=0, le=1)
    lambda_l2: float = Field(default=0.0, ge=0)
    max_bin: int = Field(default=255, ge=2)
    cat_smooth: float = Field(default=10.0, ge=0)
    min_data_per_group: int = Field(default=100, ge=1)
    early_stopping_rounds: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class LightGbmModel:
    """Trees, and how a frame becomes the matrix they read.

    Attributes:
        booster: LightGBM's model.
        encoder: Its columns.
        history: The loss of each round; has no rows in a model that was loaded.
    """

    booster: lightgbm.Booster
    encoder: Encoder
    history: pl.DataFrame = field(compare=False)


HISTORY = {"epoch": pl.Int64, "part": pl.String, "loss": pl.Float64}


@dataclass(frozen=True)
class LightGbmTrainer:
    """Learns a boolean label with LightGBM.

    Attributes:
        label: The boolean column to predict.
        not_learned: Columns of the table that the model does not see; the label is never seen.
        categorical: Columns with a few values of text; every text column unless given.
        Params: The parameters, whose defaults a product sets by a subclass.
        threads: Of LightGBM. Part of the trainer, not of the machine, so that the same rows give
            the same trees everywhere.
    """

    label: str
    not_learned: frozenset[str] = frozenset()
    categorical: tuple[str, ...] | None = None
    Params: type[LightGbmParams] = LightGbmParams
    threads: int = 2

    def features(self, columns: Sequence[str]) -> list[str]:
        """Every column but the label and those not learned."""
        return [name for name in columns if name != self.label and name not in self.not_learned]

    def fit(
        self, train: pl.DataFrame, valid: pl.DataFrame, params: LightGbmParams, seed: int
    ) -> LightGbmModel:
        """Train; see `Trainer.fit`."""
        import lightgbm

        features = self.features(train.columns)
        categorical = self.categorical and [name for name in self.categorical if name in features]
        encoder = Encoder.learned(train, features, categorical)
        fixed = {"max_bin": params.max_bin, "verbosity": -1}
        data = lightgbm.Dataset(
            encoder.matrix(train),
            train[self.label].cast(pl.Float64).to_numpy(),
            feature_name=features,
            categorical_feature=encoder.categorical_positions,
            params=fixed,
        )
        sets, names = [data], ["train"]
        if valid.height:
            sets.append(
                lightgbm.Dataset(
                    encoder.matrix(valid),
                    valid[self.label].cast(pl.Float64).to_numpy(),
                    reference=data,
                    params=fixed,
                )
            )
            names.append("valid")
        losses: dict[str, dict[str, list[float]]] = {}
        stops = (
            [
                lightgbm.early_stopping(
                    params.early_stopping_rounds, first_metric_only=True, verbose=False
                )
            ]
            if params.early_stopping_rounds and valid.height
            else []
        )
        booster = lightgbm.train(
            {
                **params.model_dump(exclude={"early_stopping_rounds"}),
                "objective": "binary",
                "metric": "binary_logloss",
                "bagging_freq": 1,
                "seed": seed,
                # The order of additions, and with it the last bits, depends on threads and layout.
                "deterministic": True,
                "force_row_wise": True,
                "num_threads": self.threads,
                "verbosity": -1,
            },
            data,
            valid_sets=sets,
            valid_names=names,
            callbacks=[lightgbm.record_evaluation(losses), *stops],
        )
        if stops:
            # Trees after the best round stay in memory, and would be predicted with after a save.
            booster = lightgbm.Booster(
                model_str=booster.model_to_string(num_iteration=booster.best_iteration)
            )
        return LightGbmModel(booster, encoder, _history(losses))

    def predict(self, model: LightGbmModel, frame: pl.DataFrame) -> pl.Series:
        """The probability of each row; a category unseen in training counts as missing."""
        import numpy as np

        matrix = model.encoder.matrix(frame)
        if not matrix.shape[0]:
            return pl.Series("probability", [], dtype=pl.Float64)
        scores = np.asarray(model.booster.predict(matrix, num_threads=self.threads))
        return pl.Series("probability", scores, dtype=pl.Float64)

    def save(self, model: LightGbmModel) -> bytes:
        """A line of JSON, then LightGBM's text."""
        header = {"format": FORMAT, "trainer": "lightgbm", **model.encoder.to_json()}
        return f"{json.dumps(header)}\n{model.booster.model_to_string()}".encode()

    def load(self, artifact: bytes) -> LightGbmModel:
        """The model of an artifact.

        Raises:
            TrainerError: If it is no artifact of this trainer.
        """
        import lightgbm

        line, _, text = artifact.partition(b"\n")
        header = read_header(line, "lightgbm", FORMAT)
        booster = lightgbm.Booster(model_str=text.decode())
        return LightGbmModel(booster, Encoder.from_json(header), pl.DataFrame(schema=HISTORY))

    def history(self, model: LightGbmModel) -> pl.DataFrame:
        """The log loss of each round, on train and valid."""
        return model.history

    def importance(self, model: LightGbmModel) -> pl.DataFrame:
        """Columns `feature` and `gain`, the most useful first."""
        return pl.DataFrame(
            {
                "feature": list(model.encoder.features),
                "gain": model.booster.feature_importance("gain").tolist(),
            },
            schema={"feature": pl.String, "gain": pl.Float64},
        ).sort("gain", "feature", descending=[True, False])

    def contributions(self, model: LightGbmModel, frame: pl.DataFrame) -> pl.DataFrame:
        """SHAP values of the trees (Lundberg and others 2018), in log-odds."""
        import numpy as np

        names = [*model.encoder.features, "base"]
        matrix = model.encoder.matrix(frame)
        if not matrix.shape[0]:
            return pl.DataFrame(schema=dict.fromkeys(names, pl.Float64))
        found = np.asarray(
            model.booster.predict(matrix, pred_contrib=True, num_threads=self.threads)
        )
        return pl.DataFrame(found, schema=names)

    def weights(self, model: LightGbmModel) -> Mapping[str, np.ndarray]:
        """The values of the leaves, tree by tree."""
        import numpy as np

        # LightGBM's JSON cannot be read where a leaf is infinite; its text, which is saved, can.
        lines = model.booster.model_to_string().splitlines()
        trees = [line.partition("=")[2] for line in lines if line.startswith("leaf_value=")]
        return {
            f"leaf values of tree {position}": np.array(tree.split(), dtype=np.float64)
            for position, tree in enumerate(trees, start=1)
        }

    def to_onnx(self, model: LightGbmModel) -> bytes:
        """The trees as ONNX; categories stay the numbers that `onnx_inputs` gives them."""
        from analytics_platform.modeling.onnx_export import lightgbm_to_onnx

        return lightgbm_to_onnx(model.booster, model.encoder, ONNX_INPUT, TREES_PER_NODE)

    def onnx_inputs(self, model: LightGbmModel, frame: pl.DataFrame) -> Mapping[str, np.ndarray]:
        """The matrix in single precision, which is what ONNX's trees read."""
        import numpy as np

        return {ONNX_INPUT: model.encoder.matrix(frame).astype(np.float32)}


def read_header(line: bytes, trainer: str, version: int) -> dict[str, Any]:
    """The first line of an artifact.

    Raises:
        TrainerError: If another trainer wrote it, or none.
    """
    try:
        header = json.loads(line)
    except ValueError as error:
        raise TrainerError(
            f"Loading a model: expected an artifact of the {trainer} trainer, whose first line is "
            f"JSON; found {line[:60]!r}. Load it with the trainer that saved it."
        ) from error
    found = (header.get("trainer"), header.get("format")) if isinstance(header, dict) else None
    if found != (trainer, version):
        raise TrainerError(
            f"Loading a model: expected an artifact of the {trainer} trainer in format {version}, "
            f"found {found}. Load it with the trainer that saved it, or train anew."
        )
    return header


def _history(losses: Mapping[str, Mapping[str, list[float]]]) -> pl.DataFrame:
    rows = [
        (epoch, part, loss)
        for part, found in losses.items()
        for values in found.values()
        for epoch, loss in enumerate(values, start=1)
    ]
    return pl.DataFrame(rows, schema=HISTORY, orient="row")
