"""`classify-image`: what a picture shows, of the 1000 kinds of ImageNet, by EfficientNet-Lite on onnxruntime or a model of the hub.

Or which of its own labels, by a classifier that was trained here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec

from treadle.capabilities import protocol
from treadle.capabilities.efficientnet import EfficientNet, open_efficientnet
from treadle.capabilities.hub import open_pipeline
from treadle.capabilities.labelled import Classified, from_pipeline, ranked
from treadle.capabilities.pictures import Picture, as_image
from treadle.capabilities.trained import TrainedClassifier


class Kinds(protocol.Parameters, frozen=True, kw_only=True):
    """How many kinds are told.

    Attributes:
        top_k: The likeliest so many.
    """

    top_k: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 5


Look = Callable[[list[Picture], int], list[Classified]]
"""Pictures and how many kinds are told, to the answer about each."""


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
        return self._look(list(inputs), parameters.top_k)

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """`image_classification(image, function_to_apply, top_k)`; scores are always chances that sum to 1."""
        return super().from_hub(inputs, protocol.as_softmax(parameters))

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:  # noqa: ARG002 - one picture is asked about
        """The kinds of the one picture."""
        return answers[0]["labels"]


def _by_network(network: EfficientNet) -> Look:
    def look(pictures: list[Picture], most: int) -> list[Classified]:
        return [ranked(network.names, row, most) for row in network.look(pictures)[0]]

    return look


def _by_champion(classifier: TrainedClassifier) -> Look:
    def look(pictures: list[Picture], most: int) -> list[Classified]:
        return [ranked(classifier.labels, row, most) for row in classifier.chances(pictures)]

    return look


def _by_pipeline(pipeline: Any) -> Look:
    def look(pictures: list[Picture], most: int) -> list[Classified]:
        answers = pipeline([as_image(picture) for picture in pictures], top_k=most)
        return [from_pipeline(answer) for answer in answers]

    return look
