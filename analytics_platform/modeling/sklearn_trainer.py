"""A trainer around any classifier with scikit-learn's interface; a product names a few things.

Belongs here: the preparation of columns (missing values, one-hot categories, one scale), and how a
fitted pipeline is saved, loaded and exported. Does not belong here: which estimator a product
chooses.

A fitted scikit-learn pipeline has no format of its own but pickle, and a pickle can run code. Two
things stand against it. The store of files verifies an artifact's content hash before anyone loads
it, so what is loaded is what a training saved. And `load` reads classes of the libraries that the
trainer names and a short list of NumPy's functions, and nothing else: a pickle that asks for
another function is refused before it runs.
"""

from __future__ import annotations

import io
import json
import pickle  # Read back through `_Unpickler` only.
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal

import polars as pl
from pydantic import BaseModel

from analytics_platform.modeling.encoding import Encoder
from analytics_platform.modeling.lightgbm_trainer import read_header
from analytics_platform.modeling.trainer import ParamsT, TrainerError

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1
PICKLE_PROTOCOL = 5
ONNX_INPUT = "features"
Preparation = Literal["one_hot", "none"]


class NoParams(BaseModel):
    """For an estimator of which a run may vary nothing."""


@dataclass(frozen=True)
class SklearnModel:
    """A fitted pipeline, and how a frame becomes the matrix it reads.

    Attributes:
        pipeline: The preparation and the estimator, fitted.
        encoder: The columns.
        flagged: Positions of numeric columns that had missing values in training; a column that
            says whether the value is missing is appended for each.
    """

    pipeline: Any
    encoder: Encoder
    flagged: tuple[int, ...]

    def matrix(self, frame: pl.DataFrame) -> np.ndarray:
        """The rows as the pipeline takes them, Float64."""
        import numpy as np

        encoded = self.encoder.matrix(frame)
        missing = np.isnan(encoded[:, list(self.flagged)]).astype(np.float64)
        return np.hstack([encoded, missing])


@dataclass(frozen=True)
class SklearnTrainer(Generic[ParamsT]):
    """Learns a boolean label with an estimator that has `fit` and `predict_proba`.

    Attributes:
        label: The boolean column to predict.
        Params: The parameters.
        estimator: Makes an unfitted classifier from the parameters and the seed.
        not_learned: Columns of the table that the model does not see; the label is never seen.
        categorical: Columns with a few values of text; every text column unless given.
        preparation: `one_hot` fills missing numbers with the median beside a flag, brings numbers
            to one scale and spreads categories over columns; `none` hands the numbers on, missing
            as NaN and categories as their position, to an estimator that takes them so.
        libraries: The packages whose classes an artifact may hold.
    """

    label: str
    Params: type[ParamsT]
    estimator: Callable[[ParamsT, int], Any]
    not_learned: frozenset[str] = frozenset()
    categorical: tuple[str, ...] | None = None
    preparation: Preparation = "one_hot"
    libraries: tuple[str, ...] = ("sklearn", "scipy", "numpy")

    def features(self, columns: Sequence[str]) -> list[str]:
        """Every column but the label and those not learned."""
        return [name for name in columns if name != self.label and name not in self.not_learned]

    def fit(
        self,
        train: pl.DataFrame,
        valid: pl.DataFrame,  # noqa: ARG002 - the estimators stop by themselves.
        params: ParamsT,
        seed: int,
    ) -> SklearnModel:
        """Train on `train`; see `Trainer.fit`."""
        import numpy as np

        features = self.features(train.columns)
        categorical = self.categorical and [name for name in self.categorical if name in features]
        encoder = Encoder.learned(train, features, categorical)
        encoded = encoder.matrix(train)
        numeric = [at for at in range(len(features)) if at not in encoder.categorical_positions]
        flagged = (
            tuple(at for at in numeric if np.isnan(encoded[:, at]).any())
            if self.preparation == "one_hot"
            else ()
        )
        pipeline = self._pipeline(encoder, numeric, len(flagged), self.estimator(params, seed))
        model = SklearnModel(pipeline, encoder, flagged)
        pipeline.fit(model.matrix(train), train[self.label].cast(pl.Int64).to_numpy())
        return model

    def predict(self, model: SklearnModel, frame: pl.DataFrame) -> pl.Series:
        """The probability of each row; a category unseen in training counts as missing."""
        if not frame.height:
            return pl.Series("probability", [], dtype=pl.Float64)
        found = model.pipeline.predict_proba(model.matrix(frame))
        classes = list(model.pipeline.classes_)
        if classes != [0, 1]:
            raise TrainerError(
                f"Predicting {self.label}: expected a model that learned both outcomes, found one "
                f"that learned {classes}. Train on rows that have both."
            )
        return pl.Series("probability", found[:, 1], dtype=pl.Float64)

    def save(self, model: SklearnModel) -> bytes:
        """A line of JSON (columns, library version), then the pipeline as a pickle."""
        import sklearn

        header = {
            "format": FORMAT,
            "trainer": "sklearn",
            "sklearn": sklearn.__version__,
            "flagged": list(model.flagged),
            **model.encoder.to_json(),
        }
        body = pickle.dumps(model.pipeline, protocol=PICKLE_PROTOCOL)
        # Equal strings are one object after reading, and written once: without this turn a loaded
        # model would be saved as other bytes.
        read = _Unpickler(io.BytesIO(body), self.libraries).load()
        body = pickle.dumps(read, protocol=PICKLE_PROTOCOL)
        return json.dumps(header).encode() + b"\n" + body

    def load(self, artifact: bytes) -> SklearnModel:
        """The model of an artifact whose hash the caller has verified.

        Raises:
            TrainerError: If it is no artifact of this trainer, another version of scikit-learn
                wrote it, or it asks for more than classes of the trainer's libraries.
        """
        import sklearn

        line, _, body = artifact.partition(b"\n")
        header = read_header(line, "sklearn", FORMAT)
        if header["sklearn"] != sklearn.__version__:
            raise TrainerError(
                f"Loading a model: it was saved by scikit-learn {header['sklearn']}, and this is "
                f"{sklearn.__version__}, which may compute something else from it. Install that "
                "version, or train anew."
            )
        pipeline = _Unpickler(io.BytesIO(body), self.libraries).load()
        return SklearnModel(pipeline, Encoder.from_json(header), tuple(header["flagged"]))

    def weights(self, model: SklearnModel) -> Mapping[str, np.ndarray]:
        """Every array of numbers in the pipeline, by the path of attributes to it."""
        from analytics_platform.modeling.guard import number_arrays

        return number_arrays(model.pipeline)

    def to_onnx(self, model: SklearnModel) -> bytes:
        """The pipeline as ONNX; categories stay the numbers that `onnx_inputs` gives them."""
        from analytics_platform.modeling.onnx_export import sklearn_to_onnx

        return sklearn_to_onnx(model.pipeline, model.encoder, len(model.flagged), ONNX_INPUT)

    def onnx_inputs(self, model: SklearnModel, frame: pl.DataFrame) -> Mapping[str, np.ndarray]:
        """The matrix in single precision."""
        import numpy as np

        return {ONNX_INPUT: model.matrix(frame).astype(np.float32)}

    def _pipeline(self, encoder: Encoder, numeric: list[int], flags: int, estimator: Any) -> Any:
        from sklearn.compose import ColumnTransformer
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        if self.preparation == "none":
            return make_pipeline(estimator)
        width = len(encoder.features)
        numbers = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
        )
        # Missing and unseen are -1, which is none of the categories: all their columns are 0.
        values: Any = [
            [float(at) for at in range(len(encoder.categories[name]))]
            for name in encoder.features
            if encoder.categories.get(name)
        ]
        categories = make_pipeline(
            SimpleImputer(strategy="constant", fill_value=-1.0, keep_empty_features=True),
            OneHotEncoder(categories=values, handle_unknown="ignore", sparse_output=False),
        )
        known = [
            at for at in encoder.categorical_positions if encoder.categories[encoder.features[at]]
        ]
        parts = [
            ("numbers", numbers, numeric),
            ("categories", categories, known),
            ("missing", "passthrough", list(range(width, width + flags))),
        ]
        return make_pipeline(ColumnTransformer([part for part in parts if part[2]]), estimator)


_FUNCTIONS = frozenset(
    {
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy.random._pickle", "__randomstate_ctor"),
        ("numpy.random._pickle", "__bit_generator_ctor"),
        ("numpy.random._pickle", "__generator_ctor"),
        ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
        ("sklearn.neighbors._kd_tree", "newObj"),
        ("sklearn.metrics._dist_metrics", "newObj"),
        ("builtins", "slice"),
        ("collections", "OrderedDict"),
        ("collections", "defaultdict"),
    }
)


class _Unpickler(pickle.Unpickler):
    """Reads a pickle that asks for classes of a few libraries, and for nothing that acts."""

    def __init__(self, file: io.BytesIO, libraries: Sequence[str]) -> None:
        super().__init__(file)
        self.libraries = frozenset(libraries)

    def find_class(self, module_name: str, global_name: str) -> Any:
        """The class of that name, if it may be had."""
        if (module_name, global_name) in _FUNCTIONS:
            return super().find_class(module_name, global_name)
        if module_name.split(".")[0] in self.libraries and "." not in global_name:
            found = super().find_class(module_name, global_name)
            # A name that is only imported there would open the rest of Python.
            if isinstance(found, type) and found.__module__.split(".")[0] in self.libraries:
                return found
        raise TrainerError(
            f"Loading a model: its pickle asks for {module_name}.{global_name}, and only classes "
            f"of {', '.join(sorted(self.libraries))} are read. Add the library to the trainer's "
            "`libraries` if it is meant; otherwise do not trust the artifact."
        )
