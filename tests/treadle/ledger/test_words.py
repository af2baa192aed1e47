"""A subject is taken out of all that the ledger says in words, and out of nothing else; on SQLite and on PostgreSQL."""

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import Text, insert, select, update

from treadle.alerting.alerts import Notice
from treadle.ledger import AlertBook, Ledger, QualityRows, VerdictRow
from treadle.ledger.alert_rows import raise_alert
from treadle.ledger.audit import keep_anchor, verify
from treadle.ledger.tables import alert_messages, alerts, decisions, metadata, promotions, releases, triggers
from treadle.ledger.words import AT_ONCE, WORDS, take_out
from treadle.mentions import ERASED, Mentions
from treadle.project import Alerts

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)
WHO = "anna-4711"
SAID = f"the loss where user = {WHO} is 1.40 times what was normal"
FIGURES = {"segments": [{"name": f"user = {WHO}", "ratio": 1.4, "rows": 4711}], "by": {WHO: 0.5}, "version": 1}
QUOTE_NOTHING = {
    # rows, by their ids; see treadle/erasure.py
    "predictions": {"features", "answer"}, "feedback": {"label"}, "set_aside": {"label", "reason"},
    "early_labels": {"label"}, "shadow_answers": {"answer"},
    # figures, settings, paths
    "quality_windows": {"estimate"}, "versions": {"bundle", "params", "metrics"}, "verdicts": {"report"},
    "releases": {"rules"}, "release_evidence": {"candidate", "champion"},
    # not about a project's rows
    "audit": {"before", "after"}, "keys": {"projects"}, "ready_calls": {"facts"}, "ready_looks": {"reason", "figures"},
}  # fmt: skip


def test_every_text_of_the_ledger_is_looked_through_or_quotes_nothing():
    texts = {table.name: {c.name for c in table.c if isinstance(c.type, Text)} for table in metadata.tables.values()}
    known = {words.table.name: {*words.texts, *words.data} for words in WORDS}
    for name, columns in texts.items():
        assert columns == known.get(name, set()) | QUOTE_NOTHING.get(name, set()), name
        assert not known.get(name, set()) & QUOTE_NOTHING.get(name, set()), name


def say(ledger: Ledger, model: str) -> None:
    """Quote the subject wherever the ledger has words."""
    ledger.record_verdict(model, VerdictRow(1, "drift", SAID, 100, 50, FIGURES, None, AT))
    ledger.record_decision(model, "skip", SAID, FIGURES, AT)
    ledger.record_decision(model, "failed", f"The column 'user' should be number, such as '{WHO}'.", {}, AT)
    QualityRows(ledger).record_look(model, 1, FIGURES, AT)
    page = f"http://page?user={WHO}"
    notice = Notice(
        "quality-loss", "", "critical", SAID, ("version 1", f"user = {WHO}"), (("What happened", SAID),), page
    )
    with ledger.engine.begin() as connection:
        raise_alert(connection, model, notice, AT)
        figures, us = json.dumps(FIGURES), 1
        connection.execute(
            insert(promotions).values(
                model=model, version=1, fence=1, verdict="kept", reason=SAID, figures=figures, at_us=us
            )
        )
        connection.execute(
            insert(triggers).values(
                model=model, verdict="drift", said=SAID, state="granted", reason=SAID, at_us=us, arrived_us=us
            )
        )
        connection.execute(
            insert(releases).values(
                model=model, version=1, champion=1, mode="shadow", share=1.0, salt="", rules="{}", state="ended",
                started_us=us, reason=SAID, figures=figures, who="ann", judge_until_us=0,
            )
        )  # fmt: skip
    AlertBook(ledger).write_messages(lambda _: Alerts(), lambda alert, _: (alert.reason, json.dumps(alert.evidence)))


def words_of(ledger: Ledger, model: str) -> dict[str, str]:
    """All that is said about a model, by table."""
    with ledger.engine.connect() as connection:
        return {
            words.table.name: str(connection.execute(select(words.table).where(words.table.c.model == model)).all())
            for words in WORDS
        }


def erase(ledger: Ledger, model: str, value: str = WHO) -> int:
    with ledger.change() as connection:
        return take_out(connection, model, Mentions([value]))


def test_a_subject_is_in_no_word_any_more_and_other_projects_stay(ledger, tmp_path):
    ledger.anchor = tmp_path / "audit.head"
    say(ledger, "m")
    say(ledger, "other")
    ledger.record_audit("ann", "erase", "m", 1, "subject 12ab")
    keep_anchor(ledger.engine, ledger.anchor)
    before = words_of(ledger, "other")
    assert all(WHO in said for said in words_of(ledger, "m").values())
    assert erase(ledger, "m") == 11
    assert not [name for name, said in words_of(ledger, "m").items() if WHO in said]
    assert words_of(ledger, "other") == before
    found = verify(ledger.engine, ledger.anchor)
    assert (found.rows, found.trouble) == (1, None)
    assert erase(ledger, "m") == 0


def test_what_is_left_can_be_read(ledger):
    say(ledger, "m")
    erase(ledger, "m")
    (verdict,) = ledger.last_verdicts("m")
    assert verdict.reason == SAID.replace(WHO, ERASED)
    assert verdict.figures == {
        "segments": [{"name": f"user = {ERASED}", "ratio": 1.4, "rows": 4711}], "by": {ERASED: 0.5}, "version": 1,
    }  # fmt: skip
    alert, failed = AlertBook(ledger).list("m")
    assert failed.reason == f"The column 'user' should be number, such as '{ERASED}'."
    assert alert.findings == alert.told == ("version 1", f"user = {ERASED}")
    assert alert.evidence["lines"] == [["What happened", SAID.replace(WHO, ERASED)]]
    say_nothing = AlertBook(ledger).write_messages(lambda _: Alerts(), lambda *_: ("", ""))
    assert say_nothing == 0, "what was told is not told again"


def test_what_does_not_name_the_subject_stays_to_the_letter(ledger):
    say(ledger, "m")
    odd = '{"b":  1,"a": NaN, "4711": 4711}'
    with ledger.engine.begin() as connection:
        connection.execute(update(decisions).values(figures=odd, reason="4.711 and 47110"))
        connection.execute(update(alerts).values(reason="4711"))
        connection.execute(update(alert_messages).values(title="", body="4711"))
    assert erase(ledger, "m", "nobody") == 0
    with ledger.engine.connect() as connection:
        assert set(connection.execute(select(decisions.c.figures)).scalars()) == {odd}


def test_more_rows_than_are_read_at_once(tmp_path):
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    row = {"model": "m", "kind": "skip", "reason": SAID, "figures": "{}", "at_us": 1, "arrived_us": 1}
    with ledger.engine.begin() as connection:
        connection.execute(insert(decisions), [row] * (AT_ONCE + 2))
    assert erase(ledger, "m") == AT_ONCE + 2


@pytest.mark.parametrize("value", ["", " ", "…"])
def test_an_empty_value_takes_out_nothing(ledger, value):
    say(ledger, "m")
    before = words_of(ledger, "m")
    assert erase(ledger, "m", value) == 0
    assert words_of(ledger, "m") == before
