"""The service's parent process: opens the port, starts workers on it, renews those that end or hang, drains the journal.

It answers nothing itself and knows no model, so nothing that a request does can reach it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from treadle.errors import Unavailable
from treadle.frames import is_readable
from treadle.settings import Settings

if TYPE_CHECKING:
    from treadle.ledger import Drain

log = logging.getLogger("treadle.serving")

START_S = 60.0
"""Seconds in which a worker must give its first sign of life."""
FINISH_S = 18.0
"""Seconds between the word to end and SIGKILL, over and above the time that readyz says so."""
PROVED_S = 30.0
"""A worker that lived so long was well: when it ends, the next one starts at once."""
MOST_PAUSE_S = 10.0
PAUSED_S = 1.0
"""A turn that comes so late was held up, as by `docker pause`: workers are given new time for a sign of life."""
TURN_S = 0.1


@dataclass
class Child:
    """A worker, as its parent sees it.

    Attributes:
        beat: The pipe on which it gives signs of life.
        started: When, by the monotonic clock.
        heard: When its last sign of life came; `None` before the first.
        ending: Whether it was told to end.
    """

    process: subprocess.Popen[bytes]
    beat: int
    started: float = field(default_factory=time.monotonic)
    heard: float | None = None
    ending: bool = False

    def listen(self, now: float) -> None:
        """Note its signs of life."""
        if is_readable(self.beat) and os.read(self.beat, 4096):
            self.heard = now

    def hangs(self, now: float, hang_s: float) -> bool:
        """Whether it should have given a sign of life by now."""
        return now - (self.heard or self.started) > (hang_s if self.heard else START_S)

    def end(self) -> None:
        """Tell it to end."""
        self.ending = True
        if self.process.poll() is None:
            self.process.terminate()

    def close(self) -> None:
        """Let go of its pipes."""
        os.close(self.beat)
        if self.process.stdin is not None:
            self.process.stdin.close()


class Parent:
    """The parent of an installation's workers.

    Attributes:
        worker: The module that a worker runs.
    """

    worker = "serving.worker"

    def __init__(self, settings: Settings) -> None:
        """Bind the port.

        Raises:
            Unavailable: It is taken, the address is not this machine's, or everybody could call.
        """
        if not settings.is_loopback:
            from treadle.keys import refuse_open_address
            from treadle.ledger import Ledger

            refuse_open_address(settings, Ledger.later(settings))
        self._settings = settings
        self._socket = _bind(settings)
        self._children: list[Child] = []
        self._failures = 0
        self._start_at = 0.0
        self._turned = time.monotonic()
        self._ending = False
        self._renewing: list[Child] = []

    def run(self) -> int:
        """Keep the workers alive until a signal says otherwise.

        Returns:
            The exit code: 0 when every worker ended in time.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "_ending", True))
        signal.signal(signal.SIGHUP, lambda *_: setattr(self, "_renewing", list(self._children)))
        self._prepare_metrics()
        self._start_missing()  # first: they start while this process reads what it needs to drain
        drain = self._drain()
        while not self._ending:
            self._turn()
            time.sleep(TURN_S)
        code = self._end()
        drain.stop()
        return code

    def _prepare_metrics(self) -> None:
        """Several workers add their numbers up in files, which begin at zero with the first service of this home.

        The lock is held as long as this process lives: it tells whether there is another one, whose numbers must stay.
        """
        if self._settings.workers == 1:
            return
        folder = self._settings.state_dir / "metrics"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder.with_name("metrics.lock"), os.O_RDWR | os.O_CREAT, 0o600)
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for file in folder.iterdir():
                    file.unlink()
            fcntl.flock(lock, fcntl.LOCK_SH)
        except OSError as error:
            log.warning("each worker tells its own metrics only: %s cannot be written (%s)", folder, error.strerror)
        else:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)

    def _drain(self) -> Drain:
        from treadle.ledger import Drain, Ledger

        drain = Drain(self._settings.journal_dir, lambda: Ledger.open(self._settings), nice=10)
        drain.start()
        return drain

    def _turn(self) -> None:
        now = time.monotonic()
        if now - self._turned > PAUSED_S:  # this process stood still, and so, perhaps, did its workers
            for child in self._children:
                child.heard = child.heard and now
        self._turned = now
        for child in list(self._children):
            child.listen(now)
            if child.process.poll() is not None:
                self._bury(child, now)
            elif child.hangs(now, self._settings.hang_s):
                log.error("worker %s hangs and is killed", child.process.pid)
                child.process.kill()
        self._start_missing()
        self._renew()

    def _bury(self, child: Child, now: float) -> None:
        self._children.remove(child)
        child.close()
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            from prometheus_client.multiprocess import mark_process_dead

            mark_process_dead(child.process.pid)  # what it counted stays; what it had under way does not
        if child.ending:
            return
        self._failures = 0 if now - child.started > PROVED_S else self._failures + 1
        pause = min(MOST_PAUSE_S, 0.1 * 2**self._failures) if self._failures > 1 else 0.0
        self._start_at = now + pause
        log.error("worker %s ended with %s; next in %.1f s", child.process.pid, child.process.returncode, pause)

    def _start_missing(self) -> None:
        staying = [child for child in self._children if not child.ending]
        if time.monotonic() >= self._start_at:
            self._children += [self._start() for _ in range(self._settings.workers - len(staying))]

    def _start(self) -> Child:
        heard, beat = os.pipe()
        command = [sys.executable, "-m", self.worker, str(self._socket.fileno()), str(beat)]
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                stdin=subprocess.PIPE,
                pass_fds=(self._socket.fileno(), beat),
                # an arena for each thread keeps what one large body took; sharing one costs nothing that can be measured
                env={"MALLOC_ARENA_MAX": "1"} | os.environ,
            )
        finally:
            os.close(beat)
        return Child(process, heard)

    def _renew(self) -> None:
        """One after the other: a new worker is started, and once it lives the old one is told to end."""
        self._renewing = [child for child in self._renewing if child in self._children and not child.ending]
        if not self._renewing:
            return
        spare = [c for c in self._children if not c.ending and c not in self._renewing]
        staying = len([c for c in self._children if not c.ending])
        if staying <= self._settings.workers:
            self._children.append(self._start())
        elif spare and all(c.heard for c in spare):
            self._renewing.pop(0).end()

    def _end(self) -> int:
        """Tell all to end, wait, and kill what does not.

        Shortly before the workers close the port, the queue before it is made as short as it can be, since whoever
        waits there then is cut off; and it is let go of here, or it would take callers whom no worker ever answers.
        """
        for child in self._children:
            child.end()
        deadline = time.monotonic() + self._settings.drain_s + FINISH_S
        time.sleep(max(0.0, self._settings.drain_s - TURN_S))
        with suppress(OSError):  # no worker listened yet
            self._socket.listen(0)
        self._socket.close()
        code = 0
        for child in self._children:
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("worker %s did not end in time and is killed", child.process.pid)  # noqa: TRY400 - no surprise
                child.process.kill()
                child.process.wait()
            started = child.heard is not None  # before that, SIGTERM ends it at once, and nothing is lost
            code = code or int(started and child.process.returncode != 0)
            child.close()
        return code


def _bind(settings: Settings) -> socket.socket:
    """The port, bound. Workers inherit it and listen, so none waits in it before there is one, or while one is renewed.

    Raises:
        Unavailable: It is taken, or the address is not this machine's.
    """
    found = None
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            settings.host, settings.api_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, proto)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.reuse_port:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind(address)
    except OSError as error:
        if found is not None:
            found.close()
        raise Unavailable(
            f"Cannot listen on {settings.host}:{settings.api_port}: {error.strerror or error}. "
            "Set TREADLE_HOST or TREADLE_API_PORT."
        ) from error
    return found
