"""One bad request, and what most of them are made with: a route's good body, and the words that must not come back."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.faults.connection import http
from tests.faults.installation import rows
from tests.faults.routes import Route

CANARY = "kanarie7f3a"
"""What a caller's data say, so that it can be looked for in answers and logs."""
STRANGER = "fremd7f3a"
"""The name of a column that the model does not have: a name may be told, to help who misspelled it, but not a value."""


@dataclass(frozen=True, slots=True)
class Case:
    """One bad request.

    Attributes:
        name: What is odd about it.
        request: Its bytes.
        route: Whose answer it gets; `None` where the address itself is odd.
        refused: Whether it must get a 4xx; else it may be harmless.
        accepted: Whether it must get a 200: it is odd only to look at.
        framing: Whether HTTP itself is broken: then closing the connection is an answer too.
    """

    name: str
    request: bytes
    route: Route | None = None
    refused: bool = False
    accepted: bool = False
    framing: bool = False


def post(route: Route, body: bytes, **headers: str) -> bytes:
    """The bytes of a request to a route; `Content_Type` becomes `Content-Type`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http("POST", route.path, body, {**route.headers, **named})


def good_body(route: Route, count: int = 2) -> bytes:
    """A body that fits, with so many rows."""
    return json.dumps(route.wrap(rows()[:count])).encode()
