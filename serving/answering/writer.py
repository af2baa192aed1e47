"""The writer of rows with ids of the caller's, which must be new: what waits together is committed together, then answered."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from treadle.errors import Conflict, TreadleError, Unavailable
from treadle.ledger import Entry, Ledger

MOST_ROWS = 20_000
QUEUE_SIZE = 1000
COMMIT_DEADLINE_S = 12.0  # a little more than SQLite waits for a lock


@dataclass(frozen=True)
class _Waiting:
    rows: Sequence[Entry]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class LedgerWriter:
    """One thread that commits whatever has queued since its last commit."""

    def __init__(self, ledger: Ledger, deadline_s: float = COMMIT_DEADLINE_S) -> None:
        self._ledger = ledger
        self._deadline_s = deadline_s
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger writer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Commit what is queued, then end."""
        self._queue.put(None)
        self._thread.join(timeout=30)

    async def write(self, rows: Sequence[Entry]) -> None:
        """Return when the rows are committed.

        Raises:
            Conflict: An id was answered before.
            Unavailable: The ledger cannot be written in time, or too many requests wait for it.
        """
        if self._queue.qsize() >= QUEUE_SIZE:
            raise Unavailable("Too many requests wait for the ledger; try again in a second.")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._queue.put(_Waiting(rows, loop, done))
        try:
            async with asyncio.timeout(self._deadline_s):
                await done
        except TimeoutError:
            raise Unavailable(
                f"The ledger did not commit within {self._deadline_s:g} s; nothing was answered."
            ) from None

    def _run(self) -> None:
        ending = False
        while not ending:
            batch, ending = self._gather()
            if batch:
                self._commit(batch)

    def _gather(self) -> tuple[list[_Waiting], bool]:
        """Everything that has queued; who has given up waiting is left out. True when it is time to end."""
        waiting = self._queue.get()
        batch: list[_Waiting] = []
        rows = 0
        while waiting is not None:
            if not waiting.done.cancelled():
                batch.append(waiting)
                rows += len(waiting.rows)
            if rows >= MOST_ROWS:
                return batch, False
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _commit(self, batch: list[_Waiting]) -> None:
        """Commit all together; if one of them clashes, each alone, so that only that one fails."""
        error = self._try([row for waiting in batch for row in waiting.rows])
        if isinstance(error, Conflict) and len(batch) > 1:
            _tell([(waiting, self._try(waiting.rows)) for waiting in batch])
        else:
            _tell([(waiting, error) for waiting in batch])

    def _try(self, rows: Sequence[Entry]) -> TreadleError | None:
        try:
            self._ledger.add_entries(rows)
        except TreadleError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever ails the database, who waits must hear of it
            return Unavailable(f"The ledger cannot be written ({type(error).__name__}); nothing was answered.")
        return None


def _tell(outcomes: Sequence[tuple[_Waiting, TreadleError | None]]) -> None:
    """Wake everyone of a batch by one call: waking the event loop costs more than a small commit."""

    def settle() -> None:
        for waiting, error in outcomes:
            if waiting.done.done():  # gave up
                continue
            if error is None:
                waiting.done.set_result(None)
            else:
                waiting.done.set_exception(error)

    with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
        outcomes[0][0].loop.call_soon_threadsafe(settle)
