"""An onnxruntime session that leaves memory when nobody asks for it, and comes back on demand, once for all who ask."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from treadle.models.onnx_session import open_session


class Session:
    """The session of one version.

    Args:
        read: Gives the model's verified bytes; called again whenever the session comes back.

    Raises:
        Exception: Whatever `read` or onnxruntime raises; the session stays closed.
    """

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._open: Any = None
        self._used = time.monotonic()

    @property
    def is_open(self) -> bool:
        """Whether `run` answers without reading a file first."""
        return self._open is not None

    def run(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """The model's answer to columns of n rows: (n,) or (n, n_classes)."""
        self._used = time.monotonic()
        session = self._open or self._opened()
        return session.run(None, columns)[0]  # type: ignore[no-any-return]

    def _opened(self) -> Any:
        with self._lock:
            if self._open is None:
                self._open = open_session(self._read())
            return self._open

    def rest(self, idle_s: float) -> bool:
        """Leave memory after `idle_s` seconds without a request; a run under way ends in peace. Whether it did."""
        if self._open is None or time.monotonic() - self._used < idle_s:
            return False
        with self._lock:
            self._open = None
        give_memory_back()
        return True


def give_memory_back() -> None:
    """Ask the C library to return freed memory to the system; glibc keeps it otherwise."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
