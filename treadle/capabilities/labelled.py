"""What classifiers answer: labels, and how likely each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np


class Label(msgspec.Struct, frozen=True):
    """A label and how likely it is, 0 to 1."""

    label: str
    score: float


class Classified(msgspec.Struct, frozen=True):
    """The likeliest label, its score, and all that are told, the likeliest first."""

    label: str
    score: float
    labels: list[Label]


def ranked(labels: Sequence[str], scores: Sequence[float] | np.ndarray, most: int | None = None) -> Classified:
    """An answer.

    Args:
        labels: Names.
        scores: One a label.
        most: Only so many of the likeliest are told; `None` is all.

    >>> ranked(["cat", "dog", "hat"], [0.2, 0.5, 0.3], most=2).labels
    [Label(label='dog', score=0.5), Label(label='hat', score=0.3)]
    """
    order = np.argsort(-np.asarray(scores), kind="stable")[:most]
    found = [Label(labels[int(i)], float(scores[int(i)])) for i in order]
    return Classified(found[0].label, found[0].score, found)


def from_pipeline(rows: Sequence[Mapping[str, Any]]) -> Classified:
    """An answer from one of a pipeline of Transformers: rows with `label` and `score`."""
    return ranked([row["label"] for row in rows], [row["score"] for row in rows])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, (rows, labels), rows sum to 1."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
