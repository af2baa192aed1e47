"""The first minutes of a champion: the one before answers where it fails."""

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from serving.app import create_app
from serving.releasing import bake
from tests.serving.conftest import ROW
from tests.serving.odd_graphs import SOMETIMES, odd_graph
from treadle.ledger.tables import promotions

PREDICT = "/v1/models/toy/predict"
ODD = {"rows": [ROW | {"temp": 5000.0}]}


@pytest.mark.parametrize("harm", ["raises", "is not finite"])
def test_a_champion_that_fails_in_its_first_minutes_is_covered_and_rolled_back(client, home, eventually, harm):
    home.register(version=2, onnx_bytes=odd_graph(harm, SOMETIMES))
    home.promote(version=2)
    eventually(lambda: client.post(PREDICT, json={"rows": [ROW]}).json()["version"] == 2)
    for _ in range(bake.FEWEST_FAILURES):
        reply = client.post(PREDICT, json=ODD).json()
        assert (reply["version"], reply["predictions"][0]["prediction"]) == (1, 6010.0)
    eventually(lambda: home.ledger.champion("toy").version == 1)
    eventually(lambda: client.post(PREDICT, json={"rows": [ROW]}).json()["version"] == 1)
    with home.ledger.engine.connect() as connection:
        last = connection.execute(select(promotions).order_by(promotions.c.seq.desc())).first()
    assert (last.version, last.from_version, last.verdict) == (1, 2, "rollback")
    assert "no answer to 5 of" in last.reason
    (decision,) = home.ledger.last_decisions("toy", 1)
    assert decision.kind == "rolled-back"


def test_rows_that_the_champion_before_cannot_answer_either_roll_nothing_back(client, home, eventually):
    home.register(version=2)
    home.promote(version=2)
    eventually(lambda: client.post(PREDICT, json={"rows": [ROW]}).json()["version"] == 2)
    for _ in range(2 * bake.FEWEST_FAILURES):
        assert client.post(PREDICT, json={"rows": [ROW | {"temp": 1e300}]}).status_code == 422
    champions = client.app.state.parts.champions
    champions.refresh()
    assert champions.get("toy").version == 2
    assert champions.spare(champions.get("toy")).version == 1


def test_a_champion_that_has_stood_its_time_stands_alone(make_home, eventually):
    home = make_home(bake_s=0.0)
    home.register()
    home.promote()
    with TestClient(create_app(home.settings), raise_server_exceptions=False) as client:
        home.register(version=2, onnx_bytes=odd_graph("is not finite", SOMETIMES))
        home.promote(version=2)
        champions = client.app.state.parts.champions
        eventually(lambda: champions.get("toy").version == 2 and champions.spare(champions.get("toy")) is None)
        assert client.post(PREDICT, json=ODD).status_code == 422
