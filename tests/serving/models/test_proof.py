import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from serving.models import isolated as isolated_module
from serving.models import proof as proof_module
from serving.models.proof import Prover
from tests.serving.conftest import ROW
from tests.serving.odd_graphs import ALWAYS, HARM, SOMETIMES, odd_graph
from treadle.errors import BadData, Unavailable
from treadle.models.bundle import Bundle
from treadle.models.trust import open_bundle

PREDICT = "/v1/models/toy/predict"
SAID = {
    "raises": "raises InvalidArgument",
    "hangs": "gave no answer within",
    "is not finite": "not finite",
    "drops rows": "shape",
    "allocates 2 GB": "more memory",
}


@pytest.fixture
def quick(make_home):
    """An installation whose proofs must end in two seconds, with version 1 of the toy."""
    home = make_home(proof_s=2.0)
    home.register()
    home.promote()
    return home


def registered(home, version: int, harm: str | None = None, above: float = ALWAYS) -> Bundle:
    graph = harm and odd_graph(harm, above, version * 1000.0)
    folder = home.register(version=version, onnx_bytes=graph)
    return open_bundle(home.settings, "toy", version, folder, home.ledger.version("toy", version).digest)


@pytest.mark.parametrize("harm", HARM)
def test_a_bad_version_is_refused_and_the_old_one_serves(quick, eventually, harm):
    with TestClient(create_app(quick.settings)) as client:
        quick.register(version=2, onnx_bytes=odd_graph(harm, ALWAYS))
        quick.promote(version=2)
        eventually(lambda: "toy" in client.get("/readyz").json()["degraded"])
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert SAID[harm] in ready.json()["degraded"]["toy"]
        assert "Version 2 of 'toy' is refused" in ready.json()["degraded"]["toy"]
        reply = client.post(PREDICT, json={"rows": [ROW]})
        assert (reply.status_code, reply.json()["version"]) == (200, 1)


def test_odd_rows_are_tried_and_not_only_the_smoke_rows(quick):
    bundle = registered(quick, 2, "raises", SOMETIMES)
    prover = Prover(quick.settings)
    prover.prove(bundle, "It")  # nothing that a proof tries has a `temp` above 1000
    prover.rest()
    with pytest.raises(BadData, match="Given its smoke rows"):
        prover.prove(registered(quick, 3, "is not finite", 0.5), "It")
    with pytest.raises(BadData, match="Given null in 'temp'"):
        prover.prove(registered(quick, 4, "needs temp"), "It")
    prover.rest()


def test_a_proof_is_made_once_for_all_workers_and_a_refusal_for_a_while(quick, monkeypatch):
    made = []
    child = proof_module.Isolated

    def counted(*arguments):
        made.append(arguments)
        return child(*arguments)

    monkeypatch.setattr(proof_module, "Isolated", counted)
    good = registered(quick, 2)
    bad = registered(quick, 3, "raises")
    first = Prover(quick.settings)
    first.prove(good, "It")
    with pytest.raises(BadData, match="InvalidArgument"):
        first.prove(bad, "It")
    first.rest()
    assert len(made) == 1  # one child for both
    second = Prover(quick.settings)
    second.prove(good, "It")
    with pytest.raises(BadData, match="InvalidArgument"):
        second.prove(bad, "It")
    assert len(made) == 1
    monkeypatch.setattr(proof_module, "REFUSED_S", -1.0)
    with pytest.raises(BadData, match="InvalidArgument"):
        second.prove(bad, "It")
    assert len(made) == 2
    monkeypatch.setattr(proof_module, "RUNTIME", "onnxruntime of another year")
    second.prove(good, "It")
    second.rest()
    assert len(made) == 2  # the child was there


@pytest.fixture
def late(tmp_path, monkeypatch):
    """Processes begin seconds late, as on a busy machine."""
    folder = tmp_path / "late"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import time\ntime.sleep(2.5)\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_process_that_begins_late_is_not_held_against_a_version(quick, late):
    prover = Prover(quick.settings)
    prover.prove(registered(quick, 2), "It")
    with pytest.raises(BadData, match="gave no answer within"):
        prover.prove(registered(quick, 3, "hangs"), "It")
    prover.rest()


def test_nothing_is_noted_of_a_version_that_no_process_could_try(quick, late, monkeypatch):
    prover, bundle = Prover(quick.settings), registered(quick, 2)
    monkeypatch.setattr(isolated_module, "START_S", 0.2)
    with pytest.raises(Unavailable, match="did not begin"):
        prover.prove(bundle, "It")
    monkeypatch.undo()
    prover.prove(bundle, "It")
    prover.rest()


def test_a_folder_that_cannot_be_written_stops_no_version(quick):
    (quick.settings.state_dir / "proofs").write_text("in the way")
    with TestClient(create_app(quick.settings)) as client:
        assert client.post(PREDICT, json={"rows": [ROW]}).json()["version"] == 1
