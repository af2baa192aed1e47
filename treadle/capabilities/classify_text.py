"""`classify-text`: which of some labels, named with the request, a text is about.

By embeddings: each label becomes a sentence, and labels whose vector is near the text's are likely (Chang et al., Dataless
Classification, AAAI 2008). By a model of the hub that judges entailment: Yin et al., 2019, https://arxiv.org/abs/1909.00161.
A classifier that was trained here has labels of its own, and none are named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
import numpy as np

from treadle.capabilities import hub, minilm, protocol
from treadle.capabilities.labelled import Classified, ranked, softmax
from treadle.capabilities.limits import BadInput
from treadle.capabilities.trained import TrainedClassifier

SHARPNESS = 20.0
"""Cosines times this are the logits: on Reuters R8 scores are then right about as often as they say."""
MIDDLE = 0.21
"""With `multi_label`, the cosine at which a label is as likely as not: between those of right and other topics there."""
MOST_LABELS = 200


class Labels(protocol.Parameters, frozen=True, kw_only=True):
    """What to choose from.

    Attributes:
        labels: Words or short descriptions; `the price of oil` is better than `crude`. Left out for a model that was trained
            here: it knows its own.
        multi_label: Several may hold, or none: each has a score of its own.
        template: The sentence that is made of a label; `{}` is where it goes.
    """

    labels: (
        Annotated[
            list[Annotated[str, msgspec.Meta(min_length=1, max_length=500)]],
            msgspec.Meta(min_length=1, max_length=MOST_LABELS),
        ]
        | None
    ) = None
    multi_label: bool = False
    template: Annotated[str, msgspec.Meta(max_length=200)] = "This text is about {}."


class ClassifyText(minilm.OnEncoder):
    """The labels that fit a text."""

    name = "classify-text"
    takes = "text"
    Parameters = Labels
    Answer = Classified
    hub_task = "zero-shot-classification"
    example = MappingProxyType({"labels": ["travel", "cooking", "politics"]})

    _scores: Callable[[list[str], Labels], np.ndarray]
    _trained: TrainedClassifier | None = None

    def load(self, weights: protocol.Weights) -> None:
        """Open the encoder, the hub's model, or what was trained here."""
        if weights.head:
            self._trained = TrainedClassifier(weights)
        elif weights.entry.runtime == "transformers":
            self._judge = hub.open_pipeline("zero-shot-classification", weights)
            self._scores = self._by_entailment
        else:
            self._embedder = minilm.open_embedder(weights.folder, weights.made)
            self._scores = self._by_nearness

    def run(self, inputs: Sequence[str], parameters: Labels) -> list[Classified]:
        """Give each text's labels."""
        if any(not text.strip() for text in inputs):
            raise BadInput("There is no text to classify.")
        if self._trained is not None:
            if parameters != Labels():
                raise BadInput(
                    f"This model was trained on labels of its own, and takes no parameters: {told(self._trained.labels)}."
                )
            return [ranked(self._trained.labels, row) for row in self._trained.chances(inputs)]
        return [ranked(_named(parameters), row) for row in self._scores(list(inputs), parameters)]

    def _by_nearness(self, texts: list[str], parameters: Labels) -> np.ndarray:
        """Scores, (texts, labels)."""
        sentences = [parameters.template.replace("{}", label) for label in _named(parameters)]
        vectors, _ = self._embedder.embed([*texts, *sentences])
        cosines = vectors[: len(texts)] @ vectors[len(texts) :].T
        if parameters.multi_label:
            return 1 / (1 + np.exp(-SHARPNESS * (cosines - MIDDLE)))
        return softmax(SHARPNESS * cosines)

    def _by_entailment(self, texts: list[str], parameters: Labels) -> np.ndarray:
        """Scores, (texts, labels)."""
        labels, template = _named(parameters), parameters.template
        said = self._judge(texts, labels, hypothesis_template=template, multi_label=parameters.multi_label)
        return np.array([_in_order(labels, one) for one in said])

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """`zero_shot_classification(text, candidate_labels, multi_label=…, hypothesis_template=…)`."""
        names = {"candidate_labels": "labels", "hypothesis_template": "template"}
        return super().from_hub(inputs, {names.get(k, k): v for k, v in parameters.items()})

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:
        """Labels and scores."""
        return answers[0]["labels"] if not isinstance(inputs, list) else [answer["labels"] for answer in answers]


def _named(parameters: Labels) -> list[str]:
    """The labels to choose from.

    Raises:
        BadInput: There are none, or they cannot be chosen from.
    """
    labels = parameters.labels
    if labels is None:
        raise BadInput("parameters.labels: name the labels to choose from.")
    if "{}" not in parameters.template:
        raise BadInput("parameters.template: it has no {} where the label goes.")
    if len(set(labels)) < len(labels):
        raise BadInput("parameters.labels: one is there twice.")
    return labels


def told(labels: Sequence[str]) -> str:
    """Labels in a sentence.

    >>> told(["a", "b"])
    'a, b'
    """
    return ", ".join(labels[:10]) + (f" and {len(labels) - 10} more" if len(labels) > 10 else "")


def _in_order(labels: list[str], said: dict[str, Any]) -> list[float]:
    """The scores of one answer of the pipeline, which is sorted by score, in the labels' order."""
    scores = dict(zip(said["labels"], said["scores"], strict=True))
    return [scores[label.strip()] for label in labels]
