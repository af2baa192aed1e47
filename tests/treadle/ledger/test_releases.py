"""Releases in the ledger, on SQLite and on PostgreSQL through the same tests."""

import json
import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from tests.answered import answered
from tests.treadle.ledger.conftest import register
from treadle.errors import Conflict, NotFound
from treadle.ledger import Feedback, Releases, ShadowAnswer
from treadle.ledger.tables import promotions, release_evidence, releases, shadow_answers
from treadle.promotion.release import Evidence, Judgement, Rules

RULES = Rules("mae", min_answers=10)
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def champion(ledger):
    register(ledger, 1, 2, 3)
    ledger.promote("m", 1, None, reason="first")


def test_a_release_begins_against_the_champion_and_takes_the_place_of_another(ledger):
    book = Releases(ledger)
    first = book.start("m", 2, "shadow", RULES, who="anna")
    assert (first.champion, first.state, first.mode, first.rules, first.who) == (1, "running", "shadow", RULES, "anna")
    second = book.start("m", 3, "canary", RULES, share=0.1)
    assert book.running() == {"m": second}
    assert second.salt != first.salt
    stopped = book.get(first.seq)
    assert stopped.state == "stopped"
    assert "Version 3" in stopped.reason
    assert stopped.ended is not None
    assert [release.seq for release in book.last("m")] == [second.seq, first.seq]


def test_the_database_itself_allows_one_running_release_a_model(ledger):
    made = Releases(ledger).start("m", 2, "shadow", RULES)
    with ledger.engine.connect() as connection:
        row = dict(connection.execute(select(releases).where(releases.c.seq == made.seq)).one()._mapping)
    del row["seq"]
    with pytest.raises(IntegrityError), ledger.engine.begin() as connection:
        connection.execute(insert(releases).values(**row))
    with ledger.engine.begin() as connection:
        connection.execute(insert(releases).values(**row | {"state": "stopped"}))
        connection.execute(insert(releases).values(**row | {"model": "another"}))


@pytest.mark.parametrize(
    ("model", "version", "error"), [("m", 1, Conflict), ("m", 9, NotFound), ("stranger", 1, NotFound)]
)
def test_what_cannot_be_released_is_refused_and_what_runs_goes_on(ledger, model, version, error):
    book = Releases(ledger)
    running = book.start("m", 2, "shadow", RULES)
    with pytest.raises(error):
        book.start(model, version, "shadow", RULES)
    assert book.running() == {"m": running}


def at_once(*works):
    """Run works in threads that begin together; what each returned or raised."""
    barrier, found = threading.Barrier(len(works)), [None] * len(works)

    def run(place, work):
        barrier.wait()
        try:
            found[place] = work()
        except Conflict as error:
            found[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_of_those_who_end_a_release_at_once_one_does(ledger):
    book = Releases(ledger)
    for _ in range(5):
        champion = ledger.champion("m")
        release = book.start("m", 5 - champion.version if champion.version in (2, 3) else 2, "canary", RULES)
        found = at_once(
            lambda release=release: book.advance(release, "good", {}, "a"),
            lambda release=release: book.finish(release, "rolled_back", "bad", {}, "b"),
            lambda release=release: book.advance(release, "good", {}, "c"),
        )
        lost = [outcome for outcome in found if isinstance(outcome, Conflict)]
        assert len(lost) == 2
        ended = book.get(release.seq)
        now = ledger.champion("m")
        if ended.state == "advanced":
            assert (now.version, now.fence) == (release.version, champion.fence + 1)
        else:
            assert now == champion
        assert book.running() == {}


def test_a_champion_that_changed_meanwhile_stops_the_advance_and_nothing_is_half_done(ledger):
    book = Releases(ledger)
    release = book.start("m", 2, "canary", RULES)
    ledger.promote("m", 3, 1, reason="by hand")
    with pytest.raises(Conflict):
        book.advance(release, "good", {}, "a")
    assert book.get(release.seq).state == "running"
    assert ledger.champion("m").version == 3


def test_an_advance_and_a_revert_are_promotions_with_their_figures(ledger):
    book = Releases(ledger)
    release = book.start("m", 2, "canary", RULES)
    book.advance(release, "better", {"rows": 5}, "serving")
    book.revert("m", 2, 1, "it fails", {"failures": 9}, "serving")
    with pytest.raises(Conflict):
        book.revert("m", 2, 1, "it fails", {}, "another worker")
    with ledger.engine.connect() as connection:
        rows = connection.execute(select(promotions).order_by(promotions.c.seq)).fetchall()[1:]
    said = [(r.version, r.from_version, r.verdict, r.reason, json.loads(r.figures)) for r in rows]
    assert said == [(2, 1, "advanced", "better", {"rows": 5}), (1, 2, "rollback", "it fails", {"failures": 9})]


def test_one_judges_at_a_time_and_another_when_it_is_silent(ledger):
    book = Releases(ledger)
    release = book.start("m", 2, "shadow", RULES)
    held = at_once(*[lambda name=name: book.hold(release, name, 60) for name in "abcd"])
    assert sorted(held) == [False, False, False, True]
    holder = "abcd"[held.index(True)]
    assert book.hold(release, holder, -1)
    other = "b" if holder == "a" else "a"
    assert book.hold(release, other, 60)
    assert not book.hold(release, holder, 60)
    book.finish(release, "stopped", "enough", {}, "anna")
    assert not book.hold(release, other, 60)


def test_what_workers_saw_adds_up_and_a_minute_may_be_written_again(ledger):
    book = Releases(ledger)
    release = book.start("m", 2, "shadow", RULES)
    seen = Evidence(answers=3, rows=4, errors=1, difference=0.5)
    seen.candidate.add(0.010)
    seen.champion.add(0.002)
    book.put_evidence(release.seq, "one", {7: seen})
    seen.answers = 5
    book.put_evidence(release.seq, "one", {7: seen, 8: Evidence(timeouts=1)})
    book.put_evidence(release.seq, "two", {7: seen})
    found = book.evidence(release.seq)
    assert sorted(found) == [7, 8]
    assert (found[7].answers, found[7].rows, found[7].errors, found[7].difference) == (10, 8, 2, 1.0)
    assert found[7].candidate.counts == dict.fromkeys(seen.candidate.counts, 2)
    assert found[8].timeouts == 1


def add_answers(ledger, ids, version, value):
    rows = [
        answered(i, "m", version, NOW + timedelta(days=n % 3), "{}", json.dumps({"prediction": value}))
        for n, i in enumerate(ids)
    ]
    ledger.add_entries(rows)


def test_losses_of_a_shadow_are_of_the_rows_that_add_answers(ledger):
    book = Releases(ledger)
    release = book.start("m", 2, "shadow", RULES)
    add_answers(ledger, [f"p{i}" for i in range(6)], 1, 10.0)
    book.add_shadow_answers(release, [ShadowAnswer(f"p{i}", '{"prediction": 11.0}') for i in range(5)])
    book.add_shadow_answers(release, [ShadowAnswer("p0", '{"prediction": 99.0}')])  # said already
    ledger.add_feedback("m", [Feedback(f"p{i}", 12.0, NOW) for i in (1, 3, 5)])
    assert book.count_labels(release) == 3
    losses = book.losses(release)
    assert losses.paired
    assert losses.champion.tolist() == [2.0, 2.0]
    assert losses.candidate.tolist() == [1.0, 1.0]
    assert len(np.unique(losses.champion_blocks)) == 2


def test_losses_of_a_canary_are_of_what_each_answered_since_it_began(ledger):
    add_answers(ledger, ["old"], 1, 0.0)
    ledger.add_feedback("m", [Feedback("old", 50.0, NOW)])
    book = Releases(ledger)
    release = book.start("m", 2, "canary", RULES, share=0.5)
    add_answers(ledger, ["a", "b"], 1, 10.0)
    add_answers(ledger, ["c"], 2, 15.0)
    ledger.add_feedback("m", [Feedback(i, 12.0, NOW) for i in "abc"])
    losses = book.losses(release)
    assert not losses.paired
    assert losses.champion.tolist() == [2.0, 2.0]
    assert losses.candidate.tolist() == [3.0]


def test_the_last_judgement_is_there_for_people(ledger):
    book = Releases(ledger)
    release = book.start("m", 2, "shadow", RULES)
    book.note(release, Judgement("continue", "Still needed: 9 answers.", {"answers": 1}))
    assert (book.get(release.seq).reason, book.get(release.seq).figures) == ("Still needed: 9 answers.", {"answers": 1})


def test_forgetting_a_model_and_pruning_leave_nothing_of_its_shadows(ledger):
    book = Releases(ledger)
    release = book.start("m", 2, "shadow", RULES)
    book.add_shadow_answers(release, [ShadowAnswer("p", "{}")])
    book.put_evidence(release.seq, "one", {7: Evidence(answers=1)})
    ledger.prune(datetime.now(UTC) + timedelta(seconds=1))
    with ledger.engine.connect() as connection:
        assert connection.execute(select(shadow_answers)).fetchall() == []
    book.add_shadow_answers(release, [ShadowAnswer("p", "{}")])
    ledger.forget("m")
    with ledger.engine.connect() as connection:
        for table in (releases, release_evidence, shadow_answers):
            assert connection.execute(select(table)).fetchall() == []
