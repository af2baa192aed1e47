"""Alerts carried to real sinks on loopback: an HTTP server and a mail server, whole, broken, slow or gone."""

import email
import json
import logging
import socket
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller
from pydantic import SecretStr
from sqlalchemy import text

from treadle.alerting.alerts import notice_of_look
from treadle.alerting.channels import BadChannels, Channel, read_channels, send
from treadle.alerting.courier import Courier
from treadle.ledger import AlertBook, Ledger
from treadle.settings import Settings

AT = datetime(2011, 4, 1, tzinfo=UTC)
SECRET = "hunter2-s3cret"
ATTACK = "</script><script>alert(1)</script>"


class Sink:
    """A web hook: keeps what it is sent, answers `status` after `pause_s`."""

    def __init__(self):
        self.got, self.status, self.pause_s, self.leave = [], 200, 0.0, threading.Event()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                sink.leave.wait(sink.pause_s)
                if sink.status == 200:
                    sink.got.append(json.loads(body))
                self.send_response(sink.status)
                self.end_headers()
                self.wfile.write(f"my token is {SECRET}".encode())

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"json://user:{SECRET}@127.0.0.1:{self.port}/hook"

    def close(self):
        self.leave.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def sink():
    sink = Sink()
    yield sink
    sink.close()


class Letters:
    """What a mail server took."""

    def __init__(self):
        self.got = []

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - aiosmtpd's name
        self.got.append(email.message_from_bytes(envelope.content))
        return "250 OK"


@pytest.fixture
def letters():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    box = Letters()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    box.url = f"mailto://127.0.0.1:{port}?from=treadle@example.org&to=team@example.org&mode=insecure"
    yield box
    controller.stop()


def write_channels(settings, **urls):
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    settings.channels_file.write_text(
        "".join(f"{name.replace('_', '-')}: {json.dumps(u)}\n" for name, u in urls.items())
    )
    settings.channels_file.chmod(0o600)


@pytest.fixture
def ledger(settings):
    return Ledger.open(settings)


@pytest.fixture
def courier(settings, ledger):
    return Courier(settings, ledger)


def drift(ledger, *names, hours=0, verdict="drift", model="m"):
    look = {
        "project": model, "version": 1, "verdict": verdict, "reason": "Inputs moved.", "retrain": False,
        "retrain_reason": "The cooldown is 6h.",
        "columns": [{"name": name, "statistic": 0.5, "threshold": 0.1, "drifted": True} for name in names],
    }  # fmt: skip
    notice = notice_of_look(look, "http://here/reports/m/looks/1.html")
    return AlertBook(ledger).follow_look(model, verdict, [notice] if notice else [], AT.replace(hour=hours), 1)


def due_again(ledger):
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE alert_deliveries SET next_us = 0"))


def test_a_web_hook_gets_the_evidence_and_nothing_leads_elsewhere(settings, ledger, courier, sink):
    write_channels(settings, hook=sink.url)
    seq = drift(ledger, "temp", ATTACK)
    courier.carry(10)
    (got,) = sink.got
    assert got["title"] == "m: the data moved"
    assert got["type"] == "warning"
    assert got["attachments"] == []
    for line in (
        "What happened: Inputs moved.",
        f"What moved: temp: values moved (distance 0.5, 0.1 allowed); {ATTACK}: values moved (distance 0.5, 0.1 allowed).",
        "What was decided: No retrain. The cooldown is 6h.",
        "Page: http://here/reports/m/looks/1.html",
        f"treadle alerts ack {seq}",
    ):
        assert line in got["message"]
    drift(ledger, "temp", hours=1)
    courier.carry(10)
    assert len(sink.got) == 1
    drift(ledger, "temp", "hum", hours=2)
    courier.carry(10)
    assert sink.got[-1]["title"] == "m: the data moved, now also hum"
    assert "Seen 3 times since 2011-04-01 00:00 UTC." in sink.got[-1]["message"]
    drift(ledger, hours=3, verdict="ok")
    courier.carry(10)
    assert sink.got[-1]["title"] == "m: over: the data moved"
    assert sink.got[-1]["type"] == "info"
    assert len(sink.got) == 3


def test_a_letter_is_text_whatever_the_columns_are_called(settings, ledger, courier, letters):
    write_channels(settings, mail=letters.url)
    drift(ledger, ATTACK)
    courier.carry(10)
    (letter,) = letters.got
    assert letter["Subject"] == "m: the data moved"
    assert letter["To"] == "team@example.org"
    parts = {
        part.get_content_type(): part.get_payload(decode=True).decode()
        for part in letter.walk()
        if not part.is_multipart()
    }
    assert "alert(1)" in parts["text/html"]
    assert "<script" not in parts["text/html"]
    assert "github" not in str(parts)


def test_a_channel_that_is_down_is_tried_again_and_the_others_are_not_told_twice(
    settings, ledger, courier, sink, letters
):
    write_channels(settings, hook=sink.url, mail=letters.url)
    sink.status = 500
    drift(ledger, "temp")
    courier.carry(10)
    courier.carry(10)
    (alert,) = AlertBook(ledger).list()
    assert alert.deliveries == ("hook: waiting (it answered 500; tried 1 times)", "mail: sent")
    sink.status = 200
    due_again(ledger)
    Courier(settings, ledger).carry(10)  # another process, later
    assert len(sink.got) == len(letters.got) == 1
    assert AlertBook(ledger).list()[0].deliveries == ("hook: sent", "mail: sent")


def test_a_slow_channel_holds_up_nobody_longer_than_was_said(settings, ledger, courier, sink, letters):
    write_channels(settings, hook=f"{sink.url}?rto=60", mail=letters.url)
    sink.pause_s = 60
    drift(ledger, "temp")
    begun = time.monotonic()
    courier.carry(2)
    assert time.monotonic() - begun < 8
    assert len(letters.got) == 1
    assert courier._busy["hook"].is_alive()
    courier.carry(0.1)  # a second thread for it is not begun
    assert Courier(settings, ledger)._book.take("hook") is None  # and another process does not send the same
    sink.leave.set()
    courier._busy["hook"].join(20)
    assert len(sink.got) == 1
    assert AlertBook(ledger).list()[0].deliveries == ("hook: sent", "mail: sent")


def test_projects_have_channels_of_their_own(settings, ledger, courier, sink):
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    settings.channels_file.write_text(f"ours:\n  url: {sink.url}\n  projects: [m]\n")
    settings.channels_file.chmod(0o600)
    for model in ("m", "other"):
        drift(ledger, "temp", model=model)
    courier.carry(10)
    assert [got["title"] for got in sink.got] == ["m: the data moved"]


def test_channels_can_come_from_the_environment(tmp_path, sink):
    settings = Settings(home=tmp_path, alert_urls=f"{sink.url} {sink.url}")
    assert [channel.name for channel in read_channels(settings)] == ["url-1", "url-2"]
    assert SECRET not in repr(settings)
    assert SECRET not in repr(read_channels(settings))
    assert SECRET not in settings.model_dump_json()


@pytest.mark.parametrize(("content", "mode", "says"), [
    (f"hook: json://user:{SECRET}@h", 0o644, "chmod 600"),
    (f"hook: [json://user:{SECRET}@h", 0o600, "not YAML"),
    (f"- json://user:{SECRET}@h", 0o600, "names and URLs"),
    (f"Hook {SECRET}: json://h", 0o600, "lower-case letters"),
    (f"hook: {SECRET}", 0o600, "Apprise URL"),
    (f"hook: {{url: 'json://{SECRET}', project: m}}", 0o600, "`projects`"),
    (f"hook: {{url: 'json://{SECRET}', projects: m}}", 0o600, "list of names"),
])  # fmt: skip
def test_channels_that_are_wrong_are_one_line_without_their_secret(settings, content, mode, says):
    settings.state_dir.mkdir(parents=True)
    settings.channels_file.write_text(content)
    settings.channels_file.chmod(mode)
    with pytest.raises(BadChannels, match=says) as raised:
        read_channels(settings)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


def test_messages_wait_where_channels_are_wrong(settings, ledger, courier, sink):
    write_channels(settings, hook=sink.url)
    settings.channels_file.chmod(0o644)
    drift(ledger, "temp")
    with pytest.raises(BadChannels):
        courier.carry(1)
    settings.channels_file.chmod(0o600)
    courier.carry(10)
    assert len(sink.got) == 1


@pytest.mark.parametrize(("url", "why"), [
    (f"nonsense://{SECRET}", "its URL is not one that Apprise knows"),
    (f"json://user:{SECRET}@127.0.0.1:1/x", "it could not be reached"),
    (f"mailto://127.0.0.1:1?user=u&pass={SECRET}&from=a@b.org&to=c@d.org&mode=insecure", "it could not be reached"),
])  # fmt: skip
def test_why_a_channel_failed_is_said_without_its_secret(url, why, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    assert send(Channel("x", SecretStr(url)), "warning", "t", "b") == why
    assert SECRET not in caplog.text + "".join(capfd.readouterr())


def test_no_secret_is_on_the_disk_or_in_the_log_but_in_the_file_of_channels(
    settings, ledger, courier, sink, caplog, capfd
):
    caplog.set_level(logging.DEBUG)
    write_channels(settings, hook=sink.url, gone=f"json://user:{SECRET}@127.0.0.1:1/{SECRET}", odd=f"what://{SECRET}")
    sink.status = 403
    drift(ledger, "temp")
    courier.carry(10)
    deliveries = AlertBook(ledger).list()[0].deliveries
    assert [line.partition(":")[0] for line in deliveries] == ["gone", "hook", "odd"]
    ledger.engine.dispose()
    files = [path for path in settings.home.rglob("*") if path.is_file()]
    assert len(files) >= 2
    found = [path for path in files if SECRET.encode() in path.read_bytes()]
    assert found == [settings.channels_file]
    assert SECRET not in caplog.text + "".join(capfd.readouterr())
