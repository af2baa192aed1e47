"""Runs in the worker, as seen from a command: which are under way, and what is said when the platform goes away."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from console import runs
from console.answers import stopped
from treadle.errors import Unavailable
from treadle.settings import Settings

pytestmark = pytest.mark.e2e


ANSWERS = {
    "/api/flow_runs/filter": [{"name": "bikes: by hand"}],
    "/api/flow_runs/r": {"state_type": "COMPLETED"},
    "/api/logs/filter": [
        {"id": "2", "message": "Finished in state Completed()"},
        {"id": "1", "message": "trial 3 of 20"},
    ],
    "/api/task_runs/filter": [
        {"id": "a", "name": "load data-63f", "state_type": "COMPLETED"},
        {"id": "b", "name": "fit model-9c3", "state_type": "RUNNING"},
    ],
}


class Prefect(BaseHTTPRequestHandler):
    """Knows one run that is running, and one, `r`, that has ended."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/api/flow_runs/filter":
            assert asked == {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
        self.do_GET()

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(ANSWERS[self.path]).encode())

    def log_message(self, *_):
        """Nothing is logged."""


@pytest.fixture
def prefect(settings):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prefect)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield settings.model_copy(update={"prefect_port": server.server_port})
    server.shutdown()
    server.server_close()


def test_runs_that_end_with_the_platform_are_named(prefect, monkeypatch):
    assert runs.under_way(prefect) == []  # whoever listens there is not ours
    monkeypatch.setattr(runs, "is_up", lambda _: True)
    assert runs.under_way(prefect) == ["bikes: by hand"]
    assert runs.under_way(Settings(home=prefect.home, prefect_port=1)) == []


def test_who_follows_a_run_sees_its_steps_and_its_log(prefect, capsys):
    runs._follow_run(prefect, "r", poll_s=0)
    assert [line.split(" s  ")[1] for line in capsys.readouterr().err.splitlines()] == [
        "trial 3 of 20",
        "load data: done",
    ]


def test_down_says_what_it_ended():
    assert stopped({"stopped": False, "ended": []}) == "The platform was not up."
    assert stopped({"stopped": True, "ended": []}) == "Stopped."
    assert "under way: bikes: by hand." in stopped({"stopped": True, "ended": ["bikes: by hand"]})


def test_who_follows_a_run_hears_at_once_that_the_platform_went_down(settings):
    with pytest.raises(Unavailable, match="went down, and the run with it"):
        runs._poll(Settings(home=settings.home, prefect_port=1), "/flow_runs/x", None)
