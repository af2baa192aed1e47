"""What a bundle says of itself: rows and answers that hold, and of personal columns nothing."""

import json

import msgspec
import numpy as np
import pytest

from tasks.register import make_manifest
from treadle.errors import BadProject
from treadle.families import load_family
from treadle.models.onnx_export import frame_to_inputs, run_onnx
from treadle.problems import load_problem
from treadle.project import Project
from treadle.retraining.turn import Rows, Scores
from treadle.tables.data import AT

PERSONAL = {"plan": "hash", "serial": "drop", "member": "drop", "when": "hash"}


@pytest.fixture(scope="module")
def fitted(toy):
    problem, family = load_problem("tabular-regression"), load_family("linear")
    schema, frame = toy("tabular-regression")
    y = problem.encode_target(frame[schema.target], schema)
    model = family.fit(
        frame, y, family.defaults(problem), problem=problem, schema=schema, metric=problem.default_metric
    ).model
    return schema, frame.assign(**{AT: frame["when"]}), family.to_onnx(model, schema).SerializeToString()


def manifest_of(fitted, **privacy):
    schema, frame, onnx_bytes = fitted
    project = Project.model_validate(
        {
            "name": "toy",
            "problem": "tabular-regression",
            "data": {"source": "toy.csv", "target": schema.target},
            "privacy": privacy,
        }
    )
    scores = Scores({"rmse": 1.0}, {}, {}, "the toy")
    return make_manifest(project, schema, "linear", "rmse", scores, Rows("", len(frame), ""), frame, onnx_bytes)


def test_personal_columns_have_no_value_in_it(fitted):
    manifest = manifest_of(fitted, columns=PERSONAL, subject="size")
    for row in (*(smoke.row for smoke in manifest.smoke), *manifest.background):
        assert [row[name] for name in (*PERSONAL, "size")] == [None] * 5
    for column in manifest.columns:
        assert (column.categories, column.low, column.high, column.example) == (None,) * 4
    said = msgspec.json.encode(manifest).decode()
    assert [plan for plan in ("basic", "plus", "pro") if json.dumps(plan) in said] == []


def test_others_keep_theirs_and_the_answers_are_the_models_to_the_rows_that_are_shown(fitted):
    schema, frame, onnx_bytes = fitted
    manifest = manifest_of(fitted, columns={"plan": "drop"})
    assert {column.name for column in manifest.columns if column.example is None} == {"plan"}
    assert {smoke.row["member"] for smoke in manifest.smoke} <= {True, False}
    hidden = frame.assign(plan=None)
    answers = run_onnx(onnx_bytes, frame_to_inputs(hidden, schema.features)).reshape(-1)
    given = np.array([smoke.answer[0] for smoke in manifest.smoke])
    assert np.abs(given[:, None] - answers[None, :]).min(axis=1).max() < 1e-9


def test_a_policy_for_a_column_that_is_not_there_is_told(fitted):
    with pytest.raises(BadProject, match="plam"):
        manifest_of(fitted, columns={"plam": "drop"})
