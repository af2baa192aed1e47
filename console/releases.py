"""Commands on releases: try a version on live requests, look at it, end it."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from console.keys import whoami
from treadle.errors import BadData, NotFound, Unavailable
from treadle.ledger import Ledger, Release, Releases
from treadle.models.registry import Registry
from treadle.project import check_name, load_project
from treadle.promotion.rollout import begin_release
from treadle.settings import Settings


def start(settings: Settings, name: str, version: int, *, shadow: bool, canary: float | None) -> dict[str, Any]:
    """Try a version beside the champion, or on a percentage of the callers.

    Raises:
        BadData: Neither or both were asked for.
        NotFound: The model has no champion, or no such version.
        Conflict: The version is champion already.
    """
    if shadow == (canary is not None):
        raise BadData(
            "Say how it is tried: --shadow, or --canary and a percentage of the callers, such as --canary 10."
        )
    project = load_project(name, settings)
    ledger = Ledger.open(settings)
    mode = "shadow" if canary is None else "canary"
    return as_row(begin_release(ledger, project, version, mode, percent=canary, who=whoami()))


def status(settings: Settings, name: str | None, last: int = 10) -> list[dict[str, Any]]:
    """The newest releases of a model, or of all, newest first."""
    return [as_row(found) for found in Releases(Ledger.open(settings)).last(name and check_name(name), last)]


def stop(settings: Settings, name: str) -> dict[str, Any]:
    """End the release that runs; the champion stays.

    Raises:
        NotFound: None runs.
        Conflict: It has just ended by itself.
    """
    book, release = _running(settings, name)
    book.finish(release, "stopped", f"Stopped by {whoami()}.", release.figures, whoami())
    return as_row(book.get(release.seq))


def advance(settings: Settings, name: str) -> dict[str, Any]:
    """Make the version that is tried champion now, whatever the evidence says.

    Raises:
        NotFound: None runs.
        Conflict: It has just ended by itself, or the champion is another than it was begun against.
    """
    book, release = _running(settings, name)
    reason = f"Advanced by {whoami()}; the evidence said: {release.reason}"
    book.advance(release, reason, release.figures, whoami())
    ledger = Ledger.open(settings)
    ledger.record_decision(name, "promoted", reason, {**release.figures, "version": release.version}, datetime.now(UTC))
    with suppress(Unavailable):  # MLflow is out: its aliases follow at the next watch
        Registry(settings, ledger).publish(name)
    return as_row(book.get(release.seq))


def _running(settings: Settings, name: str) -> tuple[Releases, Release]:
    book = Releases(Ledger.open(settings))
    release = book.running().get(check_name(name))
    if release is None:
        raise NotFound(f"No release of '{name}' runs. `treadle release start {name} VERSION --shadow` begins one.")
    return book, release


def as_row(release: Release) -> dict[str, Any]:
    """A release as commands show it."""
    return {
        "project": release.model,
        "version": release.version,
        "champion": release.champion,
        "mode": release.mode,
        "percent": release.share * 100 if release.mode == "canary" else None,
        "state": release.state,
        "started": release.started.isoformat(timespec="seconds"),
        "ended": release.ended and release.ended.isoformat(timespec="seconds"),
        "who": release.who,
        "reason": release.reason,
        "figures": release.figures,
    }


def shown(row: dict[str, Any]) -> str:
    """One release in words."""
    percent = f", {row['percent']:g} % of the callers" if row["percent"] else ""
    ended = f" to {row['ended']}" if row["ended"] else ""
    return (
        f"{row['project']}: version {row['version']} against {row['champion']}, {row['mode']}{percent}: {row['state']}\n"
        f"  {row['started']}{ended}, begun by {row['who']}. {row['reason']}"
    )
