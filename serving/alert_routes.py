"""The routes of alerts: which are open, taking one upon oneself, and a silence. What they change is in the audit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request

from serving.door.access import asking
from treadle.ledger import AlertBook, Ledger
from treadle.project import AlertKind

MOST_NUMBER = 2**31
LAST = 100


def add(app: FastAPI, ledger: Ledger) -> None:
    """Add them."""
    book = AlertBook(ledger)

    @app.get("/v1/models/{name}/alerts", tags=["alerts"], summary="Alerts of a model, the newest first")
    def list_alerts(
        name: str, over: Annotated[bool, Query(description="Those that are over, too.")] = False
    ) -> list[dict[str, Any]]:
        return [alert.as_row() for alert in book.list(name, LAST, resolved=over)]

    @app.post("/v1/models/{name}/alerts/{alert}/acknowledge", tags=["alerts"], summary="Take an alert upon oneself")
    def acknowledge(request: Request, name: str, alert: Annotated[int, Path(ge=1, lt=MOST_NUMBER)]) -> dict[str, Any]:
        who = asking(request.scope)
        book.acknowledge(alert, who.name, name, who.key_id)
        return {"alert": alert, "acknowledged_by": who.name}

    @app.post("/v1/models/{name}/alerts/silence", tags=["alerts"], summary="Tell nothing of a model for a while")
    def silence(
        request: Request,
        name: str,
        hours: Annotated[float, Query(ge=0, le=8784, description="For so long; 0 ends a silence.")],
        kind: AlertKind | None = None,
    ) -> dict[str, Any]:
        who, until = asking(request.scope), datetime.now(UTC) + timedelta(hours=hours)
        book.silence(name, kind, until, who.name, who.key_id)
        return {"project": name, "kind": kind, "until": until.isoformat() if hours else None}
