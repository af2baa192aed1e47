"""`analyze-sentiment`: whether a text speaks well, badly or neither of what it is about.

By a head that `python -m benchmarks.sentiment` trained on sentence embeddings and what VADER's lexicon says (Hutto and
Gilbert, ICWSM 2014), by that lexicon alone, or by a classifier of the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from treadle.capabilities import hub, minilm, protocol
from treadle.capabilities.labelled import Classified, from_pipeline, ranked, softmax
from treadle.capabilities.limits import BadInput
from treadle.capabilities.sources import missing_guest

HEAD = Path(__file__).parent / "heads" / "sentiment.npz"
SENTIMENTS = ("negative", "neutral", "positive")
NEUTRAL = 0.05
"""VADER's own bound: compound scores nearer to 0 are neutral."""


class Lexicon:
    """VADER's lexicon and rules."""

    def __init__(self) -> None:
        try:
            from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
        except ImportError:
            raise missing_guest("vaderSentiment", "language") from None
        self._polarity: Callable[[str], dict[str, float]] = SentimentIntensityAnalyzer().polarity_scores

    def measures(self, texts: Sequence[str]) -> np.ndarray:
        """Shares of negative, neutral and positive words and the compound, −1 to 1: (texts, 4)."""
        said = [self._polarity(text) for text in texts]
        return np.array([[one[name] for name in ("neg", "neu", "pos", "compound")] for one in said])

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Scores, (texts, sentiments), rows sum to 1; the highest is the sentiment by VADER's own bound."""
        compound = self.measures(texts)[:, 3]
        return softmax(np.stack([-compound, np.full_like(compound, NEUTRAL), compound], axis=1) * 4)


class Head:
    """A linear classifier on embeddings and the lexicon's measures."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as held:
            self._weights, self._bias, self._scale = held["weights"], held["bias"], held["scale"]

    def scores(self, vectors: np.ndarray, measures: np.ndarray) -> np.ndarray:
        """Scores, (texts, sentiments), rows sum to 1.

        Args:
            vectors: (texts, 384), of length one.
            measures: (texts, 4), of the lexicon.
        """
        return softmax(features(vectors, measures) * self._scale @ self._weights + self._bias)


def features(vectors: np.ndarray, measures: np.ndarray) -> np.ndarray:
    """What the head sees, (texts, 388)."""
    return np.hstack([vectors, measures])


class Sentiments(protocol.Parameters, frozen=True, kw_only=True):
    """What to answer with.

    Attributes:
        top_k: Only so many of the likeliest; null is all.
    """

    top_k: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None


class AnalyzeSentiment(minilm.OnEncoder):
    """Negative, neutral or positive."""

    name = "analyze-sentiment"
    takes = "text"
    Parameters = Sentiments
    Answer = Classified
    hub_task = "text-classification"
    example_text = "The staff were friendly and the room was clean, we loved it."

    _answers: Callable[[list[str]], list[Classified]]

    def load(self, weights: protocol.Weights) -> None:
        """Open the head and its encoder, the lexicon, or the hub's model."""
        if weights.entry.runtime == "transformers":
            self._pipeline = hub.open_pipeline("text-classification", weights, top_k=None)
            self._answers = self._by_pipeline
            return
        self._lexicon = Lexicon()
        if weights.entry.runtime == "python":
            self._answers = self._by_lexicon
            return
        self._head = Head(HEAD)
        self._embedder = minilm.open_embedder(weights.folder, weights.made)
        self._answers = self._by_head

    def run(self, inputs: Sequence[str], parameters: Sentiments) -> list[Classified]:
        """Tell each text's sentiment."""
        if any(not text.strip() for text in inputs):
            raise BadInput("There is no text to tell the sentiment of.")
        return [
            msgspec.structs.replace(one, labels=one.labels[: parameters.top_k]) for one in self._answers(list(inputs))
        ]

    def _by_head(self, texts: list[str]) -> list[Classified]:
        vectors, _ = self._embedder.embed(texts)
        scores = self._head.scores(vectors, self._lexicon.measures(texts))
        return [ranked(SENTIMENTS, row) for row in scores]

    def _by_lexicon(self, texts: list[str]) -> list[Classified]:
        return [ranked(SENTIMENTS, row) for row in self._lexicon.scores(texts)]

    def _by_pipeline(self, texts: list[str]) -> list[Classified]:
        said = self._pipeline(texts, truncation=True)
        return [from_pipeline(rows) for rows in said]

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """`text_classification(text, top_k=…)`."""
        return super().from_hub(inputs, protocol.as_softmax(parameters))

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:
        """Labels and scores."""
        rows = [answer["labels"] for answer in answers]
        return rows if isinstance(inputs, list) else [rows[0]]
