"""YOLOX, a detector of the 80 kinds of thing of COCO: a picture to rectangles.

Ge and others, YOLOX: Exceeding YOLO Series in 2021, https://arxiv.org/abs/2107.08430; input and decoding as in its
`demo/ONNXRuntime`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from treadle.capabilities.network import open_named
from treadle.capabilities.overlaps import suppress
from treadle.capabilities.pictures import Picture, resize

SIDE = 416
"""Pixels of the square that the network looks at."""
STRIDES = (8, 16, 32)
GREY = 114
"""What fills the square beside a picture that is not one."""
SAME = 0.45
"""Overlap above which two rectangles of one kind are one thing, as in its demo."""


@dataclass(frozen=True)
class Detected:
    """What was found in one picture, the surest first.

    Attributes:
        corners: float (n, 4), pixels of the picture.
        scores: float (n,), 0 to 1.
        labels: int (n,), places in the list of kinds.
    """

    corners: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class Yolox:
    """A network of the family, exported with a square input of 416 pixels.

    Args:
        folder: Where `files` are.
        files: The ONNX file, and the kinds' names, a line each.
    """

    def __init__(self, folder: Path, files: tuple[str, ...]) -> None:
        self._network, self.names = open_named(folder, files)
        self._cells, self._strides = _grid()

    def detect(self, picture: Picture, least: float) -> Detected:
        """Find things that are at least so sure."""
        scale = min(SIDE / picture.width, SIDE / picture.height)
        (rows,) = self._network.run(_squared(picture, scale)).values()
        rows = rows[0]  # (3549, 5 + kinds): centre, log of the size, is there anything, which kind
        chances = rows[:, 4:5] * rows[:, 5:]
        labels, scores = chances.argmax(axis=1), chances.max(axis=1)
        sure = np.flatnonzero(scores >= least)
        centres = (rows[sure, :2] + self._cells[sure]) * self._strides[sure]
        halves = np.exp(rows[sure, 2:4]) * self._strides[sure] / 2
        corners = np.hstack([centres - halves, centres + halves]) / scale
        kept = suppress(corners, scores[sure], labels[sure], SAME)
        return Detected(corners[kept], scores[sure][kept], labels[sure][kept])


def _squared(picture: Picture, scale: float) -> np.ndarray:
    """The picture in the upper left of a grey square, float32 (1, 3, 416, 416), blue first, 0 to 255."""
    width, height = max(1, int(picture.width * scale)), max(1, int(picture.height * scale))
    square = np.full((SIDE, SIDE, 3), GREY, np.float32)
    square[:height, :width] = resize(picture.pixels, width, height)
    return square[:, :, ::-1].transpose(2, 0, 1)[None]


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """The cell (n, 2) and the stride (n, 1) of each row of the network's answer."""
    cells, strides = [], []
    for stride in STRIDES:
        across = SIDE // stride
        down, right = np.mgrid[:across, :across]
        cells.append(np.stack([right.ravel(), down.ravel()], axis=1))
        strides.append(np.full((across * across, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)
