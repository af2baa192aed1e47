"""Errors as RFC 9457 problem+json, in one place. They name the column and the row, and never repeat the data.

Below /v2 they are `{"error": message}`, as the Open Inference Protocol wants them; below /openai `{"error": {…}}`, as its clients do.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from treadle.errors import TreadleError

log = logging.getLogger("treadle.serving")

MOST_INSTANCE = 200  # characters of an address: whoever asks at a longer one made it up
_TITLES = {
    400: "Malformed request",
    406: "Not acceptable",
    408: "Request too slow",
    413: "Request too large",
    415: "Unsupported media type",
    422: "Invalid row",
    431: "Request Header Fields Too Large",
}
_HEADERS = {408: {"Connection": "close"}, 431: {"Connection": "close"}, 503: {"Retry-After": "1"}}


class BadRequest(TreadleError):
    """A request body that cannot be answered.

    Attributes:
        status: 400 for what is not JSON of the right shape, 413 for too much, 415 for
            a kind of body that is not read, 422 for a value that does not fit.
        members: What the problem names besides: `column`, `row`.
    """

    def __init__(self, detail: str, status: int = 422, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.title = _TITLES[status]
        self.members = {key: value for key, value in members.items() if value is not None}


def status_of(error: Exception) -> int:
    """The HTTP status that answers an error."""
    if isinstance(error, TreadleError):
        return error.status
    return 503 if isinstance(error, SQLAlchemyError) else 500


def problem(
    status: int, title: str, detail: str, instance: str, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """One problem+json response, or what callers below /v2 get instead."""
    if instance == "/v2" or instance.startswith("/v2/"):
        return v2_error(status, _with_row(detail, members), headers)
    if instance.startswith("/openai/"):
        said = {"error": {"message": detail, "type": title, "param": None, "code": status}}
        return Response(
            msgspec.json.encode(said),
            status,
            {**_HEADERS.get(status, {}), **(headers or {})},
            media_type="application/json",
        )
    said = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    body = {**said, "instance": instance[:MOST_INSTANCE], **members}
    headers = {**_HEADERS.get(status, {}), **(headers or {})}
    return Response(msgspec.json.encode(body), status, headers, media_type="application/problem+json")


def v2_error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """One error of the Open Inference Protocol."""
    headers = {**_HEADERS.get(status, {}), **(headers or {})}
    return Response(msgspec.json.encode({"error": message}), status, headers, media_type="application/json")


def v2_refusal(error: TreadleError) -> Response:
    """What the Open Inference Protocol answers to one of our errors."""
    message = _with_row(str(error), getattr(error, "members", {}))
    return v2_error(error.status, message, getattr(error, "headers", None))


def _with_row(message: str, members: Mapping[str, Any]) -> str:
    row = members.get("row")
    return message if row is None or f"row {row}" in message else f"{message} (row {row})"


def _of_ledger(error: SQLAlchemyError) -> str:
    """What a log may say: of a database that does not answer all, of one that refuses a row not the row."""
    if isinstance(error, OperationalError):
        return " ".join(str(error.orig).split())[:300]
    return type(error).__name__


def install(app: FastAPI) -> None:
    """Make every error of the app a problem."""

    @app.exception_handler(TreadleError)
    async def on_treadle_error(request: Request, error: TreadleError) -> Response:
        headers, members = getattr(error, "headers", None), getattr(error, "members", {})
        return problem(error.status, error.title, str(error), request.url.path, headers, **members)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        title = HTTPStatus(error.status_code).phrase
        return problem(error.status_code, title, str(error.detail), request.url.path, error.headers)

    @app.exception_handler(RequestValidationError)
    async def on_validation_error(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return problem(422, "Invalid parameter", f"{place}: {first['msg']}", request.url.path)

    @app.exception_handler(SQLAlchemyError)
    async def on_ledger_error(request: Request, error: SQLAlchemyError) -> Response:
        log.error("the ledger fails: %s", _of_ledger(error))
        return problem(503, "Unavailable", "The ledger does not answer; nothing was stored.", request.url.path)

    @app.exception_handler(Exception)
    async def on_surprise(request: Request, error: Exception) -> Response:
        log.error("unexpected error", exc_info=error)
        return problem(500, "Internal error", "The service failed; its log says why.", request.url.path)
