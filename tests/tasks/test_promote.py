"""What becomes of a challenger that passed the gate, when its project wants it tried on live requests."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from tasks.promote import givers_of, try_live
from tests.answered import answered
from treadle.errors import Conflict, NotFound
from treadle.ledger import Feedback, Ledger, Releases, Version
from treadle.project import Project
from treadle.promotion.gate import Gate
from treadle.promotion.rollout import rules_of
from treadle.tables.data import ROW

GATE = Gate(True, 1.0, (0.5, 1.5), 0.99, 10.0, 9.0, 300, "It is better.")


def project(**serve):
    return Project.model_validate(
        {
            "name": "shop",
            "problem": "tabular-regression",
            "data": {"source": "d.csv", "target": "y"},
            "promote": {"approval": "human", "confidence": 0.8},
            "serve": serve,
        }
    )


@pytest.fixture
def ledger(settings):
    ledger = Ledger.open(settings)
    for number in (1, 2, 3):
        ledger.add_version(Version("shop", number, "run", f"b/{number}", "d" * 64, "linear", {}, {}, None))
    ledger.promote("shop", 1, None, reason="first")
    return ledger


def test_the_rules_are_the_projects():
    rules = rules_of(project(challenger="shadow", min_answers=7, min_time="2h", deadline_s=0.5, max_failures=0.1))
    assert (rules.metric, rules.min_answers, rules.min_minutes, rules.deadline_s) == ("rmse", 7, 120.0, 0.5)
    assert (rules.max_failures, rules.confidence, rules.advance, rules.min_labelled) == (0.1, 0.8, "human", 50)


def test_a_challenger_is_tried_and_a_newer_one_takes_its_place(ledger):
    first = try_live(project(challenger="canary", canary_percent=25), ledger, 2, GATE, None)
    assert (first.decision, first.champion, first.challenger) == ("released", 10.0, 9.0)
    assert first.reason == "It is better. It is tried as canary on live requests now."
    running = Releases(ledger).running()["shop"]
    assert (running.version, running.mode, running.share) == (2, "canary", 0.25)
    second = try_live(project(challenger="shadow"), ledger, 3, GATE, None)
    assert "takes the place of version 2" in second.reason
    assert Releases(ledger).running()["shop"].mode == "shadow"
    assert Releases(ledger).get(running.seq).state == "stopped"
    assert ledger.champion("shop").version == 1


def test_a_turn_whose_lease_was_taken_over_releases_nothing(ledger):
    lease = ledger.acquire("shop", "a train", ledger.version("shop", 1).created, 60.0)
    with pytest.raises(Conflict):
        try_live(project(challenger="shadow"), ledger, 2, GATE, lease.fence - 1)
    assert Releases(ledger).running() == {}
    try_live(project(challenger="shadow"), ledger, 2, GATE, lease.fence)
    assert Releases(ledger).running()["shop"].version == 2


def test_a_model_without_a_champion_has_nothing_to_be_compared_with(settings):
    ledger = Ledger.open(settings)
    ledger.add_version(Version("shop", 1, "run", "b", "d" * 64, "linear", {}, {}, None))
    with pytest.raises(NotFound, match="no champion"):
        try_live(project(challenger="shadow"), ledger, 1, GATE, None)


def test_who_gave_a_label_is_known_to_the_duel(ledger):
    now = datetime.now(UTC)
    ledger.add_entries([answered(id_, "shop", 1, now, "{}", "{}") for id_ in ("a", "b")])
    ledger.add_feedback("shop", [Feedback("a", 1.0, now)], key_id="k-1")
    ledger.add_feedback("shop", [Feedback("b", 1.0, now)])
    frame = pd.DataFrame({ROW: ["p:a", "p:b", "t:00ff"]})
    assert givers_of(frame, ledger.givers("shop")).tolist() == ["k-1", "", ""]
