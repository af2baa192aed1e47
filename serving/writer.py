"""The ledger's writer: requests that wait together are committed together, and answered only after the commit."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from treadle.errors import Conflict, Unavailable
from treadle.ledger import Ledger, Prediction

MOST_ROWS = 20_000
QUEUE_SIZE = 1000


@dataclass(frozen=True)
class _Waiting:
    rows: Sequence[Prediction]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class LedgerWriter:
    """One thread that commits whatever has queued since its last commit."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(QUEUE_SIZE)
        self._thread = threading.Thread(target=self._run, name="ledger writer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Commit what is queued, then end."""
        self._queue.put(None)
        self._thread.join(timeout=30)

    async def write(self, rows: Sequence[Prediction]) -> None:
        """Return when the rows are committed.

        Raises:
            Conflict: An id was answered before.
            Unavailable: The ledger cannot be written, or too many requests wait for it.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        try:
            self._queue.put_nowait(_Waiting(rows, loop, done))
        except queue.Full:
            raise Unavailable("Too many requests wait for the ledger; try again in a second.") from None
        await done

    def _run(self) -> None:
        ending = False
        while not ending:
            first = self._queue.get()
            if first is None:
                return
            batch = [first]
            rows = len(first.rows)
            while rows < MOST_ROWS:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ending = True
                    break
                batch.append(more)
                rows += len(more.rows)
            self._commit(batch)

    def _commit(self, batch: list[_Waiting]) -> None:
        """Commit all together; if one of them clashes, each alone, so that only that one fails."""
        error = self._try([row for waiting in batch for row in waiting.rows])
        if isinstance(error, Conflict) and len(batch) > 1:
            for waiting in batch:
                _tell(waiting, self._try(waiting.rows))
            return
        for waiting in batch:
            _tell(waiting, error)

    def _try(self, rows: Sequence[Prediction]) -> Exception | None:
        try:
            self._ledger.add_predictions(rows)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request that waits must hear of it
            return error
        return None


def _tell(waiting: _Waiting, error: Exception | None) -> None:
    def settle() -> None:
        if waiting.done.done():  # the caller has gone
            return
        if error is None:
            waiting.done.set_result(None)
        else:
            waiting.done.set_exception(error)

    waiting.loop.call_soon_threadsafe(settle)
