"""Calls of ready models in the ledger: as they were, added up by model and caller, removed with what is as old."""

from datetime import UTC, datetime, timedelta

import pytest

from treadle.ledger import ANSWERED, ReadyCall, ReadyCalls

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


def call(number, capability="read-text", who="shop", days=0.0, **changes):
    about = {
        "id": f"call-{number}", "capability": capability, "model": "small", "model_version": "1", "key_id": "0123456789ab",
        "who": who, "client": "own", "outcome": ANSWERED, "inputs": 2, "cpu_seconds": 0.5, "seconds": 0.25, "confidence": 0.75,
        "facts": {"width": 640.0, "brightness": 12.5}, "at": NOW - timedelta(days=days),
    }  # fmt: skip
    return ReadyCall(**about | changes)


@pytest.fixture
def calls(ledger):
    return ReadyCalls(ledger)


def test_a_call_comes_back_as_it_went_in(calls):
    one, other = call(1), call(2, key_id=None, confidence=None, facts={}, outcome="Bad input")
    calls.add(one)
    calls.add(other)
    assert calls.newest() == [other, one]
    assert calls.newest("embed-text") == []
    assert calls.newest(n=1) == [other]


def test_cost_is_added_up_by_model_and_caller(calls):
    for number, who in enumerate(["shop", "shop", "mobile"]):
        calls.add(call(number, who=who, days=number))
    calls.add(call(9, "embed-text", model="mini"))
    spent = {(row["capability"], row["who"]): row for row in calls.spent()}
    assert spent["read-text", "shop"] == {
        "capability": "read-text", "model": "small", "who": "shop", "cpu_seconds": 1.0, "seconds": 0.5, "calls": 2, "inputs": 4,
    }  # fmt: skip
    assert len(spent) == 3
    assert {row["who"] for row in calls.spent(since=NOW - timedelta(hours=1))} == {"shop"}


def test_old_calls_are_removed_with_old_predictions(calls, ledger):
    calls.add(call(1, days=40))
    calls.add(call(2))
    ledger.prune(NOW - timedelta(days=30))
    assert [found.id for found in calls.newest()] == ["call-2"]
