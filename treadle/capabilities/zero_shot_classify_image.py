"""`zero-shot-classify-image`: which of some words fits a picture best, by CLIP or SigLIP of the hub."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Annotated, Any

import msgspec

from treadle.capabilities import protocol
from treadle.capabilities.hub import open_pipeline
from treadle.capabilities.labelled import Classified, from_pipeline
from treadle.capabilities.limits import BadInput
from treadle.capabilities.pictures import Picture, as_image

PLACE = "{}"
MOST_LABELS = 200


class Words(protocol.Parameters, frozen=True, kw_only=True):
    """What a picture may show.

    Attributes:
        labels: Words or short descriptions.
        template: The sentence that each is put into.
    """

    labels: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=200)]],
        msgspec.Meta(min_length=1, max_length=MOST_LABELS),
    ]
    template: Annotated[str, msgspec.Meta(max_length=200)] = "This is a photo of {}."


class ZeroShotClassifyImage(protocol.Capability):
    """Which words fit a picture."""

    name = "zero-shot-classify-image"
    takes = "image"
    Parameters = Words
    Answer = Classified
    hub_task = "zero-shot-image-classification"
    example = MappingProxyType({"labels": ["a cat", "a train"]})

    def load(self, weights: protocol.Weights) -> None:
        """Open the model."""
        self._pipeline = open_pipeline("zero-shot-image-classification", weights)

    def run(self, inputs: Sequence[Picture], parameters: Words) -> list[Classified]:
        """Look at each picture."""
        before, _, after = parameters.template.partition(PLACE)
        if before == parameters.template or set(before + after) & set("{}"):
            raise BadInput("parameters: template must have {} once, and no other braces.")
        return [self._one(picture, parameters) for picture in inputs]

    def _one(self, picture: Picture, parameters: Words) -> Classified:
        found: Any = self._pipeline(
            as_image(picture), candidate_labels=parameters.labels, hypothesis_template=parameters.template
        )
        return from_pipeline(found)

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """`zero_shot_image_classification(image, candidate_labels, hypothesis_template)`."""
        names = {"candidate_labels": "labels", "hypothesis_template": "template"}
        return super().from_hub(inputs, {names.get(name, name): value for name, value in parameters.items()})

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:  # noqa: ARG002 - one picture is asked about
        """The words for the one picture, the likeliest first."""
        return answers[0]["labels"]
