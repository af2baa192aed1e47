"""What every protocol is: it reads a body into columns, writes an answer, and tells an error in its own shape.

A protocol is plain functions of bytes and arrays: no network, no ledger, no choice of version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from typing import Protocol as Interface

import numpy as np

from serving.models.model import ServedModel
from treadle.errors import TreadleError


@dataclass(frozen=True, slots=True)
class Asked:
    """What a protocol read from a body.

    Attributes:
        columns: The model's inputs: float64 (n,) a number, boolean (0 or 1) or time (seconds since 1970), text (n,)
            as dtype object a category; NaN or "" where a value is not known.
        count: n, the number of rows.
        rows: The rows for the ledger, as the own protocol would have sent them; `None` makes them from the columns.
        ids: The caller's own prediction ids, if any; they must be new.
        at: Event times, one each; `None` is now.
        context: Whatever the protocol wants back when it writes the answer.
    """

    columns: dict[str, np.ndarray]
    count: int
    rows: Sequence[dict[str, Any]] | None = None
    ids: Sequence[str] | None = None
    at: Sequence[datetime] | None = None
    context: Any = None


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer of one version.

    Attributes:
        model: The version that gave it, with its manifest.
        values: Predictions (n,), or probabilities (n, n_classes) in the manifest's class order.
        ids: Prediction ids, one a row; the ledger has them.
        asked: What it answers.
    """

    model: ServedModel
    values: np.ndarray
    ids: Sequence[str]
    asked: Asked


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back to the caller."""

    content: bytes
    headers: Mapping[str, str]
    status: int = 200


class Protocol(Interface):
    """A way to ask models."""

    name: str
    """The route's name in metrics."""

    def read(self, body: bytes, headers: Mapping[str, str], model: ServedModel, max_rows: int) -> Asked:
        """Read a body.

        Raises:
            BadRequest: It is not one of this protocol, or does not fit the model.
        """
        ...

    def write(self, answered: Answered) -> Reply:
        """Write an answer."""
        ...

    def refuse(self, error: TreadleError, path: str) -> Reply:
        """Tell an error as this protocol's clients expect it."""
        ...
