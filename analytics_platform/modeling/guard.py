"""Numbers that cannot go wrong silently: looks taken around every training and every scoring.

Belongs here: what must hold of features, labels, losses, weights and scores, and the errors that
name what did not. Does not belong here: whether a model is good enough (gates).

Everything here raises. A warning in a log is read after the model has been used.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import BaseModel

from analytics_platform.modeling.trainer import (
    FittedT,
    HasWeights,
    ParamsT,
    RecordsHistory,
    Trainer,
)

if TYPE_CHECKING:
    import numpy as np

LEAK_AUC = 0.99
"""A single column that ranks outcomes so well knows them."""
LEAST_DISTINCT_SCORES = 2
TRIED_ROWS = 10_000
"""About so many of the rows learned from, spread over all, are scored to try a new model; whoever
scores others with it looks at these."""
MOST_GROWTH = 10.0
"""A loss so many times its least one has diverged, whatever it does afterwards."""


class NumbersError(ArithmeticError):
    """Numbers that a model may not be made from, consist of, or give."""


class ArithmeticOverflowError(NumbersError):
    """An operation that overflowed, divided by zero or gave no number; or a library's warning."""


class FeatureError(NumbersError):
    """A feature with an infinite value, or a missing one where none may be."""


class LabelError(NumbersError):
    """Labels that are null, no booleans, or of one outcome only."""


class LeakError(NumbersError):
    """A feature that knows the outcome."""


class LossError(NumbersError):
    """A loss that is no number or diverged."""


class WeightError(NumbersError):
    """A learned number that is none, or infinite."""


class ScoreError(NumbersError):
    """A prediction that is no probability, or the same for all rows."""


@contextmanager
def strict_arithmetic(doing: str) -> Iterator[None]:
    """Make NumPy's floating-point faults and warnings about numbers errors while something is done.

    NumPy's settings do not reach compiled code that computes by itself, such as LightGBM's: what
    comes out of it is looked at by `check_weights` and `check_scores`.

    Args:
        doing: What is done, for the error.

    Raises:
        ArithmeticOverflowError: At the first operation that overflows, divides by zero, or has no
            number as a result, or the first `RuntimeWarning` or warning that a fit did not
            converge.
    """
    import numpy as np

    with warnings.catch_warnings(), np.errstate(over="raise", invalid="raise", divide="raise"):
        warnings.simplefilter("error", RuntimeWarning)
        # By its text, so that scikit-learn is not imported for its class.
        warnings.filterwarnings("error", message=".*(?i:converge|lbfgs failed).*")
        try:
            yield
        except (FloatingPointError, Warning) as error:
            raise ArithmeticOverflowError(
                f"{doing}: {error}. The message's traceback names the operation; look for "
                "extreme values in the features, or lower the learning rate."
            ) from error


def check_features(
    frame: pl.DataFrame, features: Sequence[str], *, missing_allowed: bool = True
) -> None:
    """Show that no feature is infinite, and none missing where that is not allowed.

    Args:
        frame: Rows with the features.
        features: Their columns.
        missing_allowed: Whether a null or NaN, which stands for a missing value, may be.

    Raises:
        FeatureError: Naming the first such column, the value, and how many rows have it.
    """
    for name in features:
        column = frame[name]
        if column.dtype.is_float():
            wrong = column.is_infinite()
            if wrong.any():
                raise FeatureError(
                    f"The feature {name!r} is infinite in {wrong.sum()} of {frame.height} rows, "
                    f"the first of them row {wrong.arg_max()}, {column.filter(wrong)[0]}. Look for "
                    "a division by zero where it is built."
                )
        missing = (
            column.is_null() | column.is_nan() if column.dtype.is_float() else column.is_null()
        )
        if not missing_allowed and missing.any():
            raise FeatureError(
                f"The feature {name!r} is missing in {missing.sum()} of {frame.height} rows, the "
                f"first of them row {missing.arg_max()}, and the trainer allows none. Fill it "
                "where it is built, or allow missing values."
            )


def check_labels(label: pl.Series) -> None:
    """Show that every row has an outcome, and that both occur.

    Raises:
        LabelError: If not.
    """
    if label.dtype.is_float() and (wrong := label.is_nan() | label.is_infinite()).any():
        raise LabelError(
            f"The label {label.name!r} is no number in {wrong.sum()} of {label.len()} rows, the "
            f"first of them row {wrong.arg_max()}. A row without an outcome is left out."
        )
    if label.null_count():
        raise LabelError(
            f"The label {label.name!r} is null in {label.null_count()} of {label.len()} rows. A "
            "row without an outcome is left out of training."
        )
    values = label.unique().sort().to_list()
    if values not in ([False, True], [0, 1]):
        raise LabelError(
            f"The label {label.name!r} must be true in some rows and false in others; among "
            f"{label.len()} rows found {', '.join(map(str, values[:5])) or 'none'}."
        )


def check_no_leak(
    frame: pl.DataFrame, features: Sequence[str], label: str, *, limit: float = LEAK_AUC
) -> dict[str, float]:
    """Show that no single feature knows the outcome.

    Each is tried as a number, as a category (scored by the share of true outcomes of its value in
    the other half of the rows, so that a key with a value of its own for each row tells nothing),
    and by whether it is missing.

    Args:
        frame: Rows with features and label.
        features: The columns to try.
        label: The boolean column.
        limit: The ROC AUC, or one less it, from which a feature is said to know.

    Returns:
        The ROC AUC furthest from 0.5 of each feature, as a distance above 0.5.

    Raises:
        LeakError: Naming the feature that knows most, its ROC AUC, and how it tells.
    """
    found: dict[str, tuple[float, str]] = {}
    outcome = frame[label].cast(pl.Boolean)
    for name in features:
        ways = _ways(frame[name], outcome)
        found[name] = max(((_auc_apart(way, outcome), how) for how, way in ways), default=(0.5, ""))
    worst = max(found, key=lambda name: found[name][0], default=None)
    if worst is not None and found[worst][0] >= limit:
        auc, how = found[worst]
        raise LeakError(
            f"The feature {worst!r} tells {label!r} by {how}: its ROC AUC alone is {auc:.4f} on "
            f"{frame.height} rows, and {limit} is taken for knowledge of the outcome. Leave it out "
            "of the features, or build it from what was known before."
        )
    return {name: auc for name, (auc, _) in found.items()}


def check_history(history: pl.DataFrame) -> None:
    """Show that the loss of each epoch is a number, and that training brought it down.

    Args:
        history: Columns `epoch`, `part` and `loss`, as `RecordsHistory` gives them.

    Raises:
        LossError: Naming the epoch and part, if a loss is no number or infinite, is ten times the
            least one before it or more, or is higher on `train` at the end than at the start.
    """
    for (part,), rows in history.group_by("part", maintain_order=True):
        rows = rows.sort("epoch")
        loss = rows["loss"]
        wrong = (loss.is_null() | loss.is_nan() | loss.is_infinite()).fill_null(value=True)
        if wrong.any():
            at = _first(wrong)
            raise LossError(
                f"The loss on {part} is {loss[at]} at epoch {rows['epoch'][at]}, the first of "
                f"{wrong.sum()} epochs without a number. Lower the learning rate, or look at the "
                "features of that part."
            )
        grown = loss.abs() > MOST_GROWTH * loss.abs().cum_min()
        if grown.any():
            at = _first(grown)
            raise LossError(
                f"The loss on {part} diverged: {loss[at]:.6g} at epoch {rows['epoch'][at]}, after "
                f"{loss[: at + 1].min():.6g}. Lower the learning rate."
            )
        if part == "train" and loss.len() > 1 and loss[-1] > loss[0]:
            raise LossError(
                f"The loss on train rose: {loss[0]:.6g} at epoch {rows['epoch'][0]}, "
                f"{loss[-1]:.6g} at epoch {rows['epoch'][-1]}. Lower the learning rate."
            )


def check_weights(weights: Mapping[str, np.ndarray]) -> None:
    """Show that every number a model consists of is one.

    Raises:
        WeightError: Naming the array, the place in it, and the value.
    """
    import numpy as np

    for name, values in weights.items():
        wrong = ~np.isfinite(values)
        if wrong.any():
            place = tuple(int(at) for at in np.argwhere(wrong)[0])
            raise WeightError(
                f"Of the learned numbers {name!r}, {int(wrong.sum())} of {values.size} are none, "
                f"the first {values[place]} at {place}. The model is unusable; look at its "
                "features and its learning rate."
            )


def check_scores(scores: pl.Series, rows: int, *, constant_allowed: bool = False) -> None:
    """Show that there is a probability for each row, and that they are not all the same.

    Args:
        scores: What a model gave.
        rows: How many rows it was given.
        constant_allowed: Whether all may be the same, as for a row alone.

    Raises:
        ScoreError: Naming the first such row, its value, and how many there are.
    """
    if scores.len() != rows:
        raise ScoreError(f"Expected a probability for each of {rows} rows, found {scores.len()}.")
    if not scores.dtype.is_float():
        raise ScoreError(f"Expected probabilities as floats, found {scores.dtype}.")
    wrong = ~(scores.is_between(0, 1) & scores.is_finite()).fill_null(value=False)
    if wrong.any():
        raise ScoreError(
            f"{wrong.sum()} of {rows} scores are no probabilities, the first of them row "
            f"{wrong.arg_max()}, {scores[_first(wrong)]}. The model may not be used."
        )
    if not constant_allowed and rows > 1 and scores.n_unique() < LEAST_DISTINCT_SCORES:
        raise ScoreError(
            f"Each of {rows} rows got the same score, {scores[0]}: the model learned nothing. Look "
            "at its parameters and whether the features have values."
        )


def guarded_fit(
    trainer: Trainer[ParamsT, FittedT],
    train: pl.DataFrame,
    valid: pl.DataFrame,
    params: ParamsT,
    seed: int,
    *,
    missing_allowed: bool = True,
) -> FittedT:
    """Train under every look: features, labels and leaks before, loss and weights after.

    Args:
        trainer: The trainer.
        train: Rows to learn from.
        valid: Rows to stop early on; may have none.
        params: The parameters.
        seed: Of everything drawn by chance.
        missing_allowed: Whether a feature may be missing.

    Raises:
        NumbersError: Of the kind that says what was wrong.
    """
    features = trainer.features(train.columns)
    for part in (train, valid):
        check_features(part, features, missing_allowed=missing_allowed)
    check_labels(train[trainer.label])
    if valid.height and valid[trainer.label].null_count():
        check_labels(valid[trainer.label])
    check_no_leak(train, features, trainer.label)
    _check_params(params)
    with strict_arithmetic(f"Training {trainer.label} on {train.height} rows"):
        model = trainer.fit(train, valid, params, seed)
    if isinstance(trainer, RecordsHistory):
        check_history(trainer.history(model))
    check_weights(
        trainer.weights(model) if isinstance(trainer, HasWeights) else number_arrays(model)
    )
    tried = train.gather_every(max(1, train.height // TRIED_ROWS))
    guarded_predict(trainer, model, tried, missing_allowed=missing_allowed)
    return model


def guarded_predict(
    trainer: Trainer[Any, FittedT],
    model: FittedT,
    frame: pl.DataFrame,
    *,
    missing_allowed: bool = True,
    constant_allowed: bool = False,
) -> pl.Series:
    """Score under every look: features before, scores after.

    Args:
        trainer: The trainer.
        model: Its model.
        frame: Rows to score.
        missing_allowed: Whether a feature may be missing.
        constant_allowed: Whether all scores may be the same.

    Raises:
        NumbersError: Of the kind that says what was wrong.
    """
    present = set(trainer.features(frame.columns))
    check_features(
        frame, [name for name in frame.columns if name in present], missing_allowed=missing_allowed
    )
    with strict_arithmetic(f"Scoring {frame.height} rows"):
        scores = trainer.predict(model, frame)
    check_scores(scores, frame.height, constant_allowed=constant_allowed)
    return scores


def number_arrays(thing: Any) -> dict[str, np.ndarray]:
    """Every array of floats that an object holds, by the path of attributes to it.

    A fitted estimator keeps what it learned in attributes that end with `_`, and parts of it in
    lists and dictionaries. NaN is a value of some attributes that are no weights: scikit-learn
    marks what it does not know of a missing value so, in `statistics_` and `missing_values`.
    """
    import numpy as np

    found: dict[str, np.ndarray] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [(type(thing).__name__, thing)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, np.ndarray):
            if value.dtype.kind == "f":
                found[path] = value
            elif value.dtype == object and id(value) not in seen:
                seen.add(id(value))
                waiting += [(f"{path}[{at}]", part) for at, part in enumerate(value.ravel())]
            elif value.dtype.names:
                waiting += [(f"{path}.{name}", value[name]) for name in value.dtype.names]
            continue
        if isinstance(value, (str, bytes, int, type)) or value is None or id(value) in seen:
            continue
        if isinstance(value, float):
            if not path.endswith((".missing_values", ".fill_value")):
                found[path] = np.array([value])
            continue
        seen.add(id(value))
        if isinstance(value, Mapping):
            waiting += [(f"{path}[{key!r}]", part) for key, part in value.items()]
        elif isinstance(value, (list, tuple, set, frozenset)):
            waiting += [(f"{path}[{at}]", part) for at, part in enumerate(value)]
        else:
            waiting += _attributes(path, value)
    return dict(sorted(found.items()))


TREE_ARRAYS = ("value", "threshold")
"""Of scikit-learn's compiled trees, which have no `__dict__`."""


def _attributes(path: str, value: Any) -> list[tuple[str, Any]]:
    held = getattr(value, "__dict__", None)
    if isinstance(held, dict):
        return [(f"{path}.{name}", part) for name, part in held.items()]
    return [
        (f"{path}.{name}", getattr(value, name)) for name in TREE_ARRAYS if hasattr(value, name)
    ]


def _check_params(params: BaseModel) -> None:
    import math

    for name, value in params.model_dump().items():
        if isinstance(value, float) and not math.isfinite(value):
            raise NumbersError(f"The parameter {name!r} is {value}; it must be a finite number.")


def _ways(column: pl.Series, outcome: pl.Series) -> Iterator[tuple[str, pl.Series]]:
    """How a column could tell an outcome: a name of the way, and a score by it."""
    numbers = column.dtype.is_numeric() or column.dtype == pl.Boolean
    missing = column.is_null()
    if column.dtype.is_float():
        missing = missing | column.is_nan().fill_null(value=False)
    if missing.any() and not missing.all():
        yield "being missing", missing.cast(pl.Float64)
    known = column.filter(~missing)
    if known.len() and numbers:
        values = column.cast(pl.Float64)
        # Missing rows say nothing by their value: they are ranked in the middle.
        yield "its value", values.set(missing, known.cast(pl.Float64).median())
    if known.len() and not column.dtype.is_float():
        yield "the share of its values", _share_elsewhere(column, outcome)


def _share_elsewhere(column: pl.Series, outcome: pl.Series) -> pl.Series:
    """The share of true outcomes of each row's value, among rows of the other half."""
    rows = pl.DataFrame({"value": column.cast(pl.String), "outcome": outcome}).with_row_index("at")
    # Knuth's multiplicative hash of the row: halves by its parity would follow whatever alternates.
    mixed = pl.col("at").cast(pl.UInt64) * 2_654_435_761 % 2**32 // 2**16
    halves = rows.with_columns(half=(mixed % 2).cast(pl.Int8))
    shares = halves.group_by("value", "half").agg(share=pl.col("outcome").mean())
    return halves.join(
        shares.with_columns(half=1 - pl.col("half")),
        on=["value", "half"],
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )["share"].fill_null(outcome.mean())


def _auc_apart(score: pl.Series, outcome: pl.Series) -> float:
    """The ROC AUC of a score or of its opposite, whichever is above 0.5."""
    ranks = score.rank("average")
    true = int(outcome.sum())
    false = outcome.len() - true
    if not true or not false:
        return 0.5
    above = float(ranks.filter(outcome).sum()) - true * (true + 1) / 2
    auc = above / (true * false)
    return max(auc, 1 - auc)


def _first(wrong: pl.Series) -> int:
    return int(wrong.arg_max() or 0)
