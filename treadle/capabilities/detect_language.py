"""`detect-language`: which language a text is in, by py3langid (Lui and Baldwin, langid.py, 2012)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from treadle.capabilities import protocol
from treadle.capabilities.limits import BadInput
from treadle.capabilities.sources import missing_guest


class Languages(protocol.Parameters, frozen=True, kw_only=True):
    """What to choose from.

    Attributes:
        among: ISO 639-1 codes; empty is all that the model knows.
        top_k: How many languages to answer with.
    """

    among: tuple[str, ...] = ()
    top_k: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3


class Language(msgspec.Struct, frozen=True):
    """A language and its probability."""

    language: str
    score: float


class Detected(msgspec.Struct, frozen=True):
    """The likeliest language, its probability, and the next ones."""

    language: str
    score: float
    languages: list[Language]


class DetectLanguage(protocol.Capability):
    """The language of a text."""

    name = "detect-language"
    takes = "text"
    Parameters = Languages
    Answer = Detected
    hub_task = "text-classification"

    def load(self, weights: protocol.Weights) -> None:
        """Open the model."""
        try:
            from py3langid.langid import LanguageIdentifier
        except ImportError:
            raise missing_guest("py3langid", "language") from None
        self._path = weights.folder / weights.entry.source.files[0]
        self._identifier = LanguageIdentifier.from_modelpath(self._path, norm_probs=True)

    def run(self, inputs: Sequence[str], parameters: Languages) -> list[Detected]:
        """Tell each text's language."""
        return [self._one(text, parameters) for text in inputs]

    def _one(self, text: str, parameters: Languages) -> Detected:
        if not text.strip():
            raise BadInput("There is no text to tell the language of.")
        ranked = self._ranked(text, parameters.among)
        likeliest = [Language(name, float(score)) for name, score in ranked[: parameters.top_k]]
        return Detected(likeliest[0].language, likeliest[0].score, likeliest)

    def _ranked(self, text: str, among: tuple[str, ...]) -> list[tuple[str, float]]:
        ranked = self._identifier.rank(text)
        known = {name for name, _ in ranked}
        strange = [name for name in among if name not in known]
        if strange:
            raise BadInput(f"parameters.among: the model knows {', '.join(sorted(known))}.")
        if not among:
            return list(ranked)
        kept = [(name, score) for name, score in ranked if name in set(among)]
        total = np.sum([score for _, score in kept])
        return [(name, score / total if total else 1 / len(kept)) for name, score in kept]

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """`text_classification(text, top_k=…)`."""
        return super().from_hub(inputs, protocol.as_softmax(parameters))

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:
        """Labels and scores."""
        rows = [[{"label": one["language"], "score": one["score"]} for one in a["languages"]] for a in answers]
        return rows if isinstance(inputs, list) else [rows[0]]
