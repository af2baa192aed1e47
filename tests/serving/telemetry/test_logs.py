"""The service's log: every line is one JSON object, whatever callers send, and the id of a failure finds its reason."""

import json
import logging
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from serving.telemetry import logs
from tests.serving.conftest import ROW, _eventually, _lives
from tests.serving.sockets import served
from treadle.settings import CHECKOUT, Settings

PREDICT = "/v1/models/toy/predict"
SECRET = "caller-data-4711"
FORGED = 'x\n{"time": "2024-01-01T00:00:00Z", "level": "info"}\r\x1b[2J\x7f\u202e\x85\u2028'


@pytest.fixture
def handler():
    """The root logger as the service sets it up, put back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    callers = logging.getLogger("uvicorn.error")
    filters, callers.filters[:] = callers.filters[:], []
    server, passes = callers.parent, callers.parent.propagate
    server.propagate = True  # a test that ran uvicorn with its own log has turned that off
    hooks = sys.excepthook, threading.excepthook, logging.raiseExceptions
    yield
    root.handlers[:] = before
    callers.filters[:] = filters
    server.propagate = passes
    root.setLevel(level)
    sys.excepthook, threading.excepthook, logging.raiseExceptions = hooks
    logging.captureWarnings(capture=False)


def record(message: str, *values: object, error: BaseException | None = None) -> logging.LogRecord:
    info = error and (type(error), error, error.__traceback__)
    return logging.LogRecord("treadle.serving", logging.ERROR, "f", 1, message, values, info)


def raised() -> BaseException:
    try:
        try:
            float(SECRET)
        except ValueError as cause:
            raise RuntimeError(SECRET) from cause
    except RuntimeError as error:
        return error


def test_a_json_line_is_one_line_of_ascii_whatever_it_says():
    line = logs.JsonLines().format(record("said %s", FORGED))
    assert all(" " <= character <= "~" for character in line)
    assert json.loads(line)["message"] == f"said {FORGED}".strip()


def test_a_text_line_is_one_line_and_moves_no_cursor():
    line = logs.TextLines().format(record("said %s", FORGED))
    assert line.isprintable()
    assert r"\n{" in line


def test_an_exception_is_told_by_types_and_places_without_its_message():
    for form in (logs.JsonLines(), logs.TextLines()):
        line = form.format(record("unexpected error", error=raised()))
        assert SECRET not in line
        assert "RuntimeError" in line
        assert "ValueError" in line
        assert "telemetry/test_logs.py" in line
    full = OSError(28, SECRET, SECRET)
    assert logs.errors_of(full) == [{"type": "OSError: No space left on device", "places": []}]


def test_wrong_arguments_are_a_line_still():
    assert json.loads(logs.JsonLines().format(record("%s and %s", 1)))["message"] == "%s and %s"


def test_an_exception_is_written_once_a_request():
    again = record("again", error=raised())
    token = logs.noted.set(logs.Noted("id", "GET /"))
    try:
        assert [logs._first_time(again) for _ in range(3)] == [True, False, False]
        assert logs._first_time(record("another", error=raised()))
    finally:
        logs.noted.reset(token)
    assert logs._first_time(again)
    assert logs._first_time(again)


def test_many_invalid_requests_have_few_lines_and_a_count(home, handler, capsys, monkeypatch):
    monkeypatch.setattr(logs, "MINUTE_S", 3.0)
    monkeypatch.setattr(logs, "_few_alike", logs.FewAlike())
    with served(home) as (_, address):
        logs.install(home.settings)
        for _ in range(logs.MOST_ALIKE + 15):
            with socket.create_connection(address, timeout=10) as connection:
                connection.sendall(b"no request\r\n\r\n")
                assert b" 400 " in connection.recv(65536).partition(b"\r\n")[0]
        logging.getLogger("uvicorn.error").error("an error is always written")
        written: list[str] = []
        _eventually(lambda: written.append(capsys.readouterr().err) or "left out" in "".join(written))
    said = [json.loads(line)["message"] for line in "".join(written).splitlines()]
    assert said.count("Invalid HTTP request received.") == logs.MOST_ALIKE
    assert said.count("15 more lines in a minute were left out: Invalid HTTP request received.") == 1
    assert said.count("an error is always written") == 1


@pytest.mark.parametrize(("form", "is_text"), [("json", False), ("text", True), ("auto", False)])
def test_the_form_is_the_settings(handler, capsys, form, is_text):
    logs.install(Settings(log_format=form))
    logging.getLogger("anybody").warning("heard")
    written = capsys.readouterr().err
    assert written.endswith("warning anybody heard\n") if is_text else json.loads(written)["message"] == "heard"


def test_it_is_text_where_a_person_looks():
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        assert logs._is_text(Settings(), terminal)
        assert not logs._is_text(Settings(log_format="json"), terminal)
    os.close(ours)


class Broken:
    """A model that fails in a way that nobody expected."""

    is_open = True

    def run(self, columns):
        raise RuntimeError(f"cannot use {SECRET}")


def test_the_id_of_a_failure_is_in_the_log_once_with_what_failed(home, handler, capsys):
    app = create_app(home.settings)
    with TestClient(app, raise_server_exceptions=False) as client:
        logs.install(home.settings)
        model = app.state.parts.champions.models["toy"]
        object.__setattr__(model, "session", Broken())
        reply = client.post(f"{PREDICT}?name={SECRET}", json={"rows": [ROW]})
        large = client.post(PREDICT, json={"rows": [ROW] * 300})  # in a thread
    # the test's own client logs what it asks
    heard = [line for line in capsys.readouterr().err.splitlines() if '"logger": "httpx' not in line]
    assert SECRET not in "".join(heard)
    lines = [json.loads(line) for line in heard]
    for answer in (reply, large):
        assert answer.status_code == 500
        mine = [line for line in lines if line.get("request_id") == answer.headers["x-request-id"]]
        error, access = mine
        assert error["message"] == "unexpected error"
        assert error["errors"][0]["type"] == "RuntimeError"
        assert error["errors"][0]["places"][-1].startswith("telemetry/test_logs.py:")
        assert (access["message"], access["status"], access["level"]) == ("answered", 500, "info")
        assert (access["model"], access["version"]) == ("toy", 1)
        assert access["route"] == "POST /v1/models/{project}/predict"
        assert access["seconds"] > 0


def test_good_requests_have_a_line_at_debug_only(home, handler, capsys):
    for level, count in (("info", 0), ("debug", 1)):
        settings = home.settings.model_copy(update={"log_level": level})
        with TestClient(create_app(settings)) as client:
            logs.install(settings)
            assert client.get("/healthz").status_code == 200
        found = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        assert len([line for line in found if line["message"] == "answered"]) == count


def test_a_ledger_that_fails_is_told_without_a_row(home, handler, capsys, monkeypatch):
    with TestClient(create_app(home.settings), raise_server_exceptions=False) as client:
        logs.install(home.settings)
        with home.ledger.engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE predictions")
        reply = client.post(PREDICT, json={"rows": [ROW], "ids": [SECRET]})
    written = capsys.readouterr().err
    assert reply.status_code == 503
    assert SECRET not in written
    assert reply.headers["x-request-id"] in written


@contextmanager
def logged(home, log: Path, **environment: str):
    """The service as a process whose standard error goes to a file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"TREADLE_HOME": str(home.settings.home), "TREADLE_API_PORT": str(port)}
    with log.open("wb") as file:
        command = [sys.executable, "-m", "serving"]
        process = subprocess.Popen(command, cwd=CHECKOUT, env=os.environ | own | environment, stderr=file)
    try:
        _eventually(lambda: _lives(f"http://127.0.0.1:{port}"))
        yield f"http://127.0.0.1:{port}", port
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


HOSTILE = [
    b"GET /%0a%7b%22level%22%3a%22info%22%7d HTTP/1.1\r\nhost: 127.0.0.1\r\nx-request-id: a{\"b\":1}\r\n\r\n",
    b"GET /v1/models/%1b%5b2J" + SECRET.encode() + b" HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: \x1b[2J\xff\xfe\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: " + SECRET.encode() + b"\r\nauthorization: Bearer " + SECRET.encode() + b"\r\n\r\n",
    b"\n\n{\"level\": \"info\", \"message\": \"" + SECRET.encode() + b"\"}\n\r\n\r\n",
    b"GET /\x00\n HTTP/9.9\r\n\r\n",
    b"BREW /" + SECRET.encode() + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
]  # fmt: skip


@pytest.mark.e2e
def test_every_line_of_a_real_service_is_json_and_has_nothing_of_its_callers(home, tmp_path):
    log = tmp_path / "api.log"
    with logged(home, log, TREADLE_LOG_LEVEL="debug") as (address, port):
        for request in HOSTILE:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
        row = ROW | {"season": SECRET}
        for body in ({"rows": [row]}, {"rows": [row | {SECRET: 1}]}, {"rows": [row], "ids": [SECRET]}):
            httpx.post(f"{address}{PREDICT}", json=body, headers={"x-request-id": "mine-1", "x-api-key": SECRET})
        httpx.post(f"{address}{PREDICT}", json={"rows": [row], "ids": [SECRET]}, headers={"x-request-id": "mine-2"})
    text = log.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert SECRET not in text
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(line) for line in lines))
    assert {"info", "debug"} <= {line["level"] for line in lines}
    mine = [line for line in lines if line.get("request_id") == "mine-2" and line["message"] == "answered"]
    assert [(line["model"], line["status"]) for line in mine] == [("toy", 409)]


def test_the_parent_speaks_the_same_language(home, tmp_path):
    environment = {"TREADLE_HOME": str(home.settings.home), "TREADLE_HOST": "0.0.0.0", "TREADLE_API_PORT": "1"}
    command = [sys.executable, "-m", "serving"]
    ended = subprocess.run(
        command, cwd=CHECKOUT, env=os.environ | environment, capture_output=True, text=True, timeout=60
    )
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (ended.returncode, lines[-1]["level"]) == (5, "critical")


def test_last_words_are_a_line_too(home):
    code = "from serving.telemetry import logs; from treadle.settings import Settings; logs.install(Settings()); "
    for last in (f"float('{SECRET}')", f"import threading; threading.Thread(target=float, args=['{SECRET}']).start()"):
        ended = subprocess.run([sys.executable, "-c", code + last], cwd=CHECKOUT, capture_output=True, text=True)
        (line,) = [json.loads(line) for line in ended.stderr.splitlines()]
        assert line["errors"][0]["type"] == "ValueError"
        assert SECRET not in ended.stderr
