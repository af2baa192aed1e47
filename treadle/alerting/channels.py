"""The channels that alerts go to: Apprise URLs, which hold secrets, from a private file or the environment.

No URL is ever in an error, a log, a table or a result: people and tables know a channel by its name.
"""

from __future__ import annotations

import logging
import re
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from treadle.errors import TreadleError
from treadle.project import NAME
from treadle.settings import Settings

SENT_AS = {"info": "info", "warning": "warning", "critical": "failure"}
"""Our severities in Apprise's words."""


class BadChannels(TreadleError):
    """Channels that cannot be used as they are written down."""

    title = "Bad channels"


@dataclass(frozen=True)
class Channel:
    """Where alerts go.

    Attributes:
        name: What people call it.
        url: Apprise's URL.
        projects: The projects whose alerts it gets; `None` is all.
    """

    name: str
    url: SecretStr
    projects: tuple[str, ...] | None = None

    def takes(self, project: str | None) -> bool:
        """Whether it gets a project's alerts; `None` is what concerns no project, such as a test."""
        return project is None or self.projects is None or project in self.projects


def read_channels(settings: Settings) -> list[Channel]:
    """The channels of this machine: those of the file, then those of `TREADLE_ALERT_URLS`.

    Raises:
        BadChannels: Others may read the file, or it is not what docs/alerts.md says.
    """
    listed = (settings.alert_urls.get_secret_value() if settings.alert_urls else "").split()
    by_url = [Channel(f"url-{place}", SecretStr(url)) for place, url in enumerate(listed, 1)]
    return [*_read_file(settings.channels_file), *by_url]


def has_channels(settings: Settings) -> bool:
    """Whether any channel is named, right or wrong."""
    return settings.alert_urls is not None or settings.channels_file.exists()


def _read_file(path: Path) -> list[Channel]:
    try:
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise BadChannels(f"Others may read {path}, which holds secrets; `chmod 600 {path}`.")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise BadChannels(f"{path} cannot be read: {type(error).__name__}.") from None
    except yaml.YAMLError as error:  # its text may quote the line
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place else ""
        raise BadChannels(f"{path}{line}: it is not YAML; write `name: URL`, a channel a line.") from None
    if content is None:
        return []
    if not isinstance(content, dict):
        raise BadChannels(f"{path} must hold names and URLs; write `name: URL`, a channel a line.")
    return [_channel(path, str(name), said) for name, said in content.items()]


def _channel(path: Path, name: str, said: Any) -> Channel:
    if not NAME.fullmatch(name):
        raise BadChannels(f"{path}: a channel's name has lower-case letters, digits and hyphens, 63 at most.")
    known = said if isinstance(said, dict) else {"url": said}
    url, projects = known.get("url"), known.get("projects")
    if not isinstance(url, str) or "://" not in url or set(known) - {"url", "projects"}:
        raise BadChannels(f"{path}: channel '{name}' needs an Apprise URL, or `url` and, if it likes, `projects`.")
    if projects is not None and not (isinstance(projects, list) and all(isinstance(p, str) for p in projects)):
        raise BadChannels(f"{path}: `projects` of channel '{name}' must be a list of names.")
    return Channel(name, SecretStr(url), None if projects is None else tuple(projects))


def send(channel: Channel, severity: str, title: str, body: str) -> str | None:
    """Send a message through Apprise, in its channel's own time.

    Returns:
        Why the channel did not take it, without anything that it said itself; `None` when it did.
    """
    import apprise

    ear = _listen()
    ear.heard.text = ""
    # nothing in a message leads to Apprise's own pages or pictures, and nothing is sent in a thread that we do not see
    asset = apprise.AppriseAsset(
        app_id="Treadle", app_desc="Treadle", app_url="", image_url_mask="", image_url_logo="", async_mode=False
    )
    sender = apprise.Apprise(asset=asset)
    try:
        if not sender.add(channel.url.get_secret_value()):
            return "its URL is not one that Apprise knows"
        kind = apprise.NotifyType(SENT_AS[severity])
        is_sent = sender.notify(body=body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT)
    except Exception as error:  # noqa: BLE001 - a plug-in raises what it likes, and its text may hold the URL
        return f"it failed with {type(error).__name__}"
    return None if is_sent else _why(ear.heard.text)


def _why(heard: str) -> str:
    """The reason in words of ours: what Apprise logs may hold names and addresses."""
    status = re.search(r"error=(\d{3})\b", heard)
    if status:
        return f"it answered {status[1]}"
    return "it could not be reached" if "onnection" in heard else "it did not take the message"


class _Ear(logging.Handler):
    """Hears what Apprise logs in this thread, and passes nothing on."""

    heard = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the newest line."""
        self.heard.text = record.getMessage()


_EAR = _Ear(logging.WARNING)


def _listen() -> _Ear:
    """Keep Apprise's log, which may hold secrets, away from ours."""
    log = logging.getLogger("apprise")
    if _EAR not in log.handlers:
        log.handlers = [_EAR]
        log.propagate = False
        log.setLevel(logging.WARNING)
    return _EAR
