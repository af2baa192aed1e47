"""The door: one ASGI middleware around everything. Host, origin, key, role and project are looked at here and nowhere else.

Plain ASGI, since Starlette's own base class costs a task a request. Nothing here waits for a disk or a database.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping
from ipaddress import ip_address
from socket import gethostname

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.door.access import COOKIE, Access, Denied, Principal
from serving.door.routes import OPEN, ROUTES, Rule, Table
from serving.problem_details import problem
from serving.telemetry import logs
from serving.telemetry.tracing import Tracing
from treadle.errors import TreadleError
from treadle.keys import READY
from treadle.settings import Settings

PAGE_POLICY = b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
# Reports are other people's HTML with data in it: their scripts run in a sandbox without our origin or the network.
REPORT_POLICY = (
    b"sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    b"img-src data: blob:; font-src data:; frame-ancestors 'self'"
)
# Our own pages of looks need no script at all; with our origin their links carry the browser's session.
LOOK_POLICY = (
    b"sandbox allow-same-origin; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'self'"
)
SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # with no-referrer a browser sends our own forms from `Origin: null`
    (b"cross-origin-resource-policy", b"same-origin"),
)
PAGE_HEADERS = (*SAFE, (b"content-security-policy", PAGE_POLICY))
REPORT_HEADERS = (*SAFE, (b"content-security-policy", REPORT_POLICY))
LOOK_HEADERS = (*SAFE, (b"content-security-policy", LOOK_POLICY))

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ONCE = (b"host", b"authorization", b"x-api-key", b"origin", b"cookie")
FORWARDED = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
HARMLESS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:"
LONGEST_ID = 64
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - looked for, not listened on
MOST_HOSTS = 256
PREDICT_ROLE = ROUTES["/v1/models/{project}/predict"]["POST"]
UNAUTHORIZED = 401
COOKIE_NAME = COOKIE.encode()
NOT_READY = (
    "This key is for some projects, and ready models belong to none; a key for them too is made by "
    "`treadle keys create … --ready`."
)
Headers = dict[bytes, bytes]


class Refused(TreadleError):
    """A request that does not come through the door.

    Attributes:
        reason: A word or two for the audit; `None` for what is no question of rights.
        headers: Of the response.
    """

    def __init__(
        self, status: int, title: str, detail: str, reason: str | None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.reason = reason
        self.headers = headers


class Guard:
    """Lets a request through to the app, or answers it; passes the principal and the request's id in `scope["state"]`."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        settings: Settings,
        table: Table | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._app = app
        self._tracing = tracing
        self._access = access
        self._table = table or Table()
        self._listed = {name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip()}
        self._names = self._listed | _own_names(settings)
        self._any_address = settings.host in ANY_ADDRESS
        self._hosts: set[bytes] = set()  # Host headers that were found good, as they were sent
        self._prefix = os.urandom(6).hex().encode()
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and its response back, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers: Headers = dict(scope["headers"])
        rule, project = self._table.find(scope["path"])
        request_id = self._request_id(headers.get(b"x-request-id"))
        shown = _headers_of(rule)

        request = logs.Noted(request_id.decode(), _route_of(rule, _method_of(scope)))
        request.marks = None if self._tracing is None else []
        logs.noted.set(request)
        begun = time.perf_counter()

        async def send_safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
                message["headers"] = [*message["headers"], *shown, (b"x-request-id", request_id)]
            await send(message)

        state = scope.setdefault("state", {})
        state["request_id"] = request.request_id
        state["principal"] = None
        try:
            await self._admit_and_pass(scope, receive, send_safe, headers, rule, project)
        finally:
            request.seconds = round(time.perf_counter() - begun, 6)
            logs.access(request)
            if self._tracing is not None:
                self._tracing.request(request, headers, begun)

    async def _admit_and_pass(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, rule: Rule | None, project: str | None
    ) -> None:
        try:
            self._admit(scope, headers, rule, project)
        except (Refused, Denied) as error:
            self._note(scope, rule, error)
            await _refuse(scope, receive, send, error)
            return
        await self._app(scope, receive, send)

    def admit_at_once(self, headers: list[tuple[bytes, bytes]], client: str | None, project: str) -> Principal | None:
        """Who may predict with a project, for the fast lane; `None` wherever more is to be looked at, counted or said.

        What this lets in, the long way lets in too; what it does not, goes the long way.
        """
        held: Headers = dict(headers)
        plain = len(held) == len(headers) and b"origin" not in held and b"cookie" not in held
        if not plain or held.get(b"host") not in self._hosts:
            return None
        key = _key_of(held)
        try:
            principal = self._access.by_key(key) if key is not None else self._anonymous(held, client)
        except Denied:
            return None
        if principal is None or principal.role < PREDICT_ROLE or principal.rows_per_minute is not None:
            return None
        return principal if principal.sees(project) else None

    def _request_id(self, asked: bytes | None) -> bytes:
        """The caller's own id if it is short and harmless, else one that no other request has."""
        if asked and len(asked) <= LONGEST_ID and not asked.translate(None, HARMLESS):
            return asked
        return b"%b%08x" % (self._prefix, next(self._numbers))

    def _admit(self, scope: Scope, headers: Headers, rule: Rule | None, project: str | None) -> None:
        """Find out who asks, and whether they may.

        Raises:
            Denied: The key opens nothing.
            Refused: Anything else is in the way.
        """
        if len(headers) != len(scope["headers"]):
            _refuse_repeated(scope["headers"])
        host = headers.get(b"host", b"")
        if host not in self._hosts:
            self._learn_host(host)
        method = _method_of(scope)
        least = None if rule is None else rule.roles.get(method)
        principal, by_key = self._who(scope, headers, is_open=least == OPEN)
        scope["state"]["principal"] = principal
        if not by_key and method not in SAFE_METHODS:
            self._check_origin(
                headers.get(b"origin"), host, needed=principal is not None and principal.key_id is not None
            )
        if least == OPEN:
            return
        if principal is None:
            raise Denied("no key")
        if rule is None:
            raise Refused(404, "Not Found", "Nothing is at this address; /docs lists what is.", None)
        if least is None:
            allowed = ", ".join(rule.roles)
            raise Refused(405, "Method Not Allowed", f"This address answers {allowed}.", None, {"Allow": allowed})
        if principal.role < least:
            raise Refused(403, "Forbidden", "The role of this key does not allow that.", "role")
        if principal.projects is not None:
            _check_project(principal, rule, project)

    def _who(self, scope: Scope, headers: Headers, *, is_open: bool) -> tuple[Principal | None, bool]:
        """Who asks, and whether they said so by a key, which no browser sends by itself.

        Raises:
            Denied: By something that opens nothing, where something is needed.
        """
        try:
            key = _key_of(headers)
            if key is not None:
                return self._access.by_key(key), True
            session = _session_of(headers.get(b"cookie"))
            if session is not None:
                return self._access.by_session(session), False
        except Denied:
            if not is_open and not self._access.is_open:
                raise
        client = scope.get("client")
        return self._anonymous(headers, client[0] if client else None), False

    def _anonymous(self, headers: Headers, client: str | None) -> Principal | None:
        """Who asks without a key; what comes through a proxy may come from anywhere."""
        if not self._access.is_open or any(name in headers for name in FORWARDED):
            return None
        return self._access.anonymous(client)

    def _learn_host(self, host: bytes) -> None:
        """Remember a Host header that names us.

        Raises:
            Refused: It names somebody else: a name of theirs that was made to point here.
        """
        name = _without_port(host)
        if name not in self._names and not (self._any_address and _is_address(name)):
            detail = "The Host header names another server; TREADLE_ALLOWED_HOSTS says which names are ours."
            raise Refused(400, "Unknown host", detail, "host")
        if len(self._hosts) < MOST_HOSTS:  # one name with all its ports shall not fill the memory
            self._hosts.add(host)

    def _check_origin(self, origin: bytes | None, host: bytes, *, needed: bool) -> None:
        """Refuse what a page of somebody else's made a browser send.

        Raises:
            Refused: The request comes from another page than ours, or from a session that does not say where from.
        """
        if origin is None and not needed:
            return
        scheme, _, place = (origin or b"").lower().partition(b"://")
        ours = place == host.lower() or _without_port(place) in self._listed
        if not ours or scheme not in (b"http", b"https"):
            raise Refused(403, "Forbidden", "The request was sent from a page that is not ours.", "origin")

    def _note(self, scope: Scope, rule: Rule | None, error: Refused | Denied) -> None:
        """Tell the audit of a refusal, by the route's pattern: paths and methods may be invented."""
        if error.reason is None:
            return
        principal = scope["state"]["principal"]
        key_id = error.key_id if isinstance(error, Denied) else principal and principal.key_id
        self._access.refusals.note(key_id, _route_of(rule, _method_of(scope)), error.reason)


def _own_names(settings: Settings) -> set[str]:
    """The names and addresses under which the service listens, as Host headers write them."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {*LOOPBACK_NAMES, host.lower(), *([gethostname().lower()] if settings.host in ANY_ADDRESS else [])}


def _headers_of(rule: Rule | None) -> tuple[tuple[bytes, bytes], ...]:
    """What a browser is told about a page, by where it comes from."""
    if rule is None or not rule.route.startswith("/reports/"):
        return PAGE_HEADERS
    return LOOK_HEADERS if "/looks/" in rule.route else REPORT_HEADERS


def _method_of(scope: Scope) -> str:
    return "WEBSOCKET" if scope["type"] == "websocket" else scope["method"]


def _route_of(rule: Rule | None, method: str) -> str:
    """What logs and the audit call a request."""
    return f"{method} {rule.route}" if rule is not None and method in rule.roles else "no route"


def _refuse_repeated(headers: list[tuple[bytes, bytes]]) -> None:
    """Refuse two headers of one name where another reader could take the other one.

    Raises:
        Refused: There are two.
    """
    names = [name for name, _ in headers]
    if any(names.count(name) > 1 for name in ONCE):
        raise Refused(400, "Malformed request", "A header that says who or where is there twice.", None)


def _key_of(headers: Headers) -> bytes | None:
    """The key that a request carries, if any."""
    said = headers.get(b"authorization")
    if said is not None and said[:7].lower() == b"bearer ":
        return said[7:].strip()
    return headers.get(b"x-api-key")


def _session_of(cookie: bytes | None) -> bytes | None:
    """Our cookie's value out of all that a browser sends."""
    if cookie is None:
        return None
    for part in cookie.split(b";"):
        name, _, value = part.strip().partition(b"=")
        if name == COOKIE_NAME:
            return value
    return None


def _without_port(host: bytes) -> str:
    """The name in a Host header, lower case; nothing if it has no right form.

    >>> _without_port(b"[::1]:8000"), _without_port(b"Localhost"), _without_port(b"a:b")
    ('[::1]', 'localhost', '')
    """
    text = host.decode("latin-1").lower()
    end = text.find("]") + 1 if text.startswith("[") else text.find(":")
    name, rest = (text, "") if end < 0 else (text[:end], text[end:])
    return name if not rest or (rest[0] == ":" and rest[1:].isdecimal()) else ""


def _is_address(name: str) -> bool:
    """Whether a name is an IP address: no name server is asked for those, so nobody can have made it point here."""
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _check_project(principal: Principal, rule: Rule, project: str | None) -> None:
    """Show a bound key nothing but its own projects.

    Raises:
        Refused: It is another's project, which looks as if it were not there, all of them at once, or none of any.
    """
    if rule.by_project and not principal.sees(project or ""):
        raise Refused(404, "Not found", "No model of that name is served; /v1/models lists them.", "project")
    if rule.of_ready and not principal.sees(READY):
        raise Refused(403, "Forbidden", NOT_READY, "project")
    if rule.whole:
        raise Refused(403, "Forbidden", "This shows all projects, and this key is for some of them.", "project")


async def _refuse(scope: Scope, receive: Receive, send: Send, error: Refused | Denied) -> None:
    """Answer what does not come in; a browser without a session is shown the way to one."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error.title})
        return
    headers = {"WWW-Authenticate": "Bearer"} if error.status == UNAUTHORIZED else getattr(error, "headers", None)
    response = problem(error.status, error.title, str(error), scope["path"], headers)
    if error.status == UNAUTHORIZED and _wants_page(scope):
        response = RedirectResponse("/login", status_code=303)
    await response(scope, receive, send)


def _wants_page(scope: Scope) -> bool:
    """Whether a person looks: a GET whose first wish is HTML."""
    accept = dict(scope["headers"]).get(b"accept", b"")
    return scope["type"] == "http" and scope["method"] == "GET" and accept.startswith(b"text/html")
