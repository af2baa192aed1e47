"""Labels late, again, out of order, in conflict, too early, of another project, dated ahead: what is stored is the same."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from tests.answered import answered
from treadle.errors import Conflict, NotFound
from treadle.ledger import Feedback, Ledger
from treadle.ledger import labels as labels_module
from treadle.ledger.tables import early_labels, feedback

NOW = datetime(2011, 4, 1, tzinfo=UTC)


def predictions(names, model="m"):
    return [answered(name, model, 1, NOW, "{}", '{"prediction": 1}') for name in names]


def stored(ledger, table=feedback):
    with ledger.engine.connect() as connection:
        return {(r.id, r.model, r.label, r.at_us) for r in connection.execute(select(table))}


@pytest.fixture
def memory(tmp_path):
    """A ledger on SQLite, where the database makes no difference."""
    return Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_three_shuffled_replays_end_in_the_same_state(tmp_path):
    """Every label is sent three times with different times, in random requests, before and after its prediction."""
    names = [f"p{i}" for i in range(60)]
    sent = [
        Feedback(name, float(i), NOW + timedelta(days=30, hours=hour)) for i, name in enumerate(names) for hour in (2, 0, 1)
    ]  # fmt: skip
    states = []
    for seed in range(3):
        rng = random.Random(seed)
        ledger = Ledger.open(f"sqlite:///{tmp_path / f'{seed}.db'}")
        steps = [("label", label) for label in sent] + [("predict", name) for name in names]
        rng.shuffle(steps)
        accepted = repeated = early = 0
        for what, thing in steps:
            if what == "predict":
                ledger.add_entries(predictions([thing]))
            else:
                counts = ledger.add_feedback("m", [thing], early={thing.id})
                accepted, repeated, early = accepted + counts.accepted, repeated + counts.repeated, early + counts.early
        assert (accepted + early, repeated) == (60, 120)
        assert 0 < early < 60
        assert stored(ledger, early_labels) == set()
        states.append(stored(ledger))
    assert states[0] == states[1] == states[2]
    assert len(states[0]) == 60
    assert {at for *_, at in states[0]} == {labels_module.to_us(NOW + timedelta(days=30))}


def test_an_early_label_waits_for_its_prediction(ledger):
    label = Feedback("own-7", 5.0, NOW)
    with pytest.raises(NotFound, match="no label of this request was stored"):
        ledger.add_feedback("m", [label])
    assert ledger.add_feedback("m", [label], early={"own-7"}).early == 1
    assert ledger.add_feedback("m", [label]).repeated == 1
    with pytest.raises(Conflict):
        ledger.add_feedback("m", [Feedback("own-7", 6.0, NOW)], early={"own-7"})
    assert ledger.labelled("m") == []
    ledger.add_entries(predictions(["own-6", "own-7"]))
    assert [(row.id, row.label) for row in ledger.labelled("m")] == [("own-7", 5.0)]
    assert ledger.settle_early("m") == (0, 0)


def test_a_label_of_another_project_is_never_joined_and_tells_nothing(memory):
    """What is said of an id that another project has is what is said of one that nobody has."""
    memory.add_entries(predictions(["theirs"], model="other"))
    said = []
    for name in ("theirs", "nobody's"):
        with pytest.raises(NotFound) as told:
            memory.add_feedback("m", [Feedback(name, 1.0, NOW)])
        said.append((str(told.value), memory.add_feedback("m", [Feedback(name, 1.0, NOW)], early={name})))
    assert said[0] == said[1]
    memory.add_entries(predictions(["late"], model="other"))
    memory.settle_early("other")
    assert stored(memory) == set()
    assert len(stored(memory, early_labels)) == 2


def test_what_two_transactions_did_not_see_of_each_other_is_joined_at_the_next_look(ledger):
    """PostgreSQL lets a label and its prediction be committed at once, each without a view of the other."""
    with ledger.engine.begin() as connection:
        connection.execute(
            early_labels.insert(),
            [{"id": i, "model": "m", "label": "1.0", "at_us": 5, "arrived_us": 2**50} for i in ("a", "b")],
        )
        connection.exec_driver_sql(
            "INSERT INTO predictions (id, model, version, at_us, arrived_us, features, answer) "
            "VALUES ('a', 'm', 1, 0, 0, '{}', '{}'), ('b', 'm', 1, 0, 0, '{}', '{}')"
        )
    assert ledger.add_feedback("m", [Feedback("a", 1.0, NOW)]).repeated == 1
    assert ledger.settle_early("m") == (0, 0)
    assert {(name, at) for name, _, _, at in stored(ledger)} == {("a", 5), ("b", 5)}


def test_early_labels_are_bounded_in_number_and_in_time(memory, monkeypatch):
    monkeypatch.setattr(labels_module, "MOST_EARLY", 3)
    names = {"a", "b", "c", "d"}
    memory.add_feedback("m", [Feedback(i, 1.0, NOW) for i in "ab"], names)
    with pytest.raises(NotFound, match="may wait"):
        memory.add_feedback("m", [Feedback(i, 1.0, NOW) for i in "cd"], names)
    assert memory.add_feedback("other", [Feedback(i, 1.0, NOW) for i in "cd"], names).early == 2
    assert memory.settle_early("m") == (2, 0)
    month = datetime.now(UTC) + timedelta(days=labels_module.EARLY_DAYS + 1)
    assert labels_module.settle_early(memory.engine, "m", month) == (0, 2)
    memory.forget("other")
    assert stored(memory, early_labels) == set()


def test_a_label_dated_ahead_counts_when_its_time_comes_and_can_be_put_right(memory):
    """Its sender is told; no look before that time sees it; the same label with an earlier time corrects it."""
    memory.add_entries(predictions(["p"]))
    ahead = datetime.now(UTC) + timedelta(days=365)
    assert memory.add_feedback("m", [Feedback("p", 1.0, ahead)]).ahead == 1
    assert memory.labelled("m", until=datetime.now(UTC)) == []
    assert memory.count_labelled_since("m", None, until=datetime.now(UTC)) == 0
    assert len(memory.labelled("m", until=ahead)) == 1
    assert memory.add_feedback("m", [Feedback("p", 1.0, NOW)]).ahead == 0
    assert len(memory.labelled("m", until=NOW)) == 1


def test_two_labels_of_one_prediction_in_one_request(memory):
    memory.add_entries(predictions(["p"]))
    with pytest.raises(Conflict, match=r"^Label 1 "):
        memory.add_feedback("m", [Feedback("p", 1.0, NOW), Feedback("p", 2.0, NOW)])
    counts = memory.add_feedback("m", [Feedback("p", 1.0, NOW), Feedback("p", 1.0, NOW)])
    assert (counts.accepted, counts.repeated) == (1, 1)
