"""`detect-objects`: what is in a picture and where, of the 80 kinds of COCO, by YOLOX on onnxruntime or a model of the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec

from treadle.capabilities import protocol
from treadle.capabilities.boxes import Box, Mark
from treadle.capabilities.hub import open_pipeline
from treadle.capabilities.overlaps import box_within
from treadle.capabilities.pictures import Picture, as_image
from treadle.capabilities.yolox import Yolox


class Sureness(protocol.Parameters, frozen=True, kw_only=True):
    """What is kept of what was found.

    Attributes:
        min_score: Things that are less sure are left out.
        most: At most so many, the surest.
    """

    min_score: Annotated[float, msgspec.Meta(ge=0.05, le=1)] = 0.5
    most: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


class Thing(msgspec.Struct, frozen=True):
    """A thing, how sure it is, and where it is."""

    label: str
    score: float
    box: Box


Look = Callable[[Picture, float], list[Thing]]
"""A picture and how sure to be, to things, the surest first."""


class Things(msgspec.Struct, frozen=True):
    """All things, the surest first."""

    objects: list[Thing]


class DetectObjects(protocol.Capability):
    """Things in a picture."""

    name = "detect-objects"
    takes = "image"
    Parameters = Sureness
    Answer = Things
    hub_task = "object-detection"

    def load(self, weights: protocol.Weights) -> None:
        """Open the detector."""
        self._look = (
            _by_pipeline(open_pipeline("object-detection", weights))
            if weights.entry.runtime == "transformers"
            else _by_yolox(Yolox(weights.folder, weights.entry.source.files))
        )

    def run(self, inputs: Sequence[Picture], parameters: Sureness) -> list[Things]:
        """Look at each picture."""
        return [Things(self._look(picture, parameters.min_score)[: parameters.most]) for picture in inputs]

    def confidence(self, answer: Things) -> float | None:
        """The mean of what was found."""
        return sum(one.score for one in answer.objects) / len(answer.objects) if answer.objects else None

    def marks(self, answer: Things) -> list[Mark]:
        """What was found."""
        return [Mark(one.label, one.score, one.box) for one in answer.objects]

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """`object_detection(image, threshold)`."""
        renamed = {"min_score" if name == "threshold" else name: value for name, value in parameters.items()}
        return super().from_hub(inputs, renamed)

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:  # noqa: ARG002 - one picture is asked about
        """The things of the one picture."""
        return answers[0]["objects"]


def _by_yolox(model: Yolox) -> Look:
    def look(picture: Picture, least: float) -> list[Thing]:
        found = model.detect(picture, least)
        return [
            Thing(model.names[label], float(score), box_within(corners, picture.width, picture.height))
            for corners, score, label in zip(found.corners, found.scores, found.labels, strict=True)
        ]

    return look


def _by_pipeline(pipeline: Any) -> Look:
    def look(picture: Picture, least: float) -> list[Thing]:
        found = sorted(pipeline(as_image(picture), threshold=least), key=lambda one: -one["score"])
        things = [Thing(one["label"], float(one["score"]), _box(one["box"], picture)) for one in found]
        return [thing for thing in things if thing.box.xmax > thing.box.xmin and thing.box.ymax > thing.box.ymin]

    return look


def _box(given: dict[str, int], picture: Picture) -> Box:
    """A pipeline's box, cut at the picture's edges; a model that is unsure puts some outside of it."""
    return Box(
        min(max(0, given["xmin"]), picture.width), min(max(0, given["ymin"]), picture.height),
        min(max(0, given["xmax"]), picture.width), min(max(0, given["ymax"]), picture.height),
    )  # fmt: skip
