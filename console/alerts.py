"""Commands on alerts; and the courier that runs beside the platform's other services."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from console.keys import whoami
from treadle.alerting.alerts import KINDS
from treadle.alerting.channels import BadChannels, read_channels
from treadle.alerting.courier import Courier
from treadle.durations import parse_duration
from treadle.errors import BadData, TreadleError, nearest
from treadle.ledger import AlertBook, Ledger
from treadle.pages.look import moment
from treadle.project import check_name
from treadle.settings import Settings

TEST_WAIT_S = 30.0
ROUND_S = 5.0


def listed(settings: Settings, name: str | None, last: int, *, everything: bool) -> list[dict[str, Any]]:
    """The newest alerts of a project or of all."""
    book = AlertBook(Ledger.open(settings))
    return [alert.as_row() for alert in book.list(name and _checked(name), last, resolved=everything)]


def acknowledge(settings: Settings, number: int) -> dict[str, Any]:
    """Take an alert upon oneself.

    Raises:
        NotFound: No open alert has that number.
    """
    AlertBook(Ledger.open(settings)).acknowledge(number, whoami())
    return {"alert": number, "acknowledged_by": whoami()}


def silence(settings: Settings, name: str | None, span: str | None, kind: str | None, *, end: bool) -> dict[str, Any]:
    """Silence a project or all, one kind or all; or end such a silence.

    Raises:
        BadData: Neither or both were said, or there is no such kind.
    """
    if (span is None) == (not end):
        raise BadData("Say for how long, such as --for 2h; or --end.")
    if kind is not None and kind not in KINDS:
        raise BadData(f"There is no kind '{kind}' of alert.{nearest(kind, KINDS)} Kinds: {', '.join(KINDS)}.")
    until = silence_until(span)
    AlertBook(Ledger.open(settings)).silence(name and _checked(name), kind, until, whoami())
    return {"project": name, "kind": kind, "until": None if end else until.isoformat(timespec="seconds")}


def silenced(row: dict[str, Any]) -> str:
    """A silence, or its end, in words."""
    what = f"alerts of {row['project'] or 'all projects'}" + (f" of the kind '{row['kind']}'" if row["kind"] else "")
    if row["until"] is None:
        return f"The silence of {what} is over."
    return f"Nothing is told of {what} until {moment(row['until'])}; they are listed all the same."


def silence_until(span: str | None) -> datetime:
    """The end of a silence that begins now; nothing ends one.

    Raises:
        BadData: It is not a duration, or longer than a calendar goes.
    """
    try:
        return datetime.now(UTC) + parse_duration(span or "0s")
    except (ValueError, OverflowError) as error:
        raise BadData(f"'{span}' is not how long a silence can be: {error}.") from None


def try_channels(settings: Settings) -> dict[str, Any]:
    """Send a message to every channel and wait for what becomes of it.

    Raises:
        BadChannels: There are none, or they cannot be read.
    """
    if not read_channels(settings):
        raise BadChannels(
            f"There is no channel: write `name: URL` into {settings.channels_file} and `chmod 600` it (docs/alerts.md)."
        )
    ledger = Ledger.open(settings)
    book = AlertBook(ledger)
    body = f"A test by {whoami()}: alerts of this installation come here.\n\nConsole: {settings.api_url}/"
    message = book.add_message("info", "Treadle: a test", body)
    Courier(settings, ledger).carry(TEST_WAIT_S)
    channels = book.delivered(message)
    return {"channels": channels, "delivered": bool(channels) and set(channels.values()) == {"sent"}}


def shown(row: dict[str, Any]) -> str:
    """One alert in words."""
    told = "; ".join(row["deliveries"]) or "nobody was told"
    marks = [f"acknowledged by {row['acknowledged_by']}" if row["acknowledged_by"] else ""]
    marks += [f"silenced until {moment(row['silenced_until'])}" if row["silenced_until"] else ""]
    beside = "".join(f", {mark}" for mark in marks if mark)
    subject = f" ({row['subject']})" if row["subject"] else ""
    begun, last = moment(row["at"]), moment(row["last"])
    times = f"{row['times']:,} times, {begun} to {last}" if row["times"] > 1 else f"Once, {begun}"
    lines = [
        f"{row['id']}  {row['project']}: {row['said']}{subject} [{row['severity']}, {row['state']}{beside}]",
        f"   {row['reason']}",
        f"   {times}; {told}",
        *([f"   {row['page']}"] if row["page"] else []),
    ]
    return "\n".join(lines)


def carry_on(settings: Settings) -> None:
    """Carry alerts out as they come and try again what channels did not take, until this process is ended."""
    beat = settings.state_dir / "alerts.beat"
    ledger = Ledger.later(settings)
    courier = Courier(settings, ledger)
    while True:
        try:
            courier.carry(ROUND_S)
        except TreadleError as error:
            print(f"alerts wait: {error}", flush=True)  # noqa: T201 - into the service's log
        beat.touch()
        time.sleep(ROUND_S)


def _checked(name: str) -> str:
    """A project's name, or that of a ready model's alerts, `ready:CAPABILITY:MODEL`.

    Raises:
        BadProject: It is neither.
    """
    return name if name.startswith("ready:") else check_name(name)
