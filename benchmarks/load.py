"""Starts servers, puts load on them with wrk, and reads what they cost. Knows no server by name."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from treadle.settings import CHECKOUT

START_S = 120
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Server:
    """One server under test, and how to talk to it.

    Attributes:
        name: As it stands in the table.
        command: What starts it.
        environment: Its environment beyond this process's.
        url: Where a body of so many rows is sent.
        body: The body of so many rows, in the server's own form.
        answers: Reads predictions (n,) from its reply; `None` for a server that does not predict.
        headers: Sent with every request.
        folder: Where it is started.
    """

    name: str
    command: list[str]
    url: Callable[[int], str]
    body: Callable[[int], str]
    answers: Callable[[Any], np.ndarray] | None
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    folder: Path = CHECKOUT


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes:
        per_second: Requests answered with 2xx a second.
        cpu_ms: CPU of all the server's processes a request, milliseconds.
        p99_ms: 99th percentile of the latency, milliseconds.
        failed: Requests that were answered otherwise, or not at all.
    """

    per_second: float
    cpu_ms: float
    p99_ms: float
    failed: int


class Running:
    """A server that was started; frozen whenever it is not measured, so that its idle loops disturb nobody."""

    def __init__(self, server: Server, process: subprocess.Popen[bytes]) -> None:
        self.server = server
        self.cold_start_s = float("nan")
        self._process = process

    def freeze(self) -> None:
        """Stop its processes where they are."""
        self._tell(signal.SIGSTOP)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run for the block."""
        self._tell(signal.SIGCONT)
        try:
            yield
        finally:
            self.freeze()

    def memory_mib(self) -> tuple[float, float]:
        """Resident memory of its largest process, and of all together with shared pages counted once."""
        facts = [process.memory_full_info() for process in self._alive()]
        return max(f.rss for f in facts) / 2**20, sum(f.pss for f in facts) / 2**20

    def cpu_s(self) -> float:
        """CPU seconds that all its processes have used."""
        return sum(sum(process.cpu_times()[:2]) for process in self._alive())

    def end(self) -> None:
        """Stop it and all its processes, by force those that do not listen."""
        family = self._processes()
        self._tell(signal.SIGCONT)
        self._process.terminate()
        _, alive = psutil.wait_procs(family, timeout=10)
        for process in alive:
            process.kill()
        self._process.wait(10)

    def _alive(self) -> list[psutil.Process]:
        return self._processes() or sys.exit(f"{self.server.name} has died; run it alone with --only to see why.")

    def _processes(self) -> list[psutil.Process]:
        try:
            top = psutil.Process(self._process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _tell(self, sign: signal.Signals) -> None:
        for process in self._processes():
            process.send_signal(sign)


def start(server: Server, folder: Path) -> Running:
    """Start a server; returns when it has answered its first request for one row."""
    log = folder / f"{server.name.replace(' ', '-')}.log"
    begun = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(
            server.command, cwd=server.folder, env=os.environ | server.environment, stdout=file, stderr=file,
            start_new_session=True,
        )  # fmt: skip
    running = Running(server, process)
    try:
        while process.poll() is None and time.perf_counter() - begun < START_S:
            if _answers(server):
                running.cold_start_s = time.perf_counter() - begun
                return running
            time.sleep(0.02)
    except BaseException:
        running.end()
        raise
    running.end()
    sys.exit(f"{server.name} did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _answers(server: Server) -> bool:
    try:
        return ask(server, 1, timeout=20).is_success
    except httpx.TransportError:
        return False


def ask(server: Server, rows: int, timeout: float = 60) -> httpx.Response:
    """One request."""
    headers = {"content-type": "application/json", **server.headers}
    return httpx.post(server.url(rows), content=server.body(rows), headers=headers, timeout=timeout)


def measure(running: Running, rows: int, callers: int, seconds: float, folder: Path) -> Sample:
    """Put load on one server, with the others frozen.

    Args:
        running: The server.
        rows: Rows in each request.
        callers: Connections, each with one request under way.
        seconds: How long.
        folder: Where wrk's script is written.
    """
    server = running.server
    script = folder / "request.lua"
    headers = {"Content-Type": "application/json", **server.headers}
    lines = ['wrk.method = "POST"', f"wrk.body = {json.dumps(server.body(rows))}"]
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()]
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["wrk", "-t1", f"-c{callers}", f"-d{seconds:g}s", "--timeout", "30s", "--latency"]
    with running.awake():
        before = running.cpu_s()
        said = subprocess.run(
            [*command, "-s", str(script), server.url(rows)], capture_output=True, text=True, check=True
        ).stdout
        cpu_s = running.cpu_s() - before
    return read_wrk(said, cpu_s)


def read_wrk(said: str, cpu_s: float) -> Sample:
    """What wrk printed, as figures.

    >>> said = '''    99%    1.50ms
    ...   1000 requests in 2.00s, 1.00MB read
    ...   Non-2xx or 3xx responses: 10
    ... Requests/sec:    500.00
    ... '''
    >>> read_wrk(said, 0.5)
    Sample(per_second=495.0, cpu_ms=0.5, p99_ms=1.5, failed=10)
    """
    count, seconds, unit = re.findall(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", said)[0]
    p99, p99_unit = re.findall(r"99%\s+([\d.]+)(us|ms|s|m)", said)[0]
    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
    for errors in re.findall(r"Socket errors: (.*)", said):
        failed += sum(map(int, re.findall(r"\d+", errors)))
    done = int(count)
    return Sample(
        per_second=max(done - failed, 0) / (float(seconds) * UNITS[unit] / 1e3),
        cpu_ms=cpu_s * 1e3 / done if done else float("nan"),
        p99_ms=float(p99) * UNITS[p99_unit],
        failed=failed,
    )


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
