"""The fast lane over real sockets: what it answers is what the app would have answered, and in the order that was asked."""

import asyncio
import json
import socket
import threading
import time
from types import SimpleNamespace

import httpx
import numpy as np
import psutil
import pytest

from serving.answering import lane
from serving.answering.decode import decode_predict, to_columns
from serving.answering.lane import Lane
from serving.answering.typed import TypedRows
from serving.door.admission import TOO_MUCH, Overloaded
from serving.door.http import Connection
from serving.door.limits import SMALL_BYTES
from serving.models.champions import Champions
from serving.releasing.releases import Releases
from serving.telemetry.metrics import Metrics
from tests.serving.conftest import COLUMNS, ROW
from tests.serving.sockets import PREDICT, post, reply, served
from treadle.ledger import Exchange, Journal, Ledger
from treadle.ledger.journal import read_frames
from treadle.models.bundle import Manifest

pytestmark = pytest.mark.e2e
MANIFEST = Manifest(
    model="toy", problem="tabular-regression", family="linear", columns=COLUMNS, target="bikers", metric="mae"
)
BODIES = [
    {"rows": [ROW]},
    {"rows": [ROW | {"temp": 4}, ROW | {"season": None}, ROW | {"holiday": True}]},
    {"rows": [ROW | {"temp": None, "season": ""}]},
    {"rows": [ROW | {"when": "2024-02-29T12:00:00+02:00"}]},
    {"rows": [ROW | {"when": ""}]},
]
NOT_CLEAN = [
    {"rows": []},
    {"rows": [ROW], "ids": ["mine"]},
    {"rows": [ROW], "at": "2024-01-01"},
    {"rows": [ROW | {"holiday": "yes"}]},
    {"rows": [ROW | {"temp": "warm"}]},
    {"rows": [ROW | {"temp": True}]},
    {"rows": [ROW | {"when": "yesterday"}]},
    {"rows": [{k: v for k, v in ROW.items() if k != "temp"}]},
    {"rows": [ROW | {"extra": 1}]},
    [ROW],
]


@pytest.mark.parametrize("body", BODIES)
def test_a_clean_body_gives_the_same_columns_by_both_ways(body):
    content = json.dumps(body).encode()
    rows = TypedRows(MANIFEST).decode(content, 10)
    assert rows is not None
    quick, slow = TypedRows(MANIFEST).columns(rows), to_columns(decode_predict(content, 10).rows, MANIFEST)
    for name, values in slow.items():
        assert quick[name].dtype == values.dtype
        np.testing.assert_array_equal(quick[name], values)


@pytest.mark.parametrize("body", NOT_CLEAN)
def test_what_is_not_clean_is_left_to_the_app(body):
    assert TypedRows(MANIFEST).decode(json.dumps(body).encode(), 10) is None


@pytest.mark.parametrize(
    "content",
    [
        b'{"rows": [{"temp": 1, "temp": 2, "holiday": true, "when": null, "season": "summer"}]}',
        b'{"rows": [{"temp": 1e999, "holiday": true, "when": null, "season": "summer"}]}',
        b'{"rows": [{"temp": NaN, "holiday": true, "when": null, "season": "summer"}]}',
        b'{"rows": [{"temp": 1, "holiday": true, "when": null, "season": "\\ud800"}]}',
        b'\xff{"rows": []}',
        b"[" * 100_000,
        b"",
    ],
)
def test_what_is_hostile_is_left_to_the_app(content):
    assert TypedRows(MANIFEST).decode(content, 10) is None


def message(body: object, path: str = PREDICT, **headers: str) -> bytes:
    content = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "content-type: application/json", "", ""]).encode() + content


def replies(connection: socket.socket, count: int) -> list[tuple[int, dict]]:
    """Read some responses from a connection."""
    stream, found = connection.makefile("rb"), []
    for _ in range(count):
        status = int(stream.readline().split()[1])
        length = 0
        while (line := stream.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        found.append((status, json.loads(stream.read(length))))
    return found


@pytest.fixture
def address(home, serve):
    with serve(home.settings) as (_, address):
        yield address


def connect(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def test_lane_and_app_answer_alike(address):
    with httpx.Client(base_url=address) as client:
        for body in [*BODIES, *NOT_CLEAN]:
            quick = client.post(PREDICT, json=body)
            slow = client.post(PREDICT, json=body, headers={"x-request-id": "the-long-way"})
            if isinstance(body, dict) and "ids" in body:
                assert (quick.status_code, slow.status_code) == (200, 409)
                continue
            assert quick.status_code == slow.status_code
            if quick.status_code == 200:
                values = [[p["prediction"] for p in reply.json()["predictions"]] for reply in (quick, slow)]
                assert values[0] == values[1]
                assert quick.headers["content-type"] == slow.headers["content-type"]
                assert set(slow.headers) - set(quick.headers) <= {"x-request-id"}


def test_pipelined_requests_are_answered_in_order(address):
    bodies = [{"rows": [ROW | {"temp": float(n)}]} for n in range(6)]
    asked = [message(body) for body in bodies[:3]]
    asked.append(message({"rows": [ROW | {"temp": "warm"}]}))  # the app's
    asked += [message(body) for body in bodies[3:]]
    asked.insert(2, b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    with connect(address) as connection:
        connection.sendall(b"".join(asked))
        found = replies(connection, len(asked))
    assert [status for status, _ in found] == [200, 200, 200, 200, 422, 200, 200, 200]
    values = [reply["predictions"][0]["prediction"] for _, reply in found if "predictions" in reply]
    assert values == pytest.approx([1010.0 + n for n in range(6)])


def test_a_request_may_come_in_any_pieces(address):
    whole = message({"rows": [ROW]})
    with connect(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (whole[i : i + 7] for i in range(0, len(whole), 7)):
            connection.sendall(piece)
            time.sleep(0.001)
        ((status, _),) = replies(connection, 1)
    assert status == 200


def test_together_and_alone_give_the_same_and_each_its_own(address, home, eventually):
    alone = {n: httpx.post(address + PREDICT, json={"rows": [ROW | {"temp": n / 7}]}).json() for n in range(40)}
    found: dict[int, dict] = {}

    def call(begin: int) -> None:
        with httpx.Client(base_url=address) as client:
            for n in range(begin, 40, 8):
                found[n] = client.post(PREDICT, json={"rows": [ROW | {"temp": n / 7}]}).json()

    threads = [threading.Thread(target=call, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, answer in found.items():
        assert answer["predictions"][0]["prediction"] == alone[n]["predictions"][0]["prediction"]
    ids = {answer["predictions"][0]["id"] for answer in [*alone.values(), *found.values()]}
    assert len(ids) == 80
    eventually(lambda: {row.id for row in Ledger.open(home.settings).window("toy", 100)} == ids)


def test_slow_callers_are_cut_off_and_others_are_not(home, serve, eventually):
    with serve(home.settings, TREADLE_HEADERS_S="1", TREADLE_MESSAGE_S="2") as (process, address):
        (worker,) = psutil.Process(process.pid).children()
        slow = [connect(address) for _ in range(20)]
        for number, connection in enumerate(slow):
            connection.sendall(message({"rows": [ROW]})[: 30 if number % 2 else -5])
        with httpx.Client(base_url=address) as client:
            eventually(
                lambda: (
                    client.post(PREDICT, json={"rows": [ROW]}).status_code == 200
                    and len([c for c in worker.net_connections() if c.status == "ESTABLISHED"]) <= 1
                )
            )
        for connection in slow:
            connection.close()


class Noted:
    """A caller who notes what becomes of his request."""

    def __init__(self):
        self.got = None

    def answer(self, content):
        self.got = len(json.loads(content)["predictions"])

    def refuse(self, error):
        self.got = error.status

    def hand_over(self):
        self.got = "the long way"


def test_more_than_a_turn_can_do_is_refused_at_once_and_the_next_turn_is_free(home, monkeypatch):
    monkeypatch.setattr(lane, "FEWEST_WAITING", 100)
    champions = Champions(home.settings, home.ledger)
    champions.refresh()
    metrics, journal = Metrics(), Journal(home.settings.journal_dir)
    body = json.dumps({"rows": [ROW] * 40}).encode()

    async def turns(slow):
        taken = Lane(champions, journal, metrics, Releases(home.settings, home.ledger, champions))
        callers = []
        for _ in range(2):
            taken.flush()
            monkeypatch.setattr(lane, "TURN_S", 0.0 if slow else 60.0)
            callers.append([Noted() for _ in range(6)])
            for caller in callers[-1]:
                assert taken.take(caller, "toy", body)
        for _ in range(4):
            await asyncio.sleep(0)  # a turn each
        return [[caller.got for caller in turn] for turn in callers]

    assert asyncio.run(turns(slow=False)) == [[40] * 6] * 2
    assert asyncio.run(turns(slow=True)) == [[40] * 6, [40, 40, 40, 503, 503, 503]]  # a first turn knows no speed yet
    assert b"treadle_refused_total 3.0" in metrics.text()
    journal.close()


@pytest.mark.parametrize(("callers", "linger_s", "turns"), [(1, 60.0, 50), (1, 0.0, 1), (2, 60.0, 0)])
def test_the_loop_stays_awake_for_a_caller_alone_and_only_for_a_moment(home, monkeypatch, callers, linger_s, turns):
    monkeypatch.setattr(lane, "LINGER_S", linger_s)
    champions, journal = Champions(home.settings, home.ledger), Journal(home.settings.journal_dir)
    champions.refresh()
    body = json.dumps({"rows": [ROW]}).encode()

    async def looks():
        taken = Lane(champions, journal, Metrics(), Releases(home.settings, home.ledger, champions))
        looked = []
        monkeypatch.setattr(taken, "_look_again", lambda look=taken._look_again: (looked.append(1), look()))
        for _ in range(callers):
            assert taken.take(Noted(), "toy", body)
        for _ in range(51):  # the first turn answers
            await asyncio.sleep(0)
        before = len(looked)
        assert taken.take(Noted(), "toy", body)
        await asyncio.sleep(0)
        taken._awake_until = 0.0
        for _ in range(3):
            await asyncio.sleep(0)
        assert not taken._awake  # the chain has an end
        return before

    assert asyncio.run(looks()) == turns
    journal.close()


def test_a_refusal_of_the_lane_is_the_apps(client, monkeypatch):
    sent = []
    transport = SimpleNamespace(write=sent.append, is_closing=lambda: False)
    connection = Connection.__new__(Connection)
    connection.url, connection.transport, connection.loop = (
        PREDICT.encode(),
        transport,
        SimpleNamespace(time=lambda: 0.0),
    )
    connection.server_state = SimpleNamespace(default_headers=[(b"date", b"today")], total_requests=0)
    connection.refuse(Overloaded(TOO_MUCH))
    head, _, content = b"".join(sent).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    monkeypatch.setattr(client.app.state.parts.admission, "_most_requests", 0)
    reply = client.post(PREDICT, json={"rows": [ROW]})
    assert (first, json.loads(content)) == ("HTTP/1.1 503 Service Unavailable", reply.json())
    assert headers["retry-after"] == "1"
    assert {**headers, "x-request-id": ""} == {**reply.headers, "date": "today", "x-request-id": ""}


def test_a_large_request_is_refused_before_its_body_is_there_and_its_connection_goes_on(home):
    body = json.dumps({"rows": [ROW] * 400}).encode()
    assert len(body) > SMALL_BYTES
    with served(home) as (app, address), socket.create_connection(address, timeout=30) as caller:
        reader, admission = caller.makefile("rb"), app.state.parts.admission
        most, admission._most_requests = admission._most_requests, 0
        caller.sendall(post(body))
        status, headers, said = reply(reader)
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(said)["detail"] == TOO_MUCH
        admission._most_requests = most
        caller.sendall(body + post(body) + body)
        status, _, said = reply(reader)
        assert (status, len(json.loads(said)["predictions"])) == (200, 400)
        assert "treadle_refused_total 1.0" in httpx.get("http://{}:{}/metrics".format(*address)).text


@pytest.mark.parametrize("rows", [1, 400])
def test_requests_of_any_size_go_into_the_journal_as_they_came(home, rows):
    body = json.dumps({"rows": [ROW] * rows}).encode()
    with served(home) as (_, address), socket.create_connection(address, timeout=30) as caller:
        caller.sendall(post(body) + body)
        status, _, said = reply(caller.makefile("rb"))
        assert status == 200
        (path,) = home.settings.journal_dir.glob("*.journal")
        ((_, (record,)),) = read_frames(path.read_bytes())
    exchange = Exchange(*record)
    assert (exchange.request, exchange.response) == (body, said)
