"""Callers in a process of their own, who ask now and then while others ask too much: what a refusal is like for them.

The load generator sends so much that it is late by itself, and its latencies hold that too; these have nothing else to do.
"""

from __future__ import annotations

import http.client
import json
import select
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from tests.faults.load import quantile

EVERY_S = 0.05
CONNECTIONS = 8  # one that waits for a good answer asks for nothing else meanwhile


class Bystander:
    """Asks the same thing again and again on a few connections, each time after a pause, until it is left.

    It is entered when its process is there, so that starting it takes nothing from what is measured.
    """

    def __init__(self, port: int, path: str, body: bytes) -> None:
        self.refused_ms: list[float] = []
        self._body = tempfile.NamedTemporaryFile()  # noqa: SIM115 - closed when it is left
        self._body.write(body)
        self._body.flush()
        self._command = [sys.executable, "-m", "tests.faults.bystander", str(port), path, self._body.name]

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._child.stdout is not None
        assert self._child.stdout.readline(), "the bystanders did not start"
        return self

    def __exit__(self, *_: object) -> None:
        answers = json.loads(self._child.communicate()[0])  # its stdin ends with that, and so does it
        self._body.close()
        self.refused_ms = sorted(ms for status, ms in answers if status in {429, 503})

    @property
    def refused_p99_ms(self) -> float:
        """Of its refusals; NaN if there were none."""
        return quantile(self.refused_ms, 0.99)


def ask_on(port: int, path: str, body: bytes) -> list[tuple[int, float]]:
    """Status and milliseconds of each answer, until stdin ends; a connection that was ended is opened again."""
    answers, connection = [], http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not _ended():
        begun = time.perf_counter()
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            reply.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            continue
        answers.append((reply.status, 1000 * (time.perf_counter() - begun)))
    return answers


def _ended() -> bool:
    """Whether stdin has ended; waits for the pause."""
    return bool(select.select([sys.stdin], [], [], EVERY_S)[0])


if __name__ == "__main__":
    asked = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]).read_bytes()
    sys.stdout.write("here\n")
    sys.stdout.flush()
    with ThreadPoolExecutor(CONNECTIONS) as callers:
        each = [callers.submit(ask_on, *asked) for _ in range(CONNECTIONS)]
        json.dump([answer for answers in each for answer in answers.result()], sys.stdout)
