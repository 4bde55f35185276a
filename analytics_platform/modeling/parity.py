"""Whether a model gives the same probabilities by every way it may be asked.

Belongs here: the artifact in a fresh process, rows one at a time, ONNX; each against the batch in
memory. Does not belong here: features built for a single row (a product's builder), and what
follows from a difference (gates).
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from analytics_platform.modeling.trainer import ExportsOnnx, Trainer, TrainerError

SAME = 1e-9
"""Two ways that compute in double precision may differ by so much."""
ONNX_NEAR = 1e-4
"""How near single precision comes, unless a value lies on a split; of 375 trees the sum alone may
be off by a few of its last digits."""
ONNX_FAR = 0.05
"""A row whose value falls on the other side of a split of a few trees may differ by so much."""
ONNX_SHARE_FAR = 0.005
"""The share of rows of which that may be true: 0.2 % of the flights of two months differ by more
than `ONNX_NEAR`, and by 0.0005 at the most (measured)."""
SINGLE_ROWS = 2000
PROCESS_SECONDS = 300


class ParityError(RuntimeError):
    """A way of asking that gave no answer; the message says which and why."""


@dataclass(frozen=True)
class Parity:
    """Two ways of asking the same model for the same rows.

    Attributes:
        way: What was compared with the batch in memory.
        rows: Rows compared.
        largest_difference: The largest absolute difference of two probabilities.
        worst: The key of the row that has it.
        tolerance: What may differ, in every row, or in nearly all where `share_far_allowed` is
            above 0.
        rows_far: Rows that differ by more.
        share_far_allowed: The share of rows of which that may be true.
        far_tolerance: What no row may exceed.
    """

    way: str
    rows: int
    largest_difference: float
    worst: str
    tolerance: float
    rows_far: int
    share_far_allowed: float
    far_tolerance: float

    @property
    def holds(self) -> bool:
        """Whether both ways give the same, within the tolerance; never of no rows."""
        return (
            self.rows > 0
            and self.rows_far <= self.share_far_allowed * self.rows
            and self.largest_difference <= self.far_tolerance
        )

    def evidence(self) -> dict[str, Any]:
        """As values that a check's metadata and JSON hold."""
        return {**asdict(self), "holds": self.holds}


def compare(
    way: str,
    keys: pl.Series,
    expected: pl.Series,
    found: pl.Series,
    *,
    tolerance: float = SAME,
    share_far_allowed: float = 0.0,
    far_tolerance: float | None = None,
) -> Parity:
    """Compare the probabilities of two ways, row by row.

    Args:
        way: What is compared, for the reader.
        keys: What identifies each row.
        expected: The batch in memory.
        found: The other way.
        tolerance: What may differ.
        share_far_allowed: The share of rows that may differ by more.
        far_tolerance: What no row may exceed; `tolerance` unless given.

    Raises:
        ParityError: If the two are not as long, or one is null or NaN.
    """
    if not keys.len() == expected.len() == found.len():
        raise ParityError(
            f"Comparing {way}: expected {expected.len()} probabilities for {keys.len()} rows, "
            f"found {found.len()}."
        )
    for name, scores in (("in memory", expected), (way, found)):
        wrong = (scores.is_null() | scores.is_nan()).fill_null(value=True)
        if wrong.any():
            raise ParityError(
                f"Comparing {way}: {wrong.sum()} probabilities {name} are no numbers, the first of "
                f"them that of {keys[int(wrong.arg_max() or 0)]}."
            )
    apart = (expected.cast(pl.Float64) - found.cast(pl.Float64)).abs()
    at = apart.arg_max()
    return Parity(
        way=way,
        rows=keys.len(),
        largest_difference=0.0 if at is None else float(apart[at]),
        worst="" if at is None else str(keys[at]),
        tolerance=tolerance,
        rows_far=int((apart > tolerance).sum()),
        share_far_allowed=share_far_allowed,
        far_tolerance=tolerance if far_tolerance is None else far_tolerance,
    )


def fresh_process(
    dotted_path: str,
    artifact: bytes,
    frame: pl.DataFrame,
    key: str,
    expected: pl.Series,
    *,
    tolerance: float = SAME,
) -> Parity:
    """Compare with the artifact as another process loads it, which shares nothing but its bytes.

    Args:
        dotted_path: The trainer, as `resolve` takes it; the other process imports it too.
        artifact: The model's artifact.
        frame: Rows to score.
        key: The column that identifies a row.
        expected: The probabilities of the model in memory.
        tolerance: What may differ.

    Raises:
        ParityError: If the process fails or takes longer than 5 minutes.
    """
    found = predict_in_fresh_process(dotted_path, artifact, frame)
    return compare("in a fresh process", frame[key], expected, found, tolerance=tolerance)


def predict_in_fresh_process(dotted_path: str, artifact: bytes, frame: pl.DataFrame) -> pl.Series:
    """What the artifact predicts in another process; see `fresh_process`."""
    with tempfile.TemporaryDirectory(prefix="ap-parity-") as name:
        folder = Path(name)
        (folder / "artifact").write_bytes(artifact)
        frame.write_ipc(folder / "rows.arrow")
        command = [sys.executable, "-m", "analytics_platform.modeling.parity_process"]
        request = json.dumps({"trainer": dotted_path, "folder": name, "path": sys.path})
        try:
            done = subprocess.run(
                command,
                input=request,
                capture_output=True,
                text=True,
                timeout=PROCESS_SECONDS,
                check=False,
                cwd=Path(__file__).parents[2],
            )
        except subprocess.TimeoutExpired as error:
            raise ParityError(
                f"Predicting {frame.height} rows with {dotted_path} in a fresh process: no answer "
                f"in {PROCESS_SECONDS} seconds."
            ) from error
        if done.returncode:
            raise ParityError(
                f"Predicting {frame.height} rows with {dotted_path} in a fresh process failed with "
                f"exit code {done.returncode}. Its last words:\n{done.stderr[-2000:]}"
            )
        return pl.read_ipc(io.BytesIO((folder / "scores.arrow").read_bytes()))["probability"]


def single_rows(
    trainer: Trainer[Any, Any],
    model: Any,
    frame: pl.DataFrame,
    key: str,
    expected: pl.Series,
    *,
    rows: int = SINGLE_ROWS,
    tolerance: float = SAME,
) -> Parity:
    """Compare with each row asked for alone, on rows spread evenly over the frame.

    Args:
        trainer: The trainer.
        model: Its model.
        frame: Rows to score.
        key: The column that identifies a row.
        expected: The probabilities of the batch.
        rows: How many to ask for, at most.
        tolerance: What may differ.
    """
    count = min(rows, frame.height)
    chosen = [at * frame.height // count for at in range(count)]
    found = [trainer.predict(model, frame[at : at + 1]).item() for at in chosen]
    return compare(
        "one row at a time",
        frame[key].gather(chosen),
        expected.gather(chosen),
        pl.Series(found, dtype=pl.Float64),
        tolerance=tolerance,
    )


def onnx(
    trainer: Trainer[Any, Any],
    model: Any,
    frame: pl.DataFrame,
    key: str,
    expected: pl.Series,
    exported: bytes | None = None,
) -> Parity:
    """Compare with the model as ONNX, which computes in single precision.

    All but one row in two hundred must agree to 1e-4, and those left to 0.05: a value that lies
    within about 1e-7 of a split of a tree may fall on its other side.

    Args:
        trainer: A trainer that exports ONNX.
        model: Its model.
        frame: Rows to score.
        key: The column that identifies a row.
        expected: The probabilities of the model in memory.
        exported: The model as ONNX, where it is at hand.

    Raises:
        TrainerError: If the trainer does not export ONNX.
    """
    from analytics_platform.modeling.onnx_export import onnx_scores

    if not isinstance(trainer, ExportsOnnx):
        raise TrainerError(
            f"{type(trainer).__name__} does not export ONNX: it has no `to_onnx` and "
            "`onnx_inputs`. Add them, or do not ask for ONNX."
        )
    inputs: Mapping[str, Any] = trainer.onnx_inputs(model, frame)
    found = onnx_scores(exported or trainer.to_onnx(model), inputs)
    return compare(
        "as ONNX",
        frame[key],
        expected,
        found,
        tolerance=ONNX_NEAR,
        share_far_allowed=ONNX_SHARE_FAR,
        far_tolerance=ONNX_FAR,
    )


def features(expected: pl.DataFrame, found: pl.DataFrame, key: str) -> Parity:
    """Compare features that were built in two ways: numbers to 1e-9, all else exactly.

    Args:
        expected: Rows with `key` and the features.
        found: The same rows, in any order.
        key: The column that identifies a row.

    Raises:
        ParityError: If a row or a column is on one side only.
    """
    on_one_side = sorted(set(expected.columns) ^ set(found.columns))
    rows = expected.join(found.select(key), on=key, how="semi").height
    if on_one_side or not rows == expected.height == found.height:
        raise ParityError(
            f"Comparing features: expected the same {expected.height} rows and columns, found "
            f"{found.height} rows, {rows} of them the same, and on one side only the columns "
            f"{on_one_side}."
        )
    found = expected.select(key).join(found, on=key, how="left", maintain_order="left")
    # A value on one side and none on the other, or another text, is as far apart as can be.
    far = float("inf")
    names = [name for name in expected.columns if name != key]
    apart = pl.DataFrame(
        {
            name: _apart(expected[name], found[name]) if expected[name].dtype.is_numeric()
            else expected[name].eq_missing(found[name]).replace_strict({True: 0.0, False: far})
            for name in names
        }
    )  # fmt: skip
    largest = apart.max().transpose(include_header=True, column_names=["apart"])
    column, difference = largest.sort("apart", descending=True, maintain_order=True).row(0)
    at = int(apart[column].arg_max() or 0)
    rows_far = int((apart.max_horizontal() > SAME).sum())
    worst = f"{column} of {expected[key][at]}: {expected[column][at]} and {found[column][at]}"
    return Parity(
        "features of single rows", rows, difference, worst if difference else "", SAME, rows_far,
        0.0, SAME,
    )  # fmt: skip


def _apart(expected: pl.Series, found: pl.Series) -> pl.Series:
    """How far numbers are apart; missing equals missing and nothing else."""
    both = pl.DataFrame({"one": expected.cast(pl.Float64), "other": found.cast(pl.Float64)})
    one, other = pl.col("one"), pl.col("other")
    # NaN equals NaN, and is as far from a number as nothing is.
    apart = (one - other).abs().fill_nan(None).fill_null(float("inf"))
    return both.select(pl.when(one.eq_missing(other)).then(0.0).otherwise(apart)).to_series()
