"""`treadle alerts` as a shell sees it, and the courier that runs beside the platform's other services."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from sqlalchemy import text

from console.health import is_healthy
from console.platform import environment
from console.supervision import services
from treadle.alerting.alerts import KINDS, Notice
from treadle.ledger import AlertBook, Ledger
from treadle.settings import Settings

AT = datetime(2011, 4, 1, tzinfo=UTC)
SECRET = "hunter2-s3cret"


@pytest.fixture
def book(settings):
    return AlertBook(Ledger.open(settings))


def raise_drift(book, model="m", *names):
    notice = Notice("drift", "", "warning", "Inputs moved.", ("version 1", *names), (), "http://here/reports/x.html")
    return book.follow_look(model, "drift", [notice], AT, 2)


@pytest.fixture
def hook(settings):
    """A channel that works; what it was sent."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    settings.channels_file.write_text(f"team: json://u:{SECRET}@127.0.0.1:{server.server_address[1]}/\n")
    settings.channels_file.chmod(0o600)
    yield got
    server.shutdown()
    server.server_close()


def run(settings, *words, **more):
    return subprocess.run(
        [sys.executable, "-m", "console.cli", "alerts", *words],
        env=dict(os.environ) | {"TREADLE_HOME": str(settings.home)} | more,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_alerts_are_listed_taken_and_silenced(settings, book):
    assert run(settings, "list").stdout == "No alert is open.\n"
    seq = raise_drift(book)
    raise_drift(book, "other")
    (row,) = json.loads(run(settings, "list", "m", "--json").stdout)
    assert (row["id"], row["project"], row["kind"], row["times"]) == (seq, "m", "drift", 1)
    assert json.loads(run(settings, "ack", str(seq), "--json").stdout)["alert"] == seq
    assert run(settings, "silence", "m", "--for", "2h").stdout.startswith("Nothing is told of alerts of m until ")
    said = run(settings, "list").stdout
    assert "m: the data moved [warning, open, acknowledged by" in said
    assert re.search(r"silenced until \d{4}-\d\d-\d\d \d\d:\d\d UTC\]", said)
    assert re.search(r"   Once, \d{4}-\d\d-\d\d \d\d:\d\d UTC", said)
    assert "http://here/reports/x.html" in said
    assert run(settings, "silence", "m", "--end").stdout == "The silence of alerts of m is over.\n"
    assert "silenced until" not in run(settings, "list").stdout


@pytest.mark.parametrize(("words", "says"), [
    (["ack", "7"], "no open alert 7"),
    (["silence", "m"], "--for 2h"),
    (["silence", "m", "--for", "2h", "--end"], "--for 2h"),
    (["silence", "m", "--for", "soon"], "not a duration"),
    (["silence", "m", "--for", "9999999999w"], "how long a silence can be"),
    (["silence", "m", "--for", "1h", "--kind", "drfit"], "Did you mean 'drift'?"),
    (["silence", "../x", "--for", "1h"], "cannot be a project's name"),
    (["test"], "There is no channel"),
])  # fmt: skip
def test_what_cannot_be_is_one_line(settings, words, says):
    done = run(settings, *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_test_reaches_every_channel_or_says_which_it_does_not(settings, hook):
    done = run(settings, "test", "--json")
    assert (done.returncode, json.loads(done.stdout)["channels"]) == (0, {"team": "sent"})
    assert hook[0]["title"] == "Treadle: a test"
    done = run(settings, "test", TREADLE_ALERT_URLS=f"json://u:{SECRET}@127.0.0.1:1/")
    assert done.returncode == 5
    assert "could not be reached" in done.stdout
    assert SECRET not in done.stdout + done.stderr


def test_a_courier_runs_beside_the_platform_where_there_are_channels(settings, hook, tmp_path):
    assert "alerts" in [service.name for service in services(settings)]
    assert "alerts" not in [service.name for service in services(Settings(home=tmp_path / "another"))]


def test_secrets_of_the_environment_reach_services_as_they_are_and_are_written_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("TREADLE_ALERT_URLS", f"json://{SECRET}/")
    assert environment(Settings(home=tmp_path))["TREADLE_ALERT_URLS"] == f"json://{SECRET}/"


def test_the_courier_tries_again_what_was_not_taken_and_survives_its_death(settings, book, hook):
    """Killed with a delivery in its hands, it goes on after its next start; the platform sees that it lives."""
    raise_drift(book)
    command = [sys.executable, "-m", "console.service", "alerts"]
    env = dict(os.environ) | {"TREADLE_HOME": str(settings.home)}
    begun = time.time()
    with subprocess.Popen(command, env=env) as courier:
        wait_for(lambda: len(hook) == 1)
        wait_for(lambda: is_healthy("alerts", settings, since=begun))
        courier.send_signal(signal.SIGKILL)
    book.add_message("info", "left behind", "x")
    book.spread(lambda _: ["team"])
    assert book.take("team") is not None  # a process that died right after it took it
    with Ledger.open(settings).engine.begin() as connection:
        connection.execute(text("UPDATE alert_deliveries SET held_us = 1 WHERE state = 'waiting'"))
    with subprocess.Popen(command, env=env) as courier:
        wait_for(lambda: len(hook) == 2)
        courier.terminate()
    assert hook[0]["title"] == f"m: {KINDS['drift'].said}"
    assert hook[1]["title"] == "left behind"


def wait_for(true, deadline_s=30.0):
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def test_alerts_of_ready_models_can_be_named(settings):
    from console.alerts import listed, silence
    from treadle.errors import BadProject

    name = "ready:detect-objects:yolox-nano"
    assert silence(settings, name, "2h", None, end=False)["project"] == name
    assert listed(settings, name, 5, everything=True) == []
    with pytest.raises(BadProject):
        listed(settings, "no such/name", 5, everything=True)
