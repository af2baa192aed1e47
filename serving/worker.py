"""One worker: a process that answers requests on a socket that its parent opened, and ends when its parent is gone."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import sys
import time
from contextlib import suppress
from socket import socket
from types import FrameType

import uvicorn

from serving.app import create_app
from serving.door.admission import Admission
from serving.door.http import Connection, sweep
from serving.telemetry import logs
from treadle.errors import TreadleError
from treadle.settings import Settings

log = logging.getLogger("treadle.serving")

FINISH_S = 15
"""Seconds that requests under way have to finish once the port is closed."""
ACCEPTS = 32
"""Callers who can connect in one turn of the loop. libuv accepts one a turn and socket, so the one socket is listened to
so many times; else in an overload, when turns are long, newcomers and health checks would wait for minutes."""
MOST_FILES = 65_536
"""Open files that a worker asks for. What a process may have at first, mostly 1,024, is less than the connections that it keeps:
a thousand silent callers would keep everybody else out."""


class Worker(uvicorn.Server):
    """uvicorn's server with an end in two steps: first it says so, then it closes the port and finishes.

    Args:
        config: uvicorn's.
        admission: Where the end is announced.
        drain_s: Seconds between the two steps.
        beat: File descriptor of the pipe on which the parent hears that the loop turns.
    """

    def __init__(self, config: uvicorn.Config, admission: Admission, drain_s: float, beat: int) -> None:
        super().__init__(config)
        self._admission = admission
        self._drain_s = drain_s
        self._beat = beat
        self._close_at = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Announce the end; the signal came from the parent, which may send it twice."""
        if not self._admission.draining:
            self._admission.draining = True
            self._close_at = time.monotonic() + self._drain_s

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start; from here on the parent is listened to."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # what is there now stays: later collections need not look at it
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._on_parent)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Take in who waits before the port and close it at once, since who still waits then is cut off; hear all, and finish."""
        loop, last = asyncio.get_running_loop(), sockets[0].dup() if sockets else None  # all sockets are copies of one
        for server in self.servers:
            server.close()
        callers = _waiting_until_closed(last) if last is not None else []
        taken = (loop.connect_accepted_socket(self._connection, caller) for caller in callers)
        await asyncio.gather(*taken, return_exceptions=True)  # one may have left by now
        await asyncio.sleep(0)  # a turn of the loop: what has come on connections that lie idle is read
        await super().shutdown(sockets)

    def _connection(self) -> Connection:
        return Connection(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def _on_parent(self) -> None:
        """The parent never says a thing: this is its end. Its successor wants the port, so it is closed at once."""
        if not os.read(sys.stdin.fileno(), 1):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._admission.draining = True
            self._close_at = 0.0

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if counter % 10 == 0:
            sweep(self.server_state.connections, asyncio.get_running_loop().time())
            with suppress(OSError):  # the parent is gone: the other pipe says so too
                os.write(self._beat, b".")
        if self._admission.draining and time.monotonic() >= self._close_at:
            self.should_exit = True
        return await super().on_tick(counter)


def _waiting_until_closed(listening: socket) -> list[socket]:
    """Close a port; the callers who waited before it until then."""
    callers: list[socket] = []
    listening.setblocking(False)
    with listening, suppress(OSError):  # there is no more, or nobody has listened yet
        while True:
            callers.append(listening.accept()[0])
    for caller in callers:
        caller.setblocking(False)
    return callers


def allow_files() -> None:
    """Ask for as many open files as the machine allows, up to `MOST_FILES`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main(listening: int, beat: int) -> None:
    """Serve on a socket, given as a file descriptor, until the parent says or is gone."""
    settings = Settings()
    logs.install(settings)
    allow_files()
    try:
        app = create_app(settings, drains=False)
    except TreadleError as error:
        log.critical("%s", error)
        sys.exit(error.exit_code)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Connection,
        ws="none",
        access_log=False,
        log_config=None,  # its lines go the way of all others
        log_level="warning",
        timeout_graceful_shutdown=FINISH_S,
        server_header=False,
    )
    sockets = [socket(fileno=listening), *(socket(fileno=os.dup(listening)) for _ in range(ACCEPTS - 1))]
    Worker(config, app.state.parts.admission, settings.drain_s, beat).run(sockets)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
