"""An installation with two real versions of one project, a good one and one that is its opposite."""

import pytest

from treadle.families import load_family
from treadle.families.storage import TRUSTED
from treadle.ledger import Ledger
from treadle.models.bundle import Manifest, ManifestColumn
from treadle.models.registry import Candidate, Registry
from treadle.models.tracking import log_model, open_run
from treadle.problems import load_problem
from treadle.project import load_project
from treadle.settings import Settings

YAML = "name: toy\nproblem: tabular-regression\ndata: {source: toy.csv, target: amount, time: when}\npromote: {metric: mae}\n"


@pytest.fixture(scope="module")
def installation(tmp_path_factory, toy):
    """A project with two real versions: 1 learned the truth, 2 its opposite."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    folder = settings.projects_dir / "toy"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text(YAML)
    schema, frame = toy("tabular-regression")
    schema.save(folder / "schema.json")
    problem, family = load_problem("tabular-regression"), load_family("linear")
    registry = Registry(settings, Ledger.open(settings))
    y = frame["amount"].to_numpy()
    for target in (y, 2 * y.mean() - y):
        model = family.fit(frame, target, {"strength": 1.0}, problem=problem, schema=schema, metric="mae").model
        register(settings, registry, schema, family, model)
    return settings, frame


def register(settings, registry, schema, family, model):
    """A fitted model of the toy project as its next version; its number."""
    project = load_project("toy", settings)
    with open_run(settings, project, name="test", tags={}) as run_id:
        columns = tuple(ManifestColumn(c.name, c.kind, categories=c.categories) for c in schema.features)
        manifest = Manifest(
            model="toy", problem=project.problem, family=family.name, columns=columns, target="amount", metric="mae"
        )
        uri, graph = log_model(settings, run_id, model, schema, TRUSTED), family.to_onnx(model, schema)
        onnx_bytes = graph.SerializeToString()
        return registry.register(
            "toy", Candidate(run_id, uri, family.name, {}, {"mae": 1.0}, onnx_bytes, manifest, None, {})
        )


@pytest.fixture
def ledger(installation):
    settings, _ = installation
    ledger = Ledger.open(settings)
    kept = ledger.versions("toy")
    yield ledger
    ledger.forget("toy")
    for version in kept:
        ledger.add_version(version)
