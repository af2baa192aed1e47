"""A tiny real model in a real bundle in a real ledger, and the service on top of them: no training library needed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest
from onnx import TensorProto, helper
from starlette.testclient import TestClient

from serving.app import create_app
from treadle.ledger import Ledger, Version
from treadle.models.bundle import Manifest, ManifestColumn, Packed, Smoke, write_bundle
from treadle.models.signing import signer
from treadle.models.trust import begin_signing
from treadle.settings import CHECKOUT, Settings

COLUMNS = (
    ManifestColumn("temp", "number", nullable=True, low=-20, high=40, example=3.5),
    ManifestColumn("holiday", "boolean", tokens=("no", "yes"), example="no"),
    ManifestColumn("when", "datetime", example="2011-01-01T05:00:00"),
    ManifestColumn("season", "category", nullable=True, categories=("winter", "summer"), example="winter"),
)
ROW = {"temp": 3.5, "holiday": False, "when": "2011-01-01T05:00:00", "season": "summer"}
CLASSES = ("high", "low")


def graph(bias: float, classes: bool) -> bytes:
    """temp + 100 * holiday + 10 * (season is summer) + 0 * when + bias; as two probabilities with `classes`.

    Unknown numbers are 0.
    """
    doubles = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["N"]) for name in ("temp", "holiday", "when")]
    text = helper.make_tensor_value_info("season", TensorProto.STRING, ["N"])
    numbers = {"hundred": 100.0, "zero": 0.0, "bias": bias}
    constants = [helper.make_tensor(name, TensorProto.DOUBLE, [], [value]) for name, value in numbers.items()]
    nodes = [
        node
        for name in ("temp", "holiday", "when")
        for node in (
            helper.make_node("IsNaN", [name], [f"{name}_unknown"]),
            helper.make_node("Where", [f"{name}_unknown", "zero", name], [f"{name}_known"]),
        )
    ]
    nodes += [
        helper.make_node(
            "LabelEncoder", ["season"], ["code"], domain="ai.onnx.ml",
            keys_strings=["summer"], values_floats=[10.0], default_float=0.0,
        ),
        helper.make_node("Cast", ["code"], ["warm"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["holiday_known", "hundred"], ["free"]),
        helper.make_node("Mul", ["when_known", "zero"], ["never"]),
        helper.make_node("Sum", ["temp_known", "free", "warm", "never", "bias"], ["total"]),
        helper.make_node("Cast", ["total"], ["narrow"], to=TensorProto.FLOAT),
    ]  # fmt: skip
    if classes:
        constants += [
            helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
            helper.make_tensor("last", TensorProto.INT64, [1], [1]),
        ]
        nodes += [
            helper.make_node("Sigmoid", ["narrow"], ["yes"]),
            helper.make_node("Sub", ["one", "yes"], ["no"]),
            helper.make_node("Unsqueeze", ["yes", "last"], ["yes_column"]),
            helper.make_node("Unsqueeze", ["no", "last"], ["no_column"]),
            helper.make_node("Concat", ["yes_column", "no_column"], ["probabilities"], axis=1),
        ]
        answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2])
    else:
        nodes.append(helper.make_node("Identity", ["narrow"], ["prediction"]))
        answer = helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["N"])
    made = helper.make_graph(nodes, "toy", [*doubles, text], [answer], constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    return onnx.ModelProto(ir_version=10, graph=made, opset_import=opsets).SerializeToString()


class Home:
    """An installation in a temporary folder."""

    def __init__(self, folder: Path, **changes: object) -> None:
        self.settings = Settings(home=folder, swap_poll_s=0.05, **({"allowed_hosts": "testserver"} | changes))
        self.ledger = Ledger.open(self.settings)

    def register(
        self,
        name: str = "toy",
        version: int = 1,
        *,
        classes: bool = False,
        smoke: float = 0.0,
        onnx_bytes: bytes | None = None,
    ) -> Path:
        """Register a version that answers `version * 1000` more (regression); `smoke` falsifies its smoke answer."""
        bias = 0.0 if classes else version * 1000.0
        answer = (0.9999986, 0.0000014) if classes else (13.5 + bias + smoke,)
        manifest = Manifest(
            model=name, problem="tabular-classification" if classes else "tabular-regression", family="linear",
            version=version, columns=COLUMNS, target="bikers", classes=CLASSES if classes else None, metric="mae", metrics={"mae": 1.5},
            smoke=(Smoke(dict(ROW), answer),),
        )  # fmt: skip
        return self.add(manifest, onnx_bytes or graph(bias, classes))

    def add(self, manifest: Manifest, onnx_bytes: bytes, packed: Packed | None = None) -> Path:
        """Register a version of any model."""
        name, version = manifest.model, manifest.version
        folder = self.settings.bundles_dir / name / str(version)
        begin_signing(self.settings, self.ledger)
        digest = write_bundle(folder, onnx_bytes, manifest, signer(self.settings), packed)
        place = str(folder.relative_to(self.settings.home))
        self.ledger.add_version(Version(name, version, f"run{version}", place, digest, "linear", {}, {}, None))
        return folder

    def promote(self, name: str = "toy", version: int = 1) -> None:
        """Make a version the champion."""
        champion = self.ledger.champion(name)
        self.ledger.promote(name, version, champion.version if champion else None, reason="for the test")


@pytest.fixture
def make_home(tmp_path: Path) -> Callable[..., Home]:
    """Makes an installation; its arguments change settings."""
    return partial(Home, tmp_path)


@pytest.fixture(scope="module")
def module_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """An installation without models that all tests of a file share."""
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def home(make_home: Callable[..., Home]) -> Home:
    """An installation that serves `toy` version 1."""
    home = make_home()
    home.register()
    home.promote()
    return home


@pytest.fixture
def client(home: Home) -> Iterator[TestClient]:
    """The service of `home`, in this process."""
    with TestClient(create_app(home.settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """Runs `python -m serving` as a process of its own: a context of the process and its base URL."""
    return _serve


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Waits until something holds."""
    return _eventually


def _eventually(true: Callable[[], object], deadline_s: float = 20.0) -> None:
    """Wait until `true()` holds; fail when it never does."""
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


@contextmanager
def _serve(
    settings: Settings,
    python: Path | str = sys.executable,
    folder: Path = CHECKOUT,
    command: Sequence[str] = ("-m", "serving"),
    **environment: str,
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"TREADLE_HOME": str(settings.home), "TREADLE_API_PORT": str(port), "TREADLE_SWAP_POLL_S": "0.05"}
    process = subprocess.Popen([python, *command], cwd=folder, env=os.environ | own | environment)
    address = f"http://127.0.0.1:{port}"
    try:
        _eventually(lambda: process.poll() is not None or _lives(address))
        assert process.poll() is None, "the service did not start"
        yield process, address
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(10)


def _lives(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz", timeout=1).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@dataclass(frozen=True)
class Trained:
    """An installation with models that were trained and registered as Treadle does it.

    Attributes:
        uris: Where MLflow has each model.
        frames: The rows that each learned from.
    """

    settings: Settings
    uris: dict[str, str]
    frames: dict[str, Any]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, toy: Callable[..., Any]) -> Trained:
    """Serves `amount` (regression), `churned` (two classes) and `timeless` (`amount` without a time column)."""
    settings = Settings(home=tmp_path_factory.mktemp("trained"), swap_poll_s=0.05, allowed_hosts="testserver")
    trained = Trained(settings, {}, {})
    _train(trained, toy, "amount", "tabular-regression", "gradient-boosting", {"rounds": 20})
    _train(trained, toy, "churned", "tabular-classification", "gradient-boosting", {"rounds": 20})
    _train(trained, toy, "timeless", "tabular-regression", "linear", {}, without=("when",))
    return trained


@pytest.fixture(scope="session")
def trained_client(trained: Trained) -> Iterator[TestClient]:
    """The service of `trained`, in this process."""
    with TestClient(create_app(trained.settings), raise_server_exceptions=False) as client:
        yield client


def _train(trained: Trained, toy: Callable[..., Any], name: str, kind: str, *how: Any, **more: Any) -> None:
    from treadle.families.storage import TRUSTED
    from treadle.models.registry import Candidate, Registry
    from treadle.models.tracking import log_model, open_run
    from treadle.project import Project

    fitted = fit_toy(toy, name, kind, *how, **more)
    target = fitted.schema.target
    project = Project.model_validate({"name": name, "problem": kind, "data": {"source": "toy.csv", "target": target}})
    with open_run(trained.settings, project, name="for the tests", tags={}) as run_id:
        trained.uris[name] = log_model(trained.settings, run_id, fitted.model, fitted.schema, TRUSTED)
    trained.frames[name] = fitted.frame
    manifest = fitted.manifest
    candidate = Candidate(
        run_id,
        trained.uris[name],
        manifest.family,
        {},
        manifest.metrics,
        fitted.onnx_bytes,
        manifest,
        None,
        {},
        fitted.packed,
    )
    registry = Registry(trained.settings, Ledger.open(trained.settings))
    registry.promote(name, registry.register(name, candidate), None, reason="for the tests")


@dataclass(frozen=True)
class Fitted:
    """A model of the toy table, ready to be registered."""

    model: Any
    schema: Any
    frame: Any
    onnx_bytes: bytes
    packed: Packed | None
    manifest: Manifest


def fit_toy(
    toy: Callable[..., Any], name: str, kind: str, family_name: str, params: dict[str, Any],
    without: tuple[str, ...] = (),
) -> Fitted:  # fmt: skip
    """Fit a family to the toy table, with some parameters other than its own and without some columns."""
    from tasks.register import make_manifest
    from treadle.families import load_family
    from treadle.models.onnx_export import frame_to_inputs, pack
    from treadle.problems import load_problem
    from treadle.project import Project
    from treadle.retraining.turn import Rows, Scores

    problem, family = load_problem(kind), load_family(family_name)
    schema, frame = toy(kind)
    schema = schema.model_copy(update={"columns": tuple(c for c in schema.columns if c.name not in without)})
    project = Project.model_validate(
        {"name": name, "problem": kind, "data": {"source": "toy.csv", "target": schema.target}}
    )
    y = problem.encode_target(frame[schema.target], schema)
    params = family.defaults(problem) | params
    model = family.fit(frame, y, params, problem=problem, schema=schema, metric=problem.default_metric).model
    exported = family.to_onnx(model, schema)
    onnx_bytes, packed = exported.SerializeToString(), pack(exported, model[0], frame_to_inputs(frame, schema.features))
    scores = Scores({problem.default_metric: 1.0}, {}, {}, "the toy")
    manifest = make_manifest(
        project, schema, family_name, problem.default_metric, scores, Rows("", len(frame), ""), frame, onnx_bytes
    )
    return Fitted(model, schema, frame, onnx_bytes, packed, manifest)


@pytest.fixture(scope="session", name="fit_toy")
def fit_toy_fixture(toy: Callable[..., Any]) -> Callable[..., Fitted]:
    """Fits a family to the toy table: `fit_toy(name, problem, family, parameters)`."""
    return partial(fit_toy, toy)
