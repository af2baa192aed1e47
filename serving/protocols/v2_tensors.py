"""Tensors of the Open Inference Protocol: their datatypes, and their elements from JSON, from binary data, and back.

Knows no model. Elements are plain Python values, as JSON has them: ints exact, floats, truths, text; `None` not known.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Sequence
from types import NoneType
from typing import Any

import msgspec
import numpy as np

from serving.problem_details import BadRequest

# BF16 has no type in NumPy: it is the upper half of a FP32.
DATATYPES = {
    "BOOL": "?", "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "<i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "BF16": "<u2", "FP32": "<f4", "FP64": "<f8", "BYTES": "O",
}  # fmt: skip
_LENGTH = struct.Struct("<I")  # before each element of a binary BYTES tensor


class Tensor(msgspec.Struct):
    """One input of a request, as it came."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: Any = None


def read_elements(tensor: Tensor, raw: bytes | None, what: str) -> list[Any]:
    """A tensor's elements, row by row.

    Args:
        tensor: Of a shape that was checked: its product is a reasonable number.
        raw: Its binary data; `None` when its elements are in `tensor.data`.
        what: What errors call it.

    Raises:
        BadRequest: Its datatype is unknown, or its data do not fit its shape or datatype.
    """
    if tensor.datatype not in DATATYPES:
        raise BadRequest(f"{what} has an unknown datatype; the protocol has {', '.join(DATATYPES)}.", 400)
    if raw is not None:
        values = read_binary(raw, math.prod(tensor.shape), tensor.datatype, what)
    else:
        values = read_json(tensor.data, tensor.shape, tensor.datatype, what)
    if tensor.datatype != "BYTES":
        return values
    return _decoded(values, (tensor.parameters or {}).get("content_type"), what)


def read_json(data: Any, shape: Sequence[int], datatype: str, what: str) -> list[Any]:
    """Elements from JSON, flat or nested as the shape says; `null` is a value that is not known.

    Raises:
        BadRequest: The elements do not fit the shape or the datatype.
    """
    if datatype == "BF16":
        raise BadRequest(f"{what} is BF16, which JSON cannot carry; send it as binary data.", 400)
    values = _flat(data, shape, what)
    types, kind = set(map(type, values)), np.dtype(DATATYPES[datatype]).kind
    if not types <= _PYTHON_TYPES[kind]:
        raise BadRequest(f"{what} has elements that are not {datatype}.", 400)
    if kind in "iu":
        _check_range([value for value in values if value is not None], datatype, what)
    if kind != "f" or (datatype == "FP64" and int not in types):
        return values  # JSON's fractions are FP64 already, and finite
    return _rounded(values, datatype, what)


_PYTHON_TYPES: dict[str, set[type]] = {
    "b": {bool, NoneType}, "i": {int, NoneType}, "u": {int, NoneType}, "f": {int, float, NoneType}, "O": {str, NoneType},
}  # fmt: skip


def _check_range(known: Sequence[int], datatype: str, what: str) -> None:
    limits = np.iinfo(DATATYPES[datatype])
    if known and (min(known) < limits.min or max(known) > limits.max):
        raise BadRequest(f"{what} has elements that {datatype} cannot hold.", 400)


def _flat(data: Any, shape: Sequence[int], what: str) -> list[Any]:
    if type(data) is not list:
        raise BadRequest(f"{what} has no list `data`.", 400)
    if list not in set(map(type, data)):
        if len(data) != math.prod(shape):
            raise BadRequest(f"{what} has {len(data)} elements, not the {math.prod(shape)} of its shape.", 400)
        return data
    level = [data]
    for size in shape:
        if any(type(part) is not list or len(part) != size for part in level):
            raise BadRequest(f"{what} has nested data that are not of its shape.", 400)
        level = [item for part in level for item in part]
    return level


def _rounded(values: list[Any], datatype: str, what: str) -> list[float | None]:
    """Numbers as their datatype holds them: FP32 has 24 bits of a JSON number."""
    try:
        exact = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    except OverflowError:
        raise BadRequest(f"{what} has elements that {datatype} cannot hold.", 400) from None
    with np.errstate(over="ignore"):
        return _finite(exact.astype(DATATYPES[datatype]), what)


def _finite(values: np.ndarray, what: str) -> list[float | None]:
    """Floats as Python values, NaN as `None`."""
    if np.isinf(values).any():
        raise BadRequest(f"{what} has elements that are infinite or too large for its datatype.", 400)
    wide = values.astype(np.float64)
    if not np.isnan(wide).any():
        return wide.tolist()
    known = wide.astype(object)
    known[np.isnan(wide)] = None
    return known.tolist()


def read_binary(raw: bytes, count: int, datatype: str, what: str) -> list[Any]:
    """Elements from binary data: little-endian without gaps; BYTES as text, each after its length in four bytes.

    Raises:
        BadRequest: The data are not so many elements of the datatype.
    """
    if datatype == "BYTES":
        return _texts(raw, count, what)
    dtype = np.dtype(DATATYPES[datatype])
    if len(raw) != count * dtype.itemsize:
        raise BadRequest(
            f"{what} has {len(raw)} bytes; {count} elements of {datatype} have {count * dtype.itemsize}.", 400
        )
    if datatype == "BF16":
        return _finite((np.frombuffer(raw, dtype).astype("<u4") << 16).view("<f4"), what)
    if datatype == "BOOL" and count and max(raw) > 1:
        raise BadRequest(f"{what} has elements that are not BOOL; a byte of it is 0 or 1.", 400)
    values = np.frombuffer(raw, dtype)
    return _finite(values, what) if dtype.kind == "f" else values.tolist()


def _texts(raw: bytes, count: int, what: str) -> list[str]:
    texts, begin = [], 0
    try:
        for _ in range(count):
            begin += _LENGTH.size
            end = begin + _LENGTH.unpack_from(raw, begin - _LENGTH.size)[0]
            if end > len(raw):
                raise BadRequest(f"{what} has an element that is longer than the binary data.", 400)
            texts.append(raw[begin:end].decode())
            begin = end
    except struct.error:
        raise BadRequest(f"{what} has fewer elements in its binary data than its shape says.", 400) from None
    except UnicodeDecodeError:
        raise BadRequest(f"{what} has elements that are not text in UTF-8.", 400) from None
    if begin != len(raw):
        raise BadRequest(f"{what} has more binary data than elements.", 400)
    return texts


def _decoded(values: list[Any], content_type: Any, what: str) -> list[Any]:
    """BYTES as the parameter `content_type` of MLServer's clients says; most are text as it is."""
    try:
        match content_type:
            case "base64":
                return [None if v is None else base64.b64decode(v, validate=True).decode() for v in values]
            case "pd_json":  # a pandas column in which not everything is text
                return [None if v is None else msgspec.json.decode(v) for v in values]
            case _:
                return values
    except (ValueError, RecursionError):
        raise BadRequest(f"{what} has elements that are not what its content_type says.", 400) from None


def write_binary(values: np.ndarray) -> bytes:
    """Elements of an output as binary data: text (dtype object) as BYTES, everything else in its own bytes."""
    if values.dtype != object:
        return values.astype(values.dtype.newbyteorder("<")).tobytes()
    encoded = [text.encode() for text in values.ravel().tolist()]
    return b"".join(part for text in encoded for part in (_LENGTH.pack(len(text)), text))
