"""Alerts in the ledger: one while it is open, told once, ended by what is good; on SQLite and on PostgreSQL."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from tests.treadle.ledger.conftest import register
from treadle.alerting.alerts import KINDS, Notice, notice_of_look, notice_of_stop
from treadle.errors import NotFound
from treadle.ledger import AlertBook
from treadle.ledger.alert_rows import raise_alert
from treadle.ledger.audit import last
from treadle.project import Alerts

AT = datetime(2011, 4, 1, tzinfo=UTC)
RULES = Alerts()


def look(*names, verdict="drift", version=1, **more):
    columns = [{"name": name, "statistic": 0.5, "threshold": 0.1, "drifted": True} for name in names]
    return {"project": "m", "version": version, "verdict": verdict, "reason": "It moved.", "columns": columns, **more}


class Follower:
    """Feeds looks, an hour apart, and writes messages."""

    def __init__(self, ledger):
        self.book, self.hours, self.said = AlertBook(ledger), 0, []

    def see(self, *names, verdict="drift", resolve_after=2, **more):
        self.hours += 1
        notice = notice_of_look(look(*names, verdict=verdict, **more), "http://page")
        notices = [notice] if notice else []
        return self.book.follow_look("m", verdict, notices, AT + timedelta(hours=self.hours), resolve_after)

    def tell(self, rules=RULES):
        """What is said now: kind, subject, what, findings."""
        new = []

        def say(alert, what):
            new.append((alert.kind, what, tuple(f for f in alert.findings if f not in alert.told)))
            return f"{alert.kind} {what}", "body"

        self.book.write_messages(lambda _: rules, say)
        self.said += new
        return new


@pytest.fixture
def m(ledger):
    register(ledger, 1, 2, 3)
    ledger.promote("m", 1, None, reason="first")
    return Follower(ledger)


def test_the_same_again_is_one_alert_with_a_count_and_one_message(m):
    first = m.see("temp")
    assert m.tell() == [("drift", "new", ("version 1", "temp"))]
    for _ in range(5):
        assert m.see("temp") == first
        assert m.tell() == []
    (alert,) = m.book.list()
    assert (alert.times, alert.state, alert.severity, alert.findings) == (6, "open", "warning", ("version 1", "temp"))
    assert (alert.at, alert.last) == (AT + timedelta(hours=1), AT + timedelta(hours=6))
    assert alert.evidence["page"] == "http://page"
    assert ["What happened", "It moved."] in alert.evidence["lines"]


def test_what_is_new_of_an_open_alert_is_told_and_only_that(m):
    m.see("temp")
    m.tell()
    m.see("temp", "hum")
    assert m.tell() == [("drift", "more", ("hum",))]
    m.see("hum", version=2)
    assert m.tell() == [("drift", "more", ("version 2",))]
    assert m.tell() == []


def test_good_looks_end_it_and_that_is_told_once(m):
    m.see("temp")
    m.tell()
    m.see(verdict="ok")
    assert m.tell() == []
    m.see(verdict="insufficient-data")  # neither good nor bad
    m.see(verdict="ok")
    assert m.tell() == [("drift", "over", ())]
    assert m.tell() == []
    assert m.book.list() == []
    (alert,) = m.book.list(resolved=True)
    assert (alert.state, alert.times) == ("resolved", 1)
    assert m.see("temp") != alert.seq


def test_one_bad_look_between_good_ones_begins_the_count_anew(m):
    m.see("temp")
    for verdict in ("ok", "drift", "ok"):
        m.see(*(["temp"] if verdict == "drift" else []), verdict=verdict)
    assert [alert.state for alert in m.book.list(resolved=True)] == ["open"]


def test_a_look_that_is_run_again_counts_once(m):
    for _ in range(3):
        m.hours = 0
        m.see("temp")
    assert m.book.list()[0].times == 1
    for _ in range(3):
        m.hours = 1
        m.see(verdict="ok")
    assert m.book.list()[0].state == "open"


def test_nothing_is_told_of_what_is_acknowledged_until_it_ends(m, ledger):
    seq = m.see("temp")
    m.tell()
    m.book.acknowledge(seq, "ann")
    m.see("temp", "hum")
    assert m.tell() == []
    assert m.book.list()[0].acknowledged_by == "ann"
    row = last(ledger.engine, 1)[0]
    assert (row.who, row.what, row.subject, row.after) == ("ann", "alert acknowledged", "m", seq)
    for _ in range(2):
        m.see(verdict="ok")
    assert m.tell() == [("drift", "over", ("hum",))]
    for wrong in (seq, 999):
        with pytest.raises(NotFound, match="no open alert"):
            m.book.acknowledge(wrong, "ann")


def test_an_alert_of_another_project_cannot_be_acknowledged_by_its_number(m):
    seq = m.see("temp")
    with pytest.raises(NotFound):
        m.book.acknowledge(seq, "ann", model="other")


@pytest.mark.parametrize(("model", "kind", "holds"), [
    ("m", None, True), (None, None, True), ("m", "drift", True), (None, "drift", True),
    ("other", None, False), ("m", "invalid", False),
])  # fmt: skip
def test_a_silence_holds_what_it_names_and_what_is_open_at_its_end_is_told(m, model, kind, holds):
    m.book.silence(model, kind, datetime.now(UTC) + timedelta(hours=1), "ann")
    m.see("temp")
    assert (m.tell() == []) is holds
    assert (m.book.list()[0].silenced_until is not None) is holds
    m.book.silence(model, kind, datetime.now(UTC) - timedelta(seconds=1), "ann")
    assert (len(m.tell()) == 1) is holds


def test_a_projects_rules_say_what_is_told_and_all_is_listed(m):
    m.see("temp")
    assert m.tell(Alerts(kinds=("quality-loss",))) == []
    assert m.tell(Alerts(severity="critical")) == []
    assert len(m.book.list()) == 1
    m.see(verdict="quality-loss")
    assert [kind for kind, _, _ in m.tell(Alerts(severity="critical"))] == ["quality-loss"]


def test_drift_that_is_known_to_be_harmless_is_only_listed_until_it_is_harmful(m):
    m.see("temp", suppressed="harmless", retrain=False)
    assert m.book.list()[0].severity == "info"
    assert m.tell() == []
    m.see("temp", suppressed="cooldown")
    assert m.tell() == [("drift", "new", ("version 1", "temp"))]


def test_what_was_over_before_anybody_was_told_is_told_then(m):
    m.see("temp")
    m.see(verdict="ok", resolve_after=1)
    assert m.tell() == [("drift", "over", ("version 1", "temp"))]


def test_what_nobody_was_to_know_ends_in_silence(m):
    m.see("temp", suppressed="harmless", retrain=False)
    m.see(verdict="ok", resolve_after=1)
    assert m.tell() == []
    assert m.tell(Alerts(severity="info")) == []


def test_the_breaker_is_an_alert_of_its_own_until_a_retrain_is_decided(m, ledger):
    stop = notice_of_stop({"suppressed": "breaker", "retrain_reason": "drift, but the breaker is open."}, None)
    assert notice_of_stop({"suppressed": "cooldown"}, None) is None
    m.book.follow_look("m", "drift", [notice_of_look(look("temp"), None), stop], AT, 2)
    assert [(a.kind, a.subject) for a in m.book.list()] == [("retrain-stopped", "breaker"), ("drift", "")]
    ledger.record_decision("m", "retrain", "drift: again.", {}, AT)
    assert [a.kind for a in m.book.list()] == ["drift"]


def test_old_messages_are_removed_and_what_waits_is_not(m, ledger):
    for _ in range(2):
        m.book.add_message("info", "t", "b")
    m.book.spread(lambda _: ["a"])
    m.book.settle(m.book.take("a"), None)
    m.book.prune(datetime.now(UTC) - timedelta(days=1))
    assert m.book.delivered(1) == {"a": "sent"}
    m.book.prune(datetime.now(UTC) + timedelta(days=1))
    assert m.book.delivered(1) == {}
    assert m.book.take("a").message == 2


# What happens elsewhere


def test_a_failed_turn_is_an_alert_until_a_turn_runs(m, ledger):
    ledger.record_decision("m", "failed", "The train run failed: no column 'x'.", {}, AT)
    assert m.tell() == [("train-failed", "new", ("The train run failed: no column 'x'.",))]
    ledger.record_decision("m", "failed", "The train run failed: no column 'x'.", {}, AT + timedelta(days=1))
    assert m.tell() == []
    assert m.book.list()[0].times == 2
    ledger.record_decision("m", "kept", "The champion is better.", {}, AT + timedelta(days=2))
    assert [(kind, what) for kind, what, _ in m.tell()] == [("train-failed", "over")]


def test_a_turn_whose_process_died_is_an_alert_once(m, ledger):
    ledger.acquire("m", "a train", AT, 60.0)
    m.book.find_dead_turns()
    assert m.book.list() == []
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE leases SET expires_us = 1"))
    for _ in range(3):
        m.book.find_dead_turns()
    (alert,) = m.book.list()
    assert (alert.kind, alert.times, alert.findings) == ("train-failed", 1, ("run 1",))
    ledger.release(ledger.acquire("m", "the next", AT, 60.0))
    m.book.find_dead_turns()
    assert m.book.list()[0].times == 1


def test_a_rollback_is_an_alert_until_another_version_is_promoted(m, ledger):
    ledger.promote("m", 2, 1, reason="better")
    ledger.rollback("m", "it fails")
    ledger.record_decision("m", "rolled-back", "Version 2 had no answer.", {"version": 2}, AT)
    assert [(a.kind, a.subject) for a in m.book.list()] == [("rolled-back", "version 2")]
    ledger.promote("m", 3, 1, reason="better")
    assert m.book.list() == []


def test_a_challenger_that_waits_is_an_alert_until_a_person_decides(m, ledger):
    for version in (2, 3):
        ledger.record_decision("m", "pending-approval", "It waits.", {"version": version}, AT)
    assert [(a.kind, a.subject) for a in m.book.list()] == [("approval", "version 3"), ("approval", "version 2")]
    ledger.record_decision("m", "kept", "Refused by a person.", {"version": 3}, AT)
    ledger.promote("m", 2, 1, reason="approved")
    assert m.book.list() == []


def test_a_champion_whose_bundle_is_refused_is_an_alert_until_it_or_another_is_served(m, ledger):
    ledger.record_audit("serving", "bundle refused", "m/2", None, "changed")  # nobody is served by it
    assert m.book.list() == []
    for _ in range(2):
        ledger.record_audit("serving", "bundle refused", "m/1", None, "It was changed.")
    (alert,) = m.book.list()
    assert (alert.kind, alert.severity, alert.times, alert.reason) == ("not-served", "critical", 2, "It was changed.")
    ledger.record_audit("serving", "bundle opened", "m/1", None, "mended")
    assert m.book.list() == []
    ledger.record_audit("serving", "bundle refused", "m/1", None, "It was changed.")
    ledger.promote("m", 2, 1, reason="another")
    assert m.book.list() == []


def test_many_at_once_are_one_alert_and_every_one_is_counted(ledger):
    notice = Notice("drift", "", KINDS["drift"].severity, "It moved.", ("temp",))
    barrier = threading.Barrier(6)

    def work():
        barrier.wait()
        for _ in range(5):
            with ledger.engine.begin() as connection:
                raise_alert(connection, "m", notice, AT)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (alert,) = AlertBook(ledger).list()
    assert alert.times == 30


def test_a_reset_forgets_alerts_messages_and_silences(m, ledger):
    m.see("temp")
    m.tell()
    m.book.spread(lambda _: ["a"])
    m.book.silence("m", None, datetime.now(UTC) + timedelta(hours=1), "ann")
    ledger.forget("m")
    assert m.book.list(resolved=True) == []
    assert m.book.take("a") is None
    with ledger.engine.connect() as connection:
        for table in ("alerts", "alert_messages", "alert_deliveries", "alert_silences"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0


# Deliveries


def test_a_delivery_is_one_process_s_at_a_time_and_is_tried_again_later(m, ledger):
    message = m.book.add_message("info", "t", "b")
    m.book.spread(lambda _: ["a", "b"])
    m.book.spread(lambda _: ["a", "b", "late"])  # laid out once
    taken = m.book.take("a")
    assert (taken.message, taken.attempts, m.book.take("a"), m.book.take("late")) == (message, 0, None, None)
    m.book.settle(taken, "it answered 500")
    assert m.book.take("a") is None  # not yet
    assert m.book.delivered(message) == {"a": "waiting (it answered 500; tried 1 times)", "b": "waiting"}
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE alert_deliveries SET next_us = 0"))
    again = m.book.take("a")
    assert again.attempts == 1
    m.book.settle(again, None)
    assert m.book.delivered(message)["a"] == "sent"
    assert m.book.take("a") is None


def test_a_process_that_died_while_it_held_a_delivery_is_followed_by_another(m, ledger):
    m.book.add_message("info", "t", "b")
    m.book.spread(lambda _: ["a"])
    assert m.book.take("a") is not None
    assert m.book.take("a") is None
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE alert_deliveries SET held_us = 1"))
    assert m.book.take("a") is not None


def test_a_message_waits_a_day_for_a_first_channel_and_a_week_for_its_own(m, ledger):
    message = m.book.add_message("info", "t", "b")
    m.book.spread(lambda _: [])
    m.book.spread(lambda _: ["a"])
    assert m.book.take("a").message == message
    old = m.book.add_message("info", "t", "b")
    with ledger.engine.begin() as connection:
        connection.execute(text(f"UPDATE alert_messages SET made_us = made_us - 86401000000 WHERE seq = {old}"))
        connection.execute(text(f"UPDATE alert_messages SET made_us = made_us - 691200000000 WHERE seq = {message}"))
        connection.execute(text("UPDATE alert_deliveries SET held_us = 0"))
    m.book.spread(lambda _: ["a"])
    taken = m.book.take("a")
    assert taken.message == message
    m.book.settle(taken, "it could not be reached")
    assert m.book.delivered(message)["a"].startswith("given up (it could not be reached")
