"""The fast lane: clean, small predict requests, answered together by one run of the model each turn of the event loop.

It gives only the good answer. Whatever it cannot answer at once and well it leaves to the ASGI app, which does the same
work one request at a time and says what is wrong. Nothing here waits, so no request is ever half done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from serving.answering.talk import encode_answers, new_ids
from serving.door.admission import TOO_MUCH, TURN_S, Overloaded
from serving.models.champions import Champions
from serving.models.model import ServedModel
from serving.releasing.releases import Releases
from serving.telemetry.metrics import Metrics
from serving.telemetry.tracing import Tracing
from treadle.errors import TreadleError
from treadle.ledger import Exchange, Journal

MOST_ROWS = 64
"""Rows in one run: more would gain nothing (300 trees take 9 µs a row from 8 rows on) and delay the first of them."""
LARGE_RUN = 32
"""Runs of so many rows tell how fast the model is."""
RUNS_S = 0.01
"""CPU time after which a turn makes no other run."""
LINGER_S = 50e-6
"""So long after an answer to a caller alone does the loop look for the next request instead of sleeping."""
FEWEST_WAITING = 64 * MOST_ROWS
"""So many rows may always wait; more only if they are not more than `TURN_S` of work. The rest is refused at once."""


class Caller(Protocol):
    """The connection that a request came on."""

    def answer(self, content: bytes) -> None:
        """Send a 200."""
        ...

    def refuse(self, error: TreadleError) -> None:
        """Send a refusal."""
        ...

    def hand_over(self) -> None:
        """Let the ASGI app have the request."""
        ...


class Waiting(NamedTuple):
    """A request of this turn."""

    caller: Caller
    model: ServedModel
    body: bytes
    rows: Sequence[tuple[Any, ...]]
    begun: float


class Lane:
    """The requests that wait: most of them for the end of this turn of the loop, some for one of the next."""

    def __init__(
        self,
        champions: Champions,
        journal: Journal,
        metrics: Metrics,
        releases: Releases,
        tracing: Tracing | None = None,
    ) -> None:
        self._champions = champions
        self._releases = releases
        self._journal = journal
        self._metrics = metrics
        self._tracing = tracing
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Waiting] = []
        self._rows = 0  # of those that wait
        self._row_s = 0.0  # CPU time of a row in the last large run
        self._awake_until = 0.0
        self._awake = False

    def take(self, caller: Caller, name: str, body: bytes) -> bool:
        """Take a request that will be answered soon, or refuse it now; False if the lane is not for it."""
        model = self._champions.models.get(name)
        if model is None or not model.session.is_open or model.redact or self._releases.has_canary(name):
            return False
        if self._rows > FEWEST_WAITING and self._rows * self._row_s > TURN_S:
            self._refuse(caller, model)
            return True
        begun = time.perf_counter()
        rows = model.typed.decode(body, MOST_ROWS)
        if rows is None:
            return False
        if not self._waiting:  # all that arrived in this turn come before this call
            self._loop.call_soon(self._turn)
        self._waiting.append(Waiting(caller, model, body, rows, begun))
        self._rows += len(rows)
        return True

    def refuse(self, caller: Caller, name: str) -> bool:
        """Refuse a request of any size, for who asks while there is too much to do; False if there is no such model."""
        model = self._champions.models.get(name)
        if model is not None:
            self._refuse(caller, model)
        return model is not None

    def _refuse(self, caller: Caller, model: ServedModel) -> None:
        self._metrics.failed(model, "predict", Overloaded.status)
        self._metrics.overloaded()
        caller.refuse(Overloaded(TOO_MUCH))

    def flush(self) -> None:
        """Answer everything that waits, in order."""
        while self._waiting:
            self._answer_next()

    def _turn(self) -> None:
        """Some runs of the model; what waits longer waits for the next turn, since others want to be heard in between."""
        alone = len(self._waiting) == 1
        if self._waiting:  # else it was flushed
            self._answer_next()
        if self._waiting:
            end = time.thread_time() + RUNS_S
            while self._waiting and time.thread_time() < end:
                self._answer_next()
        if self._waiting:
            self._loop.call_soon(self._turn)
        elif alone:
            self._stay_awake()

    def _stay_awake(self) -> None:
        """Keep the loop from sleeping for a moment: a caller who was alone and has its answer often asks again at once.

        A processor that fell asleep, a virtual one above all, takes as long to wake as an answer takes. Known as busy polling
        (Linux has it for network cards, not for loopback); it ends with the next request, or when LINGER_S have passed.
        """
        self._awake_until = time.perf_counter() + LINGER_S
        if not self._awake:
            self._awake = True
            self._loop.call_soon(self._look_again)

    def _look_again(self) -> None:
        self._awake = not self._waiting and time.perf_counter() < self._awake_until
        if self._awake:
            self._loop.call_soon(self._look_again)

    def _answer_next(self) -> None:
        """Answer the first of those that wait, and with it as many as one run may have."""
        first = self._waiting[0]
        rows = end = 0
        for request in self._waiting:
            if end and (rows + len(request.rows) > MOST_ROWS or request.model is not first.model):
                break
            rows, end = rows + len(request.rows), end + 1
        batch, self._waiting = self._waiting[:end], self._waiting[end:]
        self._rows -= rows
        if rows < LARGE_RUN:
            self._answer(batch)
            return
        begun = time.thread_time()
        self._answer(batch)
        self._row_s = (time.thread_time() - begun) / rows

    def _answer(self, batch: list[Waiting]) -> None:
        """One run, one append to the journal, then the answers; if any of it fails, each goes the long way."""
        model = batch[0].model
        decoded = time.perf_counter()
        try:
            contents, answer = _contents(model, batch)
            inferred = time.perf_counter()
            now = time.time_ns() // 1000
            exchanges = [
                Exchange(model.name, model.version, now, request.body, content)
                for request, content in zip(batch, contents, strict=True)
            ]
            self._journal.append(exchanges)
        except Exception:  # noqa: BLE001 - whatever it is, the ASGI app meets it again and tells the caller
            for request in batch:
                request.caller.hand_over()
            return
        done = time.perf_counter()
        for request, content in zip(batch, contents, strict=True):
            request.caller.answer(content)
            self._metrics.answered(model, "predict", len(request.rows), done - request.begun)
        self._releases.shadow(model, *answer)
        if self._tracing is not None:
            rows = [len(request.rows) for request in batch]
            marks = (("decode", decoded), ("infer", inferred), ("journal", done))
            self._tracing.batch(model.name, model.version, rows, batch[0].begun, marks)


class Answer(NamedTuple):
    """What the model was asked in one run, and what it said; see `Releases.shadow`."""

    columns: Callable[[], dict[str, np.ndarray]]
    values: np.ndarray
    ids: Sequence[str]
    seconds: float
    requests: int


def _contents(model: ServedModel, batch: list[Waiting]) -> tuple[list[bytes], Answer]:
    """The responses, and the run behind them.

    Raises:
        TreadleError: A row has no finite answer.
    """
    rows = batch[0].rows if len(batch) == 1 else [row for request in batch for row in request.rows]
    begun = time.perf_counter()
    values = model.answer_rows(rows)
    seconds = time.perf_counter() - begun
    if not np.isfinite(values).all():
        raise TreadleError("There is no finite answer.")
    ids, contents, begin = new_ids(len(rows)), [], 0
    for request in batch:
        end = begin + len(request.rows)
        contents.append(encode_answers(model, ids[begin:end], values[begin:end]))
        begin = end
    return contents, Answer(partial(model.typed.columns, rows), values, ids, seconds, len(batch))
