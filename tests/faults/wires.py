"""Addresses that are odd, and HTTP itself, broken: what a parser must not read two ways."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from tests.faults.case import CANARY, Case, good_body
from tests.faults.connection import http
from tests.faults.installation import MODEL
from tests.faults.routes import ROUTES, V1

NAMES = (
    "..", ".", "...", "../..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e", "%2e%2e%2f%2e%2e%2f",
    "..%252f..%252f", "..%5c..%5c",
    "..\\..\\", "%00", "a%00b", "energy%00", "energy%2f", "energy%20", "energy/", "energy//", "ENERGY", "energy;a=b",
    "energy?", "%", "%zz",
    "%ff%fe", "%c0%ae%c0%ae", "%ed%a0%80", "%e2%80%ae", "%0d%0aSet-Cookie:%20a=b", "%0a", "<script>alert(1)</script>",
    "%3Cscript%3E",
    "'%20OR%201=1--", "a" * 64, "a" * 300, "a" * 5_000, "a" * 60_000, "CON", "nul", "~root", "$HOME", "`id`",
    "{{7*7}}", "*", "energy@champion",
    "%F0%9F%98%80", "-1", "0", "1e9", "9" * 400, "http://127.0.0.1/", "//127.0.0.1/", "ledger.db", "..%2fledger.db",
    "..%2f..%2fsecret.txt",
    "..%2fsecret.txt", "%2fetc%2fpasswd", CANARY,
)  # fmt: skip
"""Names of models, versions and files as only an attacker writes them."""
PLACES = (
    "/v1/models/{}", "/v1/models/{}/predict", "/v1/models/{}/feedback", "/v1/models/{}/invocations", "/v2/models/{}",
    "/v2/models/{}/ready",
    "/v2/models/{}/infer", f"/v2/models/{MODEL}/versions/{{}}/infer", f"/v2/models/{MODEL}/versions/{{}}",
    "/reports/{}", "/page/{}", "/{}",
)  # fmt: skip


def addresses() -> Iterator[Case]:
    body = good_body(ROUTES[0])
    for name in NAMES:
        for place in PLACES:
            path = place.format(name)
            yield Case(f"GET {path[:50]}", http("GET", path))
            if place.startswith("/v"):
                yield Case(f"POST {path[:50]}", http("POST", path, body))
    served = (
        "/",
        "/docs",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/console.json",
        "/v1/models",
        V1,
        f"{V1}/predict",
    )
    for path in served:
        for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD", "PROPFIND", "BREW", "get", "G" * 300):
            yield Case(f"{method[:10]} {path}", http(method, path), framing=True)


def wires() -> Iterator[Case]:
    """HTTP itself, broken: what a parser must not read two ways."""
    path, body = ROUTES[0].path, good_body(ROUTES[0])
    size = f"Content-Length: {len(body)}\r\n"

    def head(lines: str, version: str = "HTTP/1.1", first: str | None = None, end: str = "\r\n") -> bytes:
        return f"{first or f'POST {path}'} {version}\r\n{lines}{end}".encode("latin-1")

    host = "Host: 127.0.0.1\r\n"
    odd_lines = (
        "Content-Length: -1\r\n", "Content-Length: +5\r\n", "Content-Length: 0x10\r\n", "Content-Length: 1e3\r\n",
        "Content-Length:\r\n",
        "Content-Length: " + "9" * 30 + "\r\n", "Content-Length: 99999999999\r\n", f"{size}Content-Length: 3\r\n",
        f"{size}{size}",
        f"{size}Transfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: x\r\n", "Transfer-Encoding:  chunked\r\nTransfer-Encoding: chunked\r\n",
        f"{size} folded: line\r\n",
        f"{size}no colon\r\n", f"{size}: no name\r\n", f"{size}a b: c\r\n", f"{size}name : c\r\n",
        f"{size}n\x00: c\r\n", f"{size}n: \x00\r\n",
        f"{size}n: \xe9\xff\r\n", f"{size}n: " + "a" * 20_000 + "\r\n", f"{size}n: " + "a" * 200_000 + "\r\n",
        size + "n: a\r\n" * 1_000,
        size + "".join(f"n{k}: a\r\n" for k in range(20_000)), f"{size}Host: other\r\n", f"{size}Expect: {CANARY}\r\n",
        f"{size}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n",
        f"{size}Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n",
        f"{size}Connection: {CANARY}\r\n",
        f"{size}Authorization: {CANARY}\r\n", f"{size}Authorization: Bearer {CANARY}\r\n",
        f"{size}Authorization: Bearer \xff\xff\r\n",
        f"{size}Authorization: Basic !!!\r\n", f"{size}Authorization: Bearer " + "a" * 10_000 + "\r\n",
        f"{size}Cookie: {CANARY}=" + "a" * 8_000 + "\r\n",
        f"{size}X-Forwarded-For: {CANARY}\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: javascript\r\n",
        f"{size}Range: bytes=0-\r\n",
        f"{size}Inference-Header-Content-Length: 99999999\r\n", f"{size}Inference-Header-Content-Length: -1\r\n",
        f"{size}Inference-Header-Content-Length: {CANARY}\r\n", f"{size}traceparent: {CANARY}\r\n",
        f"{size}traceparent: 00-{'0' * 32}-{'0' * 16}-00\r\n",
        f"{size}X-HTTP-Method-Override: DELETE\r\n", f"{size}If-Modified-Since: {CANARY}\r\n",
        f"{size}Content-Type: application/json\r\nContent-Type: text/csv\r\n",
    )  # fmt: skip
    for lines in odd_lines:
        yield Case(f"wire: {lines[-40:]!r}", head(host + lines) + body, framing=True)
    chunked = head(host + "Transfer-Encoding: chunked\r\n")
    for chunks in (
        b"x\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"5\r\nabc", b"0\r\n", b"0\r\n\r\n",
        b"3;" + b"a" * 20_000 + b"\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcdef\r\n0\r\n\r\n", b"0\r\nTrailer: " + CANARY.encode() + b"\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
    ):  # fmt: skip
        yield Case(f"wire: chunk {chunks[:20]!r}", chunked + chunks + b"\r\n\r\n", framing=True)
    whole = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in body) + b"0\r\n\r\n"
    yield Case("wire: a byte a chunk", chunked + whole, ROUTES[0])
    first_lines = (
        "POST", f"POST  {path}", f"POST\t{path}", f"POST {path} x", "POST *", "OPTIONS *", "CONNECT 127.0.0.1:22",
        f"POST http://other{path}",
        f"POST //{path}", f"POST {path}\x00", f"POST {path} ", "POST ", f"\x16\x03\x01{path}", f"POST {path}\xe9",
        "POST " + "/a" * 40_000,
        f"POST {path}?{'a' * 70_000}",
    )  # fmt: skip
    for first in first_lines:
        yield Case(f"wire: {first[:30]!r}", head(host + size, first=first) + body, framing=True)
    for version in (
        "HTTP/1.0",
        "HTTP/0.9",
        "HTTP/2.0",
        "HTTP/9.9",
        "HTTP/1.1 ",
        "http/1.1",
        "FTP/1.0",
        "HTTP/",
        "HTTP/1.10",
        "",
    ):
        yield Case(f"wire: {version}", head(host + size, version) + body, framing=True)
    yield Case("wire: no host", head(size) + body, framing=True)
    yield Case("wire: line feeds only", (head(host + size).replace(b"\r\n", b"\n")) + body, framing=True)
    yield Case("wire: empty lines before", b"\r\n" * 50 + head(host + size) + body, framing=True)
    yield Case("wire: the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 9, framing=True)
    yield Case("wire: TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 500, framing=True)
    yield Case("wire: bytes", bytes(range(256)) * 40, framing=True)
    yield Case("wire: 100-continue", head(host + size + "Expect: 100-continue\r\n") + body, ROUTES[0])
    yield Case("wire: quoted name", http("POST", f"/v1/models/{quote(MODEL)}/predict", body), ROUTES[0])
