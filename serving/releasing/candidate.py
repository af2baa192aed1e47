"""A candidate at work: a thread that feeds one child process, and a short queue before it. It never delays who asks.

The child belongs to the thread: it is started, killed and started again there, so the event loop waits for nothing.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from serving.models.isolated import Isolated, IsolatedFailure
from serving.models.model import ServedModel
from serving.models.proof import check_answer
from treadle.errors import Unavailable
from treadle.settings import Settings

log = logging.getLogger("treadle.serving")

MOST_JOBS = 64
MOST_ROWS = 20_000
"""Jobs, and rows in them, that wait at once; more are dropped and counted."""
WAIT_S = 0.25
"""A caller waits so long for a candidate that is busy with others; then the champion answers."""
MOST_PAUSE_S = 10.0

Columns = dict[str, np.ndarray]
End = Literal["answer", "error", "timeout", "nonfinite", "dropped"]


class Outcome(NamedTuple):
    """What became of a job.

    Attributes:
        end: `answer`, or how it failed; `dropped` says nothing about the candidate.
        values: The answer, float64 (n,) or (n, n_classes), finite.
        seconds: How long the model took.
    """

    end: End
    values: np.ndarray | None = None
    seconds: float = 0.0


DROPPED = Outcome("dropped")
_ENDS: dict[str, End] = {"timeout": "timeout", "nonfinite": "nonfinite"}


@dataclass(frozen=True)
class Job:
    """Rows that wait for an answer.

    Attributes:
        done: Told the outcome, in the candidate's thread.
        claim: Taken once: by the thread that begins the job, or by a caller who has waited long enough.
    """

    columns: Columns
    rows: int
    done: Callable[[Outcome], None]
    claim: threading.Lock = field(default_factory=threading.Lock)

    def is_mine(self) -> bool:
        """Whether who asks first has it."""
        return self.claim.acquire(blocking=False)


class Candidate:
    """A version that answers in a child process.

    Args:
        settings: The memory that the child may have.
        model: The version's frame: manifest, version and digest. Its session is never opened in this process.
        onnx_bytes: Verified.
        deadline_s: Seconds in which it must answer; then the child is killed and started again.
    """

    def __init__(self, settings: Settings, model: ServedModel, onnx_bytes: bytes, deadline_s: float) -> None:
        self.model = model
        self._settings = settings
        self._onnx_bytes = onnx_bytes
        self._deadline_s = deadline_s
        self._jobs: queue.Queue[Job | None] = queue.Queue(MOST_JOBS)
        self._rows = 0
        self._rows_lock = threading.Lock()
        self._stop = threading.Event()
        self._child: Isolated | None = None
        self._failures = 0  # of the child, one after the other
        self._thread = threading.Thread(target=self._run, name=f"candidate of {model.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the child; what waits is dropped."""
        self._stop.set()
        with suppress(queue.Full):
            self._jobs.put_nowait(None)
        self._thread.join(timeout=self._deadline_s + 5)

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        child = self._child
        return None if child is None else child.pid

    def offer(self, job: Job) -> bool:
        """Let a job wait for its turn; False, at once, when too much waits already."""
        with self._rows_lock:
            if self._rows + job.rows > MOST_ROWS and self._rows:
                return False
            try:
                self._jobs.put_nowait(job)
            except queue.Full:
                return False
            self._rows += job.rows
        return not self._stop.is_set()

    async def answer(self, columns: Columns, rows: int) -> Outcome:
        """The outcome, after the deadline and `WAIT_S` at the latest."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()

        def settle(found: Outcome) -> None:
            if not outcome.done():
                outcome.set_result(found)

        def done(found: Outcome) -> None:
            with suppress(RuntimeError):  # the loop has closed: nobody waits any more
                loop.call_soon_threadsafe(settle, found)

        job = Job(columns, rows, done)
        if not self.offer(job):
            return DROPPED
        waited = loop.call_later(WAIT_S, lambda: settle(DROPPED) if job.is_mine() else None)
        try:
            async with asyncio.timeout(WAIT_S + self._deadline_s + 1):
                return await outcome
        except TimeoutError:  # the thread itself is late
            return DROPPED
        finally:
            waited.cancel()

    # In the thread

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._ready():
                job = self._jobs.get()
                if job is not None:
                    self._do(job)
        if self._child is not None:
            self._child.kill()
        with suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None and job.is_mine():
                    job.done(DROPPED)

    def _ready(self) -> bool:
        """A child that has the model, started when there is none; False after a failure and its pause."""
        if self._child is not None and self._child.lives:
            return True
        if self._failures > 1 and self._stop.wait(min(MOST_PAUSE_S, 0.05 * 2**self._failures)):
            return False
        try:
            self._child = Isolated(self._settings.isolated_memory_bytes)
            self._child.load(self._onnx_bytes, self._settings.proof_s)
        except (IsolatedFailure, Unavailable, OSError) as error:
            self._failures += 1
            log.warning("%s: version %s does not start: %s", self.model.name, self.model.version, error)
            if self._child is not None:
                self._child.kill()
            return False
        return True

    def _do(self, job: Job) -> None:
        with self._rows_lock:
            self._rows -= job.rows
        if not job.is_mine():
            return
        try:
            outcome = self._ask(job)
        except Exception:
            log.exception("%s: a candidate's answer was lost", self.model.name)
            outcome = DROPPED
        job.done(outcome)

    def _ask(self, job: Job) -> Outcome:
        assert self._child is not None  # noqa: S101 - `_ready` said so
        try:
            values, seconds = self._child.answer(self.model.inputs(job.columns), self._deadline_s)
            check_answer(self.model.manifest, values, "these rows")
        except IsolatedFailure as error:
            self._failures += not self._child.lives
            return Outcome(_ENDS.get(error.kind, "error"))
        self._failures = 0
        return Outcome("answer", values, seconds)
