"""A champion that labels show to be worse than the one before is rolled back by the watch, once, with all that is told of it."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from tasks.probation import settle_swap
from tests.answered import answered
from treadle.ledger import Feedback
from treadle.ledger.tables import audit
from treadle.models.answering import open_version
from treadle.project import load_project

SWAP = datetime(2024, 3, 1, tzinfo=UTC)
DAYS = 9


def swap(ledger, first, second, verdict="promoted"):
    ledger.promote("toy", first, None, reason="first", at=SWAP - timedelta(days=30))
    ledger.promote("toy", second, first, verdict=verdict, reason="better", at=SWAP)


def live(installation, ledger, version, days=DAYS, as_version=None):
    """Hourly rows answered by the version itself, whose labels come a day later; kept under another number if one is given."""
    settings, frame = installation
    rows = frame.head(24 * days).reset_index(drop=True)
    answers = open_version(settings, ledger, "toy", version).answer(rows)
    for i, row in rows.iterrows():
        at = SWAP + timedelta(hours=1 + int(i))
        features = {
            "size": None if row["size"] != row["size"] else row["size"], "serial": row["serial"], "member": row["member"],
            "plan": row["plan"] if isinstance(row["plan"], str) else None, "when": row["when"].isoformat(),
        }  # fmt: skip
        answer = json.dumps({"prediction": float(answers[int(i)])})
        ledger.add_entries([answered(f"r{i}", "toy", as_version or version, at, json.dumps(features), answer)])
        ledger.add_feedback("toy", [Feedback(f"r{i}", float(row["amount"]), at + timedelta(days=1))])


def settle(installation, days, **changes):
    settings, _ = installation
    project = load_project("toy", settings).model_copy(update=changes)
    return settle_swap(settings, project, SWAP + timedelta(days=days))


def test_a_worse_champion_is_rolled_back_with_audit_decision_and_reason(installation, ledger):
    swap(ledger, 1, 2)
    live(installation, ledger, 2)
    look = settle(installation, DAYS + 2)
    assert look.state == "failed"
    assert look.loss > 2 * look.loss_before
    assert ledger.champion("toy").version == 1
    promotion = ledger.last_promotion("toy")
    assert (promotion.verdict, promotion.from_version, promotion.at) == ("rollback", 2, SWAP + timedelta(days=DAYS + 2))
    decision = ledger.last_decisions("toy", 1)[0]
    assert decision.kind == "rolled-back"
    assert "Version 1 is champion again" in decision.reason
    with ledger.engine.connect() as connection:
        row = connection.execute(select(audit).order_by(audit.c.seq.desc())).first()
    assert (row.who, row.what, row.subject) == ("watch", "rollback", "toy")
    assert settle(installation, DAYS + 3) is None
    assert ledger.champion("toy").version == 1


def test_labels_that_are_not_known_yet_say_nothing(installation, ledger):
    swap(ledger, 1, 2)
    live(installation, ledger, 2)
    assert settle(installation, 1).state == "running"
    assert ledger.champion("toy").version == 2


def test_a_good_champion_stands_its_probation_and_is_asked_no_more(installation, ledger):
    swap(ledger, 2, 1)
    live(installation, ledger, 1)
    assert settle(installation, DAYS + 2).state == "running"
    assert settle(installation, 31).state == "passed"
    assert settle(installation, 32) is None
    assert ledger.champion("toy").version == 1
    assert [d.kind for d in ledger.last_decisions("toy")] == ["probation"]


def test_what_a_person_promoted_is_only_spoken_of(installation, ledger):
    swap(ledger, 1, 2, verdict="by-hand")
    live(installation, ledger, 2)
    look = settle(installation, DAYS + 2)
    assert look.state == "failed"
    assert "treadle rollback toy" in look.reason
    assert ledger.champion("toy").version == 2
    assert settle(installation, DAYS + 3) is None


def test_columns_that_the_ledger_does_not_keep_are_compared_with_nothing(installation, ledger):
    settings, _ = installation
    swap(ledger, 1, 2)
    live(installation, ledger, 2, days=1)
    privacy = load_project("toy", settings).privacy.model_copy(update={"columns": {"plan": "hash"}})
    look = settle(installation, DAYS + 2, privacy=privacy)
    assert look.state == "unknown"
    assert "'plan'" in look.reason
    assert ledger.champion("toy").version == 2


@pytest.mark.parametrize("labels", [0])
def test_it_can_be_switched_off(installation, ledger, labels):
    settings, _ = installation
    swap(ledger, 1, 2)
    promote = load_project("toy", settings).promote
    promote = promote.model_copy(update={"probation": promote.probation.model_copy(update={"labels": labels})})
    assert settle(installation, DAYS + 2, promote=promote) is None


def test_a_first_version_is_not_on_probation(installation, ledger):
    ledger.promote("toy", 1, None, reason="first", at=SWAP)
    assert settle(installation, 5) is None
