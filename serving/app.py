"""The service: its routes and its life. `create_app(settings)` makes one; nothing happens on import."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request

from serving import alert_routes, problem_details
from serving.answering import predict_routes
from serving.answering.lane import Lane
from serving.answering.predict import Endpoints
from serving.answering.writer import LedgerWriter
from serving.door.access import COOKIE, Access, asking, principal_of
from serving.door.admission import Admission
from serving.door.guard import Guard
from serving.door.http import Deadlines, most_connections
from serving.door.quota import Quota
from serving.door.routes import TRAINER
from serving.door.sessions import add_sessions
from serving.models.champions import Champions
from serving.models.last_good import open_ledger
from serving.openapi.description import describe, example_request
from serving.overview import open_alerts, overview, summary
from serving.protocols import scoring_routes, v2_routes
from serving.ready import faces as ready_faces
from serving.ready import hub as ready_hub
from serving.ready import openai as ready_openai
from serving.ready import routes as ready_routes
from serving.ready.work import ReadyModels
from serving.releasing.releases import Releases
from serving.telemetry.metrics import Metrics
from serving.telemetry.standing import standings
from serving.telemetry.tracing import Tracing, open_tracing
from serving.telemetry.troubles import Troubles
from treadle import __version__
from treadle.face_register import FaceRegister
from treadle.keys import refuse_open_address
from treadle.ledger import Drain, Journal, Ledger, carried_before
from treadle.settings import Settings

JUDGE_S = 15.0
REST_S = 20.0
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
    ledger = open_ledger(settings)
    refuse_open_address(settings, ledger)
    access = Access(settings, ledger)
    tracing = tracing or open_tracing(settings)
    metrics, champions, writer = Metrics(), Champions(settings, ledger), LedgerWriter(ledger)
    releases = Releases(settings, ledger, champions)
    journal = Journal(settings.journal_dir, durable=settings.ledger_durability == "full")
    admission = Admission(settings.most_requests, settings.most_received_bytes)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        access.start()
        writer.start()
        champions.start()
        releases.start()
        drain = Drain(settings.journal_dir, lambda: ledger)
        if drains:
            drain.start()
        judging = asyncio.create_task(_judge(metrics, ledger))
        resting = asyncio.create_task(_rest(journal))
        yield {
            "admission": admission,
            "deadlines": Deadlines(headers_s=settings.headers_s, message_s=settings.message_s),
            "lane": None if journal.durable else Lane(champions, journal, metrics, releases, tracing),
            "guard": guard,
            "most_connections": most_connections(),
        }
        judging.cancel()
        resting.cancel()
        releases.stop()
        champions.stop()
        await asyncio.to_thread(ready.stop)
        admission.stop()
        writer.stop()
        journal.close()
        if drains:
            drain.stop()
        access.stop()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)

    app = FastAPI(
        title="Treadle",
        version=__version__,
        description="Models of this installation. Every answer is in the ledger before it is given.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # FastAPI's own would hold paths, queries and messages of exceptions: callers' data
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.champions, app.state.writer, app.state.ledger = champions, writer, ledger
    app.state.admission, app.state.releases = admission, releases
    problem_details.install(app)
    quota = Quota(settings.state_dir / "quota")
    endpoints = Endpoints(settings, champions, writer, journal, ledger, metrics, admission, quota, releases)
    ready = ReadyModels(settings, ledger, metrics, admission, quota)
    _add_models(app, endpoints, settings)
    v2_routes.add(app, endpoints)
    _add_ready(app, ready, ledger)
    alert_routes.add(app, ledger)
    troubles = Troubles(champions, settings.journal_dir)
    _add_service(app, settings, champions, metrics, admission, ready, troubles)
    _add_pages(app, settings, champions, ledger, troubles)
    add_sessions(app, access, admission)
    app.state.access = access
    # outside of everything that FastAPI puts around the routes, so that no response leaves without passing here
    app.middleware_stack = guard = Guard(app.build_middleware_stack(), access, settings, tracing=tracing)
    return app


async def _judge(metrics: Metrics, ledger: Ledger) -> None:
    """Tell the metrics, now and then, whether the models are right."""
    while True:
        metrics.judge(await asyncio.to_thread(standings, ledger))
        await asyncio.sleep(JUDGE_S)


async def _rest(journal: Journal) -> None:
    """Leave what callers sent in no journal for longer than its way into the ledger takes."""
    while True:
        await asyncio.sleep(REST_S / 4)
        journal.rest(REST_S)


def _add_models(app: FastAPI, endpoints: Endpoints, settings: Settings) -> None:
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


def _add_ready(app: FastAPI, ready: ReadyModels, ledger: Ledger) -> None:
    ready_faces.add(app, ready, FaceRegister(ready.settings, ledger))
    ready_routes.add(app, ready)
    ready_hub.add(app, ready)
    ready_openai.add(app, ready)


def _add_service(
    app: FastAPI,
    settings: Settings,
    champions: Champions,
    metrics: Metrics,
    admission: Admission,
    ready: ReadyModels,
    troubles: Troubles,
) -> None:
    @app.get("/healthz", tags=["service"], summary="Whether the process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["service"], summary="Whether it answers, and what is degraded")
    async def readyz(request: Request, response: Response) -> dict[str, Any]:
        status = "degraded" if troubles.all() else "ok"
        if admission.draining:
            response.status_code, status = 503, "ending"
        who = principal_of(request.scope)
        if who is None:
            return {"status": status}
        models = sorted(name for name in champions.models if who.sees(name))
        return {"status": status, "models": models, "degraded": troubles.seen_by(who)}

    @app.get("/metrics", tags=["service"], summary="Prometheus metrics", response_class=Response)
    def show_metrics() -> Response:
        lag_s = carried_before(settings.journal_dir)
        metrics.ready_loaded(ready.pool.loaded())
        metrics.look(champions.models, len(champions.troubles), admission.requests, lag_s)
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _add_pages(app: FastAPI, settings: Settings, champions: Champions, ledger: Ledger, troubles: Troubles) -> None:
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
            "degraded": troubles.seen_by(who),
            "signed_in": COOKIE in request.cookies,
            "links": {"prefect": settings.prefect_url, "mlflow": settings.mlflow_url, "api": "/docs"},
        }

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    settings.reports_dir.mkdir(parents=True, exist_ok=True)
    app.mount("/reports", StaticFiles(directory=settings.reports_dir, html=True), name="reports")


def _seen(request: Request, models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the models that whoever asks may know of."""
    who = asking(request.scope)
    return [model for model in models if who.sees(model["name"])]
