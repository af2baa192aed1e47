"""Faces as numbers: found by YuNet, turned upright, described by dlib's network; near descriptors are one person's.

D. King, High Quality Face Recognition with Deep Metric Learning (2017), http://blog.dlib.net/2017/02/high-quality-face-recognition-with-deep.html
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from treadle.capabilities.boxes import Box
from treadle.capabilities.network import open_network
from treadle.capabilities.overlaps import box_within
from treadle.capabilities.pictures import Picture, as_image
from treadle.capabilities.yunet import Yunet

CHIP = 150
"""Side of the picture of one face that the describing network takes."""
ROOM = 0.25
"""Room around the face in it, as a share of the face, as in dlib's `get_face_chip`."""
UPRIGHT = np.array(
    [[0.225492, 0.215990], [0.754761, 0.215990], [0.490127, 0.515625], [0.254149, 0.780233], [0.726104, 0.780233]]
)
"""Where the five points are in an upright face, 0 to 1; the means of those of dlib's 68 that lie there."""
ONE_PERSON = 0.6
"""Distance below which dlib's author takes two descriptors for one person's."""
STEEPNESS = 0.05
"""How fast the score falls around that distance: 0.88 at 0.5, 0.12 at 0.7."""


class Point(msgspec.Struct, frozen=True):
    """A point in pixels of the upright picture."""

    x: float
    y: float


class Points(msgspec.Struct, frozen=True):
    """The five points of a face; left and right are the picture's."""

    left_eye: Point
    right_eye: Point
    nose: Point
    mouth_left: Point
    mouth_right: Point


@dataclass(frozen=True)
class Face:
    """A face in a picture.

    Attributes:
        box: Where it is.
        score: How sure it is that it is one, 0 to 1.
        points: Its five points, float (5, 2).
    """

    box: Box
    score: float
    points: np.ndarray

    @property
    def size(self) -> int:
        """Pixels of its box."""
        return (self.box.xmax - self.box.xmin) * (self.box.ymax - self.box.ymin)

    def named_points(self) -> Points:
        """Its points, named."""
        return Points(*(Point(round(float(x), 1), round(float(y), 1)) for x, y in self.points))


def find_faces(finder: Yunet, picture: Picture, least: float, longest: int) -> list[Face]:
    """The faces in a picture, the surest first."""
    found = finder.detect(picture, least, longest)
    rows = zip(found.corners, found.scores, found.points, strict=True)
    faces = [
        Face(box_within(corners, picture.width, picture.height), float(score), points)
        for corners, score, points in rows
    ]
    return [face for face in faces if face.size]  # fmt: skip


class FaceModel:
    """Finds and describes faces.

    Args:
        folder: Where `files` are.
        files: The ONNX files of the detector and of the describing network.
    """

    def __init__(self, folder: Path, files: tuple[str, ...]) -> None:
        finder, describer = files
        self.finder = Yunet(folder / finder)
        self._describer = open_network(folder / describer)

    def describe(self, picture: Picture, faces: list[Face]) -> np.ndarray:
        """What faces of a picture look like, float32 (n, 128)."""
        if not faces:
            return np.zeros((0, 128), np.float32)
        chips = np.stack([upright_chip(picture, face.points) for face in faces])
        return self._describer.run(chips.transpose(0, 3, 1, 2))["descriptors"]


@cache
def open_face_model(folder: Path, files: tuple[str, ...]) -> FaceModel:
    """The model, opened once in a process."""
    return FaceModel(folder, files)


def likeness(distance: float) -> float:
    """A distance of descriptors as a score: 0.5 where dlib's author draws the line, 1 for the same picture.

    >>> [round(likeness(d), 2) for d in (0.0, 0.5, 0.6, 0.7)]
    [1.0, 0.88, 0.5, 0.12]
    """
    return float(1 / (1 + np.exp((distance - ONE_PERSON) / STEEPNESS)))


def upright_chip(picture: Picture, points: np.ndarray) -> np.ndarray:
    """One face, turned and scaled so that its points are where those of an upright one are, uint8 (150, 150, 3)."""
    from PIL import Image

    wanted = (UPRIGHT + ROOM) / (1 + 2 * ROOM) * CHIP
    move = similarity(points, wanted)
    image = as_image(picture)
    scale = float(np.sqrt(abs(np.linalg.det(move[:, :2]))))
    back = np.linalg.inv(np.vstack([move, [0, 0, 1]]))[:2]
    if scale < 0.5:  # a large face: made smaller first, so that no pixels are skipped
        share = scale * 1.5
        smaller = image.resize(
            (max(1, round(image.width * share)), max(1, round(image.height * share))), Image.Resampling.BOX
        )
        back = np.diag([smaller.width / image.width, smaller.height / image.height]) @ back
        image = smaller
    return np.asarray(
        image.transform((CHIP, CHIP), Image.Transform.AFFINE, back.ravel().tolist(), Image.Resampling.BILINEAR)
    )


def similarity(points: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The turn, scale and shift (2, 3) that brings points (n, 2) nearest to others.

    S. Umeyama, Least-squares estimation of transformation parameters between two point patterns (1991).
    """
    centre, wanted_centre = points.mean(axis=0), wanted.mean(axis=0)
    given, goal = points - centre, wanted - wanted_centre
    left, sizes, right = np.linalg.svd(goal.T @ given)
    signs = np.array([1.0, np.sign(np.linalg.det(left @ right))])
    turn = left @ np.diag(signs) @ right
    scale = (sizes * signs).sum() / max((given**2).sum(), 1e-9)
    return np.hstack([scale * turn, (wanted_centre - scale * turn @ centre)[:, None]])
