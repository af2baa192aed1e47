"""Registers small classifiers of vectors as the train flow does it: family, ONNX, signed bundle, ledger."""

import pandas as pd

from treadle.ledger import Ledger, Version
from treadle.models.bundle import write_bundle
from treadle.models.signing import signer
from treadle.models.trust import begin_signing


def fit(name, frame, kind="tabular-classification"):
    """A linear model of a table whose target is `label`: manifest, ONNX, and its packed form."""
    from tasks.register import make_manifest
    from treadle.families import load_family
    from treadle.models.onnx_export import frame_to_inputs, pack
    from treadle.problems import load_problem
    from treadle.project import Data, Project
    from treadle.retraining.turn import Rows, Scores
    from treadle.tables.data import conform, infer_schema

    problem, family = load_problem(kind), load_family("linear")
    schema = infer_schema(frame, Data(source="x.csv", target="label"), kind)
    rows = conform(frame, schema)
    y = problem.encode_target(rows["label"], schema)
    params, metric = family.defaults(problem), problem.default_metric
    model = family.fit(rows, y, params, problem=problem, schema=schema, metric=metric).model
    exported = family.to_onnx(model, schema)
    onnx, packed = exported.SerializeToString(), pack(exported, model[0], frame_to_inputs(rows, schema.features))
    project = Project.model_validate({"name": name, "problem": kind, "data": {"source": "x.csv", "target": "label"}})
    scores = Scores({metric: 1.0}, {}, {}, "the tests")
    manifest = make_manifest(project, schema, "linear", metric, scores, Rows("", len(rows), ""), rows, onnx)
    return manifest, onnx, packed


def register(settings, name, version, frame, *, promote=True, **how):
    """Register a version, and make it champion."""
    import msgspec

    ledger = Ledger.open(settings)
    begin_signing(settings, ledger)
    manifest, onnx, packed = fit(name, frame, **how)
    folder = settings.bundles_dir / name / str(version)
    named = msgspec.structs.replace(manifest, version=version)
    digest = write_bundle(folder, onnx, named, signer(settings), packed)
    ledger.add_version(
        Version(name, version, "run", str(folder.relative_to(settings.home)), digest, "linear", {}, {}, None)
    )
    if promote:
        ledger.promote(name, version, version - 1 or None, reason="for the tests")
    return folder


def table(vectors, labels, names):
    """A table as `treadle ready embed` writes it."""
    frame = pd.DataFrame(vectors, columns=names, dtype="float32")
    return frame.assign(label=labels)
