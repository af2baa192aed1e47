"""When a warm start is not tried again: the last one lost against this very champion."""

from datetime import UTC, datetime

import pytest

from tasks.tune import _lost_before
from treadle.ledger import Champion, Ledger
from treadle.project import Project

PROJECT = Project.model_validate(
    {"name": "toy", "problem": "tabular-regression", "data": {"source": "toy.csv", "target": "amount"}}
)
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("decisions", "lost"),
    [
        ([], False),
        ([("kept", "warm", 3)], True),
        ([("rejected", "warm", 3)], True),
        ([("kept", "full", 3)], False),
        ([("kept", "warm", 2)], False),
        ([("kept", "warm", 3), ("skip", None, None), ("retrain", None, None)], True),
        ([("kept", "warm", 3), ("kept", "full", 3)], False),
        ([("kept", "warm", 3), ("promoted", "warm", 2)], False),
    ],
)
def test_a_full_search_follows_a_warm_challenger_that_lost(settings, decisions, lost):
    ledger = Ledger.open(settings)
    for kind, search, against in decisions:
        ledger.record_decision("toy", kind, "because", {"search": search, "against": against}, NOW)
    why = _lost_before(ledger, PROJECT, Champion(3, 2, 3))
    assert bool(why) == lost
    if why:
        assert "version 3" in why
