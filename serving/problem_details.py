"""Errors as RFC 9457 problem+json, in one place. They name the column and the row, and never repeat the data."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from treadle.errors import TreadleError

log = logging.getLogger("treadle.serving")


class BadRequest(TreadleError):
    """A request body that cannot be answered.

    Attributes:
        status: 400 for what is not JSON of the right shape, 413 for too much, 422 for a value that does not fit.
        members: What the problem names besides: `column`, `row`.
    """

    def __init__(self, detail: str, status: int = 422, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.title = {400: "Malformed request", 413: "Request too large"}.get(status, "Invalid row")
        self.members = {key: value for key, value in members.items() if value is not None}


def problem(status: int, title: str, detail: str, instance: str, **members: Any) -> Response:
    """One problem+json response."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": instance, **members}
    headers = {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return Response(msgspec.json.encode(body), status, headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Make every error of the app a problem."""

    @app.exception_handler(TreadleError)
    async def on_treadle_error(request: Request, error: TreadleError) -> Response:
        return problem(error.status, error.title, str(error), request.url.path, **getattr(error, "members", {}))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        title = HTTPStatus(error.status_code).phrase
        return problem(error.status_code, title, str(error.detail), request.url.path)

    @app.exception_handler(RequestValidationError)
    async def on_validation_error(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return problem(422, "Invalid parameter", f"{place}: {first['msg']}", request.url.path)

    @app.exception_handler(Exception)
    async def on_surprise(request: Request, error: Exception) -> Response:
        log.error("unexpected error on %s", request.url.path, exc_info=error)
        return problem(500, "Internal error", "The service failed; its log says why.", request.url.path)
