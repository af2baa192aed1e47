"""A key is shown once; what is kept cannot be turned back into it."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from treadle.errors import BadData, Conflict, NotFound, Unavailable
from treadle.keys import KEY_LENGTH, Role, create_key, hash_key, list_keys, refuse_open_address, revoke_key
from treadle.ledger import Ledger
from treadle.settings import Settings


@pytest.fixture
def ledger(settings):
    return Ledger.open(settings)


def test_a_key_has_its_form_and_is_nowhere_on_disk(ledger, settings):
    key, text = create_key(ledger, "front", Role.CALLER, "ann")
    assert re.fullmatch(r"trd_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", text)
    assert len(text) == KEY_LENGTH
    assert text[4:16] == key.id
    assert hash_key(text) == key.hash
    ledger.engine.dispose()
    held = b"".join(path.read_bytes() for path in settings.home.rglob("*") if path.is_file())
    assert key.id.encode() in held
    assert text[-43:].encode() not in held
    assert key.hash not in str(key.as_record())


def test_keys_come_back_as_they_were_made(ledger):
    later = datetime.now(UTC) + timedelta(days=1)
    made = [
        create_key(ledger, "a", Role.VIEWER, "ann")[0],
        create_key(
            ledger, "b", Role.TRAINER, "ann", projects=["y", "x", "y"], expires=later, rows_per_minute=7
        )[0],
    ]  # fmt: skip
    assert list_keys(ledger) == made
    assert made[1].projects == ("y", "x")
    assert made[1].is_valid(datetime.now(UTC))
    assert not made[1].is_valid(later)


def test_a_revoked_key_stays_listed_and_is_not_valid(ledger):
    key, _ = create_key(ledger, "a", Role.VIEWER, "ann")
    assert not revoke_key(ledger, key.id, "ann").is_valid(datetime.now(UTC))
    with pytest.raises(Conflict):
        revoke_key(ledger, key.id, "ann")
    with pytest.raises(NotFound):
        revoke_key(ledger, "nobody", "ann")
    assert [found.id for found in list_keys(ledger)] == [key.id]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": "x" * 64}, {"name": "a\nb"}, {"rows_per_minute": 0}, {"rows_per_minute": 2**31},
        {"expires": datetime(2020, 1, 1, tzinfo=UTC)}, {"role": Role.ADMIN, "projects": ["x"]},
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(ledger, wrong):
    given = {"name": "a", "role": Role.CALLER, "who": "ann"} | wrong
    with pytest.raises(BadData):
        create_key(ledger, **given)
    assert list_keys(ledger) == []


def test_an_open_address_needs_a_key_that_may_call(tmp_path):
    settings = Settings(home=tmp_path, host="0.0.0.0")
    ledger = Ledger.open(settings)
    refuse_open_address(Settings(home=tmp_path), ledger)
    with pytest.raises(Unavailable, match="0.0.0.0"):
        refuse_open_address(settings, ledger)
    create_key(ledger, "eyes", Role.VIEWER, "ann")
    with pytest.raises(Unavailable):
        refuse_open_address(settings, ledger)
    key, _ = create_key(ledger, "front", Role.CALLER, "ann")
    refuse_open_address(settings, ledger)
    revoke_key(ledger, key.id, "ann")
    with pytest.raises(Unavailable):
        refuse_open_address(settings, ledger)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.1", False), ("box", False), ("localhost.evil", False)],
)  # fmt: skip
def test_loopback_is_known(host, loopback):
    assert Settings(host=host).is_loopback is loopback


@pytest.mark.parametrize(
    ("host", "inner"), [("0.0.0.0", "127.0.0.1"), ("10.0.0.1", "127.0.0.1"), ("127.0.0.3", "127.0.0.3")]
)
def test_what_asks_for_no_key_stays_on_loopback(tmp_path, host, inner):
    from console.supervision import services

    settings = Settings(home=tmp_path, host=host)
    (prefect,) = [service for service in services(settings) if service.name == "prefect"]
    assert inner in prefect.command
    assert settings.prefect_url == f"http://{inner}:4200"
    assert settings.mlflow_url == f"http://{inner}:5000"
