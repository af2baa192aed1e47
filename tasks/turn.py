"""The frame around a turn of the wheel: its MLflow run, its lease, its cost, and the summary at its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.runtime import flow_run

from treadle.cost import Meter, meter
from treadle.errors import Conflict, TreadleError
from treadle.ledger import Lease, Ledger
from treadle.models.tracking import open_run, run_url
from treadle.pages.turn import in_words
from treadle.project import load_project
from treadle.retraining.steps import STEP, followed_now
from treadle.retraining.turn import Best, Parts, Registered, Rows, Turn, Verdict, parse_moment
from treadle.settings import Settings


@contextmanager
def turn_of(name: str, at: str | None, reason: str) -> Iterator[Turn]:
    """Open one turn: single flight by a fenced lease, an MLflow run, and the bill at the end.

    Raises:
        Conflict: Another turn of this project is in flight; its lease frees itself when its process dies.
    """
    settings = Settings()
    project = load_project(name, settings)
    moment = parse_moment(at)
    ledger = Ledger.open(settings)
    with _leased(ledger, name, moment or datetime.now(UTC), settings.retrain_lease_s) as lease:
        is_step = reason == STEP and followed_now(ledger, project) is not None
        tags = {
            "reason": reason,
            "prefect_flow_run": str(flow_run.id),
            "event_time": moment.isoformat() if moment else "now",
        }
        title = f"{reason} {moment:%Y-%m-%d}" if moment else reason
        with (
            _failure_noted(ledger, name, moment),
            metered(name, "train", at) as bill,
            open_run(settings, project, name=title, tags=tags) as run_id,
        ):
            create_link_artifact(
                link=run_url(settings, name, run_id), link_text="This turn in MLflow", key=f"{name}-mlflow"
            )
            turn = Turn(name, run_id, moment.isoformat() if moment else None, reason, lease.fence, is_step)
            _METERS[run_id] = bill
            try:
                yield turn
            finally:
                _METERS.pop(run_id, None)


@contextmanager
def _failure_noted(ledger: Ledger, name: str, moment: datetime | None) -> Iterator[None]:
    """Write down that a turn failed, so that somebody is told; the error itself goes on."""
    try:
        yield
    except Exception as error:
        unforeseen = f"{type(error).__name__}; the run's log in Prefect says more."  # its own text may hold data
        said = str(error) if isinstance(error, TreadleError) else unforeseen
        with suppress(TreadleError):  # the ledger is what failed
            ledger.record_decision(
                name,
                "failed",
                said,
                {"flow_run": str(flow_run.id)},
                moment or datetime.now(UTC),
            )
        raise


_METERS: dict[str, Meter] = {}


def run_name() -> str:
    """What the Prefect UI calls a run: the project, why or what, and the event time if one was given."""
    given = flow_run.parameters or {}
    moment = parse_moment(given.get("at"))
    what = given.get("reason") or str(flow_run.flow_name)
    return f"{given.get('project')}: {what}" + (f" {moment:%Y-%m-%d %H:%M}" if moment else "")


@contextmanager
def metered(project: str, flow: str, at: str | None = None) -> Iterator[Meter]:
    """Meter the wall and CPU seconds of a flow and write them into the ledger, also when it fails."""
    with meter() as bill:
        try:
            yield bill
        finally:
            Ledger.open(Settings()).record_cost(
                project, flow, str(flow_run.id), bill.cpu_seconds, bill.seconds, parse_moment(at)
            )


@contextmanager
def _leased(ledger: Ledger, name: str, at: datetime, lease_s: float) -> Iterator[Lease]:
    """Hold the project's train lease and beat its heart until the block ends."""
    lease = ledger.acquire(name, str(flow_run.id or "command line"), at, lease_s)
    if lease is None:
        raise Conflict(
            f"A train run of '{name}' is in flight already. Wait for it, or stop it; "
            f"if its process is dead the lease frees itself within {lease_s:.0f} s."
        )
    done = threading.Event()

    def beat() -> None:
        while not done.wait(lease_s / 4):
            ledger.beat(lease)

    threading.Thread(target=beat, daemon=True, name="lease heartbeat").start()
    try:
        yield lease
    finally:
        done.set()
        ledger.release(lease)


def report_turn(
    turn: Turn, rows: Rows, parts: Parts, best: Best, version: Registered, verdict: Verdict
) -> dict[str, Any]:
    """Sum the turn up: the JSON that `treadle train` prints, and a page in the Prefect UI."""
    bill = _METERS[turn.run_id]
    project = load_project(turn.project)
    summary: dict[str, Any] = {
        "project": turn.project,
        "run_id": turn.run_id,
        "version": version.version,
        "decision": verdict.decision,
        "reason": verdict.reason,
        "metric": turn.read("metric.json"),
        "challenger": verdict.challenger,
        "champion": verdict.champion,
        "interval": verdict.interval,
        "rows": {
            "train": parts.train,
            "valid": parts.valid,
            "test": parts.test,
            "holdout": parts.holdout,
            "quarantined": rows.quarantined,
        },
        "findings": list(rows.findings),
        "trials": {"done": best.done, "pruned": best.pruned},
        "search": turn.read("search.json"),
        "history": {key: turn.read("history.json")[key] for key in ("chosen", "tried", "why")},
        "family": best.family,
        "parity": version.parity,
        "seconds": round(bill.seconds, 2),
        "cpu_seconds": round(bill.cpu_seconds, 2),
    }
    create_markdown_artifact(key=f"{project.name}-turn", markdown=_page(summary), description=verdict.reason)
    get_run_logger().info("%s: %s\n%s", project.name, verdict.decision, verdict.reason)
    return summary


def _page(summary: dict[str, Any]) -> str:
    """The turn in a few lines of Markdown."""
    lines = [f"| {name} | {said} |" for name, said in in_words(summary).items()]
    return "\n".join(
        [f"# {summary['project']}: {summary['decision']}", summary["reason"], "", "| | |", "|---|---|", *lines]
    )
