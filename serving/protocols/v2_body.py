"""Bodies of the Open Inference Protocol: compressed or not, a JSON header, and binary tensors behind it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from serving.problem_details import BadRequest
from serving.protocols.v2_tensors import Tensor

HEADER_LENGTH = "inference-header-content-length"
WORTH_COMPRESSING = 1_000  # bytes
_WINDOWS = {"gzip": 31, "deflate": 15}  # zlib's wbits; HTTP's deflate is zlib's format (RFC 9110, section 8.4.1.2)


def unpack(body: bytes, headers: Mapping[str, str], most: int) -> tuple[bytes, bytes | None]:
    """A body as its JSON and its binary data.

    Args:
        body: As it arrived.
        headers: Of the request.
        most: Bytes that it may have when it is decompressed.

    Returns:
        JSON, empty for a raw binary request; and what comes behind it, `None` when the request has no such part.

    Raises:
        BadRequest: It cannot be decompressed, is too large then (413), or its parts are not as long as it says.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        body = _decompress(body, encoding, most)
    said = headers.get(HEADER_LENGTH)
    if said is None:
        return body, None
    if not (said.isascii() and said.isdigit() and len(said) <= 18 and int(said) <= len(body)):
        raise BadRequest("Inference-Header-Content-Length is not a length within the body.", 400)
    return body[: int(said)], body[int(said) :]


def _decompress(body: bytes, encoding: str, most: int) -> bytes:
    if encoding not in _WINDOWS:
        raise BadRequest("This Content-Encoding is not read; send gzip, deflate, or the plain body.", 415)
    reader = zlib.decompressobj(_WINDOWS[encoding])
    try:
        plain = reader.decompress(body, most + 1)
    except zlib.error:
        raise BadRequest(f"The body is not {encoding}, as its Content-Encoding says.", 400) from None
    if len(plain) > most:
        raise BadRequest(f"The body is larger than {most:,} bytes when decompressed; send fewer rows at once.", 413)
    if not reader.eof or reader.unused_data:
        raise BadRequest(f"The body is not one whole {encoding} stream.", 400)
    return plain


def shares(inputs: Sequence[Tensor], binary: bytes | None) -> list[bytes | None]:
    """Each input's part of the binary data; `None` for those whose elements are in the JSON.

    Raises:
        BadRequest: The sizes are not those of the binary data, or an input has its data twice.
    """
    parts: list[bytes | None] = []
    begin = 0
    for tensor in inputs:
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is None:
            parts.append(None)
            continue
        if type(size) is not int or size < 0 or binary is None or begin + size > len(binary):
            raise BadRequest("A binary_data_size is not the size of data behind the JSON of the body.", 400)
        if tensor.data is not None:
            raise BadRequest("An input has both `data` and a binary_data_size; send one of them.", 400)
        parts.append(binary[begin : begin + size])
        begin += size
    if begin != len(binary or b""):
        raise BadRequest("The binary data are longer than the inputs' binary_data_size.", 400)
    return parts


def accepted(headers: Mapping[str, str]) -> str | None:
    """The compression that a caller wants its answer in, if it is one of ours."""
    wanted = [part.strip().lower() for part in headers.get("accept-encoding", "").split(",")]
    return next((name for name in _WINDOWS if name in wanted), None)


def pack(said: dict[str, Any], buffers: Sequence[bytes], encoding: str | None) -> tuple[bytes, dict[str, str]]:
    """An answer as a body and its headers: JSON, then the binary tensors if there are any."""
    content = msgspec.json.encode(said)
    headers = {"Content-Type": "application/json"}
    if buffers:
        headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(content))}
        content += b"".join(buffers)
    if encoding is not None and len(content) >= WORTH_COMPRESSING:
        writer = zlib.compressobj(1, zlib.DEFLATED, _WINDOWS[encoding])
        content = writer.compress(content) + writer.flush()
        headers |= {"Content-Encoding": encoding, "Vary": "Accept-Encoding"}
    return content, headers
