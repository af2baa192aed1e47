"""What a shadow answered is evidence for whoever decides later, and for the same model under another number."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tasks.promote import describe_challenger, settle_challenger
from tests.answered import answered
from treadle.ledger import Feedback, Ledger, Releases, ShadowAnswer, Version
from treadle.promotion.live import live_quality, say_live
from treadle.promotion.release import Rules

RULES = Rules("mae", min_labelled=50, confidence=0.9)
NOW = datetime.now(UTC)


@pytest.fixture
def ledger(settings, monkeypatch):
    monkeypatch.setenv("TREADLE_HOME", str(settings.home))
    ledger = Ledger.open(settings)
    for number in (1, 2, 3):
        ledger.add_version(
            Version("shop", number, "run", f"b/{number}", "d" * 64, "linear", {"s": 1}, {"mae": 2.0}, NOW)
        )
    ledger.add_version(Version("shop", 4, "run", "b/4", "d" * 64, "linear", {"s": 2}, {"mae": 2.0}, NOW))
    ledger.promote("shop", 1, None, reason="first")
    return ledger


def shadowed(ledger, miss, rows=120):
    """Version 2 has run as a shadow of 1, which is off by one; it is off by `miss`."""
    book = Releases(ledger)
    release = book.start("shop", 2, "shadow", RULES)
    ids = [f"p{i}" for i in range(rows)]
    ledger.add_entries(
        [answered(id_, "shop", 1, NOW - timedelta(hours=i), "{}", '{"prediction": 11.0}') for i, id_ in enumerate(ids)]
    )
    answers = [ShadowAnswer(id_, json.dumps({"prediction": 10.0 + miss + 0.01 * i})) for i, id_ in enumerate(ids)]
    book.add_shadow_answers(release, answers)
    ledger.add_feedback("shop", [Feedback(id_, 10.0, NOW) for id_ in ids])
    book.finish(release, "stopped", "by hand", {}, "anna")


def test_labels_of_a_shadow_say_which_is_better(ledger):
    shadowed(ledger, 4.0)
    live = live_quality(ledger, "shop", 2, 1)
    assert live.worse
    assert live.champion == pytest.approx(1.0)
    assert "it is worse there" in say_live(live)
    assert live_quality(ledger, "shop", 2, 7) is None


def test_the_same_model_under_another_number_inherits_what_was_seen(ledger):
    shadowed(ledger, 4.0)
    assert live_quality(ledger, "shop", 3, 1).worse
    assert live_quality(ledger, "shop", 4, 1) is None
    assert live_quality(ledger, "shop", 9, 1) is None


def test_few_labels_say_nothing(ledger):
    shadowed(ledger, 4.0, rows=30)
    assert live_quality(ledger, "shop", 2, 1) is None


def test_a_person_who_approves_is_told_and_live_traffic_has_a_veto(ledger):
    figures = {"version": 2, "expected": 1}
    ledger.record_decision("shop", "pending-approval", "It is better.", figures, NOW)
    shadowed(ledger, 4.0)
    assert "it is worse there" in describe_challenger.fn("shop", 2).markdown
    answer = settle_challenger.fn("shop", 2, 1, approve=True, comment="go")
    assert answer["decision"] == "kept"
    assert answer["champion"] == 1
    assert "treadle promote shop 2" in answer["reason"]
    assert ledger.last_decisions("shop", 1)[0].figures["live"]["worse"] is True


def test_a_version_that_does_well_on_live_traffic_is_promoted(ledger):
    shadowed(ledger, 0.0)
    assert live_quality(ledger, "shop", 2, 1).not_worse
    assert settle_challenger.fn("shop", 2, 1, approve=True, comment="")["champion"] == 2
