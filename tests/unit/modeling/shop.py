"""A made-up shop whose orders come back or not: rows, and trainers that other processes import."""

import datetime as dt

import numpy as np
import polars as pl
from pydantic import BaseModel
from sklearn.linear_model import LogisticRegression

from analytics_platform.modeling.lightgbm_trainer import LightGbmParams, LightGbmTrainer
from analytics_platform.modeling.sklearn_trainer import SklearnTrainer


class Params(LightGbmParams):
    num_iterations: int = 30
    min_data_in_leaf: int = 30


class Penalty(BaseModel):
    c: float = 1.0


NOT_LEARNED = frozenset({"order_id", "day"})
TREES = LightGbmTrainer("is_returned", NOT_LEARNED, Params=Params)
LINEAR = SklearnTrainer(
    "is_returned",
    Penalty,
    lambda params, seed: LogisticRegression(C=params.c, random_state=seed, max_iter=500),
    NOT_LEARNED,
)


def orders(days: int = 60, a_day: int = 40, seed: int = 0) -> pl.DataFrame:
    """Orders from 1 January: price matters, the size is often missing, one shop is worse."""
    rng = np.random.default_rng(seed)
    rows = days * a_day
    price, size = rng.normal(3, 1, rows), rng.normal(size=rows)
    shop = rng.choice(["north", "south", "west"], rows, p=[0.5, 0.4, 0.1])
    odds = price - 4 + (shop == "west") + size / 2
    return pl.DataFrame(
        {
            "order_id": [f"o{at}" for at in range(rows)],
            "day": [dt.date(2024, 1, 1) + dt.timedelta(days=at // a_day) for at in range(rows)],
            "price": price,
            "size": pl.Series(size).set(pl.Series(rng.random(rows) < 0.3), None),
            "shop": shop,
            "is_gift": rng.random(rows) < 0.2,
            "is_returned": rng.random(rows) < 1 / (1 + np.exp(-odds)),
        }
    )
