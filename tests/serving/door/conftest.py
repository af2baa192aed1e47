"""An installation with a key of every kind, and a door with nothing behind it."""

import asyncio
import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from serving.door.access import Access
from serving.door.guard import Guard
from treadle.keys import READY, Role, create_key, revoke_key

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "NONSENSE", "WEBSOCKET"]
ROW = {"temp": 3.5, "holiday": False, "when": "2011-01-01T05:00:00", "season": "summer"}
PREDICT = "/v1/models/toy/predict"
SOON = timedelta(hours=1)


def filled(pattern: str, project: str = "toy") -> str:
    """A path that fits a pattern, of one project's."""
    path = re.sub(r"\{(project|name|model_name)\}", project, pattern)
    return re.sub(r"\{[^}]*:path\}", "some/file.html", path).replace("{version}", "1").replace("{file}", "page.js")


class Installation:
    """Two models, and a key of every kind."""

    def __init__(self, home) -> None:
        for name in ("toy", "other"):
            home.register(name)
            home.promote(name)
        self.home = home
        self.keys: dict[str, tuple[bytes | None, int, set[str] | None]] = {}  # name -> key, role, projects
        for role in Role:
            self._add(role.name.lower(), role)
            if role is not Role.ADMIN:
                self._add(f"{role.name.lower()} of toy", role, ["toy"])
                self._add(f"{role.name.lower()} of other", role, ["other"])
                self._add(f"{role.name.lower()} of none", role, [])
                self._add(f"{role.name.lower()} of toy and ready models", role, ["toy", READY])
        self._add("revoked", Role.ADMIN)
        revoke_key(home.ledger, self.keys["revoked"][0][4:16].decode(), "ann")
        self._add("expired", Role.ADMIN, expires=datetime.now(UTC) + SOON)
        with home.ledger.engine.begin() as connection:
            connection.execute(text("UPDATE keys SET expires_us = 1 WHERE name = 'expired'"))
        admin = self.keys["admin"][0]
        bad = {
            "no key": None, "unknown": b"trd_000000000000_" + admin[17:], "wrong": admin[:-1] + b"_",
            "of another": admin[:17] + self.keys["viewer"][0][17:], "cut": admin[:-1], "longer": admin + b"A",
            "empty": b"", "id only": admin[:16], "spaces": b" " * 60, "bytes": b"trd_" + b"\xff" * 56, "hash": b"0" * 64,
            "long": b"x" * 60_000, "other prefix": b"TRD_" + admin[4:],
        }  # fmt: skip
        for name, key in bad.items():
            self.keys[name] = (key, 0, None)
        for name in ("revoked", "expired"):
            self.keys[name] = (self.keys[name][0], 0, None)

    def _add(self, name, role, projects=None, **more) -> None:
        _, key = create_key(self.home.ledger, name, role, "ann", projects=projects, **more)
        self.keys[name] = (key.encode(), int(role), None if projects is None else set(projects))


@pytest.fixture
def installation(make_home):
    return Installation(make_home())


def access_of(home) -> Access:
    access = Access(home.settings, home.ledger)
    access.refresh()
    return access


class Door:
    """A guard with nothing behind it but a note of who came in."""

    def __init__(self, access, settings) -> None:
        self.entered = None
        self.access = access
        self._guard = Guard(self._inside, access, settings)

    async def _inside(self, scope, receive, send):
        self.entered = scope["state"]["principal"]
        self.reached = True

    def ask(self, method, path, headers=(), client=("127.0.0.1", 1), host=b"127.0.0.1"):
        """The status of a refusal, or None for who comes in."""
        sent = []
        self.reached, self.entered = False, None

        async def send(message):
            sent.append(message)

        async def receive():
            return {"type": "http.disconnect"}

        kind = "websocket" if method == "WEBSOCKET" else "http"
        hosts = [(b"host", host)] if host is not None else []
        scope = {"type": kind, "path": path, "headers": [*hosts, *headers], "client": client}
        asyncio.run(self._guard(scope if kind == "websocket" else scope | {"method": method}, receive, send))
        assert self.reached != bool(sent), "either let in or answered"
        if self.reached:
            return None
        return sent[0].get("status", sent[0].get("code"))


@pytest.fixture
def door(installation):
    return Door(access_of(installation.home), installation.home.settings)


@contextmanager
def started(home):
    access = Access(home.settings, home.ledger)
    access.start()
    yield access
    access.stop()
