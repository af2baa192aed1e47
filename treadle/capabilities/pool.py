"""The ready models of this process: opened once for all who ask, within a limit of memory, gone when nobody asks.

Each model has a child process (`process`) and a thread that feeds it, one request after the other.
"""

from __future__ import annotations

import fcntl
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from treadle.capabilities import load_capability, wire
from treadle.capabilities.catalog import Entry, TrainedSource
from treadle.capabilities.limits import Limits
from treadle.capabilities.process import Process
from treadle.capabilities.reading import check_inputs
from treadle.capabilities.sources import locate, made_folder, pick
from treadle.capabilities.trained import EMBEDDERS, head_of
from treadle.errors import TreadleError, Unavailable
from treadle.settings import Settings

OPEN_S = 120.0
"""Seconds in which a model must be opened."""
PREPARE_S = 900.0
"""Seconds in which an export must be made; it happens once."""
MOST_WAITING = 64
ROOM_S = 20.0
"""Seconds that a model waits for others, which are at work, to leave memory."""


@dataclass(frozen=True)
class Done:
    """An answered request.

    Attributes:
        entry: The model that answered.
        answers: msgpack of a list, one answer for each input; empty after a stream.
        confidence: Mean of the answers that have one, 0 to 1.
        facts: What is kept of the inputs.
        seconds: Wall time of reading and answering.
        cpu_seconds: CPU time of the same.
    """

    entry: Entry
    answers: bytes
    confidence: float | None
    facts: dict[str, float]
    seconds: float
    cpu_seconds: float


class Answering(Future[Done]):
    """A request's answers when they come.

    Attributes:
        cpu_seconds: What a request took that failed; to a tick of the system, 10 ms.
    """

    cpu_seconds = 0.0


@dataclass(frozen=True)
class _Job:
    capability: str
    inputs: list[Any]
    parameters: dict[str, Any]
    on_piece: Callable[[bytes], None] | None
    enough: threading.Event
    done: Answering = field(default_factory=Answering)


class Pool:
    """All models that this process has opened.

    Args:
        settings: The installation.
        share: The part of the installation's memory for ready models that this process may use.
        limits: Of one request; by default those of the settings.
    """

    def __init__(self, settings: Settings, share: float = 1.0, limits: Limits | None = None) -> None:
        self.settings = settings
        self.limits = limits or Limits.of(settings)
        self.memory_mb = max(256, int(settings.ready_memory_mb * share))
        self._lock = threading.Lock()
        self._room = threading.Lock()
        self._runners: dict[tuple[str, str, str | None], _Runner] = {}
        self._stopped = False

    def ask(
        self,
        capability: str,
        inputs: Sequence[Any],
        parameters: dict[str, Any],
        *,
        model: str | None = None,
        on_piece: Callable[[bytes], None] | None = None,
        enough: threading.Event | None = None,
    ) -> tuple[Entry, Answering]:
        """Have a capability answer inputs.

        Args:
            capability: Its name.
            inputs: As the request brought them; see `treadle.capabilities.reading`.
            parameters: As the request brought them.
            model: The model that shall answer; by default the first that is installed.
            on_piece: Gets each piece of a streamed answer, in the model's thread.
            enough: Set by whoever does not listen to a stream any more.

        Returns:
            The model that answers, and its answers when they come; the future raises `TreadleError`.

        Raises:
            NotFound: There is no such capability or model.
            NotInstalled: It is not here.
            BadInput: Something of the request is wrong.
            TooMuch: It is more than one request may be.
            Unavailable: Too many wait already.
        """
        light = load_capability(capability)
        light.parse(parameters)
        check_inputs(light.takes, inputs, self.limits)
        entry, folder = pick(capability, model, self.settings)
        job = _Job(capability, list(inputs), parameters, on_piece, enough or threading.Event())
        with self._lock:
            if self._stopped:
                raise Unavailable("The service is ending.")
            self._runner(entry, folder).offer(job)
        return entry, job.done

    def _runner(self, entry: Entry, folder: Path) -> _Runner:
        """The model's runner; a new champion's takes the place of the one before, which ends what it has begun."""
        key = entry.model, str(folder), entry.digest
        runner = self._runners.get(key)
        if runner is None:
            if isinstance(entry.source, TrainedSource):
                for old in [
                    k for k, r in self._runners.items() if (k[0], r.entry.source) == (entry.model, entry.source)
                ]:
                    self._runners.pop(old).retire()
            runner = self._runners[key] = _Runner(self, entry, folder)
        return runner

    def loaded(self) -> dict[str, int]:
        """The models in memory, and the megabytes of each."""
        with self._lock:
            runners = list(self._runners.values())
        return {r.entry.model: r.memory_mb for r in runners if r.memory_mb}

    def make_room(self, needed_mb: int, whom: _Runner) -> None:
        """Let models leave that nobody uses now, the longest unused first, until there is room for one more.

        Raises:
            Unavailable: There is none, even so.
        """
        if needed_mb > self.memory_mb:
            raise Unavailable(
                f"{whom.entry.model} needs {needed_mb:,} MB and all ready models may have {self.memory_mb:,}"
                " (TREADLE_READY_MEMORY_MB)."
            )
        end = time.monotonic() + ROOM_S
        with self._room:
            while True:
                with self._lock:
                    others = sorted((r for r in self._runners.values() if r is not whom), key=lambda r: r.used)
                while sum(r.memory_mb for r in others) + needed_mb > self.memory_mb:
                    if not any(r.rest() for r in others):
                        break
                else:
                    return
                if time.monotonic() > end:
                    raise Unavailable("Other models have all the memory now; try again. (TREADLE_READY_MEMORY_MB)")
                time.sleep(0.1)

    def stop(self) -> None:
        """End all models; what waits is refused."""
        with self._lock:
            self._stopped = True
            runners = list(self._runners.values())
        for runner in runners:
            runner.stop()


class _Runner:
    """One model: a queue, a thread, and a child while there is something to do."""

    def __init__(self, pool: Pool, entry: Entry, folder: Path) -> None:
        self.entry = entry
        self.used = time.monotonic()
        self._pool = pool
        self._folder = folder
        self._run_s = pool.limits.run_s
        self._jobs: queue.Queue[_Job | None] = queue.Queue(MOST_WAITING)
        self._at_work = threading.Lock()
        self._child: Process | None = None
        self._open: set[str] = set()
        self._ending = False
        self._retired = False
        self._thread = threading.Thread(target=self._run, name=f"ready {entry.model}", daemon=True)
        self._thread.start()

    @property
    def memory_mb(self) -> int:
        """What its child has in memory; while it starts, what it will need."""
        child = self._child
        if child is None or not child.lives:
            return 0
        return max(child.memory_mb, 0 if self._open else self.entry.memory_mb)

    def offer(self, job: _Job) -> None:
        """Let a job wait for its turn.

        Raises:
            Unavailable: Too many wait already.
        """
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise Unavailable("Too many requests wait for this model; try again in a second.") from None

    def rest(self) -> bool:
        """Let the child go if nothing is to be done; whether memory came free."""
        if self.memory_mb == 0 or not self._at_work.acquire(blocking=False):
            return False
        try:
            self._let_go()
        finally:
            self._at_work.release()
        return True

    def retire(self) -> None:
        """End when all that waits is answered; nothing more is offered."""
        self._retired = True
        with suppress(queue.Full):
            self._jobs.put_nowait(None)

    def stop(self) -> None:
        """End; a job at work is ended with its child."""
        self._ending = True
        with suppress(queue.Full):
            self._jobs.put_nowait(None)
        child = self._child
        if child is not None:
            child.cut()
        self._thread.join(timeout=5)

    # In the thread

    def _run(self) -> None:
        while not self._ending and not (self._retired and self._jobs.empty()):
            try:
                job = self._jobs.get(timeout=self._pool.settings.ready_idle_s)
            except queue.Empty:
                self.rest()
                continue
            if job is not None:
                with self._at_work:
                    self._do(job)
                    self.used = time.monotonic()
        self._let_go()
        with suppress(queue.Empty):
            while True:
                left = self._jobs.get_nowait()
                if left is not None:
                    left.done.set_exception(Unavailable("The service is ending."))

    def _do(self, job: _Job) -> None:
        if job.enough.is_set() or not job.done.set_running_or_notify_cancel():
            return
        child: Process | None = None
        before = 0.0
        try:
            child = self._ready(job.capability)
            before = child.cpu_seconds
            ask = wire.Ask(job.capability, job.inputs, job.parameters, job.on_piece is not None)
            said = child.ask(ask, self._run_s, job.on_piece, job.enough.is_set)
        except BaseException as error:  # noqa: BLE001 - the one who waits must hear of it, whatever it is
            if child is not None:
                job.done.cpu_seconds = max(0.0, child.cpu_seconds - before)
            job.done.set_exception(error)
            return
        job.done.set_result(
            Done(self.entry, bytes(said.answers), said.confidence, said.facts, said.seconds, said.cpu_seconds)
        )

    def _ready(self, capability: str) -> Process:
        """A child that has the model open for a capability."""
        if self._child is None or not self._child.lives:
            self._let_go()
            self._pool.make_room(self.entry.memory_mb, self)
            prepare(capability, self.entry, self._folder, self._pool.settings)
            self._child = Process(self._pool.memory_mb)
        if capability not in self._open:
            order = open_order(capability, self.entry, self._folder, self._pool.settings, self._pool.limits)
            try:
                self._child.tell(order, OPEN_S)
            except OSError as error:
                raise Unavailable(f"The model's process does not start: {error.strerror}.") from error
            self._open.add(capability)
        return self._child

    def _let_go(self) -> None:
        if self._child is not None:
            self._child.kill()
        self._child = None
        self._open.clear()


def open_order(capability: str, entry: Entry, folder: Path, settings: Settings, limits: Limits) -> wire.Open:
    """What a child is told to open; of what was trained here the embedder, and the champion's verified bytes."""
    if isinstance(entry.source, TrainedSource):
        embedder, head = head_of(entry, folder, settings)
        order = open_order(capability, embedder, _here(embedder, settings), settings, limits)
        order.head = head
        return order
    content = entry.model_dump_json(exclude_defaults=True).encode()
    made = str(made_folder(entry, settings))
    memory_mb = settings.ready_memory_mb
    return wire.Open(capability, content, str(folder), made, asdict(limits), memory_mb)


def _here(entry: Entry, settings: Settings) -> Path:
    """The folder of a model that was here a moment ago."""
    folder = locate(entry, settings)
    if folder is None:
        raise Unavailable(f"The files of {entry.model} went away; try again.")
    return folder


def prepare(capability: str, entry: Entry, folder: Path, settings: Settings) -> bool:
    """Make what a model needs besides its files, once, whoever asks; whether there was anything to do.

    Raises:
        TreadleError: It cannot be made.
    """
    if isinstance(entry.source, TrainedSource):
        embedder, _ = head_of(entry, folder, settings)
        return prepare(EMBEDDERS[capability], embedder, _here(embedder, settings), settings)
    made = made_folder(entry, settings)
    if made.exists() or not load_capability(capability).prepares(entry):
        return False
    made.parent.mkdir(parents=True, exist_ok=True)
    with (made.parent / f"{made.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.exists():
            return False
        fresh = Path(tempfile.mkdtemp(dir=made.parent, prefix=".new-"))
        order = open_order(capability, entry, folder, settings, Limits.of(settings))
        order.made = str(fresh)
        child = Process(max(settings.ready_memory_mb, 8192))
        try:
            child.tell(wire.Prepare(order), PREPARE_S)
            fresh.replace(made)
        except TreadleError as error:
            raise type(error)(f"{entry.model} could not be prepared: {error}") from error
        finally:
            child.kill()
            shutil.rmtree(fresh, ignore_errors=True)
    return True
