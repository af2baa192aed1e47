"""Good bodies with bytes changed at random, by seed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence

from tests.faults.case import Case, post
from tests.faults.installation import rows
from tests.faults.routes import COLUMNAR, Route


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
        yield Case(f"mutant {number}", post(route, body), route)


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
        yield Case(f"{kind} {number}", post(COLUMNAR, bytes(body), Content_Type=kind), COLUMNAR)


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
