"""What a piece of work costs: wall seconds, and CPU seconds of this process and everything that it started.

Knows nothing of flows or the ledger.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Generator
from contextlib import contextmanager


class Meter:
    """A running meter; stops with the block of `meter`.

    Attributes:
        seconds: Wall seconds so far.
        cpu_seconds: CPU seconds so far, of this process and its children, living or not.
    """

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), _cpu_seconds()
        self._stopped: tuple[float, float] | None = None

    @property
    def seconds(self) -> float:
        """Wall seconds so far."""
        return self._stopped[0] if self._stopped else time.monotonic() - self._wall

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds so far, of this process and its children, living or not."""
        return self._stopped[1] if self._stopped else max(0.0, _cpu_seconds() - self._cpu)

    def stop(self) -> None:
        """Keep the figures as they are now."""
        self._stopped = self.seconds, self.cpu_seconds


@contextmanager
def meter() -> Generator[Meter]:
    """Measure a block; the figures can be read inside it and stay after it.

    >>> with meter() as spent:
    ...     total = sum(range(1000))
    >>> spent.seconds > 0
    True
    """
    running = Meter()
    try:
        yield running
    finally:
        running.stop()


def _cpu_seconds() -> float:
    """CPU seconds since this process began: its own, those of children that were waited for, and of living ones.

    Living ones are counted in the system's ticks (10 ms, rounded down), so that a young child's time can be short by two.
    """
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used) + _living_cpu_seconds()


def _living_cpu_seconds() -> float:
    import psutil

    total = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:  # it ended meanwhile; its time is then the parent's to count
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
