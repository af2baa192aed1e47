"""Signing in with a browser: a key is exchanged for a cookie that scripts cannot read and other sites cannot send."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from serving.door.access import COOKIE, SESSION_S, Access, Denied
from serving.door.admission import Admission
from serving.door.limits import whole_body

PAGE = Path(__file__).parent.parent / "page" / "login.html"
LONGEST_FORM = 4096


def add_sessions(app: FastAPI, access: Access, admission: Admission) -> None:
    """Add `/login` and `/logout`; the guard has looked at the request's origin before they are called."""

    @app.get("/login", include_in_schema=False)
    def show_login() -> HTMLResponse:
        return _page(200)

    async def login(request: Request) -> Response:
        async with whole_body(request, LONGEST_FORM, admission) as body:
            form = parse_qs(body.decode("latin-1"))
        key = form.get("key", [""])[0].strip().encode("latin-1", "replace")
        try:
            session = access.open_session(key)
        except Denied as error:
            access.refusals.note(error.key_id, "POST /login", error.reason)
            return _page(401)
        response = RedirectResponse("/", status_code=303)
        is_https = request.headers.get("origin", "").startswith("https://")
        response.set_cookie(
            COOKIE, session, max_age=SESSION_S, path="/", httponly=True, samesite="strict", secure=is_https
        )
        return response

    async def logout(_request: Request) -> Response:
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response

    app.add_route("/login", login, methods=["POST"])
    app.add_route("/logout", logout, methods=["POST"])


def _page(status: int) -> HTMLResponse:
    """The page, which says so when a key was refused."""
    text = PAGE.read_text(encoding="utf-8")
    if status != 200:
        text = text.replace('<p id="notice" role="alert" hidden>', '<p id="notice" role="alert">')
    return HTMLResponse(text, status, {"Cache-Control": "no-store"})
