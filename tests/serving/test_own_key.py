"""Flows call the service as anybody does; where keys are needed they hold one of their own, for as long as they run."""

import pytest

from tasks import service
from treadle.keys import Role, create_key, list_keys

pytestmark = pytest.mark.e2e


@pytest.fixture
def called(home, serve, monkeypatch):
    """A running service that flows of this process call."""
    with serve(home.settings) as (_, address):
        monkeypatch.setenv("TREADLE_HOME", str(home.settings.home))
        monkeypatch.setenv("TREADLE_API_PORT", address.rpartition(":")[2])
        yield home


def status(project="toy"):
    with service.client("toy") as client:
        return client.get(f"/v1/models/{project}").status_code


def test_without_keys_a_flow_makes_none(called):
    with service.own_key("toy"):
        assert status() == 200
    assert list_keys(called.ledger) == []


def test_a_flow_holds_a_key_for_its_project_and_gives_it_back(called, eventually):
    create_key(called.ledger, "somebody", Role.VIEWER, "ann")
    eventually(lambda: status() == 401)
    with service.own_key("toy"):
        assert status() == 200
        assert status("other") == 404
    assert status() == 401
    (key,) = [key for key in list_keys(called.ledger) if key.name == "replay"]
    assert (key.role, key.projects) == (Role.CALLER, ("toy",))
    assert key.revoked is not None
