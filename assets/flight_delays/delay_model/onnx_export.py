"""The delay model as ONNX, for services that have neither Polars nor LightGBM.

Belongs here: how the trees, the line and the categories of a `DelayModel` are written as an ONNX
graph. Does not belong here: whether it predicts the same (the platform's parity check) and how the
model learns (`trainer.py`).

Trees are converted by onnxmltools, which knows no line beside them: they are converted as a plain
sum, and the line and the sigmoid are appended. ONNX's trees read single precision, so a value
within about 1e-7 of a split may fall on its other side.
"""

from __future__ import annotations

import json
import re
from typing import Any

from assets.flight_delays.delay_model.model import DelayModel

OPSET = 15
ML_OPSET = 3
PROBABILITIES = "probabilities"


def to_onnx(model: DelayModel, input_name: str, trees_per_node: int) -> bytes:
    """A model as ONNX, the same bytes each time.

    Args:
        model: The model.
        input_name: The input's name; Float32, shape (rows, features), in the order of
            `model.features`: categories as positions, anything missing as NaN.
        trees_per_node: Trees whose sum is taken in single precision.

    Returns:
        ONNX with an output `probabilities`, Float32, shape (rows, 2): on time, late. Columns and
        categories stand in its metadata under `encoder`.

    Raises:
        ModuleNotFoundError: If the extra `onnx` is not installed.
        ValueError: If onnxmltools gives a graph that is not a sum of trees.
    """
    import lightgbm
    from onnx import TensorProto, helper
    from onnxmltools.convert.common.data_types import FloatTensorType
    from onnxmltools.convert.lightgbm.convert import convert

    # The same trees under another objective: without it the converter appends its own sigmoid.
    # It stands in the header and again among the parameters.
    text = re.sub(
        r"(?m)^(objective=|\[objective: )binary[^\]\n]*",
        r"\1regression",
        model.booster.model_to_string(),
    )
    width = len(model.features)
    converted: Any = convert(
        lightgbm.Booster(model_str=text),
        name="model",
        initial_types=[(input_name, FloatTensorType([None, len(model.tree_features)]))],
        target_opset=OPSET,
        # The converter refuses to split into one part.
        split=trees_per_node if model.booster.num_trees() > trees_per_node else None,
    )
    graph = converted.graph
    if len(graph.output) != 1:
        raise ValueError(
            f"Exporting the delay model: expected one output of the trees, found "
            f"{[output.name for output in graph.output]}. Pin the onnxmltools of the lock."
        )
    trees_out = graph.output[0].name

    def constant(name: str, kind: int, shape: list[int], values: list[float]) -> str:
        graph.initializer.append(helper.make_tensor(name, kind, shape, values))
        return name

    for node in graph.node:
        node.input[:] = ["tree_features" if name == input_name else name for name in node.input]
    first = [
        helper.make_node(
            "Slice",
            [
                input_name,
                constant("trees_from", TensorProto.INT64, [1], [0]),
                constant("trees_to", TensorProto.INT64, [1], [width - 1]),
                constant("columns", TensorProto.INT64, [1], [1]),
            ],
            ["tree_features"],
        )
    ]
    last = [
        helper.make_node(
            "Slice",
            [
                input_name,
                constant("level_from", TensorProto.INT64, [1], [width - 1]),
                constant("level_to", TensorProto.INT64, [1], [width]),
                "columns",
            ],
            ["level"],
        ),
        helper.make_node(
            "Mul",
            ["level", constant("level_weight", TensorProto.FLOAT, [1], [model.level_weight])],
            ["slope"],
        ),
        helper.make_node(
            "Add",
            ["slope", constant("intercept", TensorProto.FLOAT, [1], [model.intercept])],
            ["line"],
        ),
        helper.make_node("Add", [trees_out, "line"], ["log_odds"]),
        helper.make_node("Neg", ["log_odds"], ["against"]),
        helper.make_node("Sigmoid", ["log_odds"], ["late"]),
        helper.make_node("Sigmoid", ["against"], ["on_time"]),
        helper.make_node("Concat", ["on_time", "late"], [PROBABILITIES], axis=1),
    ]
    built = helper.make_model(
        helper.make_graph(
            [*first, *graph.node, *last],
            # The converters name the graph and nodes by chance.
            "delay_model",
            [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, [None, width])],
            [helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [None, 2])],
            list(graph.initializer),
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
    )
    built.ir_version = converted.ir_version
    helper.set_model_props(
        built,
        {
            "encoder": json.dumps(
                {
                    "features": list(model.features),
                    "categories": {name: list(seen) for name, seen in model.categories.items()},
                }
            )
        },
    )
    return built.SerializeToString(deterministic=True)
