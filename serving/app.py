"""The service: its parts behind its routes. `create_app(settings)` makes one; nothing happens on import."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request

from serving import alert_routes, problem_details
from serving.answering import predict_routes
from serving.door.access import COOKIE, asking, principal_of
from serving.door.guard import Guard
from serving.door.http import Deadlines, most_connections
from serving.door.routes import TRAINER
from serving.door.sessions import add_sessions
from serving.openapi.description import describe, example_request
from serving.overview import open_alerts, overview, summary
from serving.parts import Parts, alive, make_parts
from serving.protocols import scoring_routes, v2_routes
from serving.ready import faces as ready_faces
from serving.ready import hub as ready_hub
from serving.ready import openai as ready_openai
from serving.ready import routes as ready_routes
from serving.telemetry.tracing import Tracing
from treadle import __version__
from treadle.face_register import FaceRegister
from treadle.ledger import carried_before
from treadle.settings import Settings

EXPERIMENTS = "/#/experiments?workflowType=machine_learning"  # MLflow opens with what it has for language models
PAGE = Path(__file__).parent / "page"


def create_app(settings: Settings, *, drains: bool = True, tracing: Tracing | None = None) -> FastAPI:
    """The FastAPI app of one installation.

    Args:
        settings: The installation.
        drains: Whether the app carries the journal into the ledger itself; else another process does.
        tracing: Where traces go; by default where the settings say.

    Raises:
        Unavailable: The ledger cannot be opened, or everybody could call.
    """
    parts = make_parts(settings, drains=drains, tracing=tracing)
    app = FastAPI(
        title="Treadle",
        version=__version__,
        description="Models of this installation. Every answer is in the ledger before it is given.",
        lifespan=partial(_lifespan, parts),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # FastAPI's own would hold paths, queries and messages of exceptions: callers' data
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.parts = parts
    problem_details.install(app)
    _add_models(app, parts)
    v2_routes.add(app, parts.endpoints)
    _add_ready(app, parts)
    alert_routes.add(app, parts.ledger)
    _add_service(app, parts)
    _add_pages(app, parts)
    add_sessions(app, parts.access, parts.admission)
    # outside of everything that FastAPI puts around the routes, so that no response leaves without passing here
    app.middleware_stack = Guard(app.build_middleware_stack(), parts.access, settings, tracing=parts.tracing)
    return app


@asynccontextmanager
async def _lifespan(parts: Parts, app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """The life of the app, and what its connections need to know."""
    settings = parts.settings
    async with alive(parts):
        yield {
            "admission": parts.admission,
            "deadlines": Deadlines(headers_s=settings.headers_s, message_s=settings.message_s),
            "lane": parts.lane(),
            "guard": app.middleware_stack,
            "most_connections": most_connections(),
        }


def _add_models(app: FastAPI, parts: Parts) -> None:
    endpoints, settings = parts.endpoints, parts.settings
    predict_routes.add(app, endpoints)
    app.add_route("/v1/models/{name}/feedback", endpoints.feedback, methods=["POST"])
    scoring_routes.add(app, endpoints)

    @app.get("/v1/models", tags=["models"], summary="Models that are served")
    def list_models(request: Request) -> list[dict[str, Any]]:
        return _seen(request, overview(endpoints.champions, endpoints.ledger, settings))

    @app.get("/v1/models/{name}", tags=["models"], summary="One model: its columns and a request that works")
    def one_model(name: str) -> dict[str, Any]:
        model = endpoints.champions.get(name)
        columns = [
            {"name": c.name, "kind": c.kind, "nullable": c.nullable, "categories": c.categories, "example": c.example}
            for c in model.manifest.columns
        ]
        said = summary(name, endpoints.champions, endpoints.ledger, settings)
        return said | {
            "version": model.version,
            "digest": model.digest,
            "columns": columns,
            "example": example_request(model),
        }


def _add_ready(app: FastAPI, parts: Parts) -> None:
    ready_faces.add(app, parts.ready, FaceRegister(parts.settings, parts.ledger))
    ready_routes.add(app, parts.ready)
    ready_hub.add(app, parts.ready)
    ready_openai.add(app, parts.ready)


def _add_service(app: FastAPI, parts: Parts) -> None:
    champions, admission, metrics = parts.champions, parts.admission, parts.metrics

    @app.get("/healthz", tags=["service"], summary="Whether the process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["service"], summary="Whether it answers, and what is degraded")
    async def readyz(request: Request, response: Response) -> dict[str, Any]:
        status = "degraded" if parts.troubles.all() else "ok"
        if admission.draining:
            response.status_code, status = 503, "ending"
        who = principal_of(request.scope)
        if who is None:
            return {"status": status}
        models = sorted(name for name in champions.models if who.sees(name))
        return {"status": status, "models": models, "degraded": parts.troubles.seen_by(who)}

    @app.get("/metrics", tags=["service"], summary="Prometheus metrics", response_class=Response)
    def show_metrics() -> Response:
        lag_s = carried_before(parts.settings.journal_dir)
        metrics.ready_loaded(parts.ready.pool.loaded())
        metrics.look(champions.models, len(champions.troubles), admission.requests, lag_s)
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _add_pages(app: FastAPI, parts: Parts) -> None:
    settings, champions, ledger = parts.settings, parts.champions, parts.ledger

    @app.get("/", include_in_schema=False)
    async def console() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(PAGE / "api.html")

    @app.get("/playground", include_in_schema=False)
    async def playground() -> FileResponse:
        return FileResponse(PAGE / "playground.html")

    @app.get("/openapi.json", include_in_schema=False)
    def openapi(request: Request) -> JSONResponse:
        who = asking(request.scope)
        return JSONResponse(describe(app, {name: m for name, m in champions.models.items() if who.sees(name)}))

    @app.get("/console.json", include_in_schema=False)
    def console_data(request: Request) -> dict[str, Any]:
        who = asking(request.scope)
        return {
            "models": _seen(request, overview(champions, ledger, settings)),
            "alerts": [alert for alert in open_alerts(ledger) if who.sees(alert["project"])],
            "may_change": who.role >= TRAINER,
            "degraded": parts.troubles.seen_by(who),
            "signed_in": COOKIE in request.cookies,
            "links": {"prefect": settings.prefect_url, "mlflow": f"{settings.mlflow_url}{EXPERIMENTS}", "api": "/docs"},
        }

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    settings.reports_dir.mkdir(parents=True, exist_ok=True)
    app.mount("/reports", StaticFiles(directory=settings.reports_dir, html=True), name="reports")


def _seen(request: Request, models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the models that whoever asks may know of."""
    who = asking(request.scope)
    return [model for model in models if who.sees(model["name"])]
