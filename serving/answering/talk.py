"""One request to a version: read, answered, written in the caller's protocol, and what the ledger keeps of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec
import numpy as np

from serving.answering.decode import decode_predict, event_times, refuse_repeated_keys, to_columns
from serving.models.model import ServedModel
from serving.problem_details import BadRequest
from serving.protocols.protocol import Answered, Asked
from serving.telemetry.logs import mark
from treadle.ledger import Entry, Exchange
from treadle.ledger.records import to_us
from treadle.models.plain import rows_of

T = TypeVar("T")
Spend = Callable[[int], None]
"""Counts rows against somebody's limit, or raises `TooMany`."""
_encode = msgspec.json.Encoder().encode


class NoAnswer(BadRequest):
    """Rows to which a model has no finite answer."""


class Done(NamedTuple, Generic[T]):
    """A request that was answered, wholly by one version.

    Attributes:
        said: What goes back to the caller.
        entries: What the ledger keeps.
        seconds: How long the model took.
    """

    answered: Answered
    said: T
    entries: Sequence[Entry | Exchange]
    seconds: float

    @property
    def own_ids(self) -> bool:
        """Whether the caller chose the ids, which must be new then."""
        return self.answered.asked.ids is not None


class Talk(Generic[T]):
    """One request, as whichever version answers it reads it and writes its answer.

    Args:
        read: The body as a version's columns.
        write: The answer in the caller's protocol.
        spend: Counts the rows, once, whoever answers in the end.
        record: What the ledger keeps of an answer and of how it was written; its rows when left out.
    """

    def __init__(
        self,
        read: Callable[[ServedModel], Asked],
        write: Callable[[Answered], T],
        spend: Spend,
        record: Callable[[Answered, T], Sequence[Entry | Exchange]] | None = None,
    ) -> None:
        self.read = read
        self._write = write
        self._spend: Spend | None = spend
        self._record = record or (lambda answered, _said: ledger_entries(answered))

    def spend_once(self, rows: int) -> None:
        """Count the rows.

        Raises:
            TooMany: The caller may not send so many rows now.
        """
        if self._spend is not None:
            self._spend(rows)
            self._spend = None

    def by(self, model: ServedModel) -> Done[T]:
        """Answer by a version in this process.

        Raises:
            BadRequest: Something of the body is wrong.
            TooMany: The caller may not send so many rows now.
        """
        asked = self.read(model)
        self.spend_once(asked.count)
        mark("decode")
        begun = time.perf_counter()
        values = model.answer(asked.columns)
        seconds = time.perf_counter() - begun
        mark("infer")
        check_finite(values)
        return self.done(model, asked, values, seconds)

    def done(self, model: ServedModel, asked: Asked, values: np.ndarray, seconds: float) -> Done[T]:
        """What a version's answer becomes."""
        answered = Answered(model, values, asked.ids or new_ids(asked.count), asked)
        said = self._write(answered)
        done = Done(answered, said, self._record(answered, said), seconds)
        mark("encode")
        return done


def read_body(model: ServedModel, body: bytes, max_rows: int) -> Asked:
    """Read a body of the own protocol: the quick way if it is clean, else the way that says what is wrong.

    Raises:
        BadRequest: Something of the body is wrong.
    """
    keeps_all = model.redact is None  # else the rows are needed as they came
    rows = model.typed.decode(body, max_rows) if keeps_all else None
    if rows is not None:
        return Asked(model.typed.columns(rows), len(rows))
    request = decode_predict(body, max_rows)
    columns = to_columns(request.rows, model.manifest)
    refuse_repeated_keys(body, request)
    times = event_times(request.at, len(request.rows))
    return Asked(columns, len(request.rows), request.rows, request.ids, times)


def encode_answers(model: ServedModel, ids: Sequence[str], values: np.ndarray) -> bytes:
    """The own protocol's answer: which version gave it, and each row's prediction.

    Args:
        model: The version.
        ids: Prediction ids, one a row.
        values: Predictions (n,), or probabilities (n, n_classes).
    """
    predictions = [{"id": name, **answer} for name, answer in zip(ids, model.shape_answer(values), strict=True)]
    return model.prefix + _encode(predictions) + b"}"


def check_finite(answer: np.ndarray, begin: int = 0) -> None:
    """Refuse what the model has no answer to, such as 1e300 where it learned from -20 to 40.

    Args:
        answer: Predictions (n,), or probabilities (n, n_classes).
        begin: The number of the first row in its request.

    Raises:
        BadRequest: An answer is not finite.
    """
    finite = np.isfinite(answer)
    if not finite.all():
        row = begin + int(np.argwhere(~finite)[0][0])
        raise NoAnswer(f"The model has no finite answer to row {row}; are its numbers in the right unit?", row=row)


def new_ids(count: int) -> list[str]:
    """Identifiers that sort by time (RFC 9562 UUIDs, version 7, as hex): they append to the ledger's index.

    >>> [len(name) for name in new_ids(2)]
    [32, 32]
    """
    moment = f"{time.time_ns() // 1_000_000:012x}"
    noise = os.urandom(10 * count).hex()
    ids = []
    for begin in range(0, 20 * count, 20):
        variant = "89ab"[int(noise[begin + 3], 16) & 3]
        ids.append(f"{moment}7{noise[begin : begin + 3]}{variant}{noise[begin + 4 : begin + 19]}")
    return ids


def as_it_went(answered: Answered, body: bytes, said: bytes) -> list[Exchange]:
    """A request of the own protocol as it came and went; whoever carries the journal takes its rows apart.

    None where the caller chose ids or times, or where a column may not be kept.
    """
    model, asked = answered.model, answered.asked
    if asked.ids is not None or asked.at is not None or model.redact is not None:
        return []
    return [Exchange(model.name, model.version, time.time_ns() // 1000, body, said)]


def ledger_entries(answered: Answered) -> list[Entry]:
    """An answer as the ledger keeps it."""
    model, asked = answered.model, answered.asked
    rows = rows_of(asked.columns, model.manifest) if asked.rows is None else asked.rows
    if model.redact is not None:
        rows = list(map(model.redact, rows))
    answers = model.shape_answer(answered.values)
    now = time.time_ns() // 1000
    times = [now] * asked.count if asked.at is None else [to_us(at) for at in asked.at]
    return [
        Entry(name, model.name, model.version, at, now, _encode(row).decode(), _encode(answer).decode())
        for name, at, row, answer in zip(answered.ids, times, rows, answers, strict=True)
    ]
