"""The process that has one model: it reads uploads, runs the model and answers its owner. It can be killed at any time.

It has no keys and no settings of the service, writes no file while it answers, asks no hub, dies with whoever started it.
"""

from __future__ import annotations

import resource
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from treadle.capabilities import load_capability, wire
from treadle.capabilities.catalog import Entry
from treadle.capabilities.limits import BadInput, Limits, TooMuch
from treadle.capabilities.protocol import Capability, Weights
from treadle.capabilities.reading import decode, facts
from treadle.capabilities.sources import NotInstalled, Tampered, verify
from treadle.confined import confine
from treadle.errors import TreadleError
from treadle.frames import is_readable

MAPPED_MB = 6144
"""Address space for libraries and mapped files, over and above the memory that is counted."""
_raw = msgspec.msgpack.Encoder().encode
FAILURES: Mapping[type[TreadleError], wire.Failure] = {
    BadInput: "bad-input",
    TooMuch: "too-much",
    NotInstalled: "not-installed",
    Tampered: "tampered",
}


class _Model:
    """The model of this process, as one or more capabilities use it."""

    def __init__(self) -> None:
        self._opened: dict[str, tuple[Capability, Limits]] = {}
        self._verified = False

    def open(self, order: wire.Open) -> wire.Opened:
        """Open it for one capability."""
        begun = time.perf_counter()
        if order.capability not in self._opened:
            _limit_memory(order.memory_mb)
            weights = _weights(order)
            if not self._verified:
                verify(weights.entry, weights.folder)
                self._verified = True
            capability = load_capability(order.capability)
            capability.load(weights)
            self._opened[order.capability] = capability, weights.limits
        return wire.Opened(time.perf_counter() - begun)

    def answer(self, ask: wire.Ask, channel: socket.socket) -> wire.Answered:
        """Read the inputs and answer them."""
        capability, limits = self._opened[ask.capability]
        begun, cpu_begun = time.perf_counter(), time.process_time()
        parameters = capability.parse(ask.parameters)
        inputs = [decode(capability.takes, given, limits) for given in ask.inputs]
        answers = (
            _stream(capability, inputs[0], parameters, channel) if ask.stream else capability.run(inputs, parameters)
        )
        sure = [score for score in map(capability.confidence, answers) if score is not None]
        found = [{"found": float(many)} for many in map(capability.found, answers) if many is not None]
        known = _mean([facts(i) for i in inputs]) | _mean(found)
        return wire.Answered(
            msgspec.Raw(_raw(answers)), sum(sure) / len(sure) if sure else None, known,
            time.perf_counter() - begun, time.process_time() - cpu_begun,
        )  # fmt: skip


def _stream(capability: Capability, given: Any, parameters: Any, channel: socket.socket) -> list[Any]:
    """Send pieces as they come, until there are no more or nobody listens."""
    for piece in capability.stream(given, parameters):
        wire.send(channel, wire.Piece(msgspec.Raw(_raw(piece))))
        if is_readable(channel):  # the owner has said something, or is gone
            break
    return []


def _weights(order: wire.Open) -> Weights:
    limits = {name: type(getattr(Limits, name))(value) for name, value in order.limits.items()}
    entry = Entry.model_validate_json(order.entry)
    return Weights(entry, Path(order.folder), Path(order.made), Limits(**limits), order.head)


def _prepare(order: wire.Open) -> wire.Opened:
    begun = time.perf_counter()
    weights = _weights(order)
    verify(weights.entry, weights.folder)
    load_capability(order.capability).prepare(weights, weights.made)
    return wire.Opened(time.perf_counter() - begun)


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    names = rows[0] if rows else {}
    return {name: round(sum(row[name] for row in rows) / len(rows), 4) for name in names}


def main(channel: socket.socket) -> None:
    """Answer until the owner is gone."""
    model = _Model()
    while True:
        try:
            order = wire.hear_order(channel)
        except EOFError:
            return
        if isinstance(order, wire.Enough):  # the answer had ended already
            continue
        wire.send(channel, _do(model, order, channel))


def _do(model: _Model, order: wire.Open | wire.Prepare | wire.Ask, channel: socket.socket) -> wire.Said:
    try:
        if isinstance(order, wire.Open):
            return model.open(order)
        if isinstance(order, wire.Prepare):
            return _prepare(order.order)
        with _no_files():
            return model.answer(order, channel)
    except TreadleError as error:
        return wire.Failed(FAILURES.get(type(error), "error"), str(error))
    except MemoryError:
        return wire.Failed("memory", "")
    except Exception as error:  # noqa: BLE001 - whatever a model raises, the owner is told
        return _failure(error)


def _failure(error: Exception) -> wire.Failed:
    """What a model raised, and where; its text may hold what the caller sent, so it is not told."""
    text = str(error)
    if "bad_alloc" in text or "Failed to allocate" in text or "not enough memory" in text:
        return wire.Failed("memory", "")
    last = traceback.extract_tb(error.__traceback__)[-1]
    return wire.Failed("error", f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}")


@contextmanager
def _no_files() -> Iterator[None]:
    """Let no file grow while an upload is at work; some libraries unpack their models when they are opened."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _limit_memory(memory_mb: int) -> None:
    for kind, size in ((resource.RLIMIT_DATA, memory_mb), (resource.RLIMIT_AS, memory_mb + MAPPED_MB)):
        hard: Any = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (size << 20, hard))


if __name__ == "__main__":
    main(confine())
