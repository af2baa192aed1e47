"""`similar-items`: which of some texts are most like another one, by their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
import numpy as np

from treadle.capabilities import protocol
from treadle.capabilities.embed_text import EmbedText
from treadle.capabilities.limits import BadInput

MOST_ITEMS = 2_000


class Items(protocol.Parameters, frozen=True, kw_only=True):
    """What to look among.

    Attributes:
        items: Texts: names, descriptions, sentences.
        top_k: How many of them to answer with.
    """

    items: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=10_000)]], msgspec.Meta(min_length=1, max_length=MOST_ITEMS)
    ]
    top_k: Annotated[int, msgspec.Meta(ge=1, le=MOST_ITEMS)] = 10


class Like(msgspec.Struct, frozen=True):
    """An item and how like it is: the cosine, 1 for the same."""

    item: str
    index: int
    score: float


class Similar(msgspec.Struct, frozen=True):
    """The items that are most like the input, the likest first."""

    similar: list[Like]


class SimilarItems(EmbedText):
    """Items that are most like a text."""

    name = "similar-items"
    Parameters = Items
    Answer = Similar
    hub_task = "sentence-similarity"
    example = MappingProxyType(
        {"items": ["A timetable of railways", "A recipe for apple cake", "The rules of chess"], "top_k": 2}
    )

    def run(self, inputs: Sequence[str], parameters: Items) -> list[Similar]:  # type: ignore[override]
        """Compare each input with all items."""
        vectors, _ = self._embedder.embed([*inputs, *parameters.items])
        asked, items = vectors[: len(inputs)], vectors[len(inputs) :]
        cosines = asked @ items.T  # (inputs, items)
        return [Similar(_likest(row, parameters)) for row in cosines]

    def confidence(self, answer: Similar) -> float | None:
        """The likest item's cosine."""
        return max(0.0, min(1.0, answer.similar[0].score))

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """`sentence_similarity(sentence, other_sentences)`."""
        if not isinstance(inputs, dict) or not {"source_sentence", "sentences"} <= inputs.keys():
            raise BadInput("inputs must have source_sentence and sentences.")
        others = inputs["sentences"]
        if not isinstance(others, list):
            raise BadInput("inputs.sentences must be a list of texts.")
        return [inputs["source_sentence"]], parameters | {"items": others, "top_k": max(1, len(others))}

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:
        """The cosine of each sentence, in the order in which they were sent."""
        scores = {like["index"]: like["score"] for like in answers[0]["similar"]}
        return [scores[index] for index in range(len(inputs["sentences"]))]


def _likest(cosines: np.ndarray, parameters: Items) -> list[Like]:
    order = np.argsort(-cosines, kind="stable")[: parameters.top_k]
    return [Like(parameters.items[i], int(i), float(cosines[i])) for i in order]
