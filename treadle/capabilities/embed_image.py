"""`embed-image`: a picture as a vector; pictures of like things have a large dot product. EfficientNet-Lite or a model of the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from treadle.capabilities import protocol
from treadle.capabilities.efficientnet import open_efficientnet
from treadle.capabilities.hub import open_pipeline
from treadle.capabilities.pictures import Picture, as_image


class ImageEmbedding(msgspec.Struct, frozen=True):
    """A picture's vector, of length one."""

    embedding: list[float]


class EmbedImage(protocol.Capability):
    """Pictures as vectors."""

    name = "embed-image"
    takes = "image"
    Answer = ImageEmbedding
    hub_task = "image-feature-extraction"

    def load(self, weights: protocol.Weights) -> None:
        """Open the network."""
        self._embed: Callable[[list[Picture]], np.ndarray]
        if weights.entry.runtime == "transformers":
            self._embed = _by_pipeline(open_pipeline("image-feature-extraction", weights))
            return
        network = open_efficientnet(weights.folder, weights.entry.source.files)
        self._embed = lambda pictures: network.look(pictures)[1]

    def run(self, inputs: Sequence[Picture], parameters: protocol.Parameters) -> list[ImageEmbedding]:  # noqa: ARG002 - it has none
        """Embed pictures."""
        return [ImageEmbedding(vector.tolist()) for vector in self._embed(list(inputs))]

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:
        """A list of vectors, or for one picture its vector."""
        vectors = [answer["embedding"] for answer in answers]
        return vectors if isinstance(inputs, list) else vectors[0]


def _by_pipeline(pipeline: Any) -> Callable[[list[Picture]], np.ndarray]:
    """The first token of a vision transformer, which sums the picture up, brought to length one."""

    def embed(pictures: list[Picture]) -> np.ndarray:
        tokens = [np.asarray(pipeline(as_image(picture)), np.float32) for picture in pictures]  # (1, tokens, width)
        firsts = np.stack([one[0, 0] for one in tokens])
        return firsts / np.maximum(np.linalg.norm(firsts, axis=1, keepdims=True), 1e-12)

    return embed
