"""The same gradient-boosting pipeline served by `mlflow models serve` and by Treadle: `python benchmarks/serving.py`.

Both run at once on this machine and are asked in turn, round by round, so that a busy moment hits both; the answers are
compared first. Treadle also writes every answer to its ledger before it gives it; MLflow keeps none. With `wrk` when it
is installed, else with a generator of our own, which is slower than Treadle and so makes the ratio too small.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd

from treadle.bundle import Manifest, ManifestColumn, write_bundle
from treadle.data import conform, load_schema
from treadle.families import load_family
from treadle.families.storage import TRUSTED
from treadle.ledger import Ledger, Version
from treadle.problems import load_problem
from treadle.project import load_project
from treadle.reading import read_table
from treadle.schema import Schema
from treadle.settings import CHECKOUT, Settings
from treadle.signing import signer
from treadle.trust import begin_signing

CALLERS = (1, 8, 64)
START_S = 90
MOST_ROWS = 10_000


@dataclass(frozen=True)
class Target:
    """A server under test: where to send which body."""

    name: str
    url: str
    body: str


def train(settings: Settings, name: str) -> tuple[Any, Schema, pd.DataFrame]:
    """A pipeline with the family's defaults, on the project's own table."""
    shutil.copytree(CHECKOUT / "projects" / name, settings.projects_dir / name)
    project = load_project(name, settings)
    schema, problem = load_schema(project), load_problem(project.problem)
    frame = conform(read_table(project.source), schema).dropna(subset=[schema.target]).tail(MOST_ROWS)
    family = load_family("gradient-boosting")
    y = problem.encode_target(frame[schema.target], schema)
    metric = problem.default_metric
    fitted = family.fit(frame, y, family.defaults(problem), problem=problem, schema=schema, metric=metric)
    return fitted.model, schema, frame


def publish(settings: Settings, name: str, model: Any, schema: Schema) -> None:
    """Put the pipeline into a bundle and make it the champion."""
    onnx_bytes = load_family("gradient-boosting").to_onnx(model, schema).SerializeToString()
    columns = tuple(ManifestColumn(c.name, c.kind, c.nullable, c.categories, c.tokens) for c in schema.features)
    problem = load_project(name, settings).problem
    manifest = Manifest(
        model=name, problem=problem, family="gradient-boosting", columns=columns, target=schema.target,
        classes=schema.classes, metric="rmse",
    )  # fmt: skip
    folder = settings.bundles_dir / name / "1"
    ledger = Ledger.open(settings)
    begin_signing(settings, ledger)
    digest = write_bundle(folder, onnx_bytes, manifest, signer(settings))
    place = str(folder.relative_to(settings.home))
    ledger.add_version(Version(name, 1, "benchmark", place, digest, "gradient-boosting", {}, {}, None))
    ledger.promote(name, 1, None, reason="benchmark")


def save_for_mlflow(model: Any, schema: Schema, folder: Path) -> None:
    """The pipeline as Treadle logs it to MLflow: skops, with a signature."""
    from mlflow import sklearn as flavor

    from treadle.tracking import requirements, signature_of

    flavor.save_model(
        model, str(folder), signature=signature_of(schema), serialization_format="skops",
        skops_trusted_types=TRUSTED, pip_requirements=requirements(model),
        pyfunc_predict_fn="predict_proba" if schema.classes else "predict",
    )  # fmt: skip


def wire(frame: pd.DataFrame, schema: Schema, rows: int) -> list[dict[str, Any]]:
    """Some complete rows as JSON can carry them."""
    names = [column.name for column in schema.features]
    some = frame[names].dropna().sample(rows, random_state=0)
    for column in schema.features:
        if column.kind == "datetime":
            some[column.name] = some[column.name].dt.strftime("%Y-%m-%dT%H:%M:%S")
    return json.loads(some.to_json(orient="records", double_precision=15))  # type: ignore[no-any-return]


@contextmanager
def server(command: list[str], environment: dict[str, str], health: str, log: Path) -> Iterator[None]:
    """A server in a process group of its own, ready when entered and gone when left."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdout=file, stderr=file, start_new_session=True
        )
        try:
            _wait(process, health, log)
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _wait(process: subprocess.Popen[bytes], health: str, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(health, timeout=2).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    sys.exit(f"The server did not start:\n{log.read_text()[-2000:]}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_same(targets: list[Target]) -> float:
    """Ask both for the same rows; the largest relative difference of their answers."""
    mlflow, treadle = (httpx.post(t.url, content=t.body, headers=_JSON, timeout=60) for t in targets)
    wanted = np.asarray(mlflow.raise_for_status().json()["predictions"], dtype=float)
    predictions = treadle.raise_for_status().json()["predictions"]
    given = [list(p["probabilities"].values()) if "probabilities" in p else p["prediction"] for p in predictions]
    difference = float((np.abs(np.asarray(given) - wanted) / (1 + np.abs(wanted))).max())
    if difference > 1e-3:
        sys.exit(f"The two do not serve the same model: their answers differ by {difference:.3g}.")
    return difference


_JSON = {"content-type": "application/json"}


def measure(target: Target, callers: int, seconds: float, folder: Path) -> float:
    """Requests a second that were answered with 200."""
    if shutil.which("wrk") is None:
        return asyncio.run(_measure_here(target, callers, seconds))
    script = folder / f"{target.name}.lua"
    script.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = {json.dumps(target.body)}\n'
    )
    command = ["wrk", "-t1", f"-c{callers}", f"-d{seconds:.0f}s", "--timeout", "30s", "-s", str(script), target.url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(f"{target.name} failed under {callers} callers:\n{said}")
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0])


async def _measure_here(target: Target, callers: int, seconds: float) -> float:
    """A closed loop of `callers` connections in this process."""
    end = time.perf_counter() + seconds
    limits = httpx.Limits(max_connections=callers, max_keepalive_connections=callers)

    async def call(client: httpx.AsyncClient) -> int:
        done = 0
        while time.perf_counter() < end:
            (await client.post(target.url, content=target.body, headers=_JSON)).raise_for_status()
            done += 1
        return done

    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        return sum(await asyncio.gather(*(call(client) for _ in range(callers)))) / seconds


def compare(targets: list[Target], rounds: int, seconds: float, folder: Path) -> list[dict[str, float]]:
    """Medians over alternating rounds, and their ratio, for each number of callers."""
    for target in targets:
        measure(target, 8, 1, folder)  # warm
    found: dict[tuple[int, str], list[float]] = {}
    for number in range(rounds):
        for callers in CALLERS:
            for target in targets if number % 2 == 0 else targets[::-1]:
                found.setdefault((callers, target.name), []).append(measure(target, callers, seconds, folder))
    table = []
    for callers in CALLERS:
        theirs, ours = (statistics.median(found[callers, target.name]) for target in targets)
        table.append({"callers": callers, "mlflow": theirs, "treadle": ours, "ratio": ours / theirs})
    return table


@contextmanager
def both(folder: Path, project: str, rows: int) -> Iterator[list[Target]]:
    """Train once, serve twice."""
    settings = Settings(home=folder, api_port=free_port())
    model, schema, frame = train(settings, project)
    publish(settings, project, model, schema)
    save_for_mlflow(model, schema, folder / "mlflow-model")
    port, sent = free_port(), wire(frame, schema, rows)
    environment = settings.environment() | {"TREADLE_API_PORT": str(settings.api_port)}
    scripts = Path(sys.executable).parent
    environment["PATH"] = f"{scripts}{os.pathsep}{environment['PATH']}"
    mlflow = [str(scripts / "mlflow"), "models", "serve", "-m", str(folder / "mlflow-model"), "--env-manager", "local"]
    mlflow += ["--port", str(port), "--host", "127.0.0.1", "--workers", "1"]
    ours = [sys.executable, "-m", "serving"]
    with ExitStack() as stack:
        stack.enter_context(server(mlflow, environment, f"http://127.0.0.1:{port}/ping", folder / "mlflow.log"))
        stack.enter_context(server(ours, environment, f"{settings.api_url}/healthz", folder / "treadle.log"))
        yield [
            Target("mlflow", f"http://127.0.0.1:{port}/invocations", json.dumps({"dataframe_records": sent})),
            Target("treadle", f"{settings.api_url}/v1/models/{project}/predict", json.dumps({"rows": sent})),
        ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--project", default="bikes")
    parser.add_argument("--rows", type=int, default=1, help="rows a request")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, both(Path(folder), asked.project, asked.rows) as targets:
        difference = check_same(targets)
        table = compare(targets, asked.rounds, asked.seconds, Path(folder))
    if asked.json:
        print(json.dumps({"project": asked.project, "rows": asked.rows, "difference": difference, "callers": table}))
        return
    print(f"{asked.project}, {asked.rows} row(s) a request, answers differ by at most {difference:.1e}; requests/s")
    print(f"{'callers':>8}{'mlflow':>10}{'treadle':>10}{'ratio':>8}")
    for line in table:
        print(f"{line['callers']:>8}{line['mlflow']:>10.0f}{line['treadle']:>10.0f}{line['ratio']:>7.0f}×")


if __name__ == "__main__":
    main()
