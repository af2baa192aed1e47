"""The look at ready models: written down once a change of calls, told once, ended by good looks; a quiet one is silent."""

from datetime import timedelta

import pytest

from tasks import watch_ready
from tests.treadle.test_ready_look import BEGIN, stream
from treadle.ledger import AlertBook, Ledger, ReadyCalls

ALERT = "ready:detect-objects:yolox-nano"


@pytest.fixture
def look(settings, monkeypatch):
    """Adds calls and looks, at the event time of the last of them."""
    monkeypatch.setattr(watch_ready, "Settings", lambda: settings)
    monkeypatch.setattr(watch_ready, "create_markdown_artifact", lambda **_: None)
    ledger = Ledger.open(settings)
    calls = ReadyCalls(ledger)
    last = [0]

    def add_and_look(n, **how):
        for call in stream(n, seed=last[0], begin=last[0], **how):
            calls.add(call)
        last[0] += n
        at = (BEGIN + timedelta(minutes=last[0])).isoformat()
        return watch_ready.tell_ready.fn(watch_ready.judge_ready.fn(None, at))["looks"][0]

    add_and_look.book = AlertBook(ledger)
    return add_and_look


def test_a_change_is_told_once_and_ends_when_it_is_over(look):
    few = look(100)
    assert (few["verdict"], few["looked"], few["alert"]) == ("insufficient-data", False, None)
    assert look(900)["verdict"] == "ok"
    dark = look(200, brightness=40)
    assert dark["verdict"] == "drift"
    assert dark["moved"] == ["brightness"]
    (alert,) = look.book.list()
    assert (alert.seq, alert.model, alert.kind, alert.severity) == (dark["alert"], ALERT, "drift", "warning")
    assert "brightness" in alert.findings
    again = look(10, brightness=40)
    assert (again["verdict"], again["looked"]) == ("drift", False), "ten new calls are no new evidence"
    assert look(200, brightness=40)["alert"] == alert.seq
    assert look(200)["verdict"] == "ok"
    assert look(200)["verdict"] == "ok"
    assert look.book.list() == []


def test_a_quiet_stream_is_never_told(look):
    look(1000)
    assert {look(200)["verdict"] for _ in range(6)} == {"ok"}
    assert look.book.list(resolved=True) == []
