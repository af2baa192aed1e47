"""From a fitted pipeline to ONNX and back to numbers: conversion, inputs, and the parity check that may refuse a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from treadle.errors import TreadleError
from treadle.models.bundle import Packed, PackedInputs
from treadle.models.onnx_session import open_session
from treadle.models.packing import Packer
from treadle.tables.schema import Schema

if TYPE_CHECKING:
    import onnx
    from sklearn.pipeline import Pipeline

    from treadle.problems import Problem

TOLERANCE = 1e-4
OPSET = {"": 18, "ai.onnx.ml": 3}


class HasKind(Protocol):
    """A column of a schema or of a manifest."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def kind(self) -> str:
        """What its values are."""
        ...


@dataclass(frozen=True)
class Parity:
    """How far the ONNX answers are from the model's.

    Attributes:
        max_difference: The largest absolute difference.
        used: The largest difference as a share of what is allowed there; above 1 the model is refused.
        rows: Rows compared.
    """

    max_difference: float
    used: float
    rows: int

    @property
    def ok(self) -> bool:
        """Whether the two agree."""
        return self.used <= 1.0


def convert_sklearn_estimator(model: Pipeline, schema: Schema) -> onnx.ModelProto:
    """A pipeline (TableEncoder, scikit-learn estimator) as one ONNX graph."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    encoder: Any = model[0]
    estimator: Any = model[-1]
    options = {id(estimator): {"zipmap": False}} if schema.classes else None
    inputs: Any = [("features", FloatTensorType([None, encoder.n_features_out_]))]
    inner: Any = to_onnx(
        estimator, initial_types=inputs,
        options=options, target_opset=OPSET,
    )  # fmt: skip
    return join_encoder(encoder, inner, schema)


def convert_lightgbm_estimator(model: Pipeline, schema: Schema) -> onnx.ModelProto:
    """A pipeline (TableEncoder, LightGBM estimator) as one ONNX graph."""
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    encoder: Any = model[0]
    estimator: Any = model[-1]
    inputs: Any = [("features", FloatTensorType([None, encoder.n_features_out_]))]
    inner: Any = convert_lightgbm(
        _with_float32_thresholds(estimator.booster_), initial_types=inputs,
        zipmap=False, target_opset=15,
    )  # fmt: skip
    return join_encoder(encoder, inner, schema)


def _with_float32_thresholds(booster: Any) -> Any:
    """The same trees with every threshold rounded down to a float32.

    ONNX keeps thresholds in float32, rounded to the nearest. A value that lies on a threshold (common: it is the
    middle of two values of a grid) then goes the other way. For a float32 x, `x <= t` and `x <= (t rounded down)` are
    the same, so with thresholds rounded down beforehand the two agree on every row.
    """
    import lightgbm

    best = booster.best_iteration if booster.best_iteration > 0 else None
    lines = []
    for line in booster.model_to_string(num_iteration=best).split("\n"):
        if line.startswith("tree_sizes="):  # sizes in bytes, which change here; LightGBM reads on without them
            continue
        if line.startswith("threshold="):
            exact = np.array(line.removeprefix("threshold=").split(), dtype=np.float64)
            near = exact.astype(np.float32)
            below = np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float64)
            lines.append("threshold=" + " ".join(repr(float(value)) for value in below))
            continue
        lines.append(line)
    return lightgbm.Booster(model_str="\n".join(lines))


def join_encoder(encoder: Any, inner: onnx.ModelProto, schema: Schema) -> onnx.ModelProto:
    """The encoder's graph in front of an estimator's; one output, `probabilities` or `prediction`.

    Args:
        encoder: A fitted TableEncoder.
        inner: A graph with the input `features`, float32 (n, columns). Its last output is the answer.
        schema: Says whether there are classes.
    """
    import onnx
    import onnx.compose
    from onnx import TensorProto, helper

    front = encoder.to_onnx()
    graph = onnx.compose.add_prefix(inner, "estimator/").graph
    answer = graph.output[-1].name
    name = "probabilities" if schema.classes else "prediction"
    shape: list[Any] = ["n", len(schema.classes)] if schema.classes else ["n"]
    nodes = [*front.graph.node, *graph.node]
    constants = [*front.graph.initializer, *graph.initializer]
    if schema.classes:
        nodes.append(helper.make_node("Identity", [answer], [name]))
    else:
        constants.append(helper.make_tensor("answer/flat", TensorProto.INT64, [1], [-1]))
        nodes.append(helper.make_node("Reshape", [answer, "answer/flat"], [name]))
    nodes.insert(len(front.graph.node), helper.make_node("Identity", ["features"], [graph.input[0].name]))
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    whole = helper.make_model(
        helper.make_graph(nodes, "treadle", front.graph.input, [output], constants),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSET.items()],
        ir_version=9,
    )
    onnx.checker.check_model(whole)
    return _without_dead_nodes(whole)


def pack(whole: onnx.ModelProto, encoder: Any, columns: Mapping[str, np.ndarray]) -> Packed | None:
    """A second form of a model for serving, with its columns in two matrices.

    Args:
        whole: What `join_encoder` made.
        encoder: The TableEncoder in it.
        columns: Rows to try both forms on.

    Returns:
        The packed form; `None` where it does not give bit for bit what the other gives.
    """
    import onnx

    front, numbers, levels = encoder.to_packed_onnx()
    packed = onnx.ModelProto()
    packed.CopyFrom(whole)
    graph = packed.graph
    back = [node for node in graph.node if not _is_of_encoder(node.output[0])]
    constants = [constant for constant in graph.initializer if not _is_of_encoder(constant.name)]
    for field, content in (
        (graph.input, front.graph.input),
        (graph.node, [*front.graph.node, *back]),
        (graph.initializer, [*front.graph.initializer, *constants]),
    ):
        del field[:]
        field.extend(content)
    onnx.checker.check_model(packed)
    found = Packed(packed.SerializeToString(), PackedInputs(tuple(numbers), levels))
    plain = run_onnx(whole.SerializeToString(), columns)
    quick = run_onnx(found.onnx_bytes, Packer(found.inputs).pack(columns))
    return found if np.array_equal(plain, quick, equal_nan=True) else None


def _is_of_encoder(name: str) -> bool:
    return name == "features" or name.startswith("encoder/")


def _without_dead_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop nodes that lead to no output, such as the labels that a classifier's converter adds."""
    needed = {output.name for output in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    return model


def frame_to_inputs(frame: pd.DataFrame, columns: Sequence[HasKind]) -> dict[str, np.ndarray]:
    """Conformed rows as the ONNX inputs: float64 (n,) a number or time, text (n,) a category, `""` for missing."""
    from treadle.encoder import as_values

    return {column.name: as_values(frame[column.name], column.kind) for column in columns}


def check_parity(
    model: Any, onnx_bytes: bytes, frame: pd.DataFrame, schema: Schema, problem: Problem, y_std: float
) -> Parity:
    """Compare the pipeline's answers with the ONNX's.

    A difference of 1e-4 is allowed on probabilities, and 1e-4 × (|prediction| + standard deviation of the target) on
    regression: a relative bound would refuse healthy models near zero.

    Args:
        model: The fitted pipeline.
        onnx_bytes: The same as ONNX.
        frame: Rows to compare on, (n, columns), conformed.
        schema: Says the features, and whether there are classes.
        problem: Has the pipeline answer.
        y_std: Standard deviation of the target, in its unit.

    Raises:
        TreadleError: The two answer in different shapes.
    """
    ours = problem.predict(model, frame)
    theirs = run_onnx(onnx_bytes, frame_to_inputs(frame, schema.features))
    if ours.shape != theirs.shape:
        raise TreadleError(f"The ONNX answers in shape {theirs.shape}, the model in {ours.shape}.")
    difference = np.abs(ours - theirs)
    allowed = TOLERANCE * (np.ones_like(ours) if schema.classes else np.abs(ours) + max(y_std, 1e-12))
    used = np.where(np.isfinite(difference), difference / allowed, np.inf)
    return Parity(float(np.max(difference)), float(np.max(used)), len(frame))


def run_onnx(onnx_bytes: bytes, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Run a model once on inputs of n rows: its first output as float64, (n,), (n, 1) or (n, n_classes)."""
    return np.asarray(open_session(onnx_bytes).run(None, dict(inputs))[0], dtype=np.float64)
