"""`detect-faces`: where the faces in a picture are, by YuNet on onnxruntime. It says nothing of who they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from treadle.capabilities import protocol
from treadle.capabilities.boxes import Box, Mark
from treadle.capabilities.face_model import Points, find_faces
from treadle.capabilities.pictures import Picture
from treadle.capabilities.yunet import Yunet

MinScore = Annotated[float, msgspec.Meta(ge=0.1, le=1)]
Longest = Annotated[int, msgspec.Meta(ge=64, le=2048)]
"""The longer side of the picture that the network sees; more pixels find smaller faces and take longer."""


class LookForFaces(protocol.Parameters, frozen=True, kw_only=True):
    """How faces are looked for.

    Attributes:
        min_score: Faces that are less sure are left out.
        longest: The picture's longer side is brought down to so many pixels; more find smaller faces and take longer.
    """

    min_score: MinScore = 0.7
    longest: Longest = 960


class FoundFace(msgspec.Struct, frozen=True):
    """A face, how sure it is that it is one, where it and its five points are."""

    label: str
    score: float
    box: Box
    points: Points


class Faces(msgspec.Struct, frozen=True):
    """All faces, the surest first."""

    faces: list[FoundFace]


class DetectFaces(protocol.Capability):
    """Faces in a picture."""

    name = "detect-faces"
    takes = "image"
    Parameters = LookForFaces
    Answer = Faces
    hub_task = "object-detection"
    hub_runtime = "onnxruntime"

    def load(self, weights: protocol.Weights) -> None:
        """Open the detector."""
        self._finder = Yunet(weights.folder / weights.entry.source.files[0])

    def run(self, inputs: Sequence[Picture], parameters: LookForFaces) -> list[Faces]:
        """Look at each picture."""
        return [self._one(picture, parameters) for picture in inputs]

    def _one(self, picture: Picture, parameters: LookForFaces) -> Faces:
        found = find_faces(self._finder, picture, parameters.min_score, parameters.longest)
        return Faces([FoundFace("face", face.score, face.box, face.named_points()) for face in found])

    def confidence(self, answer: Faces) -> float | None:
        """The mean of the faces."""
        return sum(face.score for face in answer.faces) / len(answer.faces) if answer.faces else None

    def marks(self, answer: Faces) -> list[Mark]:
        """The faces."""
        return [Mark(face.label, face.score, face.box) for face in answer.faces]

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """`object_detection(image, threshold)`."""
        renamed = {"min_score" if name == "threshold" else name: value for name, value in parameters.items()}
        return super().from_hub(inputs, renamed)

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:  # noqa: ARG002 - one picture is asked about
        """The faces of the one picture, as things."""
        return [{name: face[name] for name in ("label", "score", "box")} for face in answers[0]["faces"]]
