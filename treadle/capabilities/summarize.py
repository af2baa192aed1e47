"""`summarize`: the sentences of a text that say most of it, as they stand there; or a new text, by a model of the hub.

The sentences are those that are most like all others, by their embeddings: Erkan and Radev, LexRank (2004),
https://doi.org/10.1613/jair.1523, with vectors in the place of words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from treadle.capabilities import minilm, protocol
from treadle.capabilities.hub import open_generator
from treadle.capabilities.limits import BadInput, TooMuch

DAMPING = 0.85
"""Share of the walk that goes to a like sentence rather than to any, as in PageRank."""
SAME = 0.9
"""A sentence so like one that was taken says nothing new."""
STEPS = 50
MOST_SENTENCES = 1_500
NEXT = r"\s+(?=[\"'“‘(\[]?[A-Z0-9\u00c0-\uffff])"
ENDS = re.compile(rf"(?<=[.!?。！？]){NEXT}|(?<=[.!?][\"'”’)\]]){NEXT}|\n\s*\n")
"""Where a sentence ends: a mark of its end before a capital, or an empty line."""


class Length(protocol.Parameters, frozen=True, kw_only=True):
    """How long the summary may be.

    Attributes:
        sentences: Sentences that are taken out; a model of the hub has `max_tokens` instead.
        max_tokens: Tokens that a model of the hub may write.
    """

    sentences: Annotated[int, msgspec.Meta(ge=1, le=50)] = 3
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 128


class Summary(msgspec.Struct, frozen=True):
    """A shorter text.

    Attributes:
        text: The summary.
        extractive: Its sentences stand so in the text; otherwise a model wrote it, and may say what the text does not.
    """

    text: str
    extractive: bool


class Summarize(minilm.OnEncoder):
    """What a long text says."""

    name = "summarize"
    takes = "text"
    Parameters = Length
    Answer = Summary
    hub_task = "summarization"

    _summarize: Callable[[str, Length], Summary]

    def load(self, weights: protocol.Weights) -> None:
        """Open the encoder, or the hub's model."""
        if weights.entry.runtime == "transformers":
            self._tokenizer, self._model = open_generator(weights, "AutoModelForSeq2SeqLM")
            self._summarize = self._written
        else:
            self._embedder = minilm.open_embedder(weights.folder, weights.made)
            self._summarize = self._taken

    def run(self, inputs: Sequence[str], parameters: Length) -> list[Summary]:
        """Summarize texts."""
        if any(not text.strip() for text in inputs):
            raise BadInput("There is no text to summarize.")
        return [self._summarize(text, parameters) for text in inputs]

    def _taken(self, text: str, parameters: Length) -> Summary:
        sentences = split(text)
        if len(sentences) > MOST_SENTENCES:
            raise TooMuch(f"A text has {len(sentences):,} sentences; at most {MOST_SENTENCES:,} are read at once.")
        if len(sentences) > parameters.sentences:
            vectors, _ = self._embedder.embed(sentences)
            sentences = [sentences[place] for place in take(vectors, parameters.sentences)]
        return Summary(" ".join(sentences), True)

    def _written(self, text: str, parameters: Length) -> Summary:
        prefix = "summarize: " if self._model.config.model_type == "t5" else ""
        given = self._tokenizer(prefix + text, return_tensors="pt", truncation=True)
        drawn = self._model.generate(**given, max_new_tokens=parameters.max_tokens)
        return Summary(str(self._tokenizer.decode(drawn[0], skip_special_tokens=True)).strip(), False)

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """`summarization(text)`."""
        dropped = ("clean_up_tokenization_spaces", "truncation")
        return super().from_hub(inputs, {k: v for k, v in parameters.items() if k not in dropped})

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:  # noqa: ARG002 - one form for all
        """Summaries."""
        return [{"summary_text": answer["text"]} for answer in answers]


def split(text: str) -> list[str]:
    r"""The sentences of a text, each on one line.

    >>> split("It rained. We stayed at 3.5 Main St. in town!\n\nThen we left")
    ['It rained.', 'We stayed at 3.5 Main St. in town!', 'Then we left']
    """
    return [" ".join(sentence.split()) for sentence in ENDS.split(text) if sentence.strip()]


def take(vectors: np.ndarray, count: int) -> list[int]:
    """Places of the sentences that say most, in the text's order, none nearly the same as another.

    Args:
        vectors: Of the sentences, (n, width), of length one.
        count: How many are taken; fewer where the rest says nothing new.
    """
    cosines = vectors @ vectors.T  # (n, n)
    taken: list[int] = []
    for place in np.argsort(-central(cosines), kind="stable"):
        if len(taken) < count and all(cosines[place, other] < SAME for other in taken):
            taken.append(int(place))
    return sorted(taken)


def central(cosines: np.ndarray) -> np.ndarray:
    """How central each sentence is: where a walk from sentence to like sentence is most often. Sums to 1.

    Args:
        cosines: (n, n).
    """
    n = len(cosines)
    like = np.maximum(cosines, 0) * (1 - np.eye(n))  # what is like nothing but itself is not central
    degrees = like.sum(axis=1, keepdims=True)
    steps = np.where(degrees > 0, like / np.maximum(degrees, 1e-12), 1 / n)
    found = np.full(n, 1 / n)
    for _ in range(STEPS):
        found = (1 - DAMPING) / n + DAMPING * found @ steps
    return found
