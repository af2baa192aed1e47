"""Every route, every method, every kind of caller: who comes in and who does not."""

import asyncio
import itertools
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import text
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse

from serving.app import create_app
from serving.door.access import Access
from serving.door.guard import Guard
from serving.door.routes import FILTERED, OF_READY, ROUTES, Table
from treadle.errors import Unavailable
from treadle.keys import READY, Role, create_key, revoke_key
from treadle.ledger.audit import last, verify
from treadle.settings import CHECKOUT

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "NONSENSE", "WEBSOCKET"]
ROW = {"temp": 3.5, "holiday": False, "when": "2011-01-01T05:00:00", "season": "summer"}
PREDICT = "/v1/models/toy/predict"
SOON = timedelta(hours=1)


def filled(pattern: str, project: str = "toy") -> str:
    """A path that fits a pattern, of one project's."""
    path = re.sub(r"\{(project|name|model_name)\}", project, pattern)
    return re.sub(r"\{[^}]*:path\}", "some/file.html", path).replace("{version}", "1").replace("{file}", "page.js")


def paths_of(app) -> dict[str, set[str]]:
    """Every route of the app as a path of `toy`, with its methods; a kind of route that we do not know is an error."""
    paths: dict[str, set[str]] = {}
    for route in app.routes:
        match route:
            case Mount():
                below = [pattern for pattern in ROUTES if pattern.startswith(f"{route.path}/")]
                assert below, f"nothing below {route.path} has a row in serving/door/routes.py"
                paths |= {filled(pattern): {"GET", "HEAD"} for pattern in below}
            case WebSocketRoute():
                paths.setdefault(filled(route.path), set()).add("WEBSOCKET")
            case Route() | APIRoute():
                paths.setdefault(filled(route.path), set()).update(route.methods)
            case _:
                pytest.fail(f"{route} is of a kind that this test does not know")
    return paths


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


def expected(method: str, path: str, project: str | None, role: int, projects: set[str] | None) -> int | None:
    """What the table says, read here once more and otherwise than the guard does it."""
    fits = [route for route in ROUTES if filled(route, project or "toy") == path]
    least = ROUTES[fits[0]].get(method) if fits else None
    if least == 0:
        return None
    if role == 0:
        return 401
    if not fits:
        return 404
    if least is None:
        return 405
    if role < least:
        return 403
    if projects is not None and "{project}" in fits[0] and project not in projects:
        return 404
    if projects is not None and fits[0] in OF_READY:
        return None if READY in projects else 403
    if projects is not None and "{project}" not in fits[0] and fits[0] not in FILTERED:
        return 403
    return None


def test_every_route_of_the_app_is_in_the_table(home):
    table = Table()
    for path, methods in paths_of(create_app(home.settings)).items():
        rule, _ = table.find(path)
        assert rule is not None, f"{path} has no row in serving/door/routes.py"
        assert methods <= set(rule.roles), f"{path}: {methods - set(rule.roles)} has no role in serving/door/routes.py"
        assert ("toy" in path) == rule.by_project


def test_who_comes_in(installation, door):
    """Every route and method, for every kind of key, in both ways to send one; and paths that are no route."""
    paths = [(filled(route, project), project if "{project}" in route else None)
             for route in ROUTES for project in ("toy", "other")]  # fmt: skip
    paths += [
        (path, None) for path in ("/nowhere", "/v1", "/v1/models/", "/v3/models/toy", "//", "", "/page", "/reports")
    ]
    counted = 0
    for (path, project), method in itertools.product(dict.fromkeys(paths), METHODS):
        for name, (key, role, projects) in installation.keys.items():
            want = expected(method, path, project, role, projects)
            if method == "WEBSOCKET" and want is not None:
                want = 1008
            ways = [] if key is None else [[(b"authorization", b"Bearer " + key)], [(b"x-api-key", key)]]
            for headers in ways[counted % 2 :][:1] or [[]]:
                got = door.ask(method, path, headers)
                assert got == want, (method, path, name)
                if got is None and role:
                    assert (door.entered.role, door.entered.projects) == (role, projects), (method, path, name)
            counted += 1
    assert counted > 10_000


def test_what_is_open_and_who_may_change_things_is_what_people_agreed_on():
    """The table once more in other words, so that a slip of the pen in it is seen."""
    opened = {(method, route) for route, roles in ROUTES.items() for method, role in roles.items() if role == 0}
    looks = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/login", "/page/page.css")
    assert opened == set(itertools.product(("GET", "HEAD"), looks)) | {("POST", "/login"), ("POST", "/logout")}
    harmless = ("/login", "/logout", "/v2/repository/index")
    for route, roles in ROUTES.items():
        for method, role in roles.items():
            assert method in ("GET", "HEAD") or role >= Role.CALLER or route in harmless, (method, route)


@pytest.mark.parametrize(
    "path",
    ["/reports/toy/../other/x.html", "/reports/toy/./x", "/reports//other/x.html", "/reports/./other/x.html",
     "//reports/other/x", "/reports/../v1/models", "/v1/models/toy/../other/predict", "/page/../reports/other/x",
     "/reports/toy/..", "/reports/.", "/v1/models//predict"],
)  # fmt: skip
def test_a_path_that_climbs_leads_nowhere(installation, door, path):
    key = installation.keys["caller of toy"][0]
    for method in METHODS:
        assert door.ask(method, path, [(b"x-api-key", key)]) in (404, 1008)


def test_ready_models_are_for_keys_of_everything_and_those_made_for_them(installation):
    assert all(route.startswith(("/v1/ready", "/openai/", "/playground")) for route in OF_READY)
    assert {route for route in ROUTES if route.startswith(("/v1/ready", "/openai/", "/playground"))} - OF_READY == {
        "/v1/ready/faces",
        "/v1/ready/faces/{collection}",
        "/v1/ready/faces/{collection}/forget",
    }
    with TestClient(create_app(installation.home.settings)) as client:
        bound, granted = (
            {"x-api-key": installation.keys[f"viewer of toy{more}"][0].decode()} for more in ("", " and ready models")
        )
        refused = client.get("/v1/ready", headers=bound)
        assert refused.status_code == 403
        assert "treadle keys create … --ready" in refused.json()["detail"]
        assert client.get("/v1/ready", headers=granted).status_code == 200
        assert [m["name"] for m in client.get("/v1/models", headers=granted).json()] == ["toy"]
        assert client.get("/metrics", headers=granted).status_code == 403


def test_a_bound_key_sees_its_own_projects_in_every_list(installation):
    with TestClient(create_app(installation.home.settings)) as client:
        headers = {"x-api-key": installation.keys["caller of toy"][0].decode()}
        pages = {path: client.get(path, headers=headers) for path in FILTERED if "GET" in ROUTES[path]}
        pages |= {path: client.get(path, headers=headers) for path in ("/v1/models/toy", "/v1/models/other")}
        assert [m["name"] for m in pages["/v1/models"].json()] == ["toy"]
        assert [m["name"] for m in pages["/console.json"].json()["models"]] == ["toy"]
        assert pages["/readyz"].json()["models"] == ["toy"]
        assert PREDICT in pages["/openapi.json"].json()["paths"]
        assert "/v1/models/other/predict" not in pages["/openapi.json"].json()["paths"]
        assert client.get("/metrics", headers=headers).status_code == 403
        other, nobody = pages["/v1/models/other"], client.get("/v1/models/nobody", headers=headers)
        for reply in (other, nobody):
            assert reply.status_code == 404
        assert other.json() | {"instance": ""} == nobody.json() | {"instance": ""}
        assert client.post(PREDICT, json={"rows": [ROW]}, headers=headers).status_code == 200
        assert client.post("/v1/models/other/predict", json={"rows": [ROW]}, headers=headers).status_code == 404


def test_health_tells_strangers_nothing_about_models(installation):
    with TestClient(create_app(installation.home.settings)) as client:
        for headers in ({}, {"x-api-key": "wrong"}):
            assert client.get("/healthz", headers=headers).json() == {"status": "ok"}
            assert client.get("/readyz", headers=headers).json() == {"status": "ok"}


def test_refusals_have_their_form(installation):
    with TestClient(create_app(installation.home.settings)) as client:
        reply = client.post(PREDICT, json={"rows": [ROW]})
        assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert len(reply.headers["x-request-id"]) >= 16
        reply = client.post("/v2/models/toy/infer", json={})
        assert (reply.status_code, set(reply.json())) == (401, {"error"})
        viewer = {"authorization": f"bearer {installation.keys['viewer'][0].decode()}"}
        assert client.post(PREDICT, json={}, headers=viewer).status_code == 403
        reply = client.get(PREDICT, headers=viewer)
        assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
        page = client.get("/", headers={"accept": "text/html,*/*"}, follow_redirects=False)
        assert (page.status_code, page.headers["location"]) == (303, "/login")


def test_a_websocket_is_refused_before_it_is_accepted(installation):
    with TestClient(create_app(installation.home.settings)) as client:
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/nowhere"):
            pass
        assert refused.value.status_code == 401


def test_the_fast_lane_lets_in_whom_the_door_lets_in_and_nobody_else(installation):
    """The guard's quick look against its long one, for every kind of key and caller."""
    home = installation.home
    _, limited = create_key(home.ledger, "limited", Role.CALLER, "ann", rows_per_minute=9)
    keys = {name: key for name, (key, _, _) in installation.keys.items()} | {"limited": limited.encode()}
    guard = Guard(lambda *_: None, access_of(home), home.settings)
    door = Door(access_of(home), home.settings)
    asyncio.run(
        guard({"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"127.0.0.1")]}, None, sent_away)
    )
    entered = set()
    for (name, key), project, host in itertools.product(keys.items(), ("toy", "other"), (b"127.0.0.1", b"evil")):
        headers = [(b"host", host)] + ([] if key is None else [(b"x-api-key", key)])
        quick = guard.admit_at_once(headers, "127.0.0.1", project)
        slow = door.ask("POST", f"/v1/models/{project}/predict", headers[1:], host=host)
        assert (quick is not None) == (slow is None and name != "limited"), (name, project, host)
        if quick is not None:
            entered.add((name, project))
    assert ("caller of toy", "toy") in entered
    assert ("caller of toy", "other") not in entered
    good = (b"x-api-key", keys["caller"])
    for more in (
        (b"origin", b"http://127.0.0.1"),
        (b"cookie", b"a=b"),
        good,
        (b"host", b"127.0.0.1"),
        (b"host", b"evil"),
    ):
        assert guard.admit_at_once([(b"host", b"127.0.0.1"), good, more], None, "toy") is None


async def sent_away(_message):
    pass


@pytest.mark.e2e
def test_the_lane_over_real_sockets_asks_for_keys(installation, serve, eventually):
    """Small clean bodies, which the lane would take; an answer of the lane has no request id."""
    home = installation.home
    with serve(home.settings) as (_, address), httpx.Client(base_url=address) as client:

        def ask(name, project="toy"):
            headers = {"x-api-key": installation.keys[name][0].decode("latin-1")} if installation.keys[name][0] else {}
            return client.post(f"/v1/models/{project}/predict", json={"rows": [ROW]}, headers=headers)

        assert [ask("caller").status_code for _ in range(2)] == [200, 200]
        assert "x-request-id" not in ask("caller").headers
        for name, (_, role, projects) in installation.keys.items():
            if name not in ("long", "spaces", "bytes"):  # that no client can send
                for project in ("toy", "other"):
                    want = 401 if not role else 403 if role < Role.CALLER else 404 if projects is not None else 200
                    want = 200 if want == 404 and project in projects else want
                    assert ask(name, project).status_code == want, (name, project)
        assert client.post(PREDICT, json={"rows": [ROW]}, headers={"host": "evil"}).status_code == 400
        revoke_key(home.ledger, installation.keys["caller"][0][4:16].decode(), "ann")
        eventually(lambda: ask("caller").status_code == 401)


@pytest.mark.e2e
def test_the_lane_is_open_on_this_machine_until_there_is_a_key(home, serve, eventually):
    with serve(home.settings) as (_, address), httpx.Client(base_url=address) as client:
        assert client.post(PREDICT, json={"rows": [ROW]}).status_code == 200
        assert "x-request-id" not in client.post(PREDICT, json={"rows": [ROW]}).headers
        assert client.post(PREDICT, json={"rows": [ROW]}, headers={"host": "evil"}).status_code == 400
        assert client.post(PREDICT, json={"rows": [ROW]}, headers={"x-forwarded-for": "::1"}).status_code == 401
        create_key(home.ledger, "a", Role.VIEWER, "ann")
        eventually(lambda: client.post(PREDICT, json={"rows": [ROW]}).status_code == 401)


# The first start, without a key


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


# While the ledger is away


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


@contextmanager
def started(home):
    access = Access(home.settings, home.ledger)
    access.start()
    yield access
    access.stop()


# Names, origins, ids


@pytest.mark.parametrize(
    "host", [b"127.0.0.1", b"localhost", b"LOCALHOST:8000", b"[::1]:80", b"testserver", b"127.0.0.1:1"]
)
def test_our_names_are_let_in(home, host):
    assert Door(access_of(home), home.settings).ask("GET", "/v1/models", host=host) is None


@pytest.mark.parametrize(
    "host",
    [b"evil.example", b"", None, b"127.0.0.1.evil.example", b"localhost.", b"localhost:80@evil", b"10.0.0.7", b"evil:8000",
     b"[::2]", b"127.0.0.1 ", b"localhost/", b"\xff", b"testserver,evil"],
)  # fmt: skip
def test_other_names_are_refused_with_and_without_a_key(installation, door, host):
    key = installation.keys["admin"][0]
    for headers in ([], [(b"x-api-key", key)]):
        assert door.ask("GET", "/v1/models", headers, host=host) == 400
        assert door.ask("GET", "/healthz", headers, host=host) == 400


def test_every_address_of_this_machine_is_a_name_of_an_open_host(make_home):
    home = Installation(make_home(host="0.0.0.0", allowed_hosts="ml.example, Other.Example")).home
    door = Door(access_of(home), home.settings)
    for host in (b"10.0.0.7:8000", b"[2001:db8::1]", b"ml.example", b"other.example:443", b"localhost"):
        assert door.ask("GET", "/healthz", host=host) is None
    assert door.ask("GET", "/healthz", host=b"evil.example") == 400


@pytest.mark.parametrize("name", [b"host", b"authorization", b"x-api-key", b"origin", b"cookie"])
def test_a_header_that_is_there_twice_is_refused(installation, door, name):
    headers = [(b"x-api-key", installation.keys["admin"][0]), (name, b"127.0.0.1"), (name, b"localhost")]
    assert door.ask("GET", "/v1/models", headers) == 400


EVIL = [
    b"https://evil.example",
    b"null",
    b"http://127.0.0.1:9",
    b"http://localhost",
    b"127.0.0.1",
    b"",
    b"file://127.0.0.1",
]


@pytest.mark.parametrize("origin", EVIL)
@pytest.mark.parametrize("method", ["POST", "WEBSOCKET"])
def test_pages_of_others_cannot_send_in_anybodys_name(home, origin, method):
    door = Door(access_of(home), home.settings)
    headers = [(b"origin", origin)]
    assert door.ask(method, PREDICT, headers) in (403, 1008)
    assert door.ask(method, "/login", headers) in (403, 1008)
    _, secret = create_key(home.ledger, "a", Role.CALLER, "ann")
    door.access.start()
    door.access.stop()
    session = door.access.open_session(secret.encode()).encode()
    cookie = (b"cookie", b"x=1; treadle_session=" + session)
    assert door.ask("GET", "/v1/models", [cookie]) is None
    assert door.ask("POST", PREDICT, [cookie, (b"origin", b"http://127.0.0.1")]) is None
    assert door.ask(method, PREDICT, [cookie, *headers]) in (403, 1008)
    assert door.ask("POST", PREDICT, [cookie]) == 403
    assert door.ask("POST", PREDICT, [(b"x-api-key", secret.encode()), *headers]) is None


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("abc-123", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("a b", False),
        ("a\tb", False),
        ("<b>", False),
        ("", False),
    ],
)
def test_a_request_has_an_id(client, asked, kept):
    given = client.get("/healthz", headers={"x-request-id": asked}).headers["x-request-id"]
    assert (given == asked) is kept
    assert re.fullmatch(r"[\w.:-]{1,64}", given, re.ASCII)
    assert client.get("/healthz").headers["x-request-id"] != client.get("/healthz").headers["x-request-id"]


# Sessions


def test_a_browser_signs_in_and_out(installation, eventually):
    home = installation.home
    key, secret = create_key(home.ledger, "browser", Role.VIEWER, "ann")
    with TestClient(create_app(home.settings), follow_redirects=False) as client:
        assert 'role="alert" hidden' in client.get("/login").text
        wrong = client.post("/login", data={"key": "nonsense"})
        assert wrong.status_code == 401
        assert 'role="alert" hidden' not in wrong.text
        assert "set-cookie" not in wrong.headers
        reply = client.post("/login", data={"key": f" {secret} "}, headers={"origin": "http://testserver"})
        assert (reply.status_code, reply.headers["location"]) == (303, "/")
        cookie = reply.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert secret not in cookie
        assert secret[-43:] not in cookie
        assert client.get("/").status_code == 200
        assert client.get("/console.json").json()["signed_in"] is True
        session = client.cookies["treadle_session"]
        client.post("/logout", headers={"origin": "http://testserver"})
        assert client.get("/console.json").status_code == 401
        client.cookies.set("treadle_session", session)
        assert client.get("/console.json").status_code == 200
        revoke_key(home.ledger, key.id, "ann")
        eventually(lambda: client.get("/console.json").status_code == 401)


def test_sessions_cannot_be_made_up(installation, door):
    access = door.access
    access.start()
    access.stop()
    good = access.open_session(installation.keys["viewer"][0])
    key_id, until, signature = good.split(".")
    other = installation.keys["admin"][0][4:16].decode()
    for value in (
        "", ".", "..", key_id, f"{key_id}.{until}", f"{key_id}.{until}.", f"{key_id}.{int(until) + 1}.{signature}",
        f"{other}.{until}.{signature}", f"{key_id}.{until}.{signature[:-1]}", f"{key_id}.{'9' * 20}.{signature}",
        f"{key_id}.1.{signature}", f"{key_id}.-1.{signature}", f"{key_id}.\xb2.{signature}",
    ):  # fmt: skip
        cookie = [(b"cookie", b"treadle_session=" + value.encode("latin-1"))]
        assert door.ask("GET", "/v1/models", cookie) == 401, value
    assert door.ask("GET", "/v1/models", [(b"cookie", b"treadle_session=" + good.encode())]) is None


def test_a_session_ends_with_time(installation, door, monkeypatch):
    monkeypatch.setattr("serving.door.access.SESSION_S", -1)
    door.access.start()
    door.access.stop()
    value = door.access.open_session(installation.keys["viewer"][0])
    assert door.ask("GET", "/v1/models", [(b"cookie", b"treadle_session=" + value.encode())]) == 401


# What is written down


def test_a_flood_of_wrong_keys_is_a_few_rows_that_count_them_all(installation):
    home = installation.home
    access = access_of(home)
    door = Door(access, home.settings)
    before = verify(home.ledger.engine).rows
    for n in range(3000):
        door.ask("POST", PREDICT, [(b"x-api-key", b"trd_%012d_" % n + b"A" * 43)])
        if n % 500 == 0:
            access.refusals.write()
    wrong = installation.keys["wrong"][0]
    door.ask("POST", PREDICT, [(b"x-api-key", wrong)])
    door.ask("POST", PREDICT, [(b"x-api-key", installation.keys["viewer"][0])])
    door.ask("GET", "/v1/models/other", [(b"x-api-key", installation.keys["viewer of toy"][0])])
    door.ask("GET", "/nowhere", [(b"x-api-key", installation.keys["viewer"][0])])
    access.stop()
    rows = [row for row in last(home.ledger.engine, 100) if row.seq > before]
    flood = [row for row in rows if row.what == "unknown key"]
    assert sum(row.times for row in flood) == 3000
    assert len(flood) == 2
    assert {(row.key_id, row.subject, row.outcome) for row in flood} == {
        (None, "POST /v1/models/{project}/predict", "denied")
    }
    others = {(row.key_id, row.what, row.subject) for row in rows if row not in flood}
    assert others == {
        (wrong[4:16].decode(), "wrong key", "POST /v1/models/{project}/predict"),
        (installation.keys["viewer"][0][4:16].decode(), "role", "POST /v1/models/{project}/predict"),
        (installation.keys["viewer of toy"][0][4:16].decode(), "project", "GET /v1/models/{project}"),
    }
    assert verify(home.ledger.engine, home.ledger.anchor).trouble is None


def test_refusals_wait_for_a_ledger_that_is_away(installation):
    home = installation.home
    access = access_of(home)
    with home.ledger.engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_head RENAME TO gone"))
    for _ in range(5):
        access.refusals.note(None, "GET /", "no key")
        access.refusals.write()
    with home.ledger.engine.begin() as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO audit_head"))
    access.refusals.write(everything=True)
    assert sum(row.times for row in last(home.ledger.engine, 9) if row.what == "no key") == 5


def test_many_kinds_of_refusal_are_counted_together(home):
    access = access_of(home)
    for n in range(2000):
        access.refusals.note(f"{n:012x}", "GET /", "role")
    access.refusals.write(everything=True)
    rows = last(home.ledger.engine, 3000)
    assert sum(row.times for row in rows if row.outcome == "denied") == 2000
    assert len(rows) < 600


def test_a_key_is_nowhere_after_it_was_used_right_and_wrong(home, caplog):
    caplog.set_level("DEBUG")
    _, secret = create_key(home.ledger, "a", Role.CALLER, "ann")
    part = secret[-43:]
    seen = []
    with TestClient(create_app(home.settings), raise_server_exceptions=False) as client:
        for headers in (
            {"authorization": f"Bearer {secret}"}, {"authorization": f"Bearer x{secret}"}, {"x-api-key": f"{secret}x"},
            {"authorization": f"Basic {secret}"}, {"cookie": f"treadle_session={secret}"}, {"x-request-id": f"{secret} "},
            {"host": secret, "x-api-key": secret}, {"origin": f"http://{secret}", "cookie": "treadle_session=1"},
        ):  # fmt: skip
            for method, path in (
                ("POST", PREDICT),
                ("GET", "/metrics"),
                ("GET", "/openapi.json"),
                ("DELETE", "/v1/models/toy"),
            ):
                seen.append(client.request(method, path, headers=headers, json={"rows": [ROW]}))
        seen += [client.post("/login", data={"key": secret}), client.get("/console.json"), client.get("/metrics")]
        seen += [client.post("/login", data={"key": f"{secret}-"}), client.post("/login", data={secret: ""})]
    assert {reply.status_code for reply in seen} >= {200, 400, 401, 403, 405}
    said = "".join(f"{reply.headers}{reply.text}" for reply in seen) + caplog.text
    home.ledger.engine.dispose()
    held = b"".join(path.read_bytes() for path in home.settings.home.rglob("*") if path.is_file())
    assert part not in said
    assert part.encode() not in held


def test_the_ledger_knows_which_key_gave_a_label(installation):
    key = installation.keys["caller"][0].decode()
    with TestClient(create_app(installation.home.settings), headers={"authorization": f"Bearer {key}"}) as client:
        given = client.post(PREDICT, json={"rows": [ROW]}).raise_for_status().json()["predictions"][0]
        body = {"labels": [{"id": given["id"], "label": 5.0}]}
        client.post("/v1/models/toy/feedback", json=body).raise_for_status()
    with installation.home.ledger.engine.connect() as connection:
        assert connection.execute(text("SELECT key_id FROM feedback")).scalars().all() == [key[4:16]]
