"""Feature columns as numbers: a category by its position, anything missing as NaN.

Belongs here: what turns a frame into the matrix that a model learns from and predicts on. Does not
belong here: which columns those are (a product's trainer) and how they are computed (its builder).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import numpy as np


class EncodingError(ValueError):
    """Columns that cannot become numbers; the message says which and why."""


@dataclass(frozen=True)
class Encoder:
    """The columns of a matrix, and the values of those that are categories.

    Attributes:
        features: Columns in the matrix's order.
        categories: The values seen in training of each categorical column, sorted. A value's
            number is its position; one unseen counts as missing.
    """

    features: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]

    @classmethod
    def learned(
        cls, train: pl.DataFrame, features: Sequence[str], categorical: Sequence[str] | None = None
    ) -> Encoder:
        """The encoder of a training frame.

        Args:
            train: The rows to learn from.
            features: Columns to take, in order.
            categorical: Those that are categories; every text column unless given.

        Raises:
            EncodingError: If there are no columns, one is not there, or it is neither number,
                boolean, nor category.
        """
        _require(train, features)
        if not features:
            raise EncodingError("Encoding features: expected at least one column, found none.")
        chosen = set(
            (name for name in features if train.schema[name] in _TEXT)
            if categorical is None
            else categorical
        )
        for name in features:
            kind = train.schema[name]
            if name not in chosen and not (kind.is_numeric() or kind == pl.Boolean):
                raise EncodingError(
                    f"Encoding the feature {name!r}: expected a number, a boolean or a category, "
                    f"found {kind}. Derive a number from it, or leave it out of the features."
                )
        return cls(
            features=tuple(features),
            categories={
                name: tuple(sorted(train[name].cast(pl.String).drop_nulls().unique().to_list()))
                for name in features
                if name in chosen
            },
        )

    @property
    def categorical_positions(self) -> list[int]:
        """Where the categorical columns stand in the matrix."""
        return [at for at, name in enumerate(self.features) if name in self.categories]

    def matrix(self, frame: pl.DataFrame) -> np.ndarray:
        """The rows as Float64, shape (rows, features), C-ordered; NaN where missing.

        Raises:
            EncodingError: If a column is not there.
        """
        import numpy as np

        _require(frame, self.features)
        columns = frame.select(self._as_number(name) for name in self.features)
        return np.ascontiguousarray(columns.to_numpy(), dtype=np.float64).reshape(
            frame.height, len(self.features)
        )

    def to_json(self) -> dict[str, Any]:
        """As values that JSON holds."""
        return {
            "features": list(self.features),
            "categories": {name: list(values) for name, values in self.categories.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Encoder:
        """From what `to_json` gave."""
        return cls(
            features=tuple(values["features"]),
            categories={name: tuple(found) for name, found in values["categories"].items()},
        )

    def _as_number(self, name: str) -> pl.Expr:
        if name not in self.categories:
            return pl.col(name).cast(pl.Float64)
        numbers = {value: float(at) for at, value in enumerate(self.categories[name])}
        if not numbers:
            return pl.lit(None, dtype=pl.Float64).alias(name)
        return (
            pl.col(name)
            .cast(pl.String)
            .replace_strict(numbers, default=None, return_dtype=pl.Float64)
        )


_TEXT = (pl.String, pl.Categorical, pl.Enum)


def _require(frame: pl.DataFrame, features: Sequence[str]) -> None:
    missing = [name for name in features if name not in frame.columns]
    if missing:
        raise EncodingError(
            f"Encoding features: expected the columns {', '.join(features)}; "
            f"{', '.join(missing)} not among the {frame.width} found. Build the features anew, or "
            "use the model version that learned from these columns."
        )
