"""Retraining policies on real and quiet streams, side by side: `python -m benchmarks.replay` prints the tables.

Real streams drift: bike rentals as the season turns (what the model sees moves too), rides in Chicago as habits change
(what it sees stays still). Quiet ones do not: the same rows under permuted times, and a simulation with strong daily
cycles. `docs/replay.md` has what came out. Two streams are replayed at once, with one thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks.fetch import chicago
from console.output import table
from console.replays import compared
from treadle.durations import parse_duration
from treadle.project import read_project
from treadle.replay import POLICIES, lay_out, read_stream, recommend, replay_policies
from treadle.replay.walk import as_record
from treadle.settings import CHECKOUT

SEED = 7
CPU_SHARE = 0.25
QUIET = ("static", "evidently", "treadle")


@dataclass(frozen=True)
class Case:
    """One stream and how it is replayed.

    Attributes:
        rows: Makes the table.
        target: The column to predict.
        time: The column of event times.
        start: Where the replay begins.
        every: Length of a window.
        delay: How late labels are.
        quiet: Nothing drifts in it, so that every retrain is wasted.
        parts: Keys of its project.yaml.
    """

    name: str
    rows: Callable[[], pd.DataFrame]
    target: str
    time: str
    start: datetime
    every: str
    delay: str = "7d"
    quiet: bool = False
    parts: dict[str, Any] = field(default_factory=dict)


def bikes() -> pd.DataFrame:
    """The whole year that `projects/bikes` ships."""
    folder = CHECKOUT / "projects" / "bikes" / "data"
    return pd.concat([pd.read_parquet(folder / f"{part}.parquet") for part in ("bikes", "stream")], ignore_index=True)


def shuffled(rows: pd.DataFrame, clock: str) -> pd.DataFrame:
    """The same rows in random order under the same times."""
    times = rows[clock].sort_values().to_numpy()
    return rows.sample(frac=1, random_state=SEED).reset_index(drop=True).assign(**{clock: times})


def cycles(days: int = 300) -> pd.DataFrame:
    """A stationary world with strong daily cycles: hours, weather that persists for days, and demand that follows both."""
    rng = np.random.default_rng(SEED)
    n = 24 * days
    hour = np.arange(n) % 24
    weather = np.zeros(days)
    for day in range(1, days):
        weather[day] = 0.7 * weather[day - 1] + rng.normal(0, 1)
    front = np.repeat(weather, 24)
    wave = np.sin((hour - 8) / 24 * 2 * np.pi)
    warm = 15 + 6 * wave + 3 * front + rng.normal(0, 1, n)
    rain = rng.random(n) < 1 / (1 + np.exp(2 + front))
    level = 80 + 60 * wave + 20 * np.cos(hour / 12 * 2 * np.pi) + 2 * (warm - 15) - 25 * rain
    return pd.DataFrame(
        {
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n), unit="h"),
            "hour": hour,
            "warm": warm,
            "rain": np.where(rain, "yes", "no"),
            "demand": np.maximum(0, level * rng.gamma(20, 1 / 20, n)),
        }
    )


FOLLOW = {"follow": 0.0275, "min_new_labels": 20}
BIKES = {key: value for key, value in yaml.safe_load((CHECKOUT / "projects/bikes/project.yaml").read_text()).items()
         if key in ("promote", "watch", "retrain")}  # fmt: skip
BIKES["retrain"] |= FOLLOW
DAILY = {"watch": {"window": 90, "min_rows": 30, "min_labelled": 30}, "retrain": FOLLOW}
APRIL, YEAR_2004 = datetime(2011, 4, 1, tzinfo=UTC), datetime(2004, 1, 1, tzinfo=UTC)
HIDDEN = {"bikes": ["casual", "registered", "mnth"], "chicago": ["date"]}
CASES = (
    Case("bikes", bikes, "bikers", "timestamp", APRIL, "1d", parts=BIKES),
    Case("chicago", chicago, "ridership", "date", YEAR_2004, "2w", parts=DAILY),
    Case("bikes-shuffled", lambda: shuffled(bikes(), "timestamp"), "bikers", "timestamp", APRIL, "1d", quiet=True, parts=BIKES),
    Case("chicago-shuffled", lambda: shuffled(chicago(), "date"), "ridership", "date", YEAR_2004, "2w", quiet=True, parts=DAILY),
    Case("cycles", cycles, "demand", "when", datetime(2024, 4, 1, tzinfo=UTC), "1d", quiet=True, parts=BIKES),
)  # fmt: skip


def lived(number: int, folder: str, only: frozenset[str]) -> dict[str, Any]:
    """Replay one of `CASES` with some policies, all when none is named; what `treadle replay --json` prints of it."""
    case = CASES[number]
    names = [name for name in (QUIET if case.quiet else POLICIES) if not only or name in only]
    home = Path(folder) / case.name
    home.mkdir()
    case.rows().to_parquet(home / "rows.parquet", index=False)
    content = {
        "name": case.name,
        "problem": "tabular-regression",
        "data": {
            "source": "rows.parquet", "target": case.target, "time": case.time,
            "ignore": HIDDEN.get(case.name.removesuffix("-shuffled"), []),
        },
        "promote": {"metric": "mae"},
    }  # fmt: skip
    (home / "project.yaml").write_text(yaml.safe_dump(content | case.parts))
    project = read_project(home / "project.yaml")
    stream = read_stream(project, None, case.start, parse_duration(case.every), parse_duration(case.delay))
    begun, said = time.monotonic(), [0.0]

    def say(number: int, windows: int, _end: pd.Timestamp) -> None:
        if number == windows or time.monotonic() - said[0] > 20:
            said[0] = time.monotonic()
            print(f"  {case.name}: {number} of {windows} windows, {said[0] - begun:.0f} s", file=sys.stderr)

    replayed = replay_policies(lay_out(project, stream), names, say)
    chosen = recommend(replayed.outcomes, replayed.course.error_name)
    return as_record(replayed) | chosen.as_record(project.retrain, stream.every) | {"quiet": case.quiet}


def verdicts(found: dict[str, Any]) -> list[str]:
    """What was to be shown of a case, and whether it was."""
    by_name = {policy["name"]: policy for policy in found["policies"]}
    ours = by_name["treadle"]
    if found["quiet"]:
        return [f"{_mark(ours['retrains'] == 0)} {ours['retrains']} retrains by treadle where nothing drifts"]
    each = by_name["every-window"]
    error, share = ours["error"] / each["error"], ours["cpu_seconds"] / max(each["cpu_seconds"], 1e-9)
    return [
        f"{_mark(error <= 1)} error of treadle {error:.3f} times that of every-window",
        f"{_mark(share <= CPU_SHARE)} training CPU of treadle {share:.0%} of that of every-window",
    ]


def _mark(good: bool) -> str:
    return "held  " if good else "MISSED"


def summary(cases: Sequence[dict[str, Any]]) -> str:
    """All cases and policies in one table."""
    rows = [
        {
            "stream": found["project"], "windows": len(policy["windows"]), "policy": policy["name"],
            "error": f"{policy['error']:.4g}", "retrains": policy["retrains"], "promoted": policy["promoted"],
            "CPU s": f"{policy['cpu_seconds']:.1f}", "looks CPU s": f"{policy['watch_cpu_seconds']:.1f}",
        }
        for found in cases
        for policy in found["policies"]
    ]  # fmt: skip
    return table(rows, list(rows[0]))


def main() -> None:
    """Replay and print."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before the processes load NumPy; CPU seconds of spinning threads say nothing
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="names of streams, with commas between them")
    parser.add_argument("--policies", default="", help="names of policies, with commas between them")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    only, names = ({n for n in given.split(",") if n} for given in (asked.only, asked.policies))
    chosen = [number for number, case in enumerate(CASES) if not only or case.name in only]
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(min(2, os.cpu_count() or 1), get_context("spawn")) as workers,
    ):
        cases = list(workers.map(lived, chosen, repeat(folder), repeat(frozenset(names))))
    if asked.json:
        print(json.dumps(cases, default=str))
        return
    for found in cases:
        print("", compared(found), sep="\n")
    print("", summary(cases), sep="\n")
    if not names:
        print("", *(f"{line} ({found['project']})" for found in cases for line in verdicts(found)), sep="\n")


if __name__ == "__main__":
    main()
