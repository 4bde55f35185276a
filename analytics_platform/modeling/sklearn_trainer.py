"""A trainer around any classifier with scikit-learn's interface; a product names a few things.

Belongs here: the preparation of columns (missing values, one-hot categories, one scale), and how a
fitted pipeline is saved, loaded and exported. Does not belong here: which estimator a product
chooses.

A fitted scikit-learn pipeline has no format of its own but pickle, and a pickle can call whatever
it names. Two things stand against it. The store of files verifies an artifact's content hash before
anyone loads it, so what is loaded is what a training saved. And `load` reads scikit-learn's
estimators and a list of names (`_READ`): arrays, numbers, random states, sparse matrices, trees,
losses. Anything else is refused before it is called, classes included: `numpy.memmap` is a class,
and making one can empty a file.
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

from analytics_platform.modeling.encoding import Encoder, EncodingError
from analytics_platform.modeling.lightgbm_trainer import read_header
from analytics_platform.modeling.trainer import ParamsT, TrainerError

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1
PICKLE_PROTOCOL = 5
ONNX_INPUT = "features"
Preparation = Literal["one_hot", "none"]
MANY_CATEGORIES = 50
"""A column of text with fewer values is taken as it is, however few the rows."""
ROWS_A_CATEGORY = 2
"""With fewer rows for each value, a column names its rows and says nothing of the next ones."""


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
        libraries: Packages beside scikit-learn of which an artifact may hold any class; they are
            trusted whole, so name only those that the estimator is made of.
    """

    label: str
    Params: type[ParamsT]
    estimator: Callable[[ParamsT, int], Any]
    not_learned: frozenset[str] = frozenset()
    categorical: tuple[str, ...] | None = None
    preparation: Preparation = "one_hot"
    libraries: tuple[str, ...] = ()

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
        """Train on `train`; see `Trainer.fit`.

        Raises:
            EncodingError: If a column is neither number, boolean nor category, or is to be spread
                over about as many columns as there are rows.
        """
        import numpy as np

        features = self.features(train.columns)
        categorical = self.categorical and [name for name in self.categorical if name in features]
        encoder = Encoder.learned(train, features, categorical)
        if self.preparation == "one_hot":
            _refuse_keys(train, encoder)
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
        read = _read(body, self.libraries)
        body = pickle.dumps(read, protocol=PICKLE_PROTOCOL)
        return json.dumps(header).encode() + b"\n" + body

    def load(self, artifact: bytes) -> SklearnModel:
        """The model of an artifact whose hash the caller has verified.

        Raises:
            TrainerError: If it is no artifact of this trainer, another version of scikit-learn
                wrote it, it is damaged, or it asks for what may not be read.
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
        pipeline = _read(body, self.libraries)
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


def _refuse_keys(train: pl.DataFrame, encoder: Encoder) -> None:
    """Refuse a category that would become about as many columns as there are rows."""
    for name, values in encoder.categories.items():
        rows = train[name].count()
        if len(values) > MANY_CATEGORIES and len(values) * ROWS_A_CATEGORY > rows:
            raise EncodingError(
                f"Encoding the category {name!r}: expected at least {ROWS_A_CATEGORY} rows for "
                f"each of its values, found {len(values):,} values in {rows:,} rows, each of which "
                "would become a column. It names rows rather than kinds of them: put it among the "
                "trainer's `not_learned`, or group its values."
            )


_READ: Mapping[str, frozenset[str]] = {
    "builtins": frozenset({"slice"}),
    "collections": frozenset({"OrderedDict", "defaultdict"}),
    "numpy": frozenset(
        {"ndarray", "dtype", "bool", "int8", "int16", "int32", "int64", "intp", "uint8", "uint16"}
        | {"uint32", "uint64", "float16", "float32", "float64", "str_", "object_"}
    ),
    "numpy._core.multiarray": frozenset({"_reconstruct", "scalar"}),
    "numpy._core.numeric": frozenset({"_frombuffer"}),
    "numpy.random._mt19937": frozenset({"MT19937"}),
    "numpy.random._pcg64": frozenset({"PCG64"}),
    "numpy.random._pickle": frozenset(
        {"__randomstate_ctor", "__bit_generator_ctor", "__generator_ctor"}
    ),
    "numpy.random.bit_generator": frozenset({"SeedSequence", "__pyx_unpickle_SeedSequence"}),
    "numpy.random.mtrand": frozenset({"RandomState"}),
    "scipy.sparse._csc": frozenset({"csc_array", "csc_matrix"}),
    "scipy.sparse._csr": frozenset({"csr_array", "csr_matrix"}),
    # What classifiers with `predict_proba` are made of beside estimators.
    "sklearn._loss._loss": frozenset({"CyHalfBinomialLoss", "CyExponentialLoss"}),
    "sklearn._loss.link": frozenset({"HalfLogitLink", "IdentityLink", "Interval", "LogitLink"}),
    "sklearn._loss.loss": frozenset({"ExponentialLoss", "HalfBinomialLoss"}),
    "sklearn.calibration": frozenset({"_CalibratedClassifier"}),
    "sklearn.ensemble._hist_gradient_boosting.predictor": frozenset({"TreePredictor"}),
    "sklearn.gaussian_process.kernels": frozenset(
        {"ConstantKernel", "Matern", "Product", "RBF", "RationalQuadratic", "Sum", "WhiteKernel"}
    ),
    "sklearn.linear_model._sgd_fast": frozenset({"Hinge", "ModifiedHuber"}),
    "sklearn.metrics._dist_metrics": frozenset(
        {"EuclideanDistance64", "ManhattanDistance64", "MinkowskiDistance64", "newObj"}
    ),
    "sklearn.neighbors._ball_tree": frozenset({"BallTree", "newObj"}),
    "sklearn.neighbors._kd_tree": frozenset({"KDTree", "newObj"}),
    "sklearn.neural_network._stochastic_optimizers": frozenset({"AdamOptimizer", "SGDOptimizer"}),
    "sklearn.tree._tree": frozenset({"Tree"}),
}
"""By module, what a pickle may name beside estimators: none of it reads, writes or runs anything.
A class is called as freely as a function, so that one more is added only after a look at what
making it does."""


def _read(body: bytes, libraries: Sequence[str]) -> Any:
    """What was pickled, made of what may be read.

    Raises:
        TrainerError: If it asks for anything else, or is damaged.
    """
    try:
        return _Unpickler(io.BytesIO(body), libraries).load()
    except TrainerError:
        raise
    except (
        pickle.UnpicklingError,
        AttributeError,
        EOFError,
        ImportError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise TrainerError(
            f"Loading a model: its pickle cannot be read ({type(error).__name__}: {error}). "
            "Restore the artifact from a backup, or train anew."
        ) from error


class _Unpickler(pickle.Unpickler):
    """Reads a pickle that asks for scikit-learn's estimators and what is listed, and no more."""

    def __init__(self, file: io.BytesIO, libraries: Sequence[str]) -> None:
        super().__init__(file)
        self.libraries = frozenset(libraries)

    def find_class(self, module_name: str, global_name: str) -> Any:
        """The class of that name, if it may be had."""
        if global_name in _READ.get(module_name, frozenset()):
            return super().find_class(module_name, global_name)
        package = module_name.partition(".")[0]
        if package in {"sklearn", *self.libraries} and "." not in global_name:
            from sklearn.base import BaseEstimator

            found = super().find_class(module_name, global_name)
            # A name that is only imported there would open the rest of Python.
            if (
                isinstance(found, type)
                and found.__module__.partition(".")[0] == package
                and (package in self.libraries or issubclass(found, BaseEstimator))
            ):
                return found
        raise TrainerError(
            f"Loading a model: its pickle asks for {module_name}.{global_name}, which is neither "
            "an estimator of scikit-learn nor among the names that are read "
            "(analytics_platform.modeling.sklearn_trainer). If the estimator is made of a library "
            "of its own, add that to the trainer's `libraries`; otherwise do not trust the "
            "artifact."
        )
