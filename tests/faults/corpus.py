"""Bad requests by the thousand, made by rule from the model's columns and the table of routes: the same at every run.

Every case that can carries `CANARY` where a caller's data is; no reply and no log line may ever repeat it.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Iterator, Sequence
from functools import partial

from tests.faults.case import CANARY, STRANGER, Case, good_body, post
from tests.faults.installation import columns, rows
from tests.faults.literals import NEVER, NOT_JSON, NOT_NUMBERS, NOT_TIMES, ODD, OF_KIND
from tests.faults.routes import ROUTES, Route
from tests.faults.wires import addresses, wires

HOLE = "@hole@"
squeezed = partial(gzip.compress, mtime=0)  # without the moment in its header: the same at every run


def cases(routes: Sequence[Route]) -> Iterator[Case]:
    """All of them, for the routes that the service has."""
    for route in routes:
        yield from _values(route)
        yield from _documents(route)
        yield from _frames(route)
        yield from _types(route)
    yield from _own_documents()
    yield from _feedback()
    yield from addresses()
    yield from wires()


def sample(routes: Sequence[Route], count: int, seed: int) -> list[Case]:
    """Some of them, of every sort."""
    everything = list(cases(routes))
    return random.Random(seed).sample(everything, min(count, len(everything)))


def _values(route: Route) -> Iterator[Case]:
    """Odd literals in each column's place."""
    for column in columns():
        with_hole = [*rows()[:1], {**rows()[1], column.name: HOLE}]
        body = json.dumps(route.wrap(with_hole)).encode()
        hole = json.dumps(HOLE).encode()
        if hole not in body:
            continue
        wrong = OF_KIND[column.kind]
        for literals, refused in ((NOT_JSON, True), (NEVER, route.own), (wrong, route.own), (ODD, False)):
            for literal in literals:
                name = f"{route.name}: {literal[:30]!r} as {column.kind}"
                missing = literal == b"NaN" and route.name.startswith("mlflow")  # as MLflow's clients write it
                yield Case(name, post(route, body.replace(hole, literal)), route, refused and not missing)


def _documents(route: Route) -> Iterator[Case]:
    """Documents that are broken as a whole, whatever the protocol."""
    good = good_body(route)
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
        "gzip": squeezed(good), "deflate": zlib.compress(good), "an extra first brace": b"{" + good,
    }  # fmt: skip
    for name, body in broken.items():
        yield Case(f"{route.name}: {name}", post(route, body), route, refused=True)
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-7", "cp500"):
        yield Case(f"{route.name}: {encoding}", post(route, good.decode().encode(encoding)), route, encoding != "utf-7")
    for at in range(1, len(good), max(1, len(good) // 40)):
        yield Case(f"{route.name}: cut at {at}", post(route, good[:at]), route, refused=True)
    for at in range(0, len(good), max(1, len(good) // 40)):
        yield Case(f"{route.name}: 0xff at {at}", post(route, good[:at] + b"\xff" + good[at:]), route, refused=True)
    yield Case(f"{route.name}: no rows", post(route, json.dumps(route.wrap([])).encode()), route, refused=True)
    many = json.dumps(route.wrap(rows()[:1] * 10_001)).encode()
    yield Case(f"{route.name}: too many rows", post(route, many), route, refused=True)
    for key in [*json.loads(good), STRANGER, "", "__proto__", "constructor", "\ud83d\ude00", "a" * 5_000]:
        doubled = b"{" + json.dumps(key).encode() + b": 1, " + good[1:]
        yield Case(
            f"{route.name}: a second {key[:20]!r}", post(route, doubled), route, key in json.loads(good) and route.own
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
                f"{route.name}: no {name!r}", post(route, json.dumps({"rows": [first, without]}).encode()), route, True
            )
            for what, row in odd.items():
                yield Case(
                    f"{route.name}: {what}", post(route, json.dumps({"rows": [first, row]}).encode()), route, True
                )
            twice = json.dumps({"rows": [first, second]})[:-3] + f", {json.dumps(name)}: null}}]}}"
            yield Case(f"{route.name}: {name!r} twice", post(route, twice.encode()), route, True)
        document = json.loads(good_body(route))
        for breaker in (_drop_name, _rename, _null_all, _shorten):
            broken = breaker(document, name)
            if broken != document:
                yield Case(
                    f"{route.name}: {breaker.__name__} {name!r}", post(route, json.dumps(broken).encode()), route
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
    good = good_body(route)
    bomb = squeezed(b" " * 20_000_000)
    for kind in (
        "text/plain", "text/csv", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data",
        "multipart/form-data; boundary=", "application/octet-stream", "application/vnd.apache.arrow.stream",
        "application/vnd.apache.parquet", "application/json; charset=utf-16", "application/json; charset=bogus",
        "application/jsonl",
        "json", "", "/", "application/", "; ;", "application/json, text/csv", "a" * 5_000,
        "application/json;" + "a=b;" * 500, CANARY,
    ):  # fmt: skip
        yield Case(f"{route.name}: as {kind[:30]!r}", post(route, good, Content_Type=kind), route)
    for encoding, body in (
        ("gzip", squeezed(good)), ("gzip", bomb), ("gzip", good), ("deflate", zlib.compress(good)),
        ("deflate", bomb),
        ("br", good), ("zstd", good), ("identity", good), ("gzip, gzip", squeezed(squeezed(good))),
        (CANARY, good),
        ("gzip", squeezed(good)[:-8]), ("gzip", squeezed(good) + b"x" * 99),
    ):  # fmt: skip
        yield Case(f"{route.name}: encoded {encoding}", post(route, body, Content_Encoding=encoding), route)
    for accept in ("text/html", "*/*;q=0", "application/json;version=" + "9" * 300, "", "\xe9"):
        yield Case(f"{route.name}: accepts {accept[:20]!r}", post(route, good, Accept=accept), route)
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
        yield Case(f"{route.name}: {path[:30]}", post(odd, good), route)


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
            yield Case(f"predict: odd {key}", post(route, body), route, refused=True)
    for extra in (STRANGER, "row", "Rows", "ROWS", "explain", "x" * 100_000, "", "\u0000"):
        body = json.dumps({"rows": some, extra: CANARY}).encode()
        yield Case("predict: an unknown key", post(route, body), route, refused=True)


def _feedback() -> Iterator[Case]:
    """Labels of nobody, of the wrong kind, in the wrong place."""
    route = next(route for route in ROUTES if route.name == "feedback")
    hole = json.dumps(HOLE).encode()
    for key in ("id", "label", "at"):
        body = json.dumps({"labels": [{"id": "nobody", "label": 1.5, "at": "2024-01-01", key: HOLE}]}).encode()
        for literal in (*NOT_JSON, *NEVER, *NOT_NUMBERS, *NOT_TIMES, *ODD):
            yield Case(
                f"feedback: {literal[:30]!r} as {key}", post(route, body.replace(hole, literal)), route, refused=True
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
        yield Case("feedback: odd labels", post(route, json.dumps({"labels": labels}).encode()), route, refused=True)
    for keep in (1, "true", None, [], CANARY):
        body = json.dumps({"labels": [{"id": "nobody", "label": 1.5}], "keep_early": keep}).encode()
        yield Case("feedback: odd keep_early", post(route, body), route, refused=True)
