"""Predictions for single rows, with the features and the model that the batch uses.

A service, `ap predict` and the parity gate go this one way: the product's own builder makes the
features of the rows, reading what else it needs from a release (or from the working state, for the
gate), and the trainer predicts. Belongs here: that way. Does not belong here: reading releases
(`release.read`) and whether the two ways agree (`parity`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol

import duckdb
import polars as pl

from analytics_platform.lake import FileStore
from analytics_platform.modeling.guard import guarded_predict
from analytics_platform.modeling.trainer import Trainer, TrainerError, resolve

Read = Callable[[str, Sequence[object]], pl.DataFrame]
"""Runs one reading statement on the product's tables, which need no schema, with parameters."""


class ServingError(ValueError):
    """Rows that cannot be predicted, or a product that does not serve single rows."""


_REFUSED = (ValueError, ArithmeticError, TrainerError, duckdb.Error, pl.exceptions.PolarsError)
"""What builders, guards, trainers and the readers below them raise of rows and models. Anything
else is a fault of the code, and shows itself as one."""


class FeatureService(Protocol):
    """Builds the features of single rows as the feature table does; made once, called often."""

    def features(self, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
        """The features of rows as a person or a service gives them, one per row, in their order.

        Args:
            rows: The rows, with the columns of the product's source, as JSON can hold them.

        Raises:
            ServingError: If a row lacks a column or breaks the source's contract; says which.
        """
        ...

    def rows_of(self, features: pl.DataFrame) -> list[dict[str, Any]]:
        """Rows as a service would be given them, of rows that stand in the feature table.

        Args:
            features: Rows of the feature table.
        """
        ...


class Predictor:
    """A model and its features, ready for rows one at a time.

    Attributes:
        version: The model's version.
    """

    def __init__(
        self,
        trainer: Trainer[Any, Any],
        model: Any,
        service: FeatureService,
        version: int,
        key: str,
        probability: str,
    ) -> None:
        self.version = version
        self._trainer = trainer
        self._model = model
        self._service = service
        self._key = key
        self._probability = probability

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """A prediction per row, in their order: key, probability, model version.

        Args:
            rows: The rows, with the columns of the product's source.

        Raises:
            ServingError: If a row cannot be predicted; none is predicted then.
        """
        if not rows:
            return []
        with _as_serving_error(f"Predicting {len(rows)} rows with version {self.version}"):
            features = self._service.features(rows)
            # One row has one probability; that is no constant model.
            scores = guarded_predict(self._trainer, self._model, features, constant_allowed=True)
        return [
            {self._key: key, self._probability: score, "model_version": self.version}
            for key, score in zip(features[self._key], scores, strict=True)
        ]


class Reader(Protocol):
    """What a service reads from: a release, or the working state."""

    @property
    def connection(self) -> Any:
        """The DuckDB connection."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class ReleasedPredictor(Predictor):
    """The champion of a release, with the release open; use it as a context manager."""

    _reader: Reader

    @classmethod
    def open(
        cls, models: Sequence[Mapping[str, Any]], name: str | None, store: FileStore, reader: Reader
    ) -> ReleasedPredictor:
        """Open the champion that a release's manifest names.

        Args:
            models: The manifest's entries of models.
            name: The model; None where there is just one.
            store: The store of files, which checks the artifact's hash.
            reader: The release.

        Raises:
            ServingError: If there is no such champion, it serves batches only, or it cannot be
                loaded.
        """
        champions = {entry["model"]: entry for entry in models if entry["is_champion"]}
        if not champions:
            raise ServingError(
                "The release holds no champion yet: a model is trained once the days that it "
                "learns from have arrived, and released with the run after. `ap model list` shows "
                "what was trained, `ap run` does what is due."
            )
        if name is None and len(champions) == 1:
            (name,) = champions
        if name not in champions:
            asked = "no model was named" if name is None else f"there is none of {name!r}"
            raise ServingError(
                f"The release has champions of {', '.join(champions)}, and {asked}. Name one of "
                "them."
            )
        entry = champions[name]
        declared = json.loads(entry["declared"])
        if not declared["serving"]:
            raise ServingError(
                f"{name} declares no serving path, so it predicts whole days only: read "
                f"{declared['predictions']}, or declare `serving` in its defs.yaml."
            )
        with _as_serving_error(f"Loading {name} {entry['version']}"):
            trainer = resolve(declared["trainer"])
            service = service_of(
                declared["serving"],
                lambda sql, parameters: reader.connection.execute(sql, parameters).pl(),
            )
            model = trainer.load(store.get(entry["sha256"], entry["name"]))
        made = cls(
            trainer,
            model,
            service,
            entry["version"],
            declared["key"],
            declared["probability"],
        )
        made._reader = reader
        return made

    def close(self) -> None:
        """Close the release."""
        self._reader.close()

    def __enter__(self) -> ReleasedPredictor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def service_of(path: str, read: Read) -> FeatureService:
    """A product's feature service, by the dotted path of what makes it.

    Raises:
        ServingError: If there is nothing at that path.
    """
    module, _, name = path.rpartition(".")
    try:
        make = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ServingError(
            f"The model's serving path {path!r} names nothing: {error}. Correct its defs.yaml."
        ) from error
    return make(read)


@contextmanager
def _as_serving_error(doing: str) -> Iterator[None]:
    """Give what is refused below as this room's error, with what was being done."""
    try:
        yield
    except ServingError:
        raise
    except _REFUSED as error:
        raise ServingError(f"{doing}: {type(error).__name__}: {error}") from error
