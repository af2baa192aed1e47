"""The doctor: what is well, what is not, and the command that mends it."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from console import doctor
from console.doctor import _differs
from tests.answered import answered
from treadle.ledger import Feedback, Ledger
from treadle.project import load_project
from treadle.retraining.suspicion import examine
from treadle.settings import Settings

pytestmark = pytest.mark.enable_socket


class Prefect(BaseHTTPRequestHandler):
    """Knows the deployments of one project, both scheduled for long, and plans runs of `watch` alone."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(self.path)
        said = [{"id": "a run"}]
        if self.path == "/api/deployments/filter":
            said = [deployment("train"), deployment("watch")]
        elif asked["deployments"]["id"]["any_"] == ["train"]:
            said = []
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, *_):
        """Nothing is logged."""


def deployment(flow):
    return {
        "id": flow, "name": "shop", "entrypoint": f"flows.{flow}.{flow}", "paused": False,
        "schedules": [{"active": True}], "updated": "2026-01-01T00:00:00Z",
    }  # fmt: skip


@pytest.fixture
def prefect(settings, monkeypatch):
    """Settings of a platform that is up, as far as the doctor can see, and what its Prefect was asked."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prefect)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(doctor.platform, "is_up", lambda _: True)
    yield settings.model_copy(update={"prefect_port": server.server_port}), server.asked
    server.shutdown()
    server.server_close()


def findings(home):
    return {finding["what"]: finding for finding in doctor.examine(Settings(home=home))}


def test_a_new_home_is_healthy_and_says_how_to_begin(tmp_path):
    found = findings(tmp_path)
    assert [name for name, finding in found.items() if finding["state"] == "bad"] == []
    assert "treadle init" in found["projects"]["mend"]
    assert found["layout"]["state"] == "good"


def test_a_broken_project_is_named_with_its_file(tmp_path):
    folder = tmp_path / "projects" / "shop"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text(
        "name: shop\nproblem: tabular-regression\ndata: {source: a.csv, target: y}\ntunee: {}\n"
    )
    finding = findings(tmp_path)["project shop"]
    assert finding["state"] == "bad"
    assert "tunee" in finding["detail"]
    assert finding["mend"].endswith("projects/shop/project.yaml")


def test_a_ledger_of_another_revision_is_bad(tmp_path):
    ledger = Ledger.open(Settings(home=tmp_path))
    assert findings(tmp_path)["ledger"]["state"] == "good"
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'older'")
    finding = findings(tmp_path)["ledger"]
    assert finding["state"] == "bad"
    assert "revision older" in finding["detail"]


def test_versions_are_compared_without_the_local_part():
    assert _differs(f"pytest=={pytest.__version__}") is None
    assert _differs(f"pytest=={pytest.__version__}+cpu") is None
    assert _differs("pytest==0.1") == f"pytest {pytest.__version__} instead of 0.1"
    assert _differs("no-such-package-at-all==1") == "no-such-package-at-all is missing"
    assert _differs("# a comment") is None


def test_an_open_breaker_and_labels_set_aside_are_notes_with_what_settles_them(tmp_path):
    folder = tmp_path / "projects" / "shop"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text("name: shop\nproblem: tabular-regression\ndata: {source: a.csv, target: y}\n")
    assert "retrains of shop" not in findings(tmp_path)
    ledger, now = Ledger.open(Settings(home=tmp_path)), datetime.now(UTC)
    for _ in range(3):
        ledger.record_decision("shop", "kept", "not better", {}, now)
    ledger.add_entries([answered("p", "shop", 1, now, "{}", '{"prediction": 1.0}')])
    ledger.add_feedback("shop", [Feedback("p", 1.0, now + timedelta(days=30))])
    examine(ledger, load_project("shop", Settings(home=tmp_path)), now)
    found = findings(tmp_path)
    assert found["retrains of shop"]["state"] == "note"
    assert found["retrains of shop"]["mend"] == "treadle governor close shop"
    assert "1 is set aside" in found["labels of shop"]["detail"]


def test_prefect_is_asked_once_for_its_deployments(prefect):
    settings, asked = prefect
    folder = settings.projects_dir / "bikes"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text("name: bikes")
    unknown, unplanned = doctor._deployments(settings)
    assert (unknown["state"], unknown["detail"]) == ("bad", "Prefect does not know bikes")
    assert (unplanned["state"], unplanned["what"]) == ("bad", "schedules of shop")
    assert "the schedule of train is on, and Prefect plans no run of it" in unplanned["detail"]
    assert asked.count("/api/deployments/filter") == 1
