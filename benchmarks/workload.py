"""What every server of the benchmark serves: one 23-column gradient-boosting pipeline, and requests for it.

The table is made up: 15 numbers and 8 categories, some of them missing, on which the target depends in a way that trees must work for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from treadle.families import load_family
from treadle.families.storage import TRUSTED
from treadle.keys import Role, create_key
from treadle.ledger import Ledger, Version
from treadle.models.bundle import Manifest, ManifestColumn, Smoke, write_bundle
from treadle.models.onnx_export import frame_to_inputs, pack, run_onnx
from treadle.models.signing import signer
from treadle.models.trust import begin_signing
from treadle.problems import load_problem
from treadle.project import load_project
from treadle.settings import Settings
from treadle.tables.data import conform, load_schema
from treadle.tables.reading import read_table

MODEL = "wide"
ROWS = 20_000
PROJECT = f"name: {MODEL}\nproblem: tabular-regression\ndata:\n  source: data/table.csv\n  target: y\n"


@dataclass(frozen=True)
class Workload:
    """A trained pipeline on disk, in the forms that the servers read.

    Attributes:
        settings: A Treadle home in which its bundle is champion.
        key: A caller's key there.
        pipeline: The pipeline as a joblib file.
        mlflow: The folder of the same pipeline as Treadle logs it to MLflow.
        columns: Kinds of the feature columns, by name.
        frame: Rows to ask for, without gaps.
        wanted: What the pipeline itself answers to them.
    """

    settings: Settings
    key: str
    pipeline: Path
    mlflow: Path
    columns: dict[str, str]
    frame: pd.DataFrame
    wanted: np.ndarray

    def rows(self, count: int) -> list[dict[str, Any]]:
        """The first rows as JSON values."""
        return json.loads(self.frame.head(count).to_json(orient="records", double_precision=15))  # type: ignore[no-any-return]


def make_table(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """The made-up table, the same for the same arguments."""
    rng = np.random.default_rng(seed)
    numbers = {f"n{i}": rng.normal(size=rows).round(4) for i in range(15)}
    table = pd.DataFrame(numbers | {f"c{i}": rng.choice(["aa", "bb", "cc", "dd", "ee"], rows) for i in range(8)})
    table["y"] = table.n0 * 3 + np.sin(table.n1 * 2) + table.n2 * table.n3
    table["y"] += (table.c0 == "bb") * 2 - (table.c1 == "dd") * table.n4 + rng.normal(size=rows) * 0.3
    gaps = rng.random(rows) < 0.05
    table.loc[gaps, ["n5", "c3"]] = None
    return table


def prepare(home: Path) -> Workload:
    """Train once, and write every form of it below `home`."""
    settings = Settings(home=home)
    folder = settings.projects_dir / MODEL
    (folder / "data").mkdir(parents=True)
    make_table().to_csv(folder / "data" / "table.csv", index=False)
    (folder / "project.yaml").write_text(PROJECT, encoding="utf-8")
    project = load_project(MODEL, settings)
    schema, problem = load_schema(project), load_problem(project.problem)
    frame = conform(read_table(project.source), schema)
    family = load_family("gradient-boosting")
    y, metric = problem.encode_target(frame[schema.target], schema), problem.default_metric
    model = family.fit(frame, y, family.defaults(problem), problem=problem, schema=schema, metric=metric).model
    joblib.dump(model, home / "pipeline.joblib")
    _save_for_mlflow(model, schema, home / "mlflow-model")
    names = [column.name for column in schema.features]
    asked = frame[names].dropna().head(1000).reset_index(drop=True)
    key = _publish(settings, model, schema, asked)
    kinds = {column.name: column.kind for column in schema.features}
    wanted = np.asarray(model.predict(asked), dtype=float)
    return Workload(settings, key, home / "pipeline.joblib", home / "mlflow-model", kinds, asked, wanted)


def _publish(settings: Settings, model: Any, schema: Any, asked: pd.DataFrame) -> str:
    """Put the pipeline into a bundle and make it the champion; a key to call it with."""
    graph = load_family("gradient-boosting").to_onnx(model, schema)
    onnx_bytes, packed = graph.SerializeToString(), pack(graph, model[0], frame_to_inputs(asked, schema.features))
    first = json.loads(asked.head(1).to_json(orient="records", double_precision=15))[0]
    answer = run_onnx(onnx_bytes, frame_to_inputs(asked.head(1), schema.features))
    manifest = Manifest(
        model=MODEL, version=1, problem="tabular-regression", family="gradient-boosting", target=schema.target,
        columns=tuple(
            ManifestColumn(c.name, c.kind, c.nullable, c.categories, c.tokens, c.format, c.low, c.high, c.example)
            for c in schema.features
        ),
        metric="rmse", smoke=(Smoke(first, tuple(map(float, answer))),),
    )  # fmt: skip
    ledger = Ledger.open(settings)
    begin_signing(settings, ledger)
    folder = settings.bundles_dir / MODEL / "1"
    digest = write_bundle(folder, onnx_bytes, manifest, signer(settings), packed)
    place = str(folder.relative_to(settings.home))
    ledger.add_version(Version(MODEL, 1, "benchmark", place, digest, "gradient-boosting", {}, {}, None))
    ledger.promote(MODEL, 1, None, reason="benchmark")
    return create_key(ledger, "wrk", Role.CALLER, "benchmark")[1]


def _save_for_mlflow(model: Any, schema: Any, folder: Path) -> None:
    """The pipeline as Treadle logs it to MLflow: skops, with a signature."""
    from mlflow import sklearn as flavor

    from treadle.models.tracking import requirements, signature_of

    flavor.save_model(
        model, str(folder), signature=signature_of(schema), serialization_format="skops",
        skops_trusted_types=TRUSTED, pip_requirements=requirements(model),
    )  # fmt: skip
