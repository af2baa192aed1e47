"""Keys: who may ask the service for what. A key is shown once, when it is made; the ledger keeps only its SHA-256.

256 random bits cannot be guessed, so a fast hash is enough; a slow one is for passwords that people choose.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from treadle.errors import BadData, Conflict, NotFound, Unavailable
from treadle.ledger import Ledger
from treadle.ledger.audit import record
from treadle.ledger.records import from_us, to_us
from treadle.ledger.tables import keys
from treadle.settings import Settings

PREFIX = "trd_"
ID_LENGTH = 12
KEY_LENGTH = len(PREFIX) + ID_LENGTH + 1 + 43
"""`trd_`, the id, `_`, and 256 bits as base64url without padding."""
READY = "@ready"
"""Among a key's projects, and no project's name: the key is for ready models too."""


class Role(IntEnum):
    """What a key may do; each role may do all that the ones before it may."""

    VIEWER = 1
    CALLER = 2
    TRAINER = 3
    ADMIN = 4


@dataclass(frozen=True, slots=True)
class Key:
    """What the ledger knows of a key.

    Attributes:
        id: The part of the key that is no secret.
        hash: SHA-256 of the whole key, hex.
        projects: The projects it is for, and perhaps `READY`; `None` is everything.
        rows_per_minute: Rows that it may send in a minute; `None` is no limit.
    """

    id: str
    name: str
    hash: str
    role: Role
    projects: tuple[str, ...] | None
    rows_per_minute: int | None
    created: datetime
    expires: datetime | None
    revoked: datetime | None

    def is_valid(self, at: datetime) -> bool:
        """Whether it opens anything at a moment."""
        return self.revoked is None and (self.expires is None or at < self.expires)

    def as_record(self) -> dict[str, Any]:
        """The key as people and programs may see it: everything but the hash."""
        return {
            "id": self.id,
            "name": self.name,
            "role": self.role.name.lower(),
            "projects": None if self.projects is None else [name for name in self.projects if name != READY],
            "ready": self.projects is None or READY in self.projects,
            "rows_per_minute": self.rows_per_minute,
            "created": self.created.isoformat(timespec="seconds"),
            "expires": self.expires and self.expires.isoformat(timespec="seconds"),
            "revoked": self.revoked and self.revoked.isoformat(timespec="seconds"),
        }


def hash_key(text: str) -> str:
    """SHA-256 of a whole key, hex.

    >>> len(hash_key("trd_"))
    64
    """
    return hashlib.sha256(text.encode()).hexdigest()


def create_key(
    ledger: Ledger,
    name: str,
    role: Role,
    who: str,
    *,
    projects: Sequence[str] | None = None,
    expires: datetime | None = None,
    rows_per_minute: int | None = None,
) -> tuple[Key, str]:
    """Make a key.

    Args:
        ledger: Where it is kept.
        name: What people call it, 1 to 63 printable characters.
        role: What it may do.
        who: Who makes it, for the audit.
        projects: The projects it is for, and `READY` for ready models; `None` is everything.
        expires: When it ends; `None` is never.
        rows_per_minute: Rows that it may send in a minute; `None` is no limit.

    Returns:
        The key's record, and the key itself, which is nowhere else.

    Raises:
        BadData: The name or the limit cannot be used, the moment has passed, or an admin is to be bound to projects.
    """
    now = datetime.now(UTC)
    if not 1 <= len(name) <= 63 or not name.isprintable():
        raise BadData("A key's name is 1 to 63 printable characters, such as 'shop-frontend'.")
    if expires is not None and expires <= now:
        raise BadData("A key must expire in the future.")
    if rows_per_minute is not None and not 1 <= rows_per_minute < 2**31:
        raise BadData("A key's limit is at least 1 row a minute.")
    if role is Role.ADMIN and projects is not None:
        raise BadData("An admin manages keys of all projects, so an admin's key cannot be bound to some.")
    key_id = secrets.token_hex(ID_LENGTH // 2)
    text = f"{PREFIX}{key_id}_{secrets.token_urlsafe(32)}"
    bound = None if projects is None else tuple(dict.fromkeys(projects))
    key = Key(key_id, name, hash_key(text), role, bound, rows_per_minute, now, expires, None)
    with ledger.change() as connection:
        connection.execute(insert(keys).values(**_as_row(key)))
        said = {"name": name, "role": role.name.lower(), "projects": bound, "rows_per_minute": rows_per_minute}
        record(connection, who, "create key", key_id, None, said | {"expires": expires and expires.isoformat()})
    return key, text


def revoke_key(ledger: Ledger, key_id: str, who: str) -> Key:
    """End a key for good.

    Raises:
        NotFound: There is no such key.
        Conflict: It was revoked before.
    """
    with ledger.change() as connection:
        open_row = (keys.c.id == key_id, keys.c.revoked_us.is_(None))
        ended = connection.execute(update(keys).where(*open_row).values(revoked_us=to_us(datetime.now(UTC)))).rowcount
        found = _read(connection, keys.c.id == key_id)
        if not found:
            raise NotFound("There is no key of that id; `treadle keys list` shows them.")
        if not ended:
            raise Conflict(f"The key {key_id} was revoked before.")
        record(connection, who, "revoke key", key_id, None, {"name": found[0].name})
    return found[0]


def list_keys(ledger: Ledger) -> list[Key]:
    """Every key that was ever made, oldest first."""
    with ledger.engine.connect() as connection:
        return _read(connection)


def refuse_open_address(settings: Settings, ledger: Ledger) -> None:
    """Refuse to serve beyond this machine before there is a key that lets somebody in.

    Raises:
        Unavailable: The host is not loopback and no valid key may call.
    """
    if settings.is_loopback:
        return
    try:
        known = list_keys(ledger)
    except (Unavailable, SQLAlchemyError):
        return  # away: the service starts from its copy of the keys, and lets nobody in who is not in it
    now = datetime.now(UTC)
    if any(key.role >= Role.CALLER and key.is_valid(now) for key in known):
        return
    raise Unavailable(
        f"Will not listen on {settings.host} while nobody needs a key: make one with "
        "`treadle keys create NAME --role admin`, or set TREADLE_HOST=127.0.0.1."
    )


def _as_row(key: Key) -> dict[str, Any]:
    return {
        "id": key.id, "name": key.name, "hash": key.hash, "role": key.role.name.lower(),
        "projects": None if key.projects is None else json.dumps(key.projects),
        "rows_per_minute": key.rows_per_minute, "created_us": to_us(key.created),
        "expires_us": key.expires and to_us(key.expires), "revoked_us": key.revoked and to_us(key.revoked),
    }  # fmt: skip


def _read(connection: Connection, *conditions: Any) -> list[Key]:
    rows = connection.execute(select(keys).where(*conditions).order_by(keys.c.created_us, keys.c.id))
    return [
        Key(
            r.id, r.name, r.hash, Role[r.role.upper()], None if r.projects is None else tuple(json.loads(r.projects)),
            r.rows_per_minute, from_us(r.created_us), r.expires_us and from_us(r.expires_us),
            r.revoked_us and from_us(r.revoked_us),
        )
        for r in rows
    ]  # fmt: skip
