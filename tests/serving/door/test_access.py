"""Keys as a running service knows them: none at first, new ones, those that end, and while the ledger is away."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from serving.app import create_app
from tests.serving.door.conftest import PREDICT, Door, access_of, started
from treadle.errors import Unavailable
from treadle.keys import Role, create_key, revoke_key
from treadle.settings import CHECKOUT


def test_without_keys_anybody_on_this_machine_is_admin(home):
    door = Door(access_of(home), home.settings)
    assert door.ask("POST", PREDICT) is None
    assert door.entered.role == Role.ADMIN
    assert door.ask("POST", PREDICT, [(b"x-api-key", b"nonsense")]) is None
    assert door.ask("POST", PREDICT, client=("::1", 9)) is None


@pytest.mark.parametrize("client", [("10.0.0.7", 1), ("2001:db8::1", 1), ("192.168.0.1", 1)])
def test_without_keys_another_machine_is_nobody(home, client):
    assert Door(access_of(home), home.settings).ask("POST", PREDICT, client=client) == 401


@pytest.mark.parametrize("header", [b"x-forwarded-for", b"forwarded", b"x-real-ip"])
def test_without_keys_what_comes_through_a_proxy_is_nobody(home, header):
    assert Door(access_of(home), home.settings).ask("POST", PREDICT, [(header, b"127.0.0.1")]) == 401


def test_the_first_key_closes_the_door_and_revoking_it_does_not_open_it_again(home):
    access = access_of(home)
    door = Door(access, home.settings)
    assert door.ask("GET", "/v1/models") is None
    key, _ = create_key(home.ledger, "a", Role.VIEWER, "ann")
    access.refresh()
    assert door.ask("GET", "/v1/models") == 401
    revoke_key(home.ledger, key.id, "ann")
    access.refresh()
    assert door.ask("GET", "/v1/models") == 401


def test_a_running_service_learns_of_keys_and_of_their_end(home, eventually):
    with TestClient(create_app(home.settings)) as client:
        assert client.get("/v1/models").status_code == 200
        key, secret = create_key(home.ledger, "a", Role.VIEWER, "ann")
        eventually(lambda: client.get("/v1/models").status_code == 401)
        headers = {"authorization": f"Bearer {secret}"}
        assert client.get("/v1/models", headers=headers).status_code == 200
        revoke_key(home.ledger, key.id, "ann")
        eventually(lambda: client.get("/v1/models", headers=headers).status_code == 401)


def test_a_key_ends_by_itself(home):
    _, secret = create_key(home.ledger, "a", Role.VIEWER, "ann", expires=datetime.now(UTC) + timedelta(seconds=0.3))
    door = Door(access_of(home), home.settings)
    headers = [(b"x-api-key", secret.encode())]
    assert door.ask("GET", "/v1/models", headers) is None
    time.sleep(0.35)  # no refresh in between
    assert door.ask("GET", "/v1/models", headers) == 401


@pytest.mark.e2e
def test_an_open_address_is_refused_in_one_line(tmp_path):
    command = [sys.executable, "-m", "serving"]
    environment = {"TREADLE_HOME": str(tmp_path), "TREADLE_HOST": "0.0.0.0", "PATH": ""}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == Unavailable.exit_code
    (line,) = [line for line in (done.stderr + done.stdout).splitlines() if "alembic" not in line]
    assert "treadle keys create" in line


def test_keys_are_known_while_the_ledger_is_away_also_at_a_cold_start(installation, eventually):
    home, headers = installation.home, [(b"x-api-key", installation.keys["caller"][0])]
    running = access_of(home)
    with home.ledger.engine.begin() as connection:
        connection.execute(text("ALTER TABLE keys RENAME TO gone"))
    running.refresh()
    assert Door(running, home.settings).ask("POST", PREDICT, headers) is None
    copy = home.settings.state_dir / "keys.json"
    assert copy.stat().st_mode & 0o077 == 0
    with started(home) as access:
        assert Door(access, home.settings).ask("POST", PREDICT, headers) is None
        assert Door(access, home.settings).ask("POST", PREDICT) == 401
    for broken in (None, "", "{}", "[1]", "nonsense"):
        copy.unlink(missing_ok=True) if broken is None else copy.write_text(broken)
        with started(home) as access:
            assert Door(access, home.settings).ask("POST", PREDICT, headers) == 401
            assert Door(access, home.settings).ask("POST", PREDICT) == 401
    with started(home) as access:
        with home.ledger.engine.begin() as connection:
            connection.execute(text("ALTER TABLE gone RENAME TO keys"))
        eventually(lambda: Door(access, home.settings).ask("POST", PREDICT, headers) is None)
