"""Guards on a request's body: its size is counted as it arrives, and it must arrive in time."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from serving.problem_details import BadRequest

BODY_DEADLINE_S = 30.0


async def read_body(request: Request, most: int, deadline_s: float = BODY_DEADLINE_S) -> bytes:
    """The whole body.

    Args:
        request: The request.
        most: Bytes that are read at most, whatever Content-Length says.
        deadline_s: Seconds in which it must arrive.

    Raises:
        BadRequest: It is larger (413), too slow (408), or cut off (400).
    """
    declared = request.headers.get("content-length", "0")
    if len(declared) > 18 or (declared.isascii() and declared.isdigit() and int(declared) > most):
        raise _too_large(most)
    try:
        async with asyncio.timeout(deadline_s):
            return await _collect(request, most)
    except TimeoutError:
        raise BadRequest(f"The body did not arrive within {deadline_s:.0f} seconds.", 408) from None
    except ClientDisconnect:
        raise BadRequest("The body was cut off.", 400) from None


async def _collect(request: Request, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(most: int) -> BadRequest:
    return BadRequest(f"The body is larger than {most:,} bytes; send fewer rows at once.", 413)
