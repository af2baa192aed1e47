"""Every route, every method, every kind of caller: who comes in and who does not."""

import itertools

import pytest
from fastapi.routing import APIRoute
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient

from serving.app import create_app
from serving.door.routes import FILTERED, OF_READY, ROUTES, Table
from tests.serving.door.conftest import METHODS, PREDICT, ROW, filled
from treadle.keys import READY, Role


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
