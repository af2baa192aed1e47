"""A network as ONNX, opened by onnxruntime on the CPU. Vision capabilities share an opened one within a process."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from treadle.capabilities.limits import cores
from treadle.capabilities.sources import missing_guest
from treadle.models.onnx_session import open_session


class Network:
    """An opened network with one input.

    Args:
        path: The ONNX file.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._session = open_session(path, cores())
        except ImportError:
            raise missing_guest("onnxruntime", "vision") from None
        self._given = self._session.get_inputs()[0].name
        self._gives = [given.name for given in self._session.get_outputs()]

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Its outputs by name, for float32 (n, 3, height, width)."""
        outputs = self._session.run(None, {self._given: np.ascontiguousarray(pixels, np.float32)})
        return dict(zip(self._gives, map(np.asarray, outputs), strict=True))


@cache
def open_network(path: Path) -> Network:
    """The network in a file, opened once however many capabilities use it."""
    return Network(path)


def open_named(folder: Path, files: tuple[str, ...]) -> tuple[Network, list[str]]:
    """The network in a folder, and the names of the kinds that it tells apart.

    Args:
        folder: Where `files` are.
        files: The ONNX file, and the kinds' names, a line each.
    """
    model, names = files
    return open_network(folder / model), (folder / names).read_text(encoding="utf-8").splitlines()
