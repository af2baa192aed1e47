"""`classify-image`: what a picture shows, of the 1000 kinds of ImageNet, by EfficientNet-Lite on onnxruntime or a model of the hub.

Or which of its own labels, by a classifier that was trained here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from treadle.capabilities import protocol
from treadle.capabilities.efficientnet import EfficientNet, open_efficientnet
from treadle.capabilities.hub import open_pipeline
from treadle.capabilities.pictures import Picture, as_image
from treadle.capabilities.trained import TrainedClassifier


class Kinds(protocol.Parameters, frozen=True, kw_only=True):
    """How many kinds are told.

    Attributes:
        top_k: The likeliest so many.
    """

    top_k: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 5


class Label(msgspec.Struct, frozen=True):
    """A kind, and how sure it is."""

    label: str
    score: float


class Classified(msgspec.Struct, frozen=True):
    """The likeliest kind, and the likeliest few, the surest first."""

    label: str
    score: float
    labels: list[Label]


Look = Callable[[list[Picture], int], list[list[Label]]]
"""Pictures and how many kinds, to the kinds of each, the surest first."""


class ClassifyImage(protocol.Capability):
    """What a picture shows."""

    name = "classify-image"
    takes = "image"
    Parameters = Kinds
    Answer = Classified
    hub_task = "image-classification"

    _look: Look

    def load(self, weights: protocol.Weights) -> None:
        """Open the classifier."""
        if weights.head:
            self._look = _by_champion(TrainedClassifier(weights))
            return
        self._look = (
            _by_pipeline(open_pipeline("image-classification", weights))
            if weights.entry.runtime == "transformers"
            else _by_network(open_efficientnet(weights.folder, weights.entry.source.files))
        )

    def run(self, inputs: Sequence[Picture], parameters: Kinds) -> list[Classified]:
        """Look at pictures."""
        return [classified(labels) for labels in self._look(list(inputs), parameters.top_k)]

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """`image_classification(image, function_to_apply, top_k)`; scores are always chances that sum to 1."""
        return super().from_hub(inputs, protocol.as_softmax(parameters))

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:  # noqa: ARG002 - one picture is asked about
        """The kinds of the one picture."""
        return answers[0]["labels"]


def classified(labels: list[Label]) -> Classified:
    """An answer from its kinds, the surest first."""
    return Classified(labels[0].label, labels[0].score, labels)


def _by_network(network: EfficientNet) -> Look:
    def look(pictures: list[Picture], most: int) -> list[list[Label]]:
        return _likeliest(network.look(pictures)[0], network.names, most)

    return look


def _by_champion(classifier: TrainedClassifier) -> Look:
    def look(pictures: list[Picture], most: int) -> list[list[Label]]:
        return _likeliest(classifier.chances(pictures), classifier.labels, most)

    return look


def _likeliest(chances: np.ndarray, names: list[str] | tuple[str, ...], most: int) -> list[list[Label]]:
    """The surest labels of each row of chances, (n, names)."""
    orders = np.argsort(-chances, axis=1, kind="stable")[:, :most]
    return [[Label(names[int(i)], float(row[i])) for i in order] for row, order in zip(chances, orders, strict=True)]


def _by_pipeline(pipeline: Any) -> Look:
    def look(pictures: list[Picture], most: int) -> list[list[Label]]:
        answers = pipeline([as_image(picture) for picture in pictures], top_k=most)
        return [[Label(one["label"], float(one["score"])) for one in answer] for answer in answers]

    return look
