"""Versions in MLflow and in the ledger, and what happens when the two differ."""

import numpy as np
import pytest

from treadle.bundle import Manifest, ManifestColumn, read_bundle
from treadle.errors import NotFound
from treadle.families import load_family
from treadle.families.storage import TRUSTED
from treadle.ledger import Ledger
from treadle.problems import load_problem
from treadle.project import Project
from treadle.registry import Candidate, Registry
from treadle.signing import read_keyring
from treadle.tracking import client, log_metrics, log_model, log_trials, open_run

PROJECT = Project.model_validate(
    {"name": "toy", "problem": "tabular-regression", "data": {"source": "toy.csv", "target": "amount", "time": "when"}}
)


@pytest.fixture
def registry(settings):
    return Registry(settings, Ledger.open(settings))


@pytest.fixture
def register(registry, settings, toy):
    problem = load_problem("tabular-regression")
    schema, frame = toy(problem.name)
    family = load_family("gradient-boosting")
    model = family.fit(
        frame,
        frame["amount"].to_numpy(),
        family.defaults(problem) | {"rounds": 20},
        problem=problem,
        schema=schema,
        metric="mae",
    ).model

    def make():
        with open_run(settings, PROJECT, name="test", tags={}) as run_id:
            log_metrics(settings, run_id, {"mae": 1.0})
            columns = tuple(ManifestColumn(c.name, c.kind) for c in schema.features)
            manifest = Manifest(
                model="toy", problem=problem.name, family=family.name, columns=columns, target="amount", metric="mae"
            )
            uri = log_model(settings, run_id, model, schema, TRUSTED)
            onnx_bytes = family.to_onnx(model, schema).SerializeToString()
            candidate = Candidate(
                run_id, uri, family.name, {"rounds": 20}, {"mae": 1.0}, onnx_bytes, manifest, None, {"seed": "0"}
            )
        return registry.register("toy", candidate), model, frame

    return make


def test_a_version_is_in_mlflow_in_the_ledger_and_on_disk(registry, register, settings):
    version, model, frame = register()
    row = registry.ledger.version("toy", version)
    manifest = read_bundle(settings.home / row.bundle, row.digest, read_keyring(settings)).manifest
    assert (manifest.model, manifest.version) == ("toy", version)
    assert registry.versions("toy")[0]["aliases"] == ["challenger"]
    registry.promote("toy", version, None, reason="first")
    assert registry.versions("toy")[0]["aliases"] == ["champion"]

    import mlflow

    client(settings)
    loaded = mlflow.pyfunc.load_model("models:/toy@champion")
    sent = frame[loaded.metadata.signature.inputs.input_names()]
    assert np.allclose(loaded.predict(sent), model.predict(frame))
    assert loaded.metadata.signature.outputs is not None


def test_promote_and_rollback_move_both(registry, register):
    first, second = register()[0], register()[0]
    registry.promote("toy", first, None, reason="first")
    registry.promote("toy", second, first, reason="better")
    assert {v["version"]: v["aliases"] for v in registry.versions("toy")} == {second: ["champion"], first: ["previous"]}
    assert registry.rollback("toy", "by hand").version == first
    assert {v["version"]: v["aliases"] for v in registry.versions("toy")} == {first: ["champion"], second: ["previous"]}


def test_a_crash_between_ledger_and_alias_is_repaired(registry, register):
    first, second = register()[0], register()[0]
    registry.promote("toy", first, None, reason="first")
    registry.ledger.promote("toy", second, first, reason="and here the process died")
    assert "version 2 serves" in registry.drifted_aliases()[0]
    assert len(registry.repair()) == 1
    assert registry.drifted_aliases() == []


def test_an_alias_moved_by_hand_is_told(registry, register, settings):
    first, second = register()[0], register()[0]
    registry.promote("toy", first, None, reason="first")
    client(settings).set_registered_model_alias("toy", "champion", str(second))
    assert f"treadle promote toy {second}" in registry.drifted_aliases()[0]


def test_forget_starts_anew(registry, register):
    version = register()[0]
    registry.promote("toy", version, None, reason="first")
    registry.forget("toy")
    assert registry.versions("toy") == []
    with pytest.raises(NotFound):
        registry.rollback("toy", "nothing")


def test_a_failed_run_is_failed_in_mlflow(settings):
    with pytest.raises(ZeroDivisionError), open_run(settings, PROJECT, name="test", tags={"reason": "x"}) as run_id:
        raise ZeroDivisionError
    run = client(settings).get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["reason"] == "x"


def test_trials_become_nested_runs(settings):
    from dataclasses import dataclass, field

    @dataclass(frozen=True)
    class Trial:
        number: int
        score: float | None
        state: str
        family: str = "linear"
        seconds: float = 0.1
        params: dict = field(default_factory=lambda: {"strength": 1.0})

    with open_run(settings, PROJECT, name="test", tags={}) as run_id:
        log_trials(settings, run_id, "toy", [Trial(0, 1.5, "complete"), Trial(1, None, "failed")], "mae")
    mlflow = client(settings)
    runs = mlflow.search_runs(
        [mlflow.get_experiment_by_name("toy").experiment_id], f"tags.mlflow.parentRunId = '{run_id}'"
    )
    assert {(r.info.run_name, r.info.status, r.data.metrics.get("mae")) for r in runs} == {
        ("trial 0: linear", "FINISHED", 1.5),
        ("trial 1: linear", "FAILED", None),
    }
