"""Models that nobody asks for leave memory, and come back once, however many ask at the same moment."""

import threading

import numpy as np
import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from serving.models.session import Session
from tests.serving.conftest import ROW, graph

COLUMNS = {
    "temp": np.array([3.5]), "holiday": np.array([0.0]), "when": np.array([0.0]), "season": np.array(["summer"], dtype=object),
}  # fmt: skip


def test_a_hundred_first_calls_read_the_model_once():
    reads, answers, start = [], [], threading.Barrier(100)
    session = Session(lambda: reads.append(1) or graph(1000.0, classes=False))

    def call():
        start.wait()
        answers.append(float(session.run(COLUMNS)[0]))

    threads = [threading.Thread(target=call) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) == 1
    assert answers == [1013.5] * 100


def test_a_session_rests_and_comes_back():
    session = Session(lambda: graph(1000.0, classes=False))
    session.run(COLUMNS)
    assert not session.rest(60)
    assert session.is_open
    assert session.rest(0)
    assert not session.is_open
    assert session.run(COLUMNS)[0] == 1013.5


def test_a_session_that_cannot_come_back_says_why_each_time():
    session = Session(lambda: b"no model")
    for _ in range(2):
        with pytest.raises(Exception, match="protobuf parsing failed"):
            session.run(COLUMNS)


def test_an_idle_model_leaves_memory_and_answers_again(make_home, eventually):
    home = make_home(idle_s=0.2)
    home.register()
    home.register(version=2)
    home.promote()
    with TestClient(create_app(home.settings)) as client:
        champions = client.app.state.parts.champions
        eventually(lambda: not champions.models["toy"].session.is_open)
        assert client.post("/v1/models/toy/predict", json={"rows": [ROW]}).json()["version"] == 1
        assert champions.pinned("toy", 2) is champions.pinned("toy", 2)
        assert champions.pinned("toy", 2).answer(COLUMNS)[0] == 2013.5
        eventually(lambda: not champions.pinned("toy", 2).session.is_open)
