"""`compare-faces`: whether the largest face of a first picture is in a second one, by YuNet and dlib's network on onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
import numpy as np

from treadle.capabilities import protocol
from treadle.capabilities.boxes import Box
from treadle.capabilities.detect_faces import LookForFaces
from treadle.capabilities.face_model import ONE_PERSON, find_faces, likeness, open_face_model
from treadle.capabilities.limits import BadInput
from treadle.capabilities.pictures import Picture

MOST_FACES = 100
MostDistance = Annotated[float, msgspec.Meta(gt=0, le=2)]


class Comparing(LookForFaces, frozen=True, kw_only=True):
    """How faces are compared.

    Attributes:
        most_distance: Faces whose descriptors are farther apart are not one person's; less is stricter.
    """

    most_distance: MostDistance = ONE_PERSON


class Compared(msgspec.Struct, frozen=True):
    """A face of the second picture beside the first picture's.

    Attributes:
        same: Whether they are taken for one person's.
        score: How like they are, 0 to 1; 0.5 at a distance of 0.6.
        distance: Of their descriptors, 0 for the same picture.
        box: Where the face is in the second picture.
    """

    same: bool
    score: float
    distance: float
    box: Box


class Comparison(msgspec.Struct, frozen=True):
    """The likest face's verdict, the first picture's face, and all faces of the second, the likest first."""

    same: bool
    score: float
    face: Box
    faces: list[Compared]


class CompareFaces(protocol.Capability):
    """Whether two pictures show one person."""

    name = "compare-faces"
    takes: Mapping[str, protocol.Kind] = {"first": "image", "second": "image"}  # type: ignore[misc]
    Parameters = Comparing
    Answer = Comparison
    hub_runtime = "onnxruntime"

    def load(self, weights: protocol.Weights) -> None:
        """Open detector and describing network."""
        self._model = open_face_model(weights.folder, weights.entry.source.files)

    def run(self, inputs: Sequence[Mapping[str, Picture]], parameters: Comparing) -> list[Comparison]:
        """Compare each pair."""
        return [self._one(pair["first"], pair["second"], parameters) for pair in inputs]

    def _one(self, first: Picture, second: Picture, parameters: Comparing) -> Comparison:
        wanted = max(self._find(first, "first", parameters), key=lambda face: face.size)
        others = self._find(second, "second", parameters)
        described = self._model.describe(first, [wanted])
        distances = np.linalg.norm(self._model.describe(second, others) - described, axis=1)
        compared = [
            Compared(bool(distances[i] <= parameters.most_distance), likeness(distances[i]), float(distances[i]), others[i].box)
            for i in np.argsort(distances, kind="stable")
        ]  # fmt: skip
        return Comparison(compared[0].same, compared[0].score, wanted.box, compared)

    def _find(self, picture: Picture, which: str, parameters: Comparing) -> list:
        faces = find_faces(self._model.finder, picture, parameters.min_score, parameters.longest)[:MOST_FACES]
        if not faces:
            raise BadInput(
                f"No face was found in the {which} picture; a smaller min_score or a larger longest finds more."
            )
        return faces
