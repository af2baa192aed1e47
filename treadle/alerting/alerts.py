"""What people are told of: the kinds of alerts, how grave each is, and what an alert says.

Pure: looks and decisions come in as plain data, alerts go out as plain data. Where they are kept is
`treadle.ledger.alerts`, who carries them out is `treadle.alerting.courier`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from treadle.pages.look import in_words, moved
from treadle.wording import short

SEVERITIES = ("info", "warning", "critical")
LOOK_KINDS = ("drift", "quality-loss", "invalid")
"""Verdicts that are alerts of the same name; `ok` looks end them."""
STOPS = ("breaker",)
"""Rules of the policy that a person should look at; all others end by themselves."""
HARMLESS = "harmless"
"""The rule of the policy that says no because what moved hardly costs anything."""
LONGEST = 1000


@dataclass(frozen=True)
class Kind:
    """One kind of alert.

    Attributes:
        severity: How grave it is.
        said: What it is called in a message.
        advice: What somebody may do.
    """

    severity: str
    said: str
    advice: str


KINDS: Mapping[str, Kind] = {
    "drift": Kind("warning", "the data moved", "Look at the page: is it the world, or a sender that broke?"),
    "quality-loss": Kind("critical", "the model's errors grew", "If no retrain was decided, the page says why."),
    "invalid": Kind("warning", "the window cannot be compared", "A column is missing or broken: ask who sends it."),
    "not-served": Kind("critical", "the champion is not served", "`treadle doctor`; `treadle rollback NAME` serves the one before."),
    "rolled-back": Kind("warning", "a version was rolled back", "`treadle release status NAME` shows what was seen of it."),
    "train-failed": Kind("warning", "a train run failed", "The champion goes on serving. The run in Prefect has the log."),
    "approval": Kind("warning", "a version waits for a person", "Resume the promote run in Prefect."),
    "retrain-stopped": Kind("warning", "retraining was stopped until somebody looks", "The page of the look names the rule."),
}  # fmt: skip


@dataclass(frozen=True)
class Notice:
    """What is the case now; the ledger makes it a new alert, or counts it with the one that is open.

    Attributes:
        kind: A key of `KINDS`.
        subject: What tells alerts of one kind apart, such as a version; empty when there is one at a time.
        severity: One of `SEVERITIES`.
        reason: Why, in one sentence or two.
        findings: What it consists of; each is told once while the alert is open.
        lines: The evidence, by heading.
        page: Address of the page with more.
    """

    kind: str
    subject: str
    severity: str
    reason: str
    findings: tuple[str, ...]
    lines: tuple[tuple[str, str], ...] = ()
    page: str | None = None


def notice_of_look(look: Mapping[str, Any], page: str | None) -> Notice | None:
    """The alert that a look is, if it is one."""
    kind = str(look.get("verdict"))
    if kind not in LOOK_KINDS:
        return None
    words = in_words(look)
    names = [short(one.name) for one in moved(look)] if kind != "invalid" else []
    version = f"version {look['version']}" if look.get("version") is not None else "the model"
    lines = tuple((heading, clean(text)) for heading, text in words.lines())
    return Notice(kind, "", _gravity(kind, look), clean(words.happened), (version, *names), lines, page)


def notice_of_ready(look: Mapping[str, Any]) -> Notice | None:
    """The alert that a look at the calls of a ready model is, if it is one."""
    kind = str(look.get("verdict"))
    if kind not in LOOK_KINDS:
        return None
    reason, version = clean(str(look["reason"])), short(f"version {look['version']}", 100)
    names = [short(str(name)) for name in look.get("moved", ())]
    return Notice(kind, "", KINDS[kind].severity, reason, (version, *names), (("What happened", reason),))


def notice_of_stop(look: Mapping[str, Any], page: str | None) -> Notice | None:
    """The alert that retraining does not go on by itself, if the governor said so."""
    rule = look.get("suppressed")
    if rule not in STOPS:
        return None
    reason = clean(str(look.get("retrain_reason") or f"The rule '{rule}' stopped it."))
    return _plain("retrain-stopped", str(rule), reason, page)


def notice_of_decision(kind: str, reason: str, figures: Mapping[str, Any], page: str | None = None) -> Notice | None:
    """The alert that a decision in the ledger is, if it is one."""
    alert = {"rolled-back": "rolled-back", "failed": "train-failed", "pending-approval": "approval"}.get(kind)
    if alert is None:
        return None
    subject = "" if alert == "train-failed" else f"version {figures.get('version', 'unknown')}"
    return _plain(alert, subject, clean(reason), page)


def notice_of_refusal(version: int, reason: str) -> Notice:
    """The alert that the service refuses a champion's bundle."""
    return _plain("not-served", f"version {version}", clean(reason), None)


def _plain(kind: str, subject: str, reason: str, page: str | None) -> Notice:
    return Notice(
        kind, subject, KINDS[kind].severity, reason, (short(reason, 100),), (("What happened", reason),), page
    )


def _gravity(kind: str, look: Mapping[str, Any]) -> str:
    """How grave a look is; drift that is known to be harmless is information only."""
    return "info" if kind == "drift" and look.get("suppressed") == HARMLESS else KINDS[kind].severity


def is_told(severity: str, least: str) -> bool:
    """Whether an alert is grave enough.

    >>> is_told("critical", "warning"), is_told("info", "warning")
    (True, False)
    """
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)


def clean(text: str) -> str:
    """Text on one line that commands neither terminals nor chats, at most 1,000 characters."""
    return short(text, LONGEST)
