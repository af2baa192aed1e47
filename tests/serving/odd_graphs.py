"""Models that do harm, made by hand: each answers as the toy of version 2 would, until a row has a high `temp`."""

from collections.abc import Callable

import onnx
from onnx import NodeProto, TensorProto, helper

ALWAYS = -1e9
SOMETIMES = 1000.0
"""Rows with a higher `temp` do the harm."""


def node(kind: str, *names: str, **attributes: object) -> NodeProto:
    """A node with one output, named last."""
    return helper.make_node(kind, names[:-1], names[-1:], **attributes)


def raises() -> list[NodeProto]:
    """Take the ninth of one element."""
    return [
        node("Cast", "odd", "odd_int", to=TensorProto.INT64),
        node("Mul", "odd_int", "nine", "place"),
        node("Gather", "single", "place", "one_each"),
        node("Mul", "one_each", "zero", "nothing"),
        node("Add", "total", "nothing", "result"),
    ]


def hangs() -> list[NodeProto]:
    """Turn a loop 10¹² times."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", "go", "on"), node("Add", "sum_in", "zero", "sum_out")],
        "body",
        [
            info("turn", TensorProto.INT64, []),
            info("go", TensorProto.BOOL, []),
            info("sum_in", TensorProto.DOUBLE, ["N"]),
        ],
        [info("on", TensorProto.BOOL, []), info("sum_out", TensorProto.DOUBLE, ["N"])],
    )
    return [
        node("Cast", "odd", "odd_int", to=TensorProto.INT64),
        node("ReduceMax", "odd_int", "any_odd", keepdims=0),
        node("Mul", "any_odd", "many", "turns"),
        node("Loop", "turns", "yes", "total", "result", body=body),
    ]


def is_not_finite() -> list[NodeProto]:
    """Answer NaN."""
    return [node("Where", "odd", "nan", "total", "result")]


def drops_rows() -> list[NodeProto]:
    """Leave out rows: the answer has the wrong shape."""
    return [node("Not", "odd", "even"), node("Compress", "total", "even", "result", axis=0)]


def allocates() -> list[NodeProto]:
    """Make an array of 2 GB."""
    return [
        node("Cast", "odd", "odd_int", to=TensorProto.INT64),
        node("ReduceMax", "odd_int", "any_odd", keepdims=1),
        node("Mul", "any_odd", "half_billion", "size"),
        node("ConstantOfShape", "size", "large"),
        node("ReduceSum", "large", "large_sum", keepdims=0),
        node("Cast", "large_sum", "large_double", to=TensorProto.DOUBLE),
        node("Mul", "large_double", "zero", "nothing"),
        node("Add", "total", "nothing", "result"),
    ]


def needs_temp() -> list[NodeProto]:
    """Answer NaN when `temp` is not known, whatever the threshold."""
    return [node("Where", "temp_unknown", "nan", "total", "result")]


HARM: dict[str, Callable[[], list[NodeProto]]] = {
    "raises": raises,
    "hangs": hangs,
    "is not finite": is_not_finite,
    "drops rows": drops_rows,
    "allocates 2 GB": allocates,
}


def odd_graph(harm: str, above: float, bias: float = 2000.0) -> bytes:
    """The toy with one harm, for rows whose `temp` is above a threshold."""
    info = helper.make_tensor_value_info
    inputs = [info(name, TensorProto.DOUBLE, ["N"]) for name in ("temp", "holiday", "when")]
    inputs.append(info("season", TensorProto.STRING, ["N"]))
    doubles = {"zero": 0.0, "hundred": 100.0, "bias": bias, "above": above, "nan": float("nan")}
    constants = [helper.make_tensor(name, TensorProto.DOUBLE, [], [value]) for name, value in doubles.items()]
    constants += [
        helper.make_tensor("single", TensorProto.DOUBLE, [1], [1.0]),
        helper.make_tensor("nine", TensorProto.INT64, [], [9]),
        helper.make_tensor("many", TensorProto.INT64, [], [10**12]),
        helper.make_tensor("half_billion", TensorProto.INT64, [], [1 << 29]),
        helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
    ]
    nodes = []
    for name in ("temp", "holiday", "when"):
        nodes += [
            node("IsNaN", name, f"{name}_unknown"),
            node("Where", f"{name}_unknown", "zero", name, f"{name}_known"),
        ]
    nodes += [
        helper.make_node(
            "LabelEncoder", ["season"], ["code"], domain="ai.onnx.ml",
            keys_strings=["summer"], values_floats=[10.0], default_float=0.0,
        ),
        node("Cast", "code", "warm", to=TensorProto.DOUBLE),
        node("Mul", "holiday_known", "hundred", "free"),
        node("Mul", "when_known", "zero", "never"),
        node("Sum", "temp_known", "free", "warm", "never", "bias", "total"),
        node("Greater", "temp_known", "above", "odd"),
        *(needs_temp() if harm == "needs temp" else HARM[harm]()),
        node("Cast", "result", "prediction", to=TensorProto.FLOAT),
    ]  # fmt: skip
    output = info("prediction", TensorProto.FLOAT, ["M"])
    made = helper.make_graph(nodes, harm.replace(" ", "_"), inputs, [output], constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    return onnx.ModelProto(ir_version=10, graph=made, opset_import=opsets).SerializeToString()
