"""The slim install and the image: how large, what is in them, and that they serve. No Docker engine is needed."""

import fnmatch
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import httpx
import pytest
import yaml
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement

from console.lock import SERVING_LOCK, serving_lock
from serving.protocols.arrow import PARQUET
from tests.serving.protocols.columns import answers, body, read, table
from treadle.settings import CHECKOUT

ROW = {"temp": 3.5, "holiday": False, "when": "2011-01-01T05:00:00", "season": "summer"}
HEAVY = [
    "pandas",
    "sklearn",
    "mlflow",
    "prefect",
    "torch",
    "lightgbm",
    "onnx",
    "optuna",
    "evidently",
    "scipy",
    "pyarrow",
]
MOST_MB = 250
INSTALLERS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")
SOURCES = ("console", "flows", "serving", "tasks", "treadle", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def steps():
    """The Dockerfile's instructions: (stage, instruction, value)."""
    parser = DockerfileParser(fileobj=io.BytesIO((CHECKOUT / "Dockerfile").read_bytes()))
    stage, found = -1, []
    for step in parser.structure:
        stage += step["instruction"] == "FROM"
        if step["instruction"] != "COMMENT":
            found.append((stage, step["instruction"], step["value"]))
    return found


def values(steps, instruction, stage=1):
    return [value for at, name, value in steps if (at, name) == (stage, instruction)]


def environment(steps):
    return dict(pair.split("=", 1) for line in values(steps, "ENV") for pair in shlex.split(line))


def test_the_serving_lock_is_fresh():
    assert SERVING_LOCK.read_text(encoding="utf-8") == serving_lock(), "run `make lock`"


def test_the_image_has_two_stages_and_runs_as_nobody_special(steps):
    assert [value for _, name, value in steps if name == "FROM"] == ["python:3.11-slim AS build", "python:3.11-slim"]
    assert values(steps, "USER") == ["10001:10001"]
    last = [name for stage, name, _ in steps if stage == 1]
    assert "RUN" not in last[last.index("USER") :]
    assert values(steps, "VOLUME") == [environment(steps)["TREADLE_HOME"]]
    assert values(steps, "EXPOSE") == [environment(steps)["TREADLE_API_PORT"]]


def test_signals_reach_the_service_and_its_health_needs_no_curl(steps):
    assert values(steps, "STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(values(steps, "CMD")[0])[0] == "python"  # a list: no shell stands between
    assert not values(steps, "ENTRYPOINT")
    assert json.loads(values(steps, "HEALTHCHECK")[0].partition("CMD ")[2]) == ["python", "-m", "serving.health_check"]


def test_what_is_copied_is_there_and_everything_else_stays_out(steps):
    copied = [shlex.split(value)[0] for value in values(steps, "COPY", stage=0)]
    allowed = [line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert (CHECKOUT / ".dockerignore").read_text().splitlines()[1] == "*"
    assert sorted(copied) == sorted(allowed)
    assert all((CHECKOUT / name).exists() for name in copied)
    assert not any(fnmatch.fnmatch(name, pattern) for name in (".treadle", "mlruns", "projects") for pattern in allowed)


def instructions(image):
    """Of an image that adds to the first: (instruction, value)."""
    parser = DockerfileParser(fileobj=io.BytesIO((CHECKOUT / "deploy" / f"{image}.Dockerfile").read_bytes()))
    return [(step["instruction"], step["value"]) for step in parser.structure if step["instruction"] != "COMMENT"]


@pytest.mark.parametrize(("image", "extras"), [("ready", ("vision", "speech")), ("arrow", ("arrow",))])
def test_an_image_that_adds_to_the_first_has_the_libraries_of_its_extras(image, extras):
    steps = instructions(image)
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = {
        name: {Requirement(line).name for line in lines} for name, lines in project["optional-dependencies"].items()
    }
    wanted = set().union(*(needs[extra] for extra in extras)) - needs["serving"]  # which the image below it has
    (run,) = (shlex.split(value) for name, value in steps if name == "RUN")
    assert set(run[run.index("-c") + 2 :]) == wanted
    assert run[:2] == ["/usr/local/bin/python", "-m"]  # the environment itself has no pip any more
    copied = [shlex.split(value)[0] for name, value in steps if name == "COPY"]
    ignored = (CHECKOUT / "deploy" / f"{image}.Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied == [line[1:] for line in ignored if line.startswith("!")]
    assert steps[0] == ("FROM", "treadle-serving")
    assert steps[-1] == ("USER", "10001:10001")


def test_the_image_with_ready_models_has_their_weights():
    assert ("COPY", "weights /app/weights") in instructions("ready")


def test_the_compose_file_and_the_unit_start_what_the_image_starts(steps):
    compose = yaml.safe_load((CHECKOUT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
    api = compose["services"]["api"]
    assert api["read_only"]
    assert api["cap_drop"] == ["ALL"]
    assert (CHECKOUT / "deploy" / api["build"]["context"] / "Dockerfile").resolve() == CHECKOUT / "Dockerfile"
    home = environment(steps)["TREADLE_HOME"]
    made = " ".join(values(steps, "RUN"))
    mounts = [volume.split(":")[1] if volume.count(":") < 3 else volume.rsplit(":", 2)[1] for volume in api["volumes"]]
    assert all(mount == home or mount in made for mount in mounts), "a mount's folder must belong to the user"
    unit = (CHECKOUT / "deploy" / "treadle-serving.service").read_text(encoding="utf-8")
    assert "ExecStart=/opt/treadle/.venv/bin/python -m serving\n" in unit


@pytest.mark.e2e
def test_the_health_check_says_whether_the_service_lives(home, serve):
    with serve(home.settings) as (process, address):
        port = address.rsplit(":", 1)[1]
        assert health(sys.executable, CHECKOUT, TREADLE_API_PORT=port) == 0
        process.kill()
        process.wait(10)
        end = time.monotonic() + 20  # until the worker has noticed that its parent is gone
        while (alive := health(sys.executable, CHECKOUT, TREADLE_API_PORT=port) == 0) and time.monotonic() < end:
            time.sleep(0.2)
        assert not alive


def health(python, folder, **environment):
    command = [str(python), "-m", "serving.health_check"]
    return subprocess.run(command, cwd=folder, env=os.environ | environment, timeout=20).returncode


def megabytes(site: Path) -> float:
    """What the packages weigh, the installers themselves not counted."""
    ours = [
        path for path in site.iterdir() if path.name.split("-")[0] not in INSTALLERS and path.name not in INSTALLERS
    ]
    files = [file for path in ours for file in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink()) / 1e6


def importable(python, *names):
    code = f"import importlib.util; print([n for n in {list(names)} if importlib.util.find_spec(n)])"
    return subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_serving_extra_is_small_and_serves(home, serve, tmp_path):
    source, venv = tmp_path / "source", tmp_path / "venv"
    source.mkdir()
    for name in SOURCES:
        place = CHECKOUT / name
        (shutil.copytree if place.is_dir() else shutil.copy)(place, source / name)
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    python = venv / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-input", "-c", SERVING_LOCK, f"{source}[serving]"]
    subprocess.run(install, check=True, env=clean())
    assert importable(python, *HEAVY) == "[]"
    assert megabytes(venv / "lib" / "python3.11" / "site-packages") <= MOST_MB
    with serve(home.settings, python=python, folder=tmp_path, PYTHONPATH="") as (process, address):
        assert httpx.post(f"{address}/v1/models/toy/predict", json={"rows": [ROW]}).json()["version"] == 1
        listed = [venv / "bin" / "treadle", "trust", "list", "--json"]
        shown = subprocess.run(listed, env=clean(TREADLE_HOME=str(home.settings.home)), capture_output=True, text=True)
        assert [row["own"] for row in json.loads(shown.stdout)] == [True]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def clean(**environment):
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_images_steps_make_a_service(steps, home, serve, tmp_path):
    """Its RUN steps with other folders in place of the image's, then its CMD, its health check, and its end."""
    place = {"/opt/treadle": str(tmp_path / "opt"), "/app": str(tmp_path / "app"), "/build": str(tmp_path)}
    shutil.copy(SERVING_LOCK, tmp_path)

    def moved(text):
        for there, here in place.items():
            text = text.replace(there, here)
        return text

    for stage, name, value in steps:
        if (stage, name) == (0, "COPY"):
            what, where = shlex.split(value)
            if where != "./":
                shutil.copytree(CHECKOUT / what, moved(where), ignore=shutil.ignore_patterns("__pycache__"))
        if (stage, name) == (0, "RUN"):
            command = moved(value).replace("python -m venv", f"{sys.executable} -m venv", 1)
            subprocess.run(shlex.split(command), cwd=tmp_path, env=clean(), check=True)
    python = tmp_path / "opt" / "bin" / "python"
    before = contents(tmp_path / "app"), contents(tmp_path / "opt")
    assert importable(python, *HEAVY, "pip") == "[]"
    own = {
        key: moved(value)
        for key, value in environment(steps).items()
        if key not in ("PATH", "TREADLE_HOST", "TREADLE_HOME")
    }
    own.pop("TREADLE_API_PORT")
    command = json.loads(values(steps, "CMD")[0])
    with serve(home.settings, python=python, folder=tmp_path / "app", command=command[1:], **own) as (process, address):
        assert httpx.post(f"{address}/v1/models/toy/predict", json={"rows": [ROW]}).status_code == 200
        assert health(python, tmp_path / "app", TREADLE_API_PORT=address.rsplit(":", 1)[1], **own) == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert (contents(tmp_path / "app"), contents(tmp_path / "opt")) == before, "it wrote outside of its home"


def built(image, folder, copied):
    """What the RUN step of an image makes of an environment without pip, as the first image leaves it."""
    python, app = folder / "opt" / "bin" / "python", folder / "app"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "opt"], check=True)
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-input"]
    subprocess.run([*pip, "-r", SERVING_LOCK], check=True, env=clean())
    for name in copied:
        shutil.copytree(CHECKOUT / name, app / name, ignore=shutil.ignore_patterns("__pycache__"))
    (run,) = (value for name, value in instructions(image) if name == "RUN")
    places = {
        "/usr/local/bin/python": sys.executable, "/opt/treadle/bin/python": str(python),
        "/tmp/requirements.lock": str(CHECKOUT / "requirements.lock"),
    }  # fmt: skip
    subprocess.run([places.get(word, word) for word in shlex.split(run)], check=True, env=clean())
    return python, app


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_image_with_ready_models_answers_pictures_and_sounds(home, serve, tmp_path):
    python, app = built("ready", tmp_path, ("console", "serving", "treadle", "weights"))
    assert importable(python, "torch", "transformers", "pandas", "pip") == "[]"
    own = {"PYTHONPATH": str(app), "PYTHONDONTWRITEBYTECODE": "1", "TREADLE_READY_MEMORY_MB": "4096"}
    with serve(home.settings, python=python, folder=app, **own) as (_, address):
        for capability, file in (
            ("detect-faces", "pictures/obama-2012.jpg"),
            ("transcribe", "sounds/austen-0930.flac"),
        ):
            content = (CHECKOUT / "tests" / file).read_bytes()
            reply = httpx.post(f"{address}/v1/ready/{capability}", files={"file": content}, timeout=120)
            assert reply.status_code == 200, reply.text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_image_with_arrow_answers_parquet(home, serve, tmp_path):
    python, app = built("arrow", tmp_path, ("console", "serving", "treadle"))
    assert importable(python, *HEAVY, "pip") == "[]"
    own = {"PYTHONPATH": str(app), "PYTHONDONTWRITEBYTECODE": "1"}
    with serve(home.settings, python=python, folder=app, **own) as (_, address):
        headers = {"content-type": PARQUET}
        reply = httpx.post(f"{address}/v1/models/toy/predict", content=body(table(8), PARQUET), headers=headers)
        assert read(reply)["prediction"].to_pylist() == answers(8)


def contents(folder):
    return {path.relative_to(folder): path.lstat().st_mtime_ns for path in folder.rglob("*") if not path.is_dir()}
