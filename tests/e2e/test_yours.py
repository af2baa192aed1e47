"""The whole circle of a model of one's own: texts → vectors → train → promote → a ready model, by command line, HTTP and client."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from starlette.testclient import TestClient

from serving.app import create_app
from treadle.ledger import Ledger, ReadyCalls
from treadle.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(420)]

ABOUT = {
    "billing": [
        "I was charged twice for {}",
        "please refund my payment for {}",
        "the invoice of {} has a wrong amount",
    ],
    "delivery": ["the parcel with {} has not arrived", "when will {} be delivered", "the courier lost {}"],
    "broken": ["{} stopped working after a week", "{} does not switch on any more", "the screen of {} is cracked"],
}
THINGS = ["the lamp", "my order", "the headphones", "a red kettle", "the printer", "this phone", "the second item"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def treadle(home):
    def run(*words, code=0):
        environment = os.environ | {"TREADLE_HOME": str(home)}
        command = [sys.executable, "-m", "console.cli", *words, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stderr[-3000:]
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip().splitlines()[-1]

    return run


def test_texts_become_a_ready_model(treadle, home):
    rng = np.random.default_rng(0)
    topics = rng.choice(list(ABOUT), 240)
    texts = [
        f"{str(rng.choice(ABOUT[topic])).format(rng.choice(THINGS))}, ticket {n}" for n, topic in enumerate(topics)
    ]
    pd.DataFrame({"text": texts, "topic": topics}).to_csv(home / "tickets.csv", index=False)

    made = treadle("ready", "embed", str(home / "tickets.csv"), "--to", str(home / "vectors.parquet"))
    assert (made["rows"], made["numbers"], made["columns"]) == (240, 384, ["topic"])
    treadle("init", "tickets", "--from", str(home / "vectors.parquet"), "--target", "topic")
    path = home / "projects" / "tickets" / "project.yaml"
    content = yaml.safe_load(path.read_text()) | {"train": {"families": ["linear"]}}
    path.write_text(yaml.safe_dump(content))
    early = treadle("ready", "add", "classify-text", "--project", "tickets", code=2)
    assert "`treadle train tickets` trains one" in early
    trained = treadle("train", "tickets", "--trials", "2")
    assert trained["decision"] == "promoted"
    assert treadle("ready", "add", "classify-text", "--project", "tickets")["version"] == 1

    asked = ["The courier never came with my shoes.", "You took the money for the desk twice."]
    said = treadle("ready", "run", "classify-text", *asked, "--model", "tickets")
    assert [one["label"] for one in said["answers"]] == ["delivery", "billing"]
    assert (said["version"], said["licence"]) == ("1", "yours")

    settings = Settings(home=home, allowed_hosts="testserver")
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        body = {"inputs": asked, "model": "tickets"}
        reply = client.post("/v1/ready/classify-text", json=body)
        assert reply.status_code == 200, reply.text
        answer = reply.json()
        assert [one["label"] for one in answer["answers"]] == ["delivery", "billing"]
        assert (answer["model"], answer["version"], answer["source"], answer["licence"]) == (
            "tickets",
            "1",
            "yours",
            "yours",
        )
        (listed,) = [m for m in client.get("/v1/ready/classify-text").json()["models"] if m["model"] == "tickets"]
        assert (listed["version"], listed["installed"]) == ("1", True)
        refused = client.post("/v1/ready/classify-text", json=body | {"parameters": {"labels": ["a", "b"]}})
        assert refused.status_code == 422
        assert "labels of its own" in refused.json()["detail"]
    refusal, call, *_ = ReadyCalls(Ledger.open(settings)).newest("classify-text")
    assert refusal.outcome == "Bad input"
    assert (call.model, call.model_version) == ("tickets", "1")
    assert call.facts["found"] == 3

    treadle("ready", "remove", "classify-text", "tickets")
    assert "No model of that name" in treadle("ready", "run", "classify-text", "x", "--model", "tickets", code=2)
