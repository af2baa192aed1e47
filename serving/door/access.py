"""Who asks and what they may do: keys, sessions, and the table of routes. Deny by default, and no database on the way.

A thread copies the keys' hashes out of the ledger twice a second, so that a revoked key ends at once, and writes
refusals into the audit. The last copy is kept on disk, for a start while the ledger is away.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from serving.door.refusals import Refusals
from treadle.errors import TreadleError, Unavailable
from treadle.keys import ID_LENGTH, KEY_LENGTH, PREFIX, Key, Role, list_keys
from treadle.ledger import Ledger
from treadle.settings import Settings

log = logging.getLogger("treadle.serving")

POLL_S = 0.5
FIRST_S = 1.0
"""How long a start waits for the ledger before it takes the last copy of the keys."""
ANCHOR_S = 10.0
SESSION_S = 12 * 3600
COOKIE = "treadle_session"
_ID = slice(len(PREFIX), len(PREFIX) + ID_LENGTH)


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who may ask.

    Attributes:
        key_id: The key; `None` for anybody on this machine while there are no keys.
        name: What people call the key.
        role: A `treadle.keys.Role` as a number.
        projects: The projects it is for; `None` is all.
        rows_per_minute: Rows that it may send in a minute; `None` is no limit.
    """

    key_id: str | None
    name: str
    role: int
    projects: frozenset[str] | None = None
    rows_per_minute: int | None = None

    def sees(self, project: str) -> bool:
        """Whether a project is there for this principal."""
        return self.projects is None or project in self.projects


ANYBODY_HERE = Principal(None, "local", int(Role.ADMIN))


class Denied(TreadleError):
    """A key or a session that opens nothing; the text is the same for every reason.

    Attributes:
        reason: Why, for the audit alone.
        key_id: The key that was named, if there is one of that name.
    """

    status = 401
    title = "Unauthorized"

    def __init__(self, reason: str, key_id: str | None = None) -> None:
        super().__init__("This key is not valid. `treadle keys create` makes one.")
        self.reason = reason
        self.key_id = key_id


@dataclass(frozen=True, slots=True)
class _Known:
    """A key as the hot path needs it; times are seconds since 1970."""

    hash: bytes
    principal: Principal
    expires: float
    revoked: bool


class Access:
    """The keys of this installation, as of half a second ago."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.refusals = Refusals(ledger)
        self.is_open = False  # whether no key was ever made and only this machine can reach the service
        self._settings = settings
        self._ledger = ledger
        self._copy = settings.state_dir / "keys.json"
        self._poll_s = min(settings.swap_poll_s, POLL_S)
        self._known: dict[bytes, _Known] = {}
        self._text = b""
        self._session_secret = b""
        self._heard = threading.Event()  # the ledger has said which keys there are
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def anonymous(self, client: str | None) -> Principal | None:
        """Who asks without a key: anybody on this machine, while that is open."""
        return ANYBODY_HERE if self.is_open and not _is_remote(client) else None

    def by_key(self, text: bytes) -> Principal:
        """Whose key it is.

        Raises:
            Denied: It is malformed, unknown, expired or revoked.
        """
        if len(text) != KEY_LENGTH:
            raise Denied("malformed key")
        given = hashlib.sha256(text).hexdigest().encode()  # before the look, so that unknown ids take as long as known
        known = self._known.get(text[_ID])
        if known is None:
            raise Denied("unknown key")
        if not hmac.compare_digest(given, known.hash):
            raise Denied("wrong key", known.principal.key_id)
        if known.revoked or time.time() >= known.expires:
            raise Denied("revoked key" if known.revoked else "expired key", known.principal.key_id)
        return known.principal

    def open_session(self, text: bytes) -> str:
        """A session of a key, as a cookie's value: it ends with the key, and after half a day at the latest.

        Raises:
            Denied: The key opens nothing.
        """
        self.by_key(text)
        until = f"{int(time.time()) + SESSION_S}"
        return f"{text[_ID].decode()}.{until}.{self._sign(self._known[text[_ID]], until)}"

    def by_session(self, value: bytes) -> Principal:
        """Whose session it is.

        Raises:
            Denied: It is malformed, unknown, at its end, or its key is.
        """
        key_id, _, rest = value.partition(b".")
        until, _, signature = rest.partition(b".")
        known = self._known.get(key_id)
        if known is None or not until.isdigit() or len(until) > 12:
            raise Denied("unknown session")
        if not hmac.compare_digest(self._sign(known, until.decode()).encode(), signature):
            raise Denied("wrong session", known.principal.key_id)
        now = time.time()
        if known.revoked or now >= min(known.expires, int(until)):
            raise Denied("ended session", known.principal.key_id)
        return known.principal

    def _sign(self, known: _Known, until: str) -> str:
        """A signature of this machine's, over the key's own hash: no copy of the ledger is enough to make one."""
        said = b"%b %b %b" % (str(known.principal.key_id).encode(), until.encode(), known.hash)
        return hmac.new(self._session_secret, said, hashlib.sha256).hexdigest()

    def refresh(self) -> None:
        """Take the keys from the ledger, and keep a copy; if it is away, go on with what is known."""
        try:
            text = msgspec.json.encode([_as_copy(key) for key in list_keys(self._ledger)])
        except (SQLAlchemyError, OSError, Unavailable) as error:
            log.debug("the keys cannot be read: %s", type(error).__name__)
            return
        if text != self._text:
            self._learn(text)
            try:
                _write_private(self._copy, text)
            except OSError as error:
                log.warning("%s was not written: %s", self._copy, error)
        self._heard.set()

    def _learn(self, text: bytes) -> None:
        known = {}
        for key_id, name, hash_, role, projects, rows, expires, revoked in _decode_copy(text):
            bound = None if projects is None else frozenset(projects)
            principal = Principal(key_id, name, role, bound, rows)
            known[key_id.encode()] = _Known(hash_.encode(), principal, expires or float("inf"), revoked)
        self._known = known
        # Once a key was made, keys are needed: revoking the last one must not open the door to everybody.
        self.is_open = not known and self._settings.is_loopback
        self._text = text

    def _learn_copy(self) -> None:
        """Take the keys from the last copy; if there is none, nobody is let in until the ledger is back."""
        try:
            self._learn(self._copy.read_bytes())
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("there is no copy of the keys (%s): nobody is let in before the ledger answers", error)
        else:
            log.warning("the ledger does not answer; the keys are those of the last copy")

    def start(self) -> None:
        """Learn the keys, now and then again and again in a thread of its own; a ledger that is away is not waited for."""
        self._session_secret = _session_secret(self._settings.state_dir / "session.key")
        self._thread = threading.Thread(target=self._run, name="access", daemon=True)
        self._thread.start()
        if not self._heard.wait(FIRST_S):
            self._learn_copy()

    def _run(self) -> None:
        anchored = time.monotonic()
        while True:
            try:
                self.refresh()
                self.refusals.write()
                if time.monotonic() - anchored > ANCHOR_S:
                    self._ledger.keep_anchor()
                    anchored = time.monotonic()
            except Exception:
                log.exception("access goes on with the keys that it knows")
            if self._stop.wait(self._poll_s):
                return

    def stop(self) -> None:
        """Stop looking, and write down what was refused last."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        self.refusals.write(everything=True)


_Copy = tuple[str, str, str, int, list[str] | None, int | None, float | None, bool]
"""A key on disk: id, name, hash, role, projects, rows a minute, end in seconds since 1970, whether it was revoked."""
_decode_copy = msgspec.json.Decoder(list[_Copy]).decode


def _as_copy(key: Key) -> _Copy:
    expires = None if key.expires is None else key.expires.timestamp()
    bound = None if key.projects is None else list(key.projects)
    return (key.id, key.name, key.hash, int(key.role), bound, key.rows_per_minute, expires, key.revoked is not None)


def _is_remote(client: str | None) -> bool:
    """Whether an address is surely another machine's, whatever the settings say of where the server listens."""
    if client is None or client.startswith("127.") or client in ("::1", "localhost"):
        return False
    return client[:1].isdigit() or ":" in client


def _session_secret(path: Path) -> bytes:
    """The secret of this machine's sessions, made at the first start; all workers find the same one."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = _write_draft(path, os.urandom(32))
        with suppress(FileExistsError):  # another worker was first
            os.link(draft, path)
        draft.unlink()
    return path.read_bytes()


def _write_private(path: Path, content: bytes) -> None:
    """Write a file that only this user can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_draft(path, content).replace(path)


def _write_draft(path: Path, content: bytes) -> Path:
    draft = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    return draft


def principal_of(scope: Mapping[str, Any]) -> Principal | None:
    """Who asks, as the guard found out; `None` where a route is open and nobody said."""
    return scope["state"]["principal"]


def asking(scope: Mapping[str, Any]) -> Principal:
    """Who asks, on routes that the guard opens to nobody without a key.

    Raises:
        Denied: Nobody said; the guard should have.
    """
    who = principal_of(scope)
    if who is None:
        raise Denied("no key")
    return who
