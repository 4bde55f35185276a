"""Whether two ways to the same prediction agree: memory and file, many rows and one, ONNX.

Belongs here: the comparison. Does not belong here: what follows from a difference (`gates`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from analytics_platform.modeling.trainer import Trainer, resolve
from analytics_platform.settings import PROJECT_ROOT

if TYPE_CHECKING:
    import numpy as np

TOLERANCE = 1e-9
FRESH_PROCESS_SECONDS = 300


class ParityError(RuntimeError):
    """A way to the prediction could not be gone at all."""


@dataclass(frozen=True)
class Parity:
    """What a comparison found.

    Attributes:
        rows: Rows compared.
        largest_difference: The largest absolute difference.
        tolerance: The most that it may be.
        worst: Which row that was, and in which column; empty where all are equal.
    """

    rows: int
    largest_difference: float
    tolerance: float
    worst: str = ""

    @property
    def holds(self) -> bool:
        """Whether no difference is above the tolerance."""
        return self.largest_difference <= self.tolerance

    def evidence(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def compare(
    key: pl.Series, expected: pl.Series, found: pl.Series, tolerance: float = TOLERANCE
) -> Parity:
    """Compare numbers of the same rows; missing equals missing and nothing else.

    Args:
        key: What names a row.
        expected: What one way gave.
        found: What the other gave, in the same order.
        tolerance: The most that they may differ by.

    Raises:
        ParityError: If there are not as many of both, or none.
    """
    if expected.len() != found.len() or key.len() != found.len() or not found.len():
        raise ParityError(
            f"Comparing predictions: expected as many on both ways, and some; found "
            f"{expected.len()} and {found.len()}."
        )
    one, other = expected.cast(pl.Float64), found.cast(pl.Float64)
    both = pl.DataFrame({"key": key, "one": one, "other": other}).with_columns(
        apart=pl.when(pl.col("one").eq_missing(pl.col("other")))
        .then(0.0)
        .otherwise((pl.col("one") - pl.col("other")).abs().fill_nan(None))
        # A number on one side and none on the other are as far apart as can be.
        .fill_null(float("inf"))
    )
    worst = both.sort("apart", descending=True).row(0, named=True)
    largest = float(worst["apart"])
    said = "" if largest == 0 else f"{worst['key']}: {worst['one']} and {worst['other']}"
    return Parity(found.len(), largest, tolerance, said)


def compare_frames(
    expected: pl.DataFrame, found: pl.DataFrame, key: str, tolerance: float = TOLERANCE
) -> Parity:
    """Compare features of the same rows, column by column: numbers within a tolerance, text exactly.

    Args:
        expected: Rows with `key` and the features.
        found: The same rows, in any order.
        key: The column that names a row.
        tolerance: The most that a number may differ by.

    Raises:
        ParityError: If a row or a column is missing on one side.
    """
    missing = sorted(set(expected.columns) ^ set(found.columns))
    rows = expected.select(key).join(found.select(key), on=key, how="semi").height
    if missing or rows != expected.height or found.height != expected.height:
        raise ParityError(
            f"Comparing features: expected the same rows and columns, found {rows} rows of "
            f"{expected.height} and {found.height}, and these columns on one side only: {missing}."
        )
    other = expected.select(key).join(found, on=key, how="left", maintain_order="left")
    worst = Parity(expected.height, 0.0, tolerance)
    for name in expected.columns:
        if name == key:
            continue
        one, two = expected[name], other[name]
        if not (one.dtype.is_numeric() or one.dtype == pl.Boolean):
            equal = one.eq_missing(two)
            if not equal.all():
                at = equal.not_().arg_true()[0]
                said = f"{expected[key][at]}, {name}: {one[at]!r} and {two[at]!r}"
                return Parity(expected.height, float("inf"), tolerance, said)
            continue
        compared = compare(expected[key], one, two, tolerance)
        if compared.largest_difference > worst.largest_difference:
            said = f"{name} of {compared.worst}"
            worst = Parity(expected.height, compared.largest_difference, tolerance, said)
    return worst


def fresh_process(
    trainer_path: str, artifact: bytes, frame: pl.DataFrame, key: str, expected: pl.Series
) -> Parity:
    """The artifact, read back in a process that has seen nothing else, predicts the same.

    Args:
        trainer_path: The trainer's dotted path.
        artifact: The model as saved.
        frame: Rows to predict.
        key: The column that names a row.
        expected: What the model in memory gave.

    Raises:
        ParityError: If the process failed; with what it said.
    """
    with tempfile.TemporaryDirectory(prefix="ap-parity-") as folder:
        place = Path(folder)
        (place / "artifact").write_bytes(artifact)
        frame.write_ipc(place / "rows.arrow")
        done = subprocess.run(
            [sys.executable, "-m", __name__, trainer_path, folder],
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=FRESH_PROCESS_SECONDS,
        )
        if done.returncode != 0:
            raise ParityError(
                f"Predicting with {trainer_path} in a fresh process failed:\n{done.stderr[-2000:]}"
            )
        found = pl.read_ipc(place / "scores.arrow", memory_map=False)["score"]
    return compare(frame[key], expected, found)


def one_by_one(
    trainer: Trainer[Any, Any], model: Any, frame: pl.DataFrame, key: str, expected: pl.Series
) -> Parity:
    """Rows predicted one by one come out as they do together.

    Args:
        trainer: The trainer.
        model: The model.
        frame: The rows.
        key: The column that names a row.
        expected: What they came out as together.
    """
    alone = [trainer.predict(model, frame.slice(row, 1)) for row in range(frame.height)]
    return compare(frame[key], expected, pl.concat(alone))


def onnx(
    exported: bytes,
    inputs: Mapping[str, np.ndarray],
    key: pl.Series,
    expected: pl.Series,
    tolerance: float,
) -> Parity:
    """The ONNX export predicts the same, within what 32 bits allow.

    Args:
        exported: The model as ONNX, with an output `probabilities` of shape (rows, 2).
        inputs: Its inputs for the rows.
        key: What names a row.
        expected: What the model itself gave.
        tolerance: The most that a probability may differ by.

    Raises:
        ParityError: If the extra is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ParityError(
            "Comparing the ONNX export needs the extra: pip install 'analytics-platform[onnx]'."
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], dict(inputs))
    return compare(key, expected, pl.Series(probabilities[:, 1]), tolerance)


def _predict_here(arguments: Sequence[str]) -> None:
    """What the fresh process does: load, predict, write."""
    trainer_path, folder = arguments
    place = Path(folder)
    trainer = resolve(trainer_path)
    model = trainer.load((place / "artifact").read_bytes())
    rows = pl.read_ipc(place / "rows.arrow", memory_map=False)
    trainer.predict(model, rows).alias("score").to_frame().write_ipc(place / "scores.arrow")


if __name__ == "__main__":
    _predict_here(sys.argv[1:])
