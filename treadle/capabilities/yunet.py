"""YuNet, a detector of faces with five points on each: eyes, nose, corners of the mouth.

Wu, Peng and Yu, YuNet: A Tiny Millisecond-level Face Detector (2023), https://doi.org/10.1007/s11633-023-1423-y; decoding as in
OpenCV's FaceDetectorYN.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from treadle.capabilities.network import open_network
from treadle.capabilities.overlaps import suppress
from treadle.capabilities.pictures import Picture, resize

STRIDES = (8, 16, 32)
SAME = 0.3
"""Overlap above which two rectangles are one face, as in FaceDetectorYN."""


@dataclass(frozen=True)
class DetectedFaces:
    """Faces in one picture, the surest first.

    Attributes:
        corners: float (n, 4), pixels of the picture.
        scores: float (n,), 0 to 1.
        points: float (n, 5, 2), x and y of the eye at the left of the picture, the other eye, the nose's tip, and the
            corners of the mouth in the same order.
    """

    corners: np.ndarray
    scores: np.ndarray
    points: np.ndarray


class Yunet:
    """The network, exported for pictures of any size.

    Args:
        path: The ONNX file.
    """

    def __init__(self, path: Path) -> None:
        self._network = open_network(path)

    def detect(self, picture: Picture, least: float, longest: int) -> DetectedFaces:
        """Find faces.

        Args:
            picture: Where to look.
            least: How sure it must be, 0 to 1.
            longest: A picture whose longer side has more pixels is made smaller first.
        """
        scale = min(1.0, longest / max(picture.width, picture.height))
        given = _padded(picture, scale)
        outputs = self._network.run(given)
        across = given.shape[3]
        parts = [_decode(outputs, stride, across // stride, least) for stride in STRIDES]
        corners, scores, points = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        kept = suppress(corners, scores, np.zeros(len(scores), int), SAME)
        return DetectedFaces(corners[kept] / scale, scores[kept], points[kept] / scale)


def _padded(picture: Picture, scale: float) -> np.ndarray:
    """The picture with black at its right and bottom, so that sides are multiples of 32, float32 (1, 3, h, w), blue first."""
    width, height = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    ground = np.zeros((-(-height // 32) * 32, -(-width // 32) * 32, 3), np.float32)
    ground[:height, :width] = resize(picture.pixels, width, height)
    return ground[:, :, ::-1].transpose(2, 0, 1)[None]


def _decode(
    outputs: dict[str, np.ndarray], stride: int, across: int, least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners (n, 4), scores (n,) and points (n, 5, 2) of one stride, for what is sure enough."""
    kind, there, boxes, points = (outputs[f"{name}_{stride}"][0] for name in ("cls", "obj", "bbox", "kps"))
    scores = np.sqrt(kind[:, 0].clip(0, 1) * there[:, 0].clip(0, 1))
    sure = np.flatnonzero(scores >= least)
    cells = np.stack([sure % across, sure // across], axis=1)
    centres = (cells + boxes[sure, :2]) * stride
    halves = np.exp(boxes[sure, 2:4]) * stride / 2
    places = (points[sure].reshape(-1, 5, 2) + cells[:, None]) * stride
    return np.hstack([centres - halves, centres + halves]), scores[sure], places
