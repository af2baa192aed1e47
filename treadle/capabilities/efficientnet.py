"""EfficientNet-Lite, a classifier of the 1000 kinds of ImageNet, and what it sees before it decides.

Tan and Le, EfficientNet (2019), https://arxiv.org/abs/1905.11946; Lite variants and preprocessing as in
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from treadle.capabilities.labelled import softmax
from treadle.capabilities.network import open_named
from treadle.capabilities.pictures import Picture, as_image

SIDE = 224
EDGE = 32
"""Pixels around the middle part that is looked at, at its scale."""
BATCH = 16


class EfficientNet:
    """The network, exported with two outputs.

    Args:
        folder: Where `files` are.
        files: The ONNX file, and the kinds' names, a line each.
    """

    def __init__(self, folder: Path, files: tuple[str, ...]) -> None:
        self._network, self.names = open_named(folder, files)

    def look(self, pictures: list[Picture]) -> tuple[np.ndarray, np.ndarray]:
        """Look at pictures.

        Returns:
            Chances of the kinds, float (n, 1000), rows sum to 1; and features, float (n, 1280), rows of length one.
        """
        parts = [self._batch(pictures[begin : begin + BATCH]) for begin in range(0, len(pictures), BATCH)]
        logits, features = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        return softmax(logits), features / np.maximum(lengths, 1e-12)

    def _batch(self, pictures: list[Picture]) -> tuple[np.ndarray, np.ndarray]:
        seen = self._network.run(np.stack([_middle(picture) for picture in pictures]))
        return seen["logits"], seen["features"]


@cache
def open_efficientnet(folder: Path, files: tuple[str, ...]) -> EfficientNet:
    """The network, opened once in a process however many capabilities use it."""
    return EfficientNet(folder, files)


def _middle(picture: Picture) -> np.ndarray:
    """The middle of a picture, float32 (3, 224, 224), -1 to 1."""
    from PIL import Image

    side = max(1.0, min(picture.width, picture.height) * SIDE / (SIDE + EDGE))
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    part = as_image(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return ((np.asarray(part, np.float32) - 127) / 128).transpose(2, 0, 1)
