"""Who may come in: so many at once, and no more in one turn of the loop than it can answer soon."""

import asyncio

import pytest

from serving.door import admission
from serving.door.admission import Admission, Overloaded


def test_a_turn_that_has_done_enough_refuses_and_the_next_one_does_not(monkeypatch):
    monkeypatch.setattr(admission, "TURN_S", 0.01)
    door = Admission(256, 1 << 20)

    async def turns():
        assert door.at_once(lambda: 7) == 7
        door.check()
        door.at_once(lambda: sum(range(2_000_000)))  # far above 10 ms of CPU time
        with pytest.raises(Overloaded), door.admitted():
            pytest.fail("nobody comes in")
        await asyncio.sleep(0)
        door.check()

    asyncio.run(turns())
    assert door.requests == 0
    door.stop()


def test_work_that_fails_counts_too(monkeypatch):
    monkeypatch.setattr(admission, "TURN_S", 0.0)
    door = Admission(256, 1 << 20)

    async def turn():
        with pytest.raises(ZeroDivisionError):
            door.at_once(lambda: sum(range(1000)) / 0)
        with pytest.raises(Overloaded):
            door.check()

    asyncio.run(turn())
    door.stop()
