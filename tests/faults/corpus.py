"""Bad requests by the thousand, made by rule from the model's columns and the table of routes: the same at every run.

Every case that can carries `CANARY` where a caller's data is; no reply and no log line may ever repeat it.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from tests.faults.client import http
from tests.faults.installation import MODEL, columns, rows
from tests.faults.routes import COLUMNAR, ROUTES, V1, Route

CANARY = "kanarie7f3a"
STRANGER = "fremd7f3a"
"""The name of a column that the model does not have: a name may be told, to help who misspelled it, but not a value."""
HOLE = "@hole@"


@dataclass(frozen=True, slots=True)
class Case:
    """One bad request.

    Attributes:
        name: What is odd about it.
        request: Its bytes.
        route: Whose answer it gets; `None` where the address itself is odd.
        refused: Whether it must get a 4xx; else it may be harmless.
        accepted: Whether it must get a 200: it is odd only to look at.
        framing: Whether HTTP itself is broken: then closing the connection is an answer too.
    """

    name: str
    request: bytes
    route: Route | None = None
    refused: bool = False
    accepted: bool = False
    framing: bool = False


NOT_JSON = (
    b"NaN", b"Infinity", b"-Infinity", b"nan", b"0x10", b"01", b"+1", b".5", b"5.", b"1_000", b"1,5", b"--1", b"1e",
    b"undefined",
    b"None", b"True", b"'x'", b'"\\x41"', b'"\\u12"', b'"\x00"', b'"\x01' + CANARY.encode() + b'"', b'"line\nbreak"',
    b'"\xff' + CANARY.encode() + b'"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xf0\x9f\x98"',
    b'"\\ud800"', b'"\\udc00' + CANARY.encode() + b'"', b'"\\udc00\\ud800"', b'"open', b"[1", b'{"a"', b"/*c*/1",
    b"1//c",
    b"[" * 1_000, b"[" * 100_000, b'{"a":' * 1_000, b"[" * 1_000 + b"]" * 999,
)  # fmt: skip
"""Literals that are not JSON (RFC 8259) in UTF-8, or not Unicode text: refused wherever they stand."""

NEVER = (
    b"1e999", b"-1e999", b"9" * 400, b"-" + b"9" * 5_000, b"9" * 100_000, b"[]", b"[1]", b"{}", b"[[[]]]", b"[null]",
    b"[" * 900 + b"]" * 900, b'{"a":' * 400 + b"1" + b"}" * 400, b'{"%s": "%s"}' % (STRANGER.encode(), CANARY.encode()),
    b'["%s"]' % CANARY.encode(), json.dumps("x" * 10_001).encode(), json.dumps(CANARY * 20_000).encode(),
)  # fmt: skip
"""JSON that no column of any kind takes."""

NOT_NUMBERS = (
    b"true", b"false", b'"%s"' % CANARY.encode(), b'"1"', b'"NaN"', b'"inf"', b'"1e5"', b'"0x1F"', b'" 1"',
    "\"１２\"".encode(),
    b'"\\u0000"', b'"12,5"',
)  # fmt: skip
NOT_TRUTHS = (b"2", b"-1", b"0.5", b'"%s"' % CANARY.encode(), b'"TRUE "', b'"0"', b'"null"', b"1e308")
NOT_TIMES = (
    b"1", b"0.5", b"true", b"-1e308", b'"%s"' % CANARY.encode(), b'"2011-13-01"', b'"2011-02-30"', b'"0000-00-00"',
    b'"0001-01-01"', b'"9999-12-31T23:59:59"', b'"2011-01-01T25:00:00"', b'"2011-01-01T00:00:00+99:99"', b'"infinity"',
    b'"-2000-01-01"', b'"now"', b'"12:00"', b'"2011-01-01T00:00:00' + b"0" * 500 + b'"', b'"31/12/2011"', b'"\\u0000"',
    "\"２０１１-01-01\"".encode(), b'"1899-12-31"', b'"2201-01-01"',
)  # fmt: skip
NOT_TEXT = (b"1", b"0.5", b"true", b"false", b"-9007199254740993")
ODD = (
    b"null", b'""', b"-0", b"0", b"1", b"1e308", b"-1e308", b"5e-324", b"1e-400", b"9007199254740993",
    b"18446744073709551616",
    b"0.1000000000000000055511151231257827021181583404541015625", b"1E+2", b'"\\u0000"', b'"\\u202e\\u200b\\ufeff"',
    '"\U0001f600\u202eé"'.encode(), b'" "', b'"\\n\\t\\r"', b'"2011-W01-1"', b'"20110101T000000Z"', b'"2011-01-01"',
    b'"</script><script>alert(1)</script>"', b'"\'; DROP TABLE predictions; --"', b'"%s%n%x"',
    b'"${jndi:ldap://127.0.0.1/a}"',
    b'"{{7*7}}"', b'"=cmd|\' /C calc\'!A0"', b'"../../../../etc/passwd"', b'"\\u000d\\u000aSet-Cookie: a=b"',
    b'"Robert\\u0000"',
    json.dumps("y" * 9_999).encode(), b'"file:///etc/passwd"', b'"http://169.254.169.254/latest"',
)  # fmt: skip
"""JSON that some column may take: no demand but that nothing breaks."""
_OF_KIND = {
    "number": NOT_NUMBERS, "integer": NOT_NUMBERS, "boolean": NOT_TRUTHS, "datetime": NOT_TIMES, "category": NOT_TEXT,
}  # fmt: skip


def cases(routes: Sequence[Route]) -> Iterator[Case]:
    """All of them, for the routes that the service has."""
    for route in routes:
        yield from _values(route)
        yield from _documents(route)
        yield from _frames(route)
        yield from _types(route)
    yield from _own_documents()
    yield from _feedback()
    yield from _addresses()
    yield from _wires()


def sample(routes: Sequence[Route], count: int, seed: int) -> list[Case]:
    """Some of them, of every sort."""
    everything = list(cases(routes))
    return random.Random(seed).sample(everything, min(count, len(everything)))


def mutants(routes: Sequence[Route], count: int, seed: int) -> Iterator[Case]:
    """Good bodies with some bytes flipped, cut, doubled or spliced at random; the length in the header is right."""
    chance = random.Random(seed)
    good = [(route, json.dumps(route.wrap(rows()[:3])).encode()) for route in routes]
    words = (
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\\",
        b"null",
        b"NaN",
        b"1e999",
        b"\x00",
        b"\xff",
        b"\\ud800",
        b"-",
        b".",
        b"e",
    )
    for number in range(count):
        route, body = chance.choice(good)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(body) + 1)
            match chance.randrange(7):
                case 0:
                    body = body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :]
                case 1:
                    body = body[:at] + chance.choice(words) + body[at:]
                case 2:
                    body = body[:at] + body[at + chance.randint(1, 30) :]
                case 3:
                    body = body[:at] + body[max(0, at - chance.randint(1, 40)) :]
                case 4 | 5:
                    digits = [k for k in range(len(body)) if body[k : k + 1].isdigit()]
                    at = chance.choice(digits or [0])
                    body = body[:at] + str(chance.randrange(10)).encode() + body[at + 1 :]
                case _:
                    other = chance.choice(good)[1]
                    body = body[:at] + other[chance.randrange(len(other)) :]
        yield Case(f"mutant {number}", _post(route, body), route)


def columnar_mutants(count: int, seed: int) -> Iterator[Case]:
    """Arrow and Parquet bodies with bytes changed, or cut short, at random."""
    chance = random.Random(seed)
    good = list(_columnar().items())
    for number in range(count):
        kind, whole = chance.choice(good)
        body = bytearray(whole)
        for _ in range(chance.choice((1, 1, 4, 32))):
            body[chance.randrange(len(body))] = chance.choice((0, 127, 128, 255, chance.randrange(256)))
        if chance.random() < 0.2:
            del body[chance.randrange(len(body)) :]
        yield Case(f"{kind} {number}", _post(COLUMNAR, bytes(body), Content_Type=kind), COLUMNAR)


def _columnar() -> dict[str, bytes]:
    """Good bodies by their Content-Type."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    times = pa.field("read at", pa.timestamp("us"))
    table = pa.Table.from_pylist([dict(row) for row in rows()[:20]])
    place = table.schema.get_field_index("read at")
    table = table.set_column(place, times, table["read at"].cast(times.type))
    bodies = {}
    for kind, make in (("stream", pa.ipc.new_stream), ("file", pa.ipc.new_file)):
        sink = pa.BufferOutputStream()
        with make(sink, table.schema) as writer:
            writer.write_table(table)
        bodies[f"application/vnd.apache.arrow.{kind}"] = sink.getvalue().to_pybytes()
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bodies | {"application/vnd.apache.parquet": sink.getvalue().to_pybytes()}


def _post(route: Route, body: bytes, **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http("POST", route.path, body, {**route.headers, **named})


def _good(route: Route, count: int = 2) -> bytes:
    return json.dumps(route.wrap(rows()[:count])).encode()


def _values(route: Route) -> Iterator[Case]:
    """Odd literals in each column's place."""
    for column in columns():
        with_hole = [*rows()[:1], {**rows()[1], column.name: HOLE}]
        body = json.dumps(route.wrap(with_hole)).encode()
        hole = json.dumps(HOLE).encode()
        if hole not in body:
            continue
        wrong = _OF_KIND[column.kind]
        for literals, refused in ((NOT_JSON, True), (NEVER, route.own), (wrong, route.own), (ODD, False)):
            for literal in literals:
                name = f"{route.name}: {literal[:30]!r} as {column.kind}"
                missing = literal == b"NaN" and route.name.startswith("mlflow")  # as MLflow's clients write it
                yield Case(name, _post(route, body.replace(hole, literal)), route, refused and not missing)


def _documents(route: Route) -> Iterator[Case]:
    """Documents that are broken as a whole, whatever the protocol."""
    good = _good(route)
    broken = {
        "nothing": b"", "spaces": b" \n\t ", "a word": CANARY.encode(), "a text": b'"%s"' % CANARY.encode(),
        "a number": b"7",
        "null": b"null", "true": b"true", "an empty list": b"[]", "a list of lists": b"[[1,2],[3]]",
        "an empty object": b"{}",
        "twice": good + good, "a trailing comma": good[:-1] + b",}", "a comment": b"/* */" + good,
        "garbage behind": good + b"x",
        "NUL behind": good + b"\x00", "NUL before": b"\x00" + good, "BOM": b"\xef\xbb\xbf" + good,
        "deep lists": b"[" * 200_000, "deep objects": b'{"rows":' * 50_000,
        "deep and closed": b"[" * 50_000 + b"]" * 50_000,
        "a million commas": b"[" + b"," * 1_000_000 + b"]",
        "XML": b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
        "YAML": b"rows: [1]", "a pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00.",
        "a PNG": b"\x89PNG\r\n\x1a\n" + b"\x00" * 50,
        "gzip": gzip.compress(good), "deflate": zlib.compress(good), "an extra first brace": b"{" + good,
    }  # fmt: skip
    for name, body in broken.items():
        yield Case(f"{route.name}: {name}", _post(route, body), route, refused=True)
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-7", "cp500"):
        yield Case(
            f"{route.name}: {encoding}", _post(route, good.decode().encode(encoding)), route, encoding != "utf-7"
        )
    for at in range(1, len(good), max(1, len(good) // 40)):
        yield Case(f"{route.name}: cut at {at}", _post(route, good[:at]), route, refused=True)
    for at in range(0, len(good), max(1, len(good) // 40)):
        yield Case(f"{route.name}: 0xff at {at}", _post(route, good[:at] + b"\xff" + good[at:]), route, refused=True)
    yield Case(f"{route.name}: no rows", _post(route, json.dumps(route.wrap([])).encode()), route, refused=True)
    many = json.dumps(route.wrap(rows()[:1] * 10_001)).encode()
    yield Case(f"{route.name}: too many rows", _post(route, many), route, refused=True)
    for key in [*json.loads(good), STRANGER, "", "__proto__", "constructor", "\ud83d\ude00", "a" * 5_000]:
        doubled = b"{" + json.dumps(key).encode() + b": 1, " + good[1:]
        yield Case(
            f"{route.name}: a second {key[:20]!r}", _post(route, doubled), route, key in json.loads(good) and route.own
        )


def _frames(route: Route) -> Iterator[Case]:
    """Tables of the wrong shape: columns that are missing, extra, renamed, twice, of other lengths."""
    if route.name == "feedback":
        return
    first, second = dict(rows()[0]), dict(rows()[1])
    for column in columns():
        name = column.name
        without = {key: value for key, value in second.items() if key != name}
        odd = {
            "upper case": {**without, name.upper() + "!": second[name]}, "a space behind": {**without,
            f"{name} ": second[name]},
            "a column too many": {**second, STRANGER: CANARY},
            "a stranger instead": {**without, STRANGER: second[name]},
        }  # fmt: skip
        if route.own:
            yield Case(
                f"{route.name}: no {name!r}", _post(route, json.dumps({"rows": [first, without]}).encode()), route, True
            )
            for what, row in odd.items():
                yield Case(
                    f"{route.name}: {what}", _post(route, json.dumps({"rows": [first, row]}).encode()), route, True
                )
            twice = json.dumps({"rows": [first, second]})[:-3] + f", {json.dumps(name)}: null}}]}}"
            yield Case(f"{route.name}: {name!r} twice", _post(route, twice.encode()), route, True)
        document = json.loads(_good(route))
        for breaker in (_drop_name, _rename, _null_all, _shorten):
            broken = breaker(document, name)
            if broken != document:
                yield Case(
                    f"{route.name}: {breaker.__name__} {name!r}", _post(route, json.dumps(broken).encode()), route
                )


def _drop_name(document: object, name: str) -> object:
    """Every mention of a name left out."""
    if isinstance(document, dict):
        return {key: _drop_name(value, name) for key, value in document.items() if key != name}
    if isinstance(document, list):
        return [_drop_name(value, name) for value in document if value != name]
    return document


def _rename(document: object, name: str) -> object:
    """Every mention of a name replaced by a stranger's."""
    if isinstance(document, dict):
        return {STRANGER if key == name else key: _rename(value, name) for key, value in document.items()}
    if isinstance(document, list):
        return [_rename(value, name) for value in document]
    return STRANGER if document == name else document


def _null_all(document: object, name: str) -> object:
    """Whatever the name holds is null."""
    if isinstance(document, dict):
        return {key: None if key == name else _null_all(value, name) for key, value in document.items()}
    return [_null_all(value, name) for value in document] if isinstance(document, list) else document


def _shorten(document: object, name: str) -> object:
    """Every list with the name in it, and what belongs to the name, one shorter."""
    if isinstance(document, dict):
        mine = document.get("name") == name
        return {
            key: value[:-1] if isinstance(value, list) and (mine or key == name) else _shorten(value, name)
            for key, value in document.items()
        }
    if isinstance(document, list):
        return document[:-1] if name in document else [_shorten(value, name) for value in document]
    return document


def _types(route: Route) -> Iterator[Case]:
    """Content types and encodings that do not fit the body."""
    good = _good(route)
    bomb = gzip.compress(b" " * 20_000_000)
    for kind in (
        "text/plain", "text/csv", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data",
        "multipart/form-data; boundary=", "application/octet-stream", "application/vnd.apache.arrow.stream",
        "application/vnd.apache.parquet", "application/json; charset=utf-16", "application/json; charset=bogus",
        "application/jsonl",
        "json", "", "/", "application/", "; ;", "application/json, text/csv", "a" * 5_000,
        "application/json;" + "a=b;" * 500, CANARY,
    ):  # fmt: skip
        yield Case(f"{route.name}: as {kind[:30]!r}", _post(route, good, Content_Type=kind), route)
    for encoding, body in (
        ("gzip", gzip.compress(good)), ("gzip", bomb), ("gzip", good), ("deflate", zlib.compress(good)),
        ("deflate", bomb),
        ("br", good), ("zstd", good), ("identity", good), ("gzip, gzip", gzip.compress(gzip.compress(good))),
        (CANARY, good),
        ("gzip", gzip.compress(good)[:-8]), ("gzip", gzip.compress(good) + b"x" * 99),
    ):  # fmt: skip
        yield Case(f"{route.name}: encoded {encoding}", _post(route, body, Content_Encoding=encoding), route)
    for accept in ("text/html", "*/*;q=0", "application/json;version=" + "9" * 300, "", "\xe9"):
        yield Case(f"{route.name}: accepts {accept[:20]!r}", _post(route, good, Accept=accept), route)
    for path in (
        "?explain=",
        "?explain=" + CANARY,
        "?explain=true&explain=false",
        "?" + "a=b&" * 2_000,
        "?%00",
        "?a[]=1",
        "?;",
        "#x",
    ):
        odd = Route(route.name, route.path + path, route.wrap, route.error, route.numbers, route.own, route.headers)
        yield Case(f"{route.name}: {path[:30]}", _post(odd, good), route)


def _own_documents() -> Iterator[Case]:
    """What only our own predict body has: ids and times."""
    route, some = ROUTES[0], list(rows()[:2])
    odd_ids = [
        [], ["a"], ["a", "a"], ["a", ""], ["a", "b", "c"], [CANARY, 1], [None, None], "ab", {"a": 1}, 7, True, ["a",
        "x" * 129],
        ["a", CANARY * 10_000], ["a", "b\x00"], ["a", "b\n"], ["a", "\u202eb"], ["a", [CANARY]], [["a"], ["b"]],
    ]  # fmt: skip
    odd_times = [
        CANARY,
        7,
        True,
        [],
        {},
        ["2011-01-01"],
        ["2011-01-01", CANARY],
        "",
        "0000-00-00",
        "2011-01-01T00:00:00+99:00",
        [None, None],
    ]
    odd_rows = [
        None, 1, "rows", CANARY, {}, {"0": some[0]}, [[]], [None], [1, 2], [CANARY], [[1, 2]], [some], [[some[0]]],
        [{}], [{STRANGER: CANARY}],
        [some[0], None], [some[0], []], [some[0], CANARY], [some[0], list(some[0].values())],
    ]  # fmt: skip
    for key, values in (("ids", odd_ids), ("at", odd_times), ("rows", odd_rows)):
        for value in values:
            body = json.dumps({"rows": some, key: value}).encode()
            yield Case(f"predict: odd {key}", _post(route, body), route, refused=True)
    for extra in (STRANGER, "row", "Rows", "ROWS", "explain", "x" * 100_000, "", "\u0000"):
        body = json.dumps({"rows": some, extra: CANARY}).encode()
        yield Case("predict: an unknown key", _post(route, body), route, refused=True)


def _feedback() -> Iterator[Case]:
    """Labels of nobody, of the wrong kind, in the wrong place."""
    route = next(route for route in ROUTES if route.name == "feedback")
    hole = json.dumps(HOLE).encode()
    for key in ("id", "label", "at"):
        body = json.dumps({"labels": [{"id": "nobody", "label": 1.5, "at": "2024-01-01", key: HOLE}]}).encode()
        for literal in (*NOT_JSON, *NEVER, *NOT_NUMBERS, *NOT_TIMES, *ODD):
            yield Case(
                f"feedback: {literal[:30]!r} as {key}", _post(route, body.replace(hole, literal)), route, refused=True
            )
    for labels in (
        None,
        1,
        CANARY,
        {},
        [None],
        [1],
        [CANARY],
        [[]],
        [{}],
        [{"id": "a"}],
        [{"label": 1}],
        [{"id": "a", "label": 1, STRANGER: CANARY}],
    ):
        yield Case("feedback: odd labels", _post(route, json.dumps({"labels": labels}).encode()), route, refused=True)
    for keep in (1, "true", None, [], CANARY):
        body = json.dumps({"labels": [{"id": "nobody", "label": 1.5}], "keep_early": keep}).encode()
        yield Case("feedback: odd keep_early", _post(route, body), route, refused=True)


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


def _addresses() -> Iterator[Case]:
    body = _good(ROUTES[0])
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


def _wires() -> Iterator[Case]:
    """HTTP itself, broken: what a parser must not read two ways."""
    path, body = ROUTES[0].path, _good(ROUTES[0])
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
