"""The same pipeline behind every server, in one run on this machine: `python -m benchmarks.serving` (needs wrk).

All are started one after another; then each is measured in turn, round by round, while the others are frozen, so that a
busy moment hits everyone. Their answers are compared with the pipeline's own first. Treadle writes every answer to its
ledger before it gives it; no other does. `make bench-serving` also makes the environment of the others.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import contenders
from benchmarks.load import Running, Sample, Server, ask, measure, start
from benchmarks.report import POINTS, Figures, render
from benchmarks.workload import Workload, prepare
from treadle.settings import CHECKOUT

THEIRS = CHECKOUT / ".venv-bench" / "bin"
TOLERANCE = 1e-3
WARM_S = 1.0


@contextmanager
def started(work: Workload, only: set[str], theirs: Path) -> Iterator[list[Running]]:
    """The servers that are asked for, each one proved and then frozen.

    Args:
        work: What they serve.
        only: Their names; all of them when empty.
        theirs: The scripts of the other servers' environment.
    """
    folder = work.settings.home
    running: list[Running] = []

    def add(server: Server) -> None:
        if not only or server.name in only:
            running.append(start(server, folder))
            check(server, work)
            running[-1].freeze()
            print(f"  {server.name} answers after {running[-1].cold_start_s:.1f} s", file=sys.stderr)

    try:
        first = start(contenders.treadle(work), folder)
        running.append(first)
        sizes = {rows: len(ask(first.server, rows).content) for rows, _ in POINTS}
        check(first.server, work)
        first.freeze()
        for server in (
            contenders.treadle_without_ledger(work),
            contenders.echo(work, sizes),
            contenders.echo(work, sizes, "fastapi-echo", "fastapi_echo"),
            *contenders.others(work, theirs),
        ):
            add(server)
        yield running
    finally:
        for server in running:
            server.end()


def check(server: Server, work: Workload) -> None:
    """Stop unless a server answers what the pipeline answers."""
    if server.answers is None:
        return
    for rows in sorted({rows for rows, _ in POINTS}):
        reply = ask(server, rows).raise_for_status()
        given, wanted = server.answers(reply.json()), work.wanted[:rows]
        if given.shape != wanted.shape or (np.abs(given - wanted) > TOLERANCE * (1 + np.abs(wanted))).any():
            sys.exit(f"{server.name} does not answer {rows} rows as the pipeline does.")


def compare(running: list[Running], rounds: int, seconds: float, folder: Path) -> dict[str, Figures]:
    """Alternating rounds, by server."""
    samples: dict[tuple[str, tuple[int, int]], list[Sample]] = {}
    for server in running:
        measure(server, 1, 8, WARM_S, folder)
    for number in range(rounds):
        for point in POINTS:
            for server in running if number % 2 == 0 else running[::-1]:
                sample = measure(server, *point, seconds, folder)
                samples.setdefault((server.server.name, point), []).append(sample)
            print(f"  round {number + 1} of {rounds}: {point[0]} rows, {point[1]} callers", file=sys.stderr)
    return {server.server.name: _figures(server, samples) for server in running}


def _figures(server: Running, samples: Mapping[tuple[str, tuple[int, int]], list[Sample]]) -> Figures:
    largest, together = server.memory_mib()
    return Figures(
        cold_start_s=server.cold_start_s,
        worker_mib=largest,
        together_mib=together,
        rounds={point: samples[server.server.name, point] for point in POINTS},
    )


def as_json(figures: Mapping[str, Figures]) -> dict[str, Any]:
    """Figures as JSON values; a point is `ROWSxCALLERS`, its medians and its rounds."""
    return {
        name: {
            "cold_start_s": f.cold_start_s,
            "worker_mib": f.worker_mib,
            "together_mib": f.together_mib,
            "points": {
                f"{rows}x{callers}": asdict(sample) | {"rounds": [asdict(s) for s in f.rounds[rows, callers]]}
                for (rows, callers), sample in f.points.items()
            },
        }
        for name, f in figures.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--only", default="", help="names of the servers besides treadle, with commas between them")
    parser.add_argument("--servers", type=Path, default=THEIRS, help="scripts of the other servers' environment")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("This benchmark needs wrk (Debian: apt install wrk).")
    only = {name.strip() for name in asked.only.split(",") if name.strip()}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that no server is left behind
    with tempfile.TemporaryDirectory() as home:
        work = prepare(Path(home))
        with started(work, only, asked.servers) as running:
            figures = compare(running, asked.rounds, asked.seconds, Path(home))
    print(json.dumps(as_json(figures)) if asked.json else render(figures))


if __name__ == "__main__":
    main()
