"""Rows read straight into typed structs: the quick way from a clean body to columns, for one model's manifest.

Whatever is not clean (odd values, unknown columns, ids, a key twice) it leaves to `decode`, which says what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from serving.answering.decode import MAX_TEXT, moment_of
from treadle.models.bundle import Manifest
from treadle.models.packing import Packer
from treadle.models.plain import EPOCH

_TYPES: dict[str, Any] = {
    "number": float | None,
    "integer": float | None,
    "boolean": bool | None,
    "datetime": str | None,
    "category": str | None,
}


class _Packed:
    """Rows straight into the packed matrices of one model, without a column in between."""

    def __init__(self, manifest: Manifest) -> None:
        assert manifest.packed is not None  # noqa: S101 - who calls has looked
        place = {column.name: index for index, column in enumerate(manifest.columns)}
        packer = Packer(manifest.packed)
        self._numbers = [place[name] for name in packer.numbers]
        self._codes = [(codes, place[name]) for name, codes in packer.codes.items()]

    def inputs(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, np.ndarray]:
        inputs = {}
        if self._numbers:  # None becomes NaN
            inputs["numbers"] = np.array([[row[i] for i in self._numbers] for row in rows], dtype=np.float64)
        if self._codes:
            inputs["codes"] = np.array([[codes[row[i]] for codes, i in self._codes] for row in rows], dtype=np.float64)
        return inputs


class TypedRows:
    """Reads `{"rows": [{column: value}]}` of one model."""

    def __init__(self, manifest: Manifest) -> None:
        columns = manifest.columns
        fields = [(f"c{i}", _TYPES[c.kind], msgspec.field(name=c.name)) for i, c in enumerate(columns)]
        row = msgspec.defstruct("Row", fields, forbid_unknown_fields=True)
        body = msgspec.defstruct("Body", [("rows", list[row])], forbid_unknown_fields=True)
        self._decode: Any = msgspec.json.Decoder(body).decode
        self._width = len(columns)
        self._numbers = [(i, c.name) for i, c in enumerate(columns) if c.kind in {"number", "integer", "boolean"}]
        self._times = [(i, c.name) for i, c in enumerate(columns) if c.kind == "datetime"]
        self._texts = [(i, c.name) for i, c in enumerate(columns) if c.kind == "category"]
        self._packed = _Packed(manifest) if manifest.packed is not None else None

    def decode(self, body: bytes, max_rows: int) -> list[tuple[Any, ...]] | None:
        """The rows of a clean body as tuples in the manifest's order; `None` if it is not one."""
        if b"\\" in body:  # an escaped quote would spoil the count below
            return None
        try:
            structs = self._decode(body).rows
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        rows = list(map(msgspec.structs.astuple, structs))
        if not 0 < len(rows) <= max_rows or not self._is_unique(body, rows):
            return None
        if len(body) > MAX_TEXT and any(len(row[i] or "") > MAX_TEXT for row in rows for i, _ in self._texts):
            return None
        return rows if not self._times else self._with_times(rows)

    def _is_unique(self, body: bytes, rows: Sequence[tuple[Any, ...]]) -> bool:
        """Whether no key came twice: each key and each text has two quotes, and one that was dropped had two more."""
        texts = 1 + len(rows) * self._width
        for index, _ in (*self._texts, *self._times):
            texts += sum(row[index] is not None for row in rows)
        return body.count(b'"') == 2 * texts

    def _with_times(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]] | None:
        """The rows with times as seconds since 1970; `None` if one is not a time."""
        timed = list(map(list, rows))
        for index, _ in self._times:
            for row in timed:
                if row[index]:
                    moment = moment_of(row[index])
                    if moment is None:
                        return None
                    row[index] = (moment - EPOCH).total_seconds()
                else:
                    row[index] = math.nan
        return list(map(tuple, timed))

    def inputs(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, np.ndarray]:
        """Rows as the inputs of the form that serves: packed where there is such a form."""
        return self.columns(rows) if self._packed is None else self._packed.inputs(rows)

    def columns(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, np.ndarray]:
        """Rows as the ONNX inputs: float64 (n,) a number or time, text (n,) a category; NaN or "" if not known."""
        values = list(zip(*rows, strict=True))
        filled = (*self._numbers, *self._times)
        numbers = np.array([values[i] for i, _ in filled], dtype=np.float64)  # one call; None becomes NaN
        columns = {name: numbers[place] for place, (_, name) in enumerate(filled)}
        for index, name in self._texts:
            texts = values[index]
            if None in texts:
                texts = tuple(text or "" for text in texts)
            columns[name] = np.array(texts, dtype=object)
        return columns
