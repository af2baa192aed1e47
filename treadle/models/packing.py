"""Columns as the two matrices that a packed model takes. Plain NumPy: registration tries it, serving lives by it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from treadle.models.bundle import PackedInputs


class Codes(dict[str | None, float]):
    """A column's categories as numbers: its index, or for a text that is none of them the number after the last.

    >>> codes = Codes(("red", "blue"))
    >>> codes["blue"], codes["green"], codes[""], codes[None]
    (1.0, 2.0, 3.0, 3.0)
    """

    def __init__(self, known: tuple[str, ...]) -> None:
        super().__init__(zip(known, map(float, range(len(known))), strict=True))
        self._other = float(len(known))
        self[""] = self[None] = self._other + 1

    def __missing__(self, text: str | None) -> float:
        return self._other


class Packer:
    """Packs the columns of one model.

    Args:
        inputs: What the model takes.
    """

    def __init__(self, inputs: PackedInputs) -> None:
        self.numbers = inputs.numbers
        self.codes = {name: Codes(known) for name, known in inputs.levels.items()}

    def pack(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Pack columns.

        Args:
            columns: float64 (n,) a number or time, text (n,) a category.

        Returns:
            `numbers`, float64 (n, k), and `codes`, float64 (n, m); whichever has columns.
        """
        packed = {}
        if self.numbers:
            packed["numbers"] = np.stack([columns[name] for name in self.numbers], axis=1)
        if self.codes:
            coded = [list(map(codes.__getitem__, columns[name])) for name, codes in self.codes.items()]
            packed["codes"] = np.ascontiguousarray(np.array(coded, dtype=np.float64).T)
        return packed
