"""Streams of ready models: begun before a status goes out, metered however they end, ended when nobody listens."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import msgspec
import pytest

from serving.door.access import ANYBODY_HERE
from serving.door.admission import Admission
from serving.door.quota import Quota
from serving.ready.work import Asked, ReadyModels
from serving.telemetry.metrics import Metrics
from treadle.capabilities.catalog import entries_of
from treadle.capabilities.limits import BadInput
from treadle.capabilities.pool import Answering, Done
from treadle.ledger import ANSWERED, Ledger, ReadyCalls
from treadle.settings import Settings

WORDS = [f"{number} " for number in range(50)]


class SlowPool:
    """Answers in a thread, a word every few milliseconds, as a model's process would; no capability of ours streams yet."""

    def __init__(self, settings, fails_at=None):
        self.entry = entries_of("detect-language", settings)[0]
        self.fails_at = fails_at
        self.sent = 0
        self._threads = ThreadPoolExecutor(1)

    def ask(self, _capability, _inputs, _parameters, *, model, on_piece, enough):
        answering = Answering()
        self._threads.submit(self._answer, answering, on_piece, enough)
        return self.entry, answering

    def _answer(self, answering, on_piece, enough: threading.Event):
        for number, word in enumerate(WORDS):
            if number == self.fails_at:
                answering.cpu_seconds = 0.25
                answering.set_exception(BadInput("It cannot be said."))
                return
            if enough.is_set():
                break
            on_piece(msgspec.msgpack.encode({"text": word}))
            self.sent += 1
            time.sleep(0.005)
        answering.set_result(Done(self.entry, b"\x90", None, {"characters": 3}, 0.5, 0.25))


@pytest.fixture
def make(tmp_path):
    settings = Settings(home=tmp_path)
    ledger = Ledger.open(settings)

    def made(**options):
        ready = ReadyModels(settings, ledger, Metrics(), Admission(4, 1 << 20), Quota(tmp_path / "quota"))
        ready.pool = SlowPool(settings, **options)
        return ready

    made.calls = ReadyCalls(ledger)
    return made


def request():
    return SimpleNamespace(scope={"state": {"principal": ANYBODY_HERE}}, state=SimpleNamespace(request_id="one"))


async def begin(ready):
    return await ready.stream(request(), "detect-language", Asked(["x"], {}, stream=True), "own")


def test_pieces_come_in_order_and_the_call_is_metered(make):
    async def run():
        _, pieces, took = await begin(make())
        assert took() is None
        assert [piece["text"] async for piece in pieces] == WORDS
        assert took().cpu_seconds == 0.25

    asyncio.run(run())
    (call,) = make.calls.newest()
    assert (call.outcome, call.cpu_seconds, call.id) == (ANSWERED, 0.25, "one")


def test_what_is_wrong_at_once_is_raised_before_anything_is_sent(make):
    async def run():
        with pytest.raises(BadInput):
            await begin(make(fails_at=0))

    asyncio.run(run())
    assert [(call.outcome, call.cpu_seconds) for call in make.calls.newest()] == [("Bad input", 0.25)]


def test_what_goes_wrong_later_ends_the_stream(make):
    async def run():
        _, pieces, _ = await begin(make(fails_at=3))
        assert [(await anext(pieces))["text"] for _ in range(3)] == WORDS[:3]
        with pytest.raises(BadInput):
            await anext(pieces)

    asyncio.run(run())
    assert [call.outcome for call in make.calls.newest()] == ["Bad input"]


def test_a_caller_who_is_gone_ends_the_work_and_pays_for_it(make):
    ready = make()

    async def run():
        _, pieces, _ = await begin(ready)

        async def listen():
            async for _ in pieces:
                await asyncio.sleep(0.01)

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0.05)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await pieces.aclose()
        while ready._endings:
            await asyncio.sleep(0.01)

    asyncio.run(run())
    assert ready.pool.sent < len(WORDS)
    assert [call.outcome for call in make.calls.newest()] == [ANSWERED]
