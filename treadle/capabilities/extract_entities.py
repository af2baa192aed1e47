"""`extract-entities`: people, places, organizations, dates and the like in a text, and where they stand.

By a pipeline of spaCy, or by a token classifier of the hub, whose pieces of words are put together again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from treadle.capabilities import hub, protocol
from treadle.capabilities.limits import BadInput
from treadle.capabilities.sources import missing_guest

UNUSED = ("tagger", "parser", "senter", "attribute_ruler", "lemmatizer", "lookups")
"""Parts of a pipeline that finding entities does not need; they are not read."""


class Kinds(protocol.Parameters, frozen=True, kw_only=True):
    """What to look for.

    Attributes:
        labels: Kinds, such as PERSON or GPE; empty is all that the model knows.
    """

    labels: tuple[str, ...] = ()


class Entity(msgspec.Struct, frozen=True):
    """Something that a text names.

    Attributes:
        text: As it stands there.
        label: Its kind, in the model's words.
        score: How sure the model is, 0 to 1; `None` where it does not say.
        start: Its first character, counted from 0.
        end: The character after its last.
    """

    text: str
    label: str
    score: float | None
    start: int
    end: int


class Entities(msgspec.Struct, frozen=True):
    """What a text names, in its order."""

    entities: list[Entity]


class ExtractEntities(protocol.Capability):
    """What a text names."""

    name = "extract-entities"
    takes = "text"
    Parameters = Kinds
    Answer = Entities
    hub_task = "token-classification"
    example_text = "Marie Curie moved from Warsaw to Paris in 1891."

    def load(self, weights: protocol.Weights) -> None:
        """Open spaCy's pipeline, or the hub's model."""
        if weights.entry.runtime == "transformers":
            self._pipeline = hub.open_pipeline("token-classification", weights, aggregation_strategy="simple")
            kinds = self._pipeline.model.config.id2label.values()
            self._known = {kind.removeprefix("B-").removeprefix("I-") for kind in kinds} - {"O"}
            self._find = self._by_pipeline
        else:
            self._open_spacy(weights.folder)
            self._find = self._by_spacy

    def _open_spacy(self, folder: Path) -> None:
        try:
            import spacy
        except ImportError:
            raise missing_guest("spacy", "language") from None
        self._nlp = spacy.load(folder, exclude=list(UNUSED))
        self._known = set(self._nlp.get_pipe("ner").labels)  # type: ignore[attr-defined] - of every entity recognizer

    def run(self, inputs: Sequence[str], parameters: Kinds) -> list[Entities]:
        """Find each text's entities."""
        strange = set(parameters.labels) - self._known
        if strange:
            raise BadInput(f"parameters.labels: the model knows {', '.join(sorted(self._known))}.")
        wanted = set(parameters.labels) or self._known
        return [Entities([entity for entity in found if entity.label in wanted]) for found in self._find(list(inputs))]

    def _by_spacy(self, texts: list[str]) -> list[list[Entity]]:
        return [
            [Entity(span.text, span.label_, None, span.start_char, span.end_char) for span in document.ents]
            for document in self._nlp.pipe(texts)
        ]

    def _by_pipeline(self, texts: list[str]) -> list[list[Entity]]:
        return [[_entity(text, row) for row in self._pipeline(text)] for text in texts]

    def confidence(self, answer: Entities) -> float | None:
        """The mean of the entities' scores, where the model gives any."""
        scores = [entity.score for entity in answer.entities if entity.score is not None]
        return sum(scores) / len(scores) if scores else None

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """`token_classification(text)`: pieces of words are always put together."""
        dropped = ("aggregation_strategy", "ignore_labels", "stride")
        return super().from_hub(inputs, {k: v for k, v in parameters.items() if k not in dropped})

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:
        """Groups of tokens."""
        rows = [[_group(entity) for entity in answer["entities"]] for answer in answers]
        return rows if isinstance(inputs, list) else rows[0]


def _entity(text: str, row: dict[str, Any]) -> Entity:
    start, end = int(row["start"]), int(row["end"])
    return Entity(text[start:end], row["entity_group"], float(row["score"]), start, end)


def _group(entity: dict[str, Any]) -> dict[str, Any]:
    """As the hub writes it; its form has a score always, so a model that gives none gets 1."""
    score = 1.0 if entity["score"] is None else entity["score"]
    return {"entity_group": entity["label"], "word": entity["text"], "score": score,
            "start": entity["start"], "end": entity["end"]}  # fmt: skip
