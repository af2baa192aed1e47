"""An installation with a real model in it: gradient boosting on a table of numbers, booleans, categories and times.

Version n answers n * 1000 more than the trained model, so that every single answer tells which version gave it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from sqlalchemy import text

from treadle.families import load_family
from treadle.ledger import Ledger, Version
from treadle.models.bundle import Manifest, ManifestColumn, Smoke, write_bundle
from treadle.models.onnx_export import frame_to_inputs, run_onnx
from treadle.models.signing import Sign, signer
from treadle.models.trust import begin_signing
from treadle.problems import load_problem
from treadle.project import Data
from treadle.settings import Settings
from treadle.tables.data import conform, infer_schema

MODEL = "energy"
STEP = 1000.0
"""By so much the answers of one version are above those of the one before it."""
SCRIPT = "</script><script>alert(1)</script>"
"""A category as an attacker would name it: it must stay text wherever it is shown."""


def table(n: int = 1200, seed: int = 5) -> pd.DataFrame:
    """Raw rows with gaps, names that need quoting, categories that are not ASCII, and the target `load`."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "outside °C": rng.normal(12, 9, n).round(2),
            "rooms": rng.integers(1, 9, n),
            "meter": 1e11 + rng.integers(0, 900, n),
            "heated": rng.random(n) < 0.6,
            "solar": rng.choice(["no", "yes"], n),
            "tariff": rng.choice(["day", "night & day", "été ✓", SCRIPT, None], n, p=[0.4, 0.3, 0.15, 0.1, 0.05]),
            "district": rng.choice([f"d{k}" for k in range(40)], n),
            "read at": pd.date_range("2023-01-01", periods=n, freq="3h"),
        }
    )
    frame.loc[::11, "outside °C"] = np.nan
    cold = 25 - frame["outside °C"].fillna(12)
    frame["load"] = cold * (0.5 + frame["heated"]) + frame["rooms"] - 4 * (frame["solar"] == "yes")
    frame["load"] += rng.normal(0, 0.5, n)
    return frame


@cache
def trained() -> tuple[onnx.ModelProto, tuple[ManifestColumn, ...], tuple[dict[str, Any], ...], np.ndarray]:
    """The model as ONNX, its columns, some rows as callers send them, and their answers (n,)."""
    raw, problem = table(), load_problem("tabular-regression")
    schema = infer_schema(raw, Data(source="energy.csv", target="load"), problem.name)
    frame, family = conform(raw, schema), load_family("gradient-boosting")
    y = problem.encode_target(frame[schema.target], schema)
    model = family.fit(
        frame, y, family.defaults(problem), problem=problem, schema=schema, metric=problem.default_metric, seed=1
    ).model
    proto = family.to_onnx(model, schema)
    some = frame[[column.name for column in schema.features]].dropna().sample(60, random_state=1)
    answers = run_onnx(proto.SerializeToString(), frame_to_inputs(some, schema.features)).reshape(-1)
    some["read at"] = some["read at"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    truths = [column.name for column in schema.features if column.kind == "boolean"]
    some[truths] = some[truths].astype(bool)  # as clients send them, and as the quick lane takes them
    columns = tuple(
        ManifestColumn(c.name, c.kind, c.nullable, c.categories, c.tokens, c.format, c.low, c.high, c.example)
        for c in schema.features
    )
    return proto, columns, tuple(json.loads(some.to_json(orient="records", double_precision=15))), answers


def rows() -> tuple[dict[str, Any], ...]:
    """Rows that callers send."""
    return trained()[2]


def columns() -> tuple[ManifestColumn, ...]:
    """The model's columns."""
    return trained()[1]


def graph(bias: float) -> bytes:
    """The trained model with `bias` added to every answer."""
    proto = onnx.ModelProto()
    proto.CopyFrom(trained()[0])
    for node in proto.graph.node:
        for index, name in enumerate(node.output):
            if name == "prediction":
                node.output[index] = "unbiased"
    proto.graph.initializer.append(helper.make_tensor("version_bias", TensorProto.FLOAT, [], [bias]))
    proto.graph.node.append(helper.make_node("Add", ["unbiased", "version_bias"], ["prediction"]))
    return proto.SerializeToString()


def graph_of_nan() -> bytes:
    """The trained model with NaN among its weights."""
    proto = onnx.ModelProto()
    proto.ParseFromString(graph(0.0))
    for tensor in proto.graph.initializer:
        if tensor.name == "version_bias":
            tensor.CopyFrom(numpy_helper.from_array(np.array(np.nan, np.float32), "version_bias"))
    return proto.SerializeToString()


class Installation:
    """A home folder with a ledger, bundles and champions."""

    def __init__(self, home: Path, **changes: Any) -> None:
        self.settings = Settings(home=home, **changes)
        self.ledger = Ledger.open(self.settings)

    def register(
        self, version: int, onnx_bytes: bytes | None = None, *, says: str = MODEL, sign: Sign | None = None
    ) -> Path:
        """Register a version, without making it the champion.

        Args:
            version: Its number.
            onnx_bytes: What it answers with; by default the trained model, `STEP` higher a version.
            says: The model that its bundle says it is of.
            sign: Signs the bundle, if not the installation's own key.

        Returns:
            The bundle's folder.
        """
        _, columns, rows, answers = trained()
        wanted = answers + STEP * version
        manifest = Manifest(
            model=says, version=version, problem="tabular-regression", family="gradient-boosting", columns=columns, target="load",
            metric="rmse", metrics={"rmse": 0.6},
            smoke=tuple(Smoke(row, (float(a),)) for row, a in zip(rows[:5], wanted[:5], strict=True)),
        )  # fmt: skip
        folder = self.settings.bundles_dir / MODEL / str(version)
        begin_signing(self.settings, self.ledger)
        digest = write_bundle(folder, onnx_bytes or graph(STEP * version), manifest, sign or signer(self.settings))
        place = str(folder.relative_to(self.settings.home))
        row = Version(MODEL, version, f"run{version}", place, digest, "gradient-boosting", {}, {}, None)
        self.ledger.add_version(row)
        return folder

    def promote(self, version: int) -> None:
        """Make a version the champion."""
        champion = self.ledger.champion(MODEL)
        self.ledger.promote(MODEL, version, champion.version if champion else None, reason="fault test")

    def digest(self, version: int) -> str:
        """What every reply of a version must name."""
        row = self.ledger.version(MODEL, version)
        assert row is not None
        return row.digest

    def ids(self) -> set[str]:
        """Ids of all predictions in the ledger."""
        with self.ledger.engine.connect() as connection:
            return set(connection.execute(text("SELECT id FROM predictions")).scalars())

    def count(self) -> int:
        """How many predictions are in the ledger."""
        with self.ledger.engine.connect() as connection:
            return int(connection.execute(text("SELECT COUNT(*) FROM predictions")).scalar_one())

    def missing(self, acknowledged: set[str], deadline_s: float = 30.0) -> set[str]:
        """Acknowledged ids that are not in the ledger, when the service has had time to bring them there."""
        end = time.monotonic() + deadline_s
        while (missing := acknowledged - self.ids()) and time.monotonic() < end:
            time.sleep(0.1)
        return missing


def installation_of(home: Path, **changes: Any) -> Installation:
    """An installation that serves version 1."""
    made = Installation(home, **changes)
    made.register(1)
    made.promote(1)
    return made


def eventually(true: Callable[[], object], deadline_s: float = 60.0, pause_s: float = 0.02) -> None:
    """Wait until something holds; fail if it never does."""
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(pause_s)
