"""The demo: one year of bike rentals, lived through in minutes by the platform as it stands.

Drives it as a person would, by the command line and HTTP; it never trains on drift, decides or promotes by itself.
Ends with a control in which nothing drifts, to show how often the same rules cry wolf.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from console.platform import is_up, redeploy, start, stop
from treadle.errors import TreadleError
from treadle.settings import Settings

SUBJECT = "bikes"
CONTROL = "bikes-control"
CONTROL_SEED = 2011
Say = Callable[[str], None]


class DemoFailed(TreadleError):
    """A command of the demo failed; the message is what it printed."""

    exit_code = 1


def run_demo(settings: Settings, say: Say) -> dict[str, Any]:
    """Turn the wheel on `projects/bikes` and on its control.

    Args:
        settings: Where the platform lives.
        say: Takes each line of progress.

    Returns:
        What `treadle demo --json` prints; see `months`, `static`, `treadle`, `retrains`, `control_retrains`,
        `failed_requests`, `cpu_seconds` and `seconds` by stage.

    Raises:
        DemoFailed: A command failed.
    """
    seconds: dict[str, float] = {}
    make_control(settings)
    with _platform(settings, say, seconds):
        settings = Settings(home=settings.home)  # the ports are known only now
        for name in (SUBJECT, CONTROL):
            _command(settings, "reset", name, "--yes")
        with _stage("train", seconds, say):
            first = _command(settings, "train", SUBJECT)
            say(
                f"  {SUBJECT}: version {first['version']}, {first['family']}, {first['metric']} {first['challenger']:.1f}"
            )
        with _stage("replay", seconds, say):
            lived = _command(settings, "replay", SUBJECT, "--live")
        with _stage("static model", seconds, say):
            static = _static_errors(settings, int(first["version"]))
        with _stage("control", seconds, say):
            _command(settings, "train", CONTROL)
            quiet = _command(settings, "replay", CONTROL, "--live")
        cost = _command(settings, "cost", SUBJECT)
    return _summary(settings, first, lived, static, quiet, cost, seconds)


@contextmanager
def _platform(settings: Settings, say: Say, seconds: dict[str, float]) -> Iterator[None]:
    """Use the platform that runs, or start one on free ports and stop it afterwards."""
    if is_up(settings):
        say("The platform is up already: the demo uses it, and leaves it up.")
        redeploy(settings)
        yield
        return
    try:
        with _stage("start the platform", seconds, say):
            start(settings, auto_ports=True)
        yield
    finally:
        with _stage("stop the platform", seconds, say):
            stop(settings)


@contextmanager
def _stage(name: str, seconds: dict[str, float], say: Say) -> Iterator[None]:
    say(f"{name} …")
    begun = time.monotonic()
    try:
        yield
    finally:
        seconds[name] = round(time.monotonic() - begun, 1)
        say(f"  {name}: {seconds[name]:.0f} s")


def _command(settings: Settings, *words: str) -> dict[str, Any]:
    """Run `treadle WORDS --json` as a person's shell would; its log goes where ours goes."""
    done = subprocess.run(  # noqa: S603 - our own command line
        [sys.executable, "-m", "console.cli", *words, "--json"],
        cwd=settings.home,
        env=settings.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    log = settings.state_dir / "logs" / "demo.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ treadle {' '.join(words)}\n{done.stderr}\n{done.stdout}\n")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise DemoFailed(f"`treadle {' '.join(words)}` exited {done.returncode}: {last} (all of it: {log})")
    return dict(json.loads(done.stdout))


def make_control(settings: Settings) -> Path:
    """Write `projects/bikes-control`: the same rows in random order under the same timestamps, so nothing drifts."""
    source, target = settings.projects_dir / SUBJECT, settings.projects_dir / CONTROL
    shutil.rmtree(target, ignore_errors=True)
    (target / "data").mkdir(parents=True)
    project = yaml.safe_load((source / "project.yaml").read_text(encoding="utf-8"))
    clock = project["data"]["time"]
    past, stream = (pd.read_parquet(source / "data" / f"{SUBJECT}.parquet"), _stream(settings))
    year = pd.concat([past, stream], ignore_index=True).sort_values(clock, kind="stable", ignore_index=True)
    shuffled = year.sample(frac=1, random_state=CONTROL_SEED).reset_index(drop=True).assign(**{clock: year[clock]})
    shuffled.iloc[: len(past)].to_parquet(target / "data" / f"{CONTROL}.parquet", index=False)
    shuffled.iloc[len(past) :].to_parquet(target / "data" / "stream.parquet", index=False)
    project |= {"name": CONTROL}
    project["data"] |= {"source": f"data/{CONTROL}.parquet"}
    (target / "project.yaml").write_text(yaml.safe_dump(project, sort_keys=False), encoding="utf-8")
    return target


def _stream(settings: Settings) -> pd.DataFrame:
    return pd.read_parquet(settings.projects_dir / SUBJECT / "data" / "stream.parquet")


def _static_errors(settings: Settings, version: int) -> pd.Series:
    """Absolute errors by month of the first version, had nobody touched it; by batch scoring of the same stream."""
    stream = settings.projects_dir / SUBJECT / "data" / "stream.parquet"
    out = settings.state_dir / "replays" / "static.parquet"
    _command(settings, "predict", SUBJECT, str(stream), "--to", str(out), "--version", str(version))
    project = yaml.safe_load((settings.projects_dir / SUBJECT / "project.yaml").read_text(encoding="utf-8"))
    truth = pd.read_parquet(stream)
    answers = pd.read_parquet(out)
    wrong = (answers["prediction"] - truth[project["data"]["target"]]).abs()
    wrong.index = pd.Index(truth[project["data"]["time"]].dt.strftime("%Y-%m"))
    return wrong


def _summary(
    settings: Settings,
    first: dict[str, Any],
    lived: dict[str, Any],
    static: pd.Series,
    quiet: dict[str, Any],
    cost: dict[str, Any],
    seconds: dict[str, float],
) -> dict[str, Any]:
    """The closing table and what it says in all."""
    by_month = static.groupby(level=0).mean()
    retrains = _retrains_by_month(lived)
    months = [
        {
            "month": month["month"],
            "static": round(float(by_month[month["month"]]), 2),
            "treadle": round(month["error"], 2),
            "retrains": retrains.get(month["month"], 0),
        }
        for month in lived["months"]
    ]
    return {
        "months": months,
        "static": round(float(static.mean()), 2),
        "treadle": round(lived["error"], 2),
        "retrains": len(lived["retrains"]),
        "promoted": len(lived["versions"]) - 1,
        "control_retrains": len(quiet["retrains"]),
        "versions": [first["version"], *lived["versions"][1:]],
        "requests": lived["requests"] + quiet["requests"],
        "failed_requests": lived["failed_requests"] + quiet["failed_requests"],
        "cpu_seconds": round(cost["cpu_seconds"], 1),
        "seconds": seconds,
        "reports": str(settings.reports_dir / SUBJECT),
    }


def _retrains_by_month(lived: dict[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for retrain in lived["retrains"]:
        month = str(retrain["at"])[:7]
        counts[month] = counts.get(month, 0) + 1
    return counts
