"""Commands on keys and on the audit, and who it is that gives them."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from treadle.durations import parse_duration
from treadle.errors import BadData
from treadle.keys import READY, Role, create_key, list_keys, revoke_key
from treadle.ledger import Ledger, audit
from treadle.project import load_project
from treadle.settings import Settings


def whoami() -> str:
    """The user of this process, for the audit; its number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        import os

        return f"uid {os.getuid()}"


def create(
    settings: Settings,
    name: str,
    role: str,
    projects: list[str] | None,
    expires: str | None,
    rows_per_minute: int | None,
    *,
    ready: bool = False,
) -> dict[str, Any]:
    """Make a key; `key` of the answer is the key itself, which is kept nowhere.

    With neither `projects` nor `ready` it is for everything.

    Raises:
        BadData: There is no such role, or the duration cannot be read.
        NotFound: There is no such project.
    """
    if role.upper() not in Role.__members__:
        raise BadData(f"There is no role of that name; --role is one of {', '.join(r.name.lower() for r in Role)}.")
    for project in projects or []:
        load_project(project, settings)
    key, text = create_key(
        Ledger.open(settings),
        name,
        Role[role.upper()],
        whoami(),
        projects=[*(projects or []), *([READY] if ready else [])] or None,
        expires=_moment(expires),
        rows_per_minute=rows_per_minute,
    )
    return {"key": text, **key.as_record()}


def _moment(after: str | None) -> datetime | None:
    if after is None:
        return None
    try:
        return datetime.now(UTC) + parse_duration(after)
    except (ValueError, OverflowError):
        raise BadData("--expires is a duration such as 12h, 90d or 52w.") from None


def shown_once(made: dict[str, Any]) -> str:
    """A new key as a person reads it."""
    where = (
        "all projects"
        if made["projects"] is None
        else ", ".join([*made["projects"], *["ready models"] * made["ready"]])
    )
    until = f", until {made['expires']}" if made["expires"] else ""
    return f"{made['key']}\n\nA {made['role']} of {where}{until}. Keep it now: it cannot be shown again."


def list_all(settings: Settings) -> list[dict[str, Any]]:
    """Every key with its state: `valid`, `expired` or `revoked`."""
    now = datetime.now(UTC)
    states = {True: "revoked", False: "expired"}
    return [
        key.as_record() | {"state": "valid" if key.is_valid(now) else states[key.revoked is not None]}
        for key in list_keys(Ledger.open(settings))
    ]


def revoke(settings: Settings, key_id: str) -> dict[str, Any]:
    """End a key.

    Raises:
        NotFound: There is no such key.
        Conflict: It was revoked before.
    """
    return revoke_key(Ledger.open(settings), key_id, whoami()).as_record()


def audited(settings: Settings, last: int) -> list[dict[str, Any]]:
    """The newest rows of the audit, the oldest of them first."""
    rows = audit.last(Ledger.open(settings).engine, last)
    return [asdict(row) | {"at": row.at.isoformat(timespec="seconds")} for row in rows]


def verify_audit(settings: Settings) -> dict[str, Any]:
    """Whether the audit is whole, and if not, where it is broken."""
    ledger = Ledger.open(settings)
    found = audit.verify(ledger.engine, ledger.anchor)
    return {"whole": found.trouble is None, "rows": found.rows, "trouble": found.trouble}


def verified(found: dict[str, Any]) -> str:
    """The answer of `treadle audit verify` as a person reads it."""
    return f"{found['rows']} rows, all as they were written." if found["whole"] else f"BROKEN  {found['trouble']}"
