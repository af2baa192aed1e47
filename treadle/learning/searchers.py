"""The processes that search beside each other: started, waited for, stopped, and mourned.

A process here is `python -m treadle.learning.trial`. Knows nothing of what a trial does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna

from treadle.errors import BadData, Unavailable
from treadle.learning import study as studies
from treadle.learning.search_spec import SearchSpec
from treadle.settings import CHECKOUT

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
GRACE_S = 20.0


def search_beside(spec: SearchSpec, study: optuna.Study, deadline: float, told: Callable[[], None]) -> tuple[str, ...]:
    """Search in processes of their own.

    Args:
        spec: The search.
        study: Its study, with trials left to do.
        deadline: When to begin no further trial, seconds since the epoch.
        told: Called often.

    Returns:
        A sentence for each process that died while others went on.

    Raises:
        BadData: The processes could not read what they need.
        Unavailable: All of them died.
    """
    spec.save(Path(spec.folder) / "spec.json")
    count = min(spec.workers, spec.trials - studies.count_spent(study))
    workers = [_spawn(spec, index, deadline) for index in range(count)]
    try:
        _wait(workers, study, deadline + GRACE_S, told)
    finally:
        stopped = [worker for worker in workers if worker.poll() is None]
        for worker in stopped:
            worker.kill()
        for worker in workers:
            worker.communicate()
        studies.fail_stale(study, spec)
    codes = {index: worker.returncode for index, worker in enumerate(workers) if worker not in stopped}
    return _losses(spec, study, {index: code for index, code in codes.items() if code}, count)


def _spawn(spec: SearchSpec, index: int, deadline: float) -> subprocess.Popen[bytes]:
    """Start a search process; it ends with this one, since it reads the end of the pipe that this one holds."""
    folder = Path(spec.folder)
    environment = os.environ | ONE_THREAD
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH"))))
    command = [
        sys.executable,
        "-P",
        "-m",
        "treadle.learning.trial",
        str(folder / "spec.json"),
        str(index),
        str(deadline),
    ]
    with (folder / f"worker-{index}.log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)  # noqa: S603


def _wait(
    workers: list[subprocess.Popen[bytes]], study: optuna.Study, give_up: float, told: Callable[[], None]
) -> None:
    """Wait for the processes; past `give_up` leave those that are stuck in a fit, unless nothing is complete yet."""
    while any(worker.poll() is None for worker in workers):
        if time.time() > give_up and studies.has_complete(study):
            return
        told()
        time.sleep(studies.POLL_S)


def _losses(spec: SearchSpec, study: optuna.Study, codes: dict[int, int], count: int) -> tuple[str, ...]:
    """Say which processes died of what; raise when none is left and the search is not over."""
    sentences = tuple(_epitaph(Path(spec.folder), index, code) for index, code in codes.items())
    if len(codes) == count and studies.count_spent(study) < spec.trials:
        if 2 in codes.values():
            raise BadData(_last_line(Path(spec.folder) / f"worker-{min(i for i in codes if codes[i] == 2)}.log"))
        raise Unavailable(f"Every search process died ({' '.join(sentences)}). Run it again: finished trials are kept.")
    return sentences


def _epitaph(folder: Path, index: int, code: int) -> str:
    if code < 0:
        return f"Search process {index} was killed by {signal.Signals(-code).name}."
    return f"Search process {index} ended with {code}: {_last_line(folder / f'worker-{index}.log')}"


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it left no message."
