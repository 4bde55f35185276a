"""Models as ONNX, and what such a model predicts.

Belongs here: calls of the converters and of the runtime, which are an extra (`onnx`). Does not
belong here: whether the result is near enough (`parity.py`).

ONNX's trees read numbers in single precision: a value that lies within about 1e-7 of a split may
fall on its other side.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import numpy as np

    from analytics_platform.modeling.encoding import Encoder

OPSET = 15
ML_OPSET = 3
PROBABILITIES = "probabilities"


class OnnxError(RuntimeError):
    """A model that could not be exported or run; the message says which and what to do."""


def is_installed() -> bool:
    """Whether the extra `onnx` is installed; nothing of it is imported to know."""
    return all(find_spec(name) is not None for name in ("onnxmltools", "onnxruntime", "skl2onnx"))


def lightgbm_to_onnx(booster: Any, encoder: Encoder, input_name: str, trees_per_node: int) -> bytes:
    """A LightGBM classifier as ONNX.

    Args:
        booster: LightGBM's model.
        encoder: The columns, which are kept in the ONNX model's metadata.
        input_name: The input's name; a matrix of Float32, shape (rows, features).
        trees_per_node: Trees whose sum is taken in single precision.
    """
    try:
        from onnxmltools.convert.common.data_types import FloatTensorType
        from onnxmltools.convert.lightgbm.convert import convert
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    model = convert(
        booster,
        name="model",
        initial_types=[(input_name, FloatTensorType([None, len(encoder.features)]))],
        target_opset=OPSET,
        zipmap=False,
        split=trees_per_node,
    )
    return _finished(model, encoder)


def sklearn_to_onnx(pipeline: Any, encoder: Encoder, flags: int, input_name: str) -> bytes:
    """A fitted scikit-learn pipeline as ONNX.

    Args:
        pipeline: The pipeline.
        encoder: The columns, which are kept in the ONNX model's metadata.
        flags: Columns of flags that follow them.
        input_name: The input's name; a matrix of Float32, shape (rows, features and flags).
    """
    try:
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import FloatTensorType
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    inputs: Any = [(input_name, FloatTensorType([None, len(encoder.features) + flags]))]
    model = to_onnx(
        pipeline,
        name="model",
        initial_types=inputs,
        target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
        options={"zipmap": False},
    )
    return _finished(model, encoder)


def onnx_scores(model: bytes, inputs: Mapping[str, np.ndarray]) -> pl.Series:
    """The probability that an ONNX model gives to each row.

    Args:
        model: An ONNX model with an output `probabilities` of shape (rows, 2).
        inputs: Its inputs by name.

    Raises:
        OnnxError: If the runtime is not installed or the model has no such output.
    """
    import numpy as np

    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    if PROBABILITIES not in outputs:
        raise OnnxError(
            f"Running an ONNX model: expected an output {PROBABILITIES!r}, found "
            f"{', '.join(outputs)}. Export it without a ZipMap and with that name."
        )
    found = np.asarray(session.run([PROBABILITIES], dict(inputs))[0])
    return pl.Series("probability", found[:, 1], dtype=pl.Float64)


def _finished(model: Any, encoder: Encoder) -> bytes:
    """The model's bytes: the same each time, with the columns beside it."""
    entry = model.metadata_props.add()
    entry.key, entry.value = "encoder", json.dumps(encoder.to_json())
    # The converters name the graph and nodes by chance.
    model.graph.name = "model"
    return model.SerializeToString(deterministic=True)


def _not_installed(error: ModuleNotFoundError) -> OnnxError:
    return OnnxError(
        f"ONNX needs {error.name}, which is not installed. It comes with the extra: "
        "pip install 'analytics-platform[onnx]'."
    )
