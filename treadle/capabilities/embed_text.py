"""`embed-text`: a text as a vector; texts that mean the same have a large dot product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from treadle.capabilities import minilm, protocol


class Embedding(msgspec.Struct, frozen=True):
    """A text's vector, of length one, and the tokens that the text has."""

    embedding: list[float]
    tokens: int


class EmbedText(minilm.OnEncoder):
    """Texts as vectors."""

    name = "embed-text"
    takes = "text"
    Answer = Embedding
    hub_task = "feature-extraction"
    hub_runtime = "onnxruntime"

    def load(self, weights: protocol.Weights) -> None:
        """Open tokenizer and encoder."""
        self._embedder = minilm.open_embedder(weights.folder, weights.made)

    def run(self, inputs: Sequence[str], parameters: protocol.Parameters) -> list[Embedding]:  # noqa: ARG002 - it has none
        """Embed texts."""
        vectors, counts = self._embedder.embed(list(inputs))
        return [Embedding(vector.tolist(), count) for vector, count in zip(vectors, counts, strict=True)]

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Vectors are of length one and texts are cut, whatever a request says of it."""
        kept = {
            k: v
            for k, v in parameters.items()
            if k not in ("normalize", "truncate", "prompt_name", "truncation_direction")
        }
        return super().from_hub(inputs, kept)

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:
        """A list of vectors, or for one text its vector."""
        vectors = [answer["embedding"] for answer in answers]
        return vectors if isinstance(inputs, list) else vectors[0]
