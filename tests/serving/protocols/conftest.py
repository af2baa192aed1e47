"""A model whose answer is plain to see: the sum of its numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from treadle.models.bundle import Manifest, ManifestColumn

COUNTS = (ManifestColumn("one", "number"), ManifestColumn("two", "integer"))


@pytest.fixture(scope="session")
def register_sum() -> Callable[..., None]:
    """Registers and promotes such a model."""
    return _register_sum


def _register_sum(home: Any, name: str, columns: Sequence[ManifestColumn] = COUNTS) -> None:
    """Sum the numeric columns as a double, 0 where one is not known; text and times are taken and not used."""
    nodes, known = [], []
    for column in columns:
        if column.kind in ("number", "integer"):
            nodes.append(helper.make_node("IsNaN", [column.name], [f"{column.name} nan"]))
            nodes.append(
                helper.make_node("Where", [f"{column.name} nan", "zero", column.name], [f"{column.name} known"])
            )
            known.append(f"{column.name} known")
    nodes.append(helper.make_node("Sum", known, ["prediction"]))
    types = [TensorProto.STRING if column.kind == "category" else TensorProto.DOUBLE for column in columns]
    made = helper.make_graph(
        nodes, "sum",
        [helper.make_tensor_value_info(c.name, type_, ["N"]) for c, type_ in zip(columns, types, strict=True)],
        [helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, ["N"])],
        [helper.make_tensor("zero", TensorProto.DOUBLE, [], [0.0])],
    )  # fmt: skip
    graph = onnx.ModelProto(ir_version=10, graph=made, opset_import=[helper.make_opsetid("", 21)])
    manifest = Manifest(
        model=name, problem="tabular-regression", family="linear", version=1, columns=tuple(columns), target="sum",
        metric="mae",
    )  # fmt: skip
    home.add(manifest, graph.SerializeToString())
    home.promote(name)
