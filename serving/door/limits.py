"""Guards on a request's body: its size is counted as it arrives, and it must arrive in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from serving.door.admission import Admission
from serving.problem_details import BadRequest

BODY_DEADLINE_S = 30.0
SMALL_BYTES = 12_800
"""A body of so many bytes is read and answered in the event loop; a larger one in a thread, so that it holds up nobody."""


@asynccontextmanager
async def whole_body(
    request: Request, most: int, admission: Admission, deadline_s: float = BODY_DEADLINE_S
) -> AsyncIterator[bytes]:
    """The whole body; its bytes count as received until this is left.

    Args:
        request: The request.
        most: Bytes that are read at most, whatever Content-Length says.
        admission: Where the bytes are counted.
        deadline_s: Seconds in which it must arrive.

    Raises:
        BadRequest: It is larger (413), too slow (408), or cut off (400).
        Overloaded: All bodies together are too large.
    """
    declared = request.headers.get("content-length", "0")
    if len(declared) > 18 or (declared.isascii() and declared.isdigit() and int(declared) > most):
        raise _too_large(most)
    chunks: list[bytes] = []
    try:
        try:
            async with asyncio.timeout(deadline_s):
                await _collect(request, most, admission, chunks)
        except TimeoutError:
            raise BadRequest(f"The body did not arrive within {deadline_s:.0f} seconds.", 408) from None
        except ClientDisconnect:
            raise BadRequest("The body was cut off.", 400) from None
        yield b"".join(chunks)
    finally:
        admission.release(sum(map(len, chunks)))


async def _collect(request: Request, most: int, admission: Admission, chunks: list[bytes]) -> None:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        admission.receive(len(chunk))
        chunks.append(chunk)


def _too_large(most: int) -> BadRequest:
    return BadRequest(f"The body is larger than {most:,} bytes; send less at once.", 413)
