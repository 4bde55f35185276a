"""How the delay model learns: LightGBM on the features of `features/builder.py`.

Belongs here: which columns the model sees, its parameters, and how categories become numbers. Does
not belong here: windows, metrics and gates (`defs.yaml` and the platform's `modeling` room).

The artifact is LightGBM's own text. The categories of each categorical column stand in its
`pandas_categorical` line, where LightGBM itself keeps them for pandas frames, so that the text is
all that is needed to predict. Parameters and features were chosen on time-ordered folds inside
January to August (docs/adr/0005).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import polars as pl

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


@dataclass(frozen=True)
class TrainParams:
    """What a training may be asked to vary; each is LightGBM's parameter of that name.

    Attributes:
        num_iterations: Trees.
        learning_rate: Shrinkage of each tree, above 0.
        num_leaves: Leaves of a tree.
        min_data_in_leaf: Fewest flights in a leaf.
        feature_fraction: Share of columns a tree may use, 0 to 1.
        bagging_fraction: Share of flights a tree sees, 0 to 1.
        lambda_l2: L2 penalty on leaf values.
        seed: Of bagging and column sampling.
    """

    num_iterations: int = 150
    learning_rate: float = 0.05
    num_leaves: int = 31
    min_data_in_leaf: int = 200
    feature_fraction: float = 0.25
    bagging_fraction: float = 0.7
    lambda_l2: float = 5.0
    seed: int = 1


def fit(train: pl.DataFrame, params: TrainParams) -> lightgbm.Booster:
    """Train on labelled feature rows; the same rows and parameters give the same trees.

    Args:
        train: Features and the boolean `is_late`, never null.
        params: The parameters.
    """
    import lightgbm

    features = [name for name in train.columns if name not in NOT_LEARNED]
    categories = [
        sorted(train[name].drop_nulls().unique().to_list())
        for name in features
        if name in CATEGORICAL
    ]
    data = lightgbm.Dataset(
        _matrix(train, features, categories),
        train[LABEL].cast(pl.Float64).to_numpy(),
        feature_name=features,
        categorical_feature=[features.index(name) for name in features if name in CATEGORICAL],
        params={"max_bin": 127, "verbosity": -1},
    )
    booster = lightgbm.train(
        {
            **asdict(params),
            "objective": "binary",
            "bagging_freq": 1,
            "max_bin": 127,
            "cat_smooth": 50,
            "min_data_per_group": 200,
            # The order of additions, and with it the last bits, depends on threads and layout.
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": THREADS,
            "verbosity": -1,
        },
        data,
    )
    booster.pandas_categorical = categories
    return booster


def save(model: lightgbm.Booster) -> str:
    """The model as LightGBM's text, with its categories."""
    return model.model_to_string()


def predict(model: lightgbm.Booster | str, frame: pl.DataFrame) -> pl.Series:
    """The probability of `is_late` for each row; a category unseen in training counts as missing.

    Args:
        model: A trained model, or its text.
        frame: Features, with at least the columns that the model learned from.
    """
    import lightgbm
    import numpy as np

    booster = lightgbm.Booster(model_str=model) if isinstance(model, str) else model
    matrix = _matrix(frame, booster.feature_name(), booster.pandas_categorical or [])
    if matrix.shape[0] == 0:
        return pl.Series("late_probability", [], dtype=pl.Float64)
    scores = np.asarray(booster.predict(matrix, num_threads=THREADS))
    return pl.Series("late_probability", scores, dtype=pl.Float64)


def contributions(model: lightgbm.Booster | str, frame: pl.DataFrame) -> pl.DataFrame:
    """What each feature adds to the log-odds of each row, as TreeSHAP has it; a column each.

    A row's contributions and `(base)`, which is the same for all rows, add up to the log-odds of
    its prediction (Lundberg et al., From local explanations to global understanding with
    explainable AI for trees, 2020).

    Args:
        model: A trained model, or its text.
        frame: Features, with at least the columns that the model learned from.
    """
    import lightgbm
    import numpy as np

    booster = lightgbm.Booster(model_str=model) if isinstance(model, str) else model
    names = booster.feature_name()
    matrix = _matrix(frame, names, booster.pandas_categorical or [])
    parts = np.asarray(booster.predict(matrix, pred_contrib=True, num_threads=THREADS))
    return pl.DataFrame(parts, schema=[*names, "(base)"], orient="row")


def importance(model: lightgbm.Booster) -> pl.DataFrame:
    """Columns `feature` and `gain`, the most useful first."""
    return pl.DataFrame(
        {
            "feature": model.feature_name(),
            "gain": model.feature_importance("gain").tolist(),
        }
    ).sort("gain", descending=True)


def _matrix(frame: pl.DataFrame, features: list[str], categories: list[list[str]]) -> np.ndarray:
    """Features as numbers: a category by its position, anything missing as NaN."""
    named = dict(zip((name for name in features if name in CATEGORICAL), categories, strict=True))
    return frame.select(
        pl.col(name).replace_strict(
            {value: position for position, value in enumerate(named[name])},
            default=None,
            return_dtype=pl.Float64,
        )
        if name in named
        else pl.col(name).cast(pl.Float64)
        for name in features
    ).to_numpy()
