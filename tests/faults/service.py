"""The service under test as a real process group: started, killed, measured. Knows nothing of what is asked of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psutil

from tests.faults.connection import Reply, ask, http
from treadle.settings import CHECKOUT, Settings

START_S = 60.0


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@dataclass(frozen=True)
class Footprint:
    """What the processes of a service hold.

    Attributes:
        rss_mb: Resident memory of all of them, megabytes.
        fds: Open file descriptors.
        threads: Threads.
        processes: Processes.
    """

    rss_mb: float
    fds: int
    threads: int
    processes: int


class Service:
    """`python -m serving` in a process group of its own: `with Service(settings) as service:`.

    Attributes:
        port: Where it listens; the same again after `start()`.
        log: What it wrote to standard error, all starts together.
    """

    def __init__(self, settings: Settings, **environment: str) -> None:
        self.settings = settings
        self.port = free_port()
        self.log = settings.home / "service.log"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The parent process."""
        assert self._process is not None
        return self._process

    def start(self, *, wait: bool = True, **environment: str) -> Self:
        """Start it, and wait until it answers."""
        own = {"TREADLE_HOME": str(self.settings.home), "TREADLE_API_PORT": str(self.port), "PYTHONUNBUFFERED": "1"}
        known = {"TREADLE_SWAP_POLL_S": "0.05"} | self._environment | environment
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serving"], cwd=CHECKOUT, env=os.environ | own | known, stderr=log,
                stdout=log, start_new_session=True,
            )  # fmt: skip
        if wait:
            self.wait_until_healthy()
        return self

    def wait_until_healthy(self, deadline_s: float = START_S) -> None:
        """Wait until it answers; fail when it ends or never does."""
        end = time.monotonic() + deadline_s
        while self.get("/healthz", deadline_s=2).status != 200:
            assert self.process.poll() is None, f"the service ended with {self.process.returncode}: {self.tail()}"
            assert time.monotonic() < end, f"the service never answered: {self.tail()}"
            time.sleep(0.02)

    def tail(self, size: int = 2000) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-size:]

    def __enter__(self) -> Self:
        """Start it, if it was not started by hand."""
        return self if self._process is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End whatever is left of it."""
        self.kill()

    def kill(self) -> None:
        """kill -9 the whole group: what a power cut or the kernel's OOM killer does to a container."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def kill_parent(self) -> None:
        """kill -9 the parent process alone; wait until its workers have noticed and are gone."""
        workers = self.workers()
        self.process.kill()
        self.process.wait(30)
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert not alive, "workers outlived their parent by a minute"

    def terminate(self, deadline_s: float = 60.0) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(deadline_s)

    def workers(self) -> list[psutil.Process]:
        """Its worker processes; none if the one process does it all."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def keep_to(self, processors: Collection[int]) -> None:
        """Let all its threads, and those that they begin, run on these processors alone."""
        for process in [psutil.Process(self.process.pid), *self.workers()]:
            for thread in process.threads():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(thread.id, processors)

    def footprint(self) -> Footprint:
        """What it holds now."""
        held = []
        for process in [psutil.Process(self.process.pid), *self.workers()]:
            with contextlib.suppress(psutil.NoSuchProcess), process.oneshot():
                held.append((process.memory_info().rss / 1e6, process.num_fds(), process.num_threads()))
        return Footprint(sum(h[0] for h in held), sum(h[1] for h in held), sum(h[2] for h in held), len(held))

    def get(self, path: str, deadline_s: float = 30.0) -> Reply:
        """GET a path."""
        return ask(self.port, http("GET", path), deadline_s)

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        """POST a body."""
        return ask(self.port, http("POST", path, body, dict(headers or {})))

    def ready(self) -> tuple[int, dict[str, Any]]:
        """What readyz says: its status and its body."""
        reply = self.get("/readyz")
        return reply.status, reply.json() if reply.body else {}
