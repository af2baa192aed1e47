"""Calls of ready models against their first ones: what moved is seen, what is quiet is left alone. Seeded."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from treadle.ledger import ANSWERED, ReadyCall, ReadyCalls, ReadyLook, ReadyVersion
from treadle.ready_look import in_words, judge_calls, moved, split

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def stream(n, seed=0, begin=0, brightness=120.0, sure=0.8, **facts):
    """Calls with pictures: sizes of three cameras, brightness with days and nights, how sure the answer was."""
    rng = np.random.default_rng(seed)
    calls = []
    for number in range(begin, begin + n):
        hour = number % 24
        width = float(rng.choice([640, 1280, 1920]))
        seen = {
            "width": width,
            "height": width * 0.75,
            "brightness": float(rng.normal(brightness + 20 * np.sin(hour / 24 * 2 * np.pi), 25)),
            "found": float(rng.poisson(3)),
        }
        calls.append(
            ReadyCall(
                f"call-{number}", "detect-objects", "yolox-nano", "1", None, "camera", "own", ANSWERED, 1, 0.03, 0.03,
                float(np.clip(rng.normal(sure, 0.1), 0, 1)), seen | facts, BEGIN + timedelta(minutes=number),
            )
        )  # fmt: skip
    return calls


def judged(newest, past=()):
    return judge_calls(stream(1000), newest, past, BEGIN + timedelta(days=2))


def test_no_call_is_in_both():
    assert split(400) == (300, 100)
    assert split(450) == (300, 150)
    for calls in (400, 600, 1199, 1200, 50_000):
        first, newest = split(calls)
        assert first + newest <= calls


def test_a_camera_that_went_dark_is_drift():
    found = judged(stream(200, seed=1, begin=1000, brightness=40))
    assert found.verdict == "drift"
    assert [f.name for f in moved(found)] == ["brightness"]
    said = in_words(found, 1000, 200)
    assert re.match(
        r"The newest 200 calls are unlike the first 1,000 of this version: 'brightness' is [34]\d\.\d+ on average, "
        r"1\d\d\.?\d* was normal \(-",
        said,
    ), said


def test_answers_that_are_less_sure_are_drift():
    found = judged(stream(200, seed=1, begin=1000, sure=0.4))
    assert found.verdict == "drift"
    assert [f.name for f in moved(found)] == ["confidence"]


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_quiet_stream_is_left_alone(seed):
    found = judged(stream(200, seed=seed, begin=1000))
    assert found.verdict == "ok"


def test_what_is_likely_waits_for_a_second_look():
    likely = stream(200, seed=3, begin=1000, brightness=102)
    once = judged(likely)
    assert once.verdict == "ok"
    assert "1 of the 2 looks needed" in in_words(once, 1000, 200)
    past = ReadyLook("detect-objects", "yolox-nano", "1", "ok", "", 200, 1200, once.figures(), BEGIN)
    assert judged(likely, [past]).verdict == "drift"


def test_too_few_calls_and_facts_that_came_later_are_no_verdict():
    assert judge_calls(stream(200), stream(50), (), BEGIN).verdict == "insufficient-data"
    assert judged(stream(200, seed=1, begin=1000, words=4.0)).verdict == "ok"


def test_the_ledger_gives_first_and_newest_of_one_version(tmp_path):
    from treadle.ledger import Ledger

    calls = ReadyCalls(Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}"))
    for call in stream(30):
        calls.add(call)
    (version,) = calls.asked("detect-objects")
    assert version == ReadyVersion("detect-objects", "yolox-nano", "1", 30)
    assert [c.id for c in calls.answered(version, 3)] == ["call-0", "call-1", "call-2"]
    assert [c.id for c in calls.answered(version, 2, newest=True)] == ["call-28", "call-29"]
    until = BEGIN + timedelta(minutes=9)
    assert [c.id for c in calls.answered(version, 2, newest=True, until=until)] == ["call-8", "call-9"]
    assert calls.asked("read-text") == []
