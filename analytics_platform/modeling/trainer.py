"""What a product's trainer offers to the platform, as types, and how one is found by its path.

Belongs here: the interface (`Trainer`), what a trainer may offer besides (`Explains`,
`ExportsOnnx`, `RecordsHistory`, `HasWeights`), and `resolve`. Does not belong here: ready-made
trainers (`sklearn_trainer.py`, `lightgbm_trainer.py`), and what is done with a trainer (backtests,
checks, gates).

A trainer is any object that has these attributes: an instance, or a module of functions. The
platform calls nothing else of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, TypeVar, runtime_checkable

import polars as pl
from pydantic import BaseModel

if TYPE_CHECKING:
    import numpy as np

ParamsT = TypeVar("ParamsT", bound=BaseModel)
FittedT = TypeVar("FittedT")


class TrainerError(TypeError):
    """A trainer that is not there, or lacks a part; the message says which and how to add it."""


class Trainer(Protocol[ParamsT, FittedT]):
    """How a product learns a binary outcome and gives its probability.

    The same rows, parameters and seed give the same model, and the same model gives the same
    probability for a row whether it comes alone or among others (`parity.py` checks both).

    Attributes:
        Params: The parameters: a pydantic model (Dagster's `Config` is one) whose fields all have
            a default. What a run may vary stands there and nowhere else.
        label: The boolean column to predict.
    """

    Params: type[ParamsT]
    label: str

    def features(self, columns: Sequence[str]) -> list[str]:
        """The columns that the model learns from, out of those that the table has, in order."""
        ...

    def fit(self, train: pl.DataFrame, valid: pl.DataFrame, params: ParamsT, seed: int) -> FittedT:
        """Learn.

        Args:
            train: Rows to learn from: features and the label, which is never null.
            valid: Later rows of the same columns, to stop early on or to record the loss of. May
                have no rows; never rows of a hold-out.
            params: The parameters.
            seed: Of everything drawn by chance.
        """
        ...

    def predict(self, model: FittedT, frame: pl.DataFrame) -> pl.Series:
        """The probability of the label for each row of `frame`, in its order; Float64, 0 to 1.

        Args:
            model: As `fit` or `load` gave it.
            frame: At least the feature columns; the label is not looked at.
        """
        ...

    def save(self, model: FittedT) -> bytes:
        """The model as an artifact: all that `load` needs, the same bytes for the same model."""
        ...

    def load(self, artifact: bytes) -> FittedT:
        """The model of an artifact. The caller has verified the artifact's hash."""
        ...


@runtime_checkable
class Explains(Protocol):
    """A trainer that says what its model looks at."""

    def importance(self, model: Any) -> pl.DataFrame:
        """Columns `feature` and `gain` (0 or more, any unit), the most useful first."""
        ...

    def contributions(self, model: Any, frame: pl.DataFrame) -> pl.DataFrame:
        """What each feature added to each row's log-odds: a column per feature, and `base`.

        The columns of a row sum to the log-odds of its probability.
        """
        ...


@runtime_checkable
class ExportsOnnx(Protocol):
    """A trainer whose model can be written as ONNX."""

    def to_onnx(self, model: Any) -> bytes:
        """The model as ONNX, with an output `probabilities` of shape (rows, 2)."""
        ...

    def onnx_inputs(self, model: Any, frame: pl.DataFrame) -> Mapping[str, np.ndarray]:
        """The inputs of the ONNX model for the rows of `frame`, by name."""
        ...


@runtime_checkable
class RecordsHistory(Protocol):
    """A trainer that learns in rounds and keeps the loss of each."""

    def history(self, model: Any) -> pl.DataFrame:
        """Columns `epoch` (from 1), `part` (`train` or `valid`) and `loss`."""
        ...


@runtime_checkable
class HasWeights(Protocol):
    """A trainer that shows the numbers which its model consists of."""

    def weights(self, model: Any) -> Mapping[str, np.ndarray]:
        """The numbers learned, by a name that a person can look for."""
        ...


PARTS = ("Params", "label", "features", "fit", "predict", "save", "load")


def missing_parts(candidate: object) -> list[str]:
    """What a candidate lacks to be a trainer, each with the reason; empty if it is one."""
    lacking: list[str] = []
    for name in PARTS:
        if not hasattr(candidate, name):
            lacking.append(f"`{name}` is missing")
            continue
        value = getattr(candidate, name)
        if name == "label":
            if not isinstance(value, str) or not value:
                lacking.append(f"`label` must be a column's name, found {value!r}")
        elif name == "Params":
            lacking += _wrong_params(value)
        elif not callable(value):
            lacking.append(f"`{name}` must be a function, found {type(value).__name__}")
    return lacking


def is_trainer(candidate: object) -> TypeGuard[Trainer[Any, Any]]:
    """Whether an object has every part of a trainer."""
    return not missing_parts(candidate)


def resolve(dotted_path: str) -> Trainer[Any, Any]:
    """The trainer that a dotted path names.

    Args:
        dotted_path: A module that is a trainer (`assets.shop.churn_model.trainer`), or an object of
            a module (`assets.shop.churn_model.trainer.TRAINER`). A class is made without arguments.

    Raises:
        TrainerError: If there is no such thing, or it lacks a part of the interface.
    """
    found = _imported(dotted_path)
    if isinstance(found, type):
        try:
            found = found()
        except TypeError as error:
            raise TrainerError(
                f"Making the trainer {dotted_path}: a class is made without arguments, and this "
                f"one refused ({error}). Name an instance of it instead."
            ) from error
    if is_trainer(found):
        return found
    kind = "module" if isinstance(found, ModuleType) else type(found).__name__
    raise TrainerError(
        f"Reading the trainer {dotted_path} ({kind}): expected {', '.join(PARTS)}, as "
        f"analytics_platform.modeling.trainer.Trainer has them; found that "
        f"{'; '.join(missing_parts(found))}. Add what is missing, or name another object."
    )


def _wrong_params(value: object) -> list[str]:
    if not isinstance(value, type) or not issubclass(value, BaseModel):
        return [f"`Params` must be a class of pydantic's BaseModel, found {value!r}"]
    needed = [name for name, field in value.model_fields.items() if field.is_required()]
    return [f"`Params` needs a default for {', '.join(needed)}"] if needed else []


def _imported(dotted_path: str) -> object:
    """The module of a path, or the attribute of the longest part of it that is a module."""
    parts = dotted_path.split(".")
    if not all(part.isidentifier() for part in parts):
        raise TrainerError(
            f"The trainer {dotted_path!r} is no dotted path. Write it as package.module or "
            "package.module.NAME."
        )
    for length in range(len(parts), 0, -1):
        module_name = ".".join(parts[:length])
        try:
            found: object = import_module(module_name)
        except ModuleNotFoundError as error:
            # Another module that the trainer itself imports is its own trouble, and is told so.
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise TrainerError(
                    f"Importing the trainer {dotted_path}: {module_name} needs the module "
                    f"{error.name}, which is not installed."
                ) from error
            continue
        for position, name in enumerate(parts[length:], start=length):
            if not hasattr(found, name):
                raise TrainerError(
                    f"The trainer {dotted_path}: {'.'.join(parts[:position])} has no {name!r}. "
                    f"It has {_public(found)}."
                )
            found = getattr(found, name)
        return found
    raise TrainerError(
        f"The trainer {dotted_path}: there is no module {parts[0]!r}. Name it from the project's "
        "root, as an import would."
    )


def _public(found: object) -> str:
    names = [name for name in dir(found) if not name.startswith("_")]
    return ", ".join(names) or "nothing public"
