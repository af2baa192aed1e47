"""Versions in MLflow and in the ledger, and what happens when the two differ."""

import os
import time

import numpy as np
import pytest

from treadle.errors import Conflict, NotFound
from treadle.families import load_family
from treadle.families.storage import TRUSTED
from treadle.ledger import Ledger
from treadle.models.bundle import Manifest, ManifestColumn, read_bundle
from treadle.models.registry import Candidate, Registry
from treadle.models.signing import read_keyring
from treadle.models.tracking import client, log_metrics, log_model, open_run
from treadle.problems import load_problem
from treadle.project import Project

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


def test_what_the_service_promoted_is_followed_and_what_a_person_did_is_left(registry, register, settings):
    first, second = register()[0], register()[0]
    registry.promote("toy", first, None, reason="first")
    registry.ledger.promote("toy", second, first, reason="the evidence of a release was in")
    registry.follow("toy")
    assert registry.drifted_aliases() == []
    client(settings).set_registered_model_alias("toy", "champion", str(first))
    registry.follow("toy")
    assert len(registry.drifted_aliases()) == 1


def test_an_alias_moved_by_hand_is_told(registry, register, settings):
    first, second = register()[0], register()[0]
    registry.promote("toy", first, None, reason="first")
    client(settings).set_registered_model_alias("toy", "champion", str(second))
    told = registry.drifted_aliases()
    assert f"treadle promote toy {second}" in told[0]
    assert f"treadle promote toy {first}" in told[0]
    assert registry.repair() == []
    assert registry.drifted_aliases() == told, "what a person did is told, not undone"
    registry.publish("toy")
    assert registry.drifted_aliases() == []


def test_an_outage_of_mlflow_does_not_undo_a_promotion(registry, register, settings):
    """The store is away while the promotion is made; it stands, and its aliases follow at the next start."""
    first, second = register()[0], register()[0]
    registry.promote("toy", first, None, reason="first")
    away = Registry(settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"}), registry.ledger)
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    try:
        assert away.promote("toy", second, first, reason="better").version == second
    finally:
        del os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]
    assert f"version {second} serves" in registry.drifted_aliases()[0]
    assert f"promote toy {first}" not in registry.drifted_aliases()[0], "the old champion is no way out"
    assert len(registry.repair()) == 1
    assert registry.drifted_aliases() == []


def test_what_an_alias_points_at_is_not_deleted(registry, register, settings):
    first, second, third = register()[0], register()[0], register()[0]
    registry.promote("toy", first, None, reason="first")
    registry.promote("toy", second, first, reason="better")
    for held, alias in ((first, "previous"), (second, "champion"), (third, "challenger")):
        with pytest.raises(Conflict, match=alias):
            registry.delete("toy", held)
    client(settings).delete_registered_model_alias("toy", "challenger")
    registry.delete("toy", third)
    assert [row["version"] for row in registry.versions("toy")] == [second, first]
    assert not (settings.bundles_dir / "toy" / str(third)).exists()
    assert register()[0] == third + 1


def test_a_number_is_not_used_twice_when_the_model_was_deleted_in_mlflow(registry, register, settings):
    first = register()[0]
    registry.promote("toy", first, None, reason="first")
    row = registry.ledger.version("toy", first)
    client(settings).delete_registered_model("toy")
    assert "deleted in MLflow" in registry.drifted_aliases()[0]
    assert registry.repair() == []
    second = register()[0]
    assert second == first + 1
    assert read_bundle(settings.home / row.bundle, row.digest, read_keyring(settings)).digest == row.digest
    assert registry.promote("toy", second, first, reason="better").previous == first
    assert registry.drifted_aliases() == []


def test_the_run_s_model_names_its_version(registry, register, settings):
    import json

    version = register()[0]
    mlflow = client(settings)
    run = mlflow.get_run(registry.ledger.version("toy", version).run_id)
    logged = mlflow.get_logged_model(run.outputs.model_outputs[0].model_id)
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "toy", "version": version}]


def test_a_half_written_bundle_is_swept_when_nobody_can_be_writing_it(registry, settings):
    new, old = settings.bundles_dir / "toy" / ".bundle-new", settings.bundles_dir / "toy" / ".bundle-old"
    for folder in (new, old):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 86400,) * 2)
    assert len(registry.repair()) == 1
    assert (new.exists(), old.exists()) == (True, False)


def test_forget_starts_anew(registry, register):
    version = register()[0]
    registry.promote("toy", version, None, reason="first")
    registry.forget("toy")
    assert registry.versions("toy") == []
    with pytest.raises(NotFound):
        registry.rollback("toy", "nothing")
