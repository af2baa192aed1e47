"""How flows call the service: as anybody does, with a key of their own where keys are needed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx

from treadle.keys import Role, create_key, list_keys, revoke_key
from treadle.ledger import Ledger
from treadle.settings import Settings

KEY_LIFE = timedelta(days=1)
KNOWN_S = 10.0
_keys: dict[str, str] = {}
"""Keys of this process by project; never an argument or a result of a task, since Prefect keeps those."""


def client(project: str, timeout_s: float = 30) -> httpx.Client:
    """A client of the service, with this process's key for a project if it has one."""
    headers = {"Authorization": f"Bearer {_keys[project]}"} if project in _keys else {}
    return httpx.Client(base_url=Settings().api_url, timeout=timeout_s, headers=headers)


@contextmanager
def own_key(project: str) -> Iterator[None]:
    """Hold a key for one project while the block runs, if the service asks for keys; a day at most if this is killed."""
    settings = Settings()
    ledger = Ledger.open(settings)
    if not list_keys(ledger):  # the first key would close the service to everybody else
        yield
        return
    expires = datetime.now(UTC) + KEY_LIFE
    key, _keys[project] = create_key(ledger, "replay", Role.CALLER, "flow", projects=[project], expires=expires)
    try:
        _wait_until_known(project)
        yield
    finally:
        del _keys[project]
        revoke_key(ledger, key.id, "flow")


def _wait_until_known(project: str) -> None:
    """Wait until the service has heard of the key, half a second; whatever else is wrong, the first call will tell."""
    deadline = time.monotonic() + KNOWN_S
    with client(project) as caller:
        while time.monotonic() < deadline:
            if caller.get("/v1/models").status_code != httpx.codes.UNAUTHORIZED:
                return
            time.sleep(0.1)
