"""Watch ready models: the newest calls of each against its first, an alert where they are unlike."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact

from tasks.step import step
from treadle.alerting.alerts import notice_of_ready
from treadle.alerting.courier import Courier
from treadle.capabilities import load_capability
from treadle.errors import TreadleError
from treadle.ledger import AlertBook, Ledger, ReadyCalls, ReadyLook, ReadyVersion
from treadle.pages.card import escape
from treadle.project import Alerts
from treadle.ready_look import AGAIN, MOST_LOOKS, in_words, judge_calls, moved, needed, split, too_few
from treadle.retraining.turn import parse_moment
from treadle.settings import Settings


@step("judge calls", retries=2)
def judge_ready(capability: str | None, at: str | None = None) -> list[dict[str, Any]]:
    """Look at every ready model that has answered enough, and write down what was seen.

    Returns:
        A look a model: `capability`, `model`, `version`, `verdict`, `reason`, `calls`, `looked`, `moved`, `at`.

    Raises:
        NotFound: There is no such capability.
    """
    if capability is not None:
        load_capability(capability)
    ledger = Ledger.open(Settings())
    calls = ReadyCalls(ledger)
    moment = parse_moment(at) or datetime.now(UTC)
    looks = [_look_at(calls, asked, moment) for asked in calls.asked(capability, moment)]
    _show(looks)
    return looks


@step("tell of ready models", retries=2)
def tell_ready(looks: list[dict[str, Any]]) -> dict[str, Any]:
    """Raise and end alerts by what was seen; nothing is retrained.

    Returns:
        `looks`, each with `alert`, the number of the alert that it is or belongs to, or `None`.
    """
    settings = Settings()
    ledger = Ledger.open(settings)
    told = [look | {"alert": _tell(AlertBook(ledger), look) if look["looked"] else None} for look in looks]
    try:
        Courier(settings, ledger).carry(settings.alert_s)
    except TreadleError as error:
        get_run_logger().warning("alerts wait: %s", error)
    return {"looks": told}


def _look_at(calls: ReadyCalls, asked: ReadyVersion, moment: datetime) -> dict[str, Any]:
    past = calls.looks(asked, MOST_LOOKS)
    if past and asked.calls - past[0].calls < AGAIN:
        return _said(past[0], looked=False)
    if asked.calls < needed():
        reason = too_few(asked.calls)
        here = ReadyLook(
            asked.capability, asked.model, asked.model_version, "insufficient-data", reason, 0, asked.calls, {}, moment
        )
        return _said(here, looked=False)
    first, newest = split(asked.calls)
    found = judge_calls(
        calls.answered(asked, first, until=moment),
        calls.answered(asked, newest, newest=True, until=moment),
        past,
        moment,
    )
    figures = found.figures() | {"moved": [f.name for f in moved(found)], "reference": first}
    here = ReadyLook(
        asked.capability, asked.model, asked.model_version, found.verdict, in_words(found, first, newest), newest,
        asked.calls, figures, moment,
    )  # fmt: skip
    calls.add_look(here)
    return _said(here, looked=True)


def _said(look: ReadyLook, *, looked: bool) -> dict[str, Any]:
    return {
        "capability": look.capability, "model": look.model, "version": look.model_version, "verdict": look.verdict,
        "reason": look.reason, "calls": look.calls, "looked": looked, "moved": look.figures.get("moved", []),
        "at": look.at.isoformat(),
    }  # fmt: skip


def _tell(book: AlertBook, look: dict[str, Any]) -> int | None:
    name = f"ready:{look['capability']}:{look['model']}"[:63]
    notice = notice_of_ready(look)
    notices = [] if notice is None else [notice]
    return book.follow_look(name, look["verdict"], notices, datetime.fromisoformat(look["at"]), Alerts().resolve_after)


def _show(looks: list[dict[str, Any]]) -> None:
    lines = [
        f"- **{look['verdict']}** {look['capability']}, {look['model']}: {escape(look['reason'])}" for look in looks
    ]
    create_markdown_artifact(
        key="ready-verdicts",
        markdown="\n".join(lines) or "No ready model has answered yet.",
        description="The newest calls of each ready model against its first",
    )
