"""The servers that are compared: what starts each one, and how it is asked. What they serve is `benchmarks.workload`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load import Server, free_port
from benchmarks.workload import MODEL, Workload
from treadle.settings import CHECKOUT

OURS = Path(sys.executable).parent
V2_TYPES = {"category": "BYTES"}


def _local(port: int, path: str) -> Callable[[int], str]:
    return lambda _rows: f"http://127.0.0.1:{port}{path}"


def treadle(work: Workload, name: str = "treadle", module: str = "serving") -> Server:
    """Treadle: validation, keys, ledger and metrics on, as `treadle up` starts it."""
    port = free_port()
    return Server(
        name=name,
        command=[sys.executable, "-m", module],
        environment=work.settings.environment() | {"TREADLE_API_PORT": str(port), "PYTHONPATH": str(CHECKOUT)},
        url=_local(port, f"/v1/models/{MODEL}/predict"),
        body=lambda rows: json.dumps({"rows": work.rows(rows)}),
        answers=lambda reply: np.array([row["prediction"] for row in reply["predictions"]]),
        headers={"Authorization": f"Bearer {work.key}"},
    )


def treadle_without_ledger(work: Workload) -> Server:
    """Treadle with a ledger that forgets: what durability costs."""
    return treadle(work, "treadle-no-ledger", "benchmarks.servers.treadle_without_ledger")


def echo(work: Workload, sizes: Mapping[int, int], name: str = "echo", module: str = "echo") -> Server:
    """A server that does nothing: the ceiling."""
    port = free_port()
    return Server(
        name=name,
        command=[sys.executable, "-m", f"benchmarks.servers.{module}", str(port), json.dumps(sizes)],
        url=lambda rows: f"http://127.0.0.1:{port}/{rows}",
        body=lambda rows: json.dumps({"rows": work.rows(rows)}),
        answers=None,
    )


def mlflow(work: Workload, name: str = "mlflow", **environment: str) -> Server:
    """`mlflow models serve`, one worker."""
    port = free_port()
    command = [str(OURS / "mlflow"), "models", "serve", "-m", str(work.mlflow), "--env-manager", "local"]
    return Server(
        name=name,
        command=[*command, "--port", str(port), "--host", "127.0.0.1", "--workers", "1"],
        environment=_path(OURS) | environment | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(CHECKOUT)},
        url=_local(port, "/invocations"),
        body=lambda rows: json.dumps({"dataframe_records": work.rows(rows)}),
        answers=lambda reply: np.array(reply["predictions"]),
    )


def fastapi_sklearn(work: Workload) -> Server:
    """The service that one writes by hand."""
    port = free_port()
    return Server(
        name="fastapi-sklearn",
        command=[sys.executable, "-m", "benchmarks.servers.fastapi_sklearn", str(port), str(work.pipeline)],
        url=_local(port, "/predict"),
        body=lambda rows: json.dumps({"rows": work.rows(rows)}),
        answers=lambda reply: np.array(reply["predictions"]),
    )


def mlserver(work: Workload, theirs: Path) -> Server:
    """MLServer with its scikit-learn runtime, asked by the Open Inference Protocol with pandas' content type."""
    port = free_port()
    folder = work.settings.home / "mlserver"
    folder.mkdir(exist_ok=True)
    settings = {
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "host": "127.0.0.1",
        "debug": False,
        "parallel_workers": 0,  # in the server's own process: its worker processes need an older uvloop
    }
    model = {
        "name": MODEL,
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(work.pipeline)},
    }
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    return Server(
        name="mlserver",
        command=[str(theirs / "mlserver"), "start", "."],
        environment=_path(theirs) | {"PYTHONPATH": str(CHECKOUT)},
        url=_local(port, f"/v2/models/{MODEL}/infer"),
        body=lambda rows: json.dumps(_tensors(work, rows)),
        answers=lambda reply: np.array(reply["outputs"][0]["data"]),
        folder=folder,
    )


def _tensors(work: Workload, rows: int) -> dict[str, Any]:
    """A tensor a column, which MLServer makes a data frame of."""
    asked = work.rows(rows)
    inputs = [
        {"name": name, "shape": [rows, 1], "datatype": V2_TYPES.get(kind, "FP64"), "data": [row[name] for row in asked]}
        | ({"parameters": {"content_type": "str"}} if kind in V2_TYPES else {})
        for name, kind in work.columns.items()
    ]
    return {"parameters": {"content_type": "pd"}, "inputs": inputs}


def bentoml(work: Workload, theirs: Path) -> Server:
    """BentoML, batchable."""
    port = free_port()
    return Server(
        name="bentoml",
        command=[
            str(theirs / "bentoml"),
            "serve",
            "benchmarks.servers.bento:Wide",
            "--port",
            str(port),
            "--host",
            "127.0.0.1",
        ],
        environment=_path(theirs)
        | {"PYTHONPATH": str(CHECKOUT), "BENCH_PIPELINE": str(work.pipeline), "BENTOML_DO_NOT_TRACK": "true"}
        | {"BENTOML_HOME": str(work.settings.home / "bentoml")},
        url=_local(port, "/predict"),
        body=lambda rows: json.dumps({"rows": work.rows(rows)}),
        answers=np.array,
    )


def litserve(work: Workload, theirs: Path) -> Server:
    """LitServe, batches of 64."""
    port = free_port()
    return Server(
        name="litserve",
        command=[str(theirs / "python"), "-m", "benchmarks.servers.lit", str(port), str(work.pipeline)],
        environment=_path(theirs) | {"PYTHONPATH": str(CHECKOUT)},
        url=_local(port, "/predict"),
        body=lambda rows: json.dumps({"rows": work.rows(rows)}),
        answers=lambda reply: np.array(reply["predictions"]),
    )


def _path(scripts: Path) -> dict[str, str]:
    """An environment in which the programs beside an interpreter are found."""
    import os

    return {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}


def others(work: Workload, theirs: Path) -> list[Server]:
    """Everyone but Treadle and the echoes.

    Args:
        work: What they serve.
        theirs: The scripts of the environment made from benchmarks/requirements-servers.txt.
    """
    return [
        mlflow(work),
        mlflow(work, "mlflow-1-thread", OMP_NUM_THREADS="1"),
        mlserver(work, theirs),
        bentoml(work, theirs),
        litserve(work, theirs),
        fastapi_sklearn(work),
    ]
