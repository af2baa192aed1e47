"""People over HTTP: enrolled with a note of the consent, listed, found, forgotten, by whom may; the audit names nobody."""

import base64

import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from treadle.keys import READY, Role, create_key
from treadle.ledger import Ledger, ReadyCalls
from treadle.ledger.audit import last
from treadle.settings import CHECKOUT, Settings

pytestmark = pytest.mark.xdist_group("ready")
STAFF = "/v1/ready/faces/staff"
CONSENT = "A photograph of the White House, in the public domain"


def picture(name):
    return (CHECKOUT / "tests" / "pictures" / f"{name}.jpg").read_bytes()


def held(settings):
    """All bytes that the installation keeps of collections."""
    return b"".join(path.read_bytes() for path in (settings.ready_dir / "faces").rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return Settings(home=tmp_path_factory.mktemp("faces"), allowed_hosts="testserver", swap_poll_s=0.05)


@pytest.fixture(scope="module")
def keys(kept):
    """The key of every role, and a trainer's that is for one project and for ready models."""
    ledger = Ledger.open(kept)
    made = {role: create_key(ledger, role.name.lower(), role, "test")[1] for role in Role}
    return made | {"bound": create_key(ledger, "bound", Role.TRAINER, "test", projects=["toy", READY])[1]}


@pytest.fixture(scope="module")
def served(kept, keys):
    with TestClient(create_app(kept), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def ask(served, keys):
    """Asks with a role's key; `(status, answer)`."""

    def asked(method, path, role=Role.TRAINER, **how):
        reply = served.request(method, path, headers={"x-api-key": keys[role]}, **how)
        return reply.status_code, reply.json()

    return asked


def search(ask, name):
    status, said = ask(
        "POST", "/v1/ready/search-faces", Role.CALLER, files={"file": picture(name)}, data={"collection": "staff"}
    )
    assert status == 200, said
    return [match["person"] for match in said["answers"][0]["faces"][0]["matches"]]


def test_a_person_is_enrolled_found_and_forgotten(ask, kept):
    form = {"data": {"person": " Barack O. ", "consent": CONSENT}, "files": [("picture", picture("obama-2012"))]}
    status, said = ask("POST", STAFF, **form)
    assert status == 201, said
    assert {
        "collection": "staff",
        "person": "Barack O.",
        "pictures": 1,
        "consent": CONSENT,
        "by": "trainer",
    }.items() <= said.items()
    assert said["licence"] == "CC0-1.0 AND Apache-2.0"
    two = [base64.b64encode(picture(name)).decode() for name in ("biden-2013", "biden-2013")]
    assert ask("POST", STAFF, json={"person": "Joe", "consent": CONSENT, "pictures": two})[0] == 201
    _, listed = ask("GET", STAFF)
    assert [(one["person"], one["pictures"], one["consent"]) for one in listed["people"]] == [
        ("Barack O.", 1, CONSENT),
        ("Joe", 2, CONSENT),
    ]
    assert "descriptors" not in listed["people"][0]
    assert {"collection": "staff", "people": 2} in ask("GET", "/v1/ready/faces")[1]["collections"]
    assert search(ask, "obama-speaking") == ["Barack O."]
    assert picture("obama-2012")[:512] not in held(kept)

    assert ask("POST", f"{STAFF}/forget", json={"person": "Barack O."})[0] == 200
    assert search(ask, "obama-speaking") == []
    assert b"Barack" not in held(kept)
    assert [one["person"] for one in ask("GET", STAFF)[1]["people"]] == ["Joe"]
    assert ask("POST", f"{STAFF}/forget", json={"person": "Barack O."})[0] == 404

    ledger = Ledger.open(kept)
    rows = [row for row in last(ledger.engine, 20) if row.what in ("enroll face", "forget face")]
    assert [(row.what, row.subject, row.who, row.key_id is not None) for row in rows] == [
        ("enroll face", "staff", "trainer", True),
        ("enroll face", "staff", "trainer", True),
        ("forget face", "staff", "trainer", True),
    ]
    assert rows[0].after == rows[2].before != rows[1].after
    assert not any(name in f"{rows}" for name in ("Barack", "Joe"))
    assert {call.who for call in ReadyCalls(ledger).newest("search-faces")} >= {"trainer", "caller"}


NEWCOMER = {"person": "Ada", "consent": CONSENT, "pictures": [base64.b64encode(b"no picture").decode()]}
WRONG = {
    "no note of the consent": (NEWCOMER | {"consent": " "}, 422),
    "no name": (NEWCOMER | {"person": ""}, 422),
    "no picture": (NEWCOMER | {"pictures": []}, 422),
    "not base64": (NEWCOMER | {"pictures": ["no picture!"]}, 422),
    "another file": (NEWCOMER, 422),
    "two faces' worth of fields": (NEWCOMER | {"age": 36}, 400),
    "no object": ([], 400),
}


@pytest.mark.parametrize("name", WRONG)
def test_who_cannot_be_enrolled_leaves_nothing(ask, kept, name):
    body, status = WRONG[name]
    before = len(last(Ledger.open(kept).engine, 100))
    got, said = ask("POST", "/v1/ready/faces/guests", json=body)
    assert got == status, said
    assert "Ada" not in f"{said}"
    assert not (kept.ready_dir / "faces" / "guests").exists()
    assert len(last(Ledger.open(kept).engine, 100)) == before


def test_forms_and_names_that_cannot_be_are_refused(ask):
    files = [("picture", picture("obama-2012"))]
    assert ask("POST", STAFF, data={"person": "Ada", "consent": CONSENT, "age": "36"}, files=files)[0] == 400
    assert ask("POST", STAFF, content=b"x", params={})[0] == 415
    assert ask("POST", "/v1/ready/faces/No..Name", json=NEWCOMER)[0] == 422
    assert ask("POST", f"{STAFF}/forget", json={})[0] == 400
    assert ask("GET", "/v1/ready/faces/visitors")[0] == 404


def test_only_trainers_and_admins_of_everything_see_and_change_people(ask):
    for role, allowed in (
        (Role.VIEWER, False),
        (Role.CALLER, False),
        ("bound", False),
        (Role.TRAINER, True),
        (Role.ADMIN, True),
    ):
        for method, path in (
            ("GET", "/v1/ready/faces"),
            ("GET", "/v1/ready/faces/default"),
            ("POST", f"{STAFF}/forget"),
        ):
            how = {"json": {"person": "Nobody"}} if method == "POST" else {}
            assert (ask(method, path, role, **how)[0] != 403) is allowed, (role, path)
        assert (ask("POST", STAFF, role, json=NEWCOMER)[0] != 403) is allowed, role
