"""The platform as a whole: up, down, status, and a Prefect server for a command that runs while it is down.

Knows what healthy means; how processes are kept alive is `console.supervision`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from console import supervision
from console.health import answers, is_healthy
from console.ports import SERVERS, choose_ports, free_port
from treadle.errors import Unavailable
from treadle.keys import refuse_open_address
from treadle.ledger import Ledger
from treadle.settings import Settings

READY_DEADLINE_S = 240.0
PREFECT_COMMAND_DEADLINE_S = 120.0
Say = Callable[[str], None]

TUNING = {
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "6",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "2",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_CLI_PROMPT": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
"""For one small machine: runs start within 2 s, a silent run is noticed after 90 s, few runs are scheduled ahead."""

NO_SCHEDULES = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
}
"""For the Prefect server of one command: no worker listens to it, so it schedules nothing."""


class ServiceError(Unavailable):
    """A service that does not start, whatever the supervisor tries."""


def _quiet(_line: str) -> None:
    return


def environment(settings: Settings) -> dict[str, str]:
    """Environment of every process of the platform: `Settings.environment`, these very settings, and the tuning."""
    own = settings.model_dump(mode="json", exclude_none=True, exclude={"alert_urls"})  # a secret, in os.environ already
    explicit = {f"TREADLE_{name.upper()}": str(value) for name, value in own.items()}
    return TUNING | settings.environment() | explicit


def start(settings: Settings, auto_ports: bool = False, say: Say = _quiet) -> Settings:
    """Start the platform and wait until every service is healthy.

    Args:
        settings: Home, host and wished ports.
        auto_ports: Take the next free port where a wished one is taken.
        say: Takes a line for each service as it becomes healthy.

    Returns:
        The settings with the ports that were taken.

    Raises:
        Unavailable: It runs already, a port is taken, the host is open to others while there is no key, or a service
            does not come up; then nothing is left running.
    """
    if supervision.is_present(settings):
        raise Unavailable("The platform is up already, see `treadle status`; stop it with `treadle down`.")
    if not settings.is_loopback:
        refuse_open_address(settings, Ledger.open(settings))
    supervision.end_strays(settings, set(), grace_s=5)
    ports = choose_ports(settings, auto_ports)
    chosen = with_ports(settings, ports)
    try:
        _write_ports(chosen, ports)
        supervisor = supervision.launch(chosen, environment(chosen))
        _wait_until_healthy(chosen, supervisor, say)
    except BaseException:
        stop(chosen)
        raise
    return chosen


def with_ports(settings: Settings, ports: dict[str, int]) -> Settings:
    """The same settings with other ports."""
    own = settings.model_dump() | {f"{name}_port": ports[name] for name in SERVERS}
    return Settings.model_validate(own)


def _ports_file(settings: Settings) -> Path:
    return settings.state_dir / "ports.json"


def _write_ports(settings: Settings, ports: dict[str, int]) -> None:
    """Tell other commands of this home where the running platform listens; see `Settings.ports`."""
    path = _ports_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(ports), encoding="utf-8")
    draft.replace(path)


def _wait_until_healthy(settings: Settings, supervisor: subprocess.Popen[bytes], say: Say) -> None:
    begun, begun_wall = time.monotonic(), time.time()
    waiting = [service.name for service in supervision.services(settings)]
    while waiting:
        if supervisor.poll() is not None:
            log = settings.state_dir / "supervisor" / "start.log"
            raise ServiceError(f"The supervisor ended at once: {_last_line(log)} (all of it: {log})")
        _refuse_failed(settings)
        for name in [name for name in waiting if is_healthy(name, settings, since=begun_wall)]:
            waiting.remove(name)
            say(f"  {name:<8} {time.monotonic() - begun:5.1f} s  {url_of(name, settings) or 'polling for runs'}")
        if waiting and time.monotonic() - begun > READY_DEADLINE_S:
            log = settings.state_dir / "logs" / f"{waiting[0]}.log"
            raise ServiceError(f"{waiting[0]} is not healthy after {READY_DEADLINE_S:.0f} s; its log is {log}.")
        time.sleep(0.2)


def _refuse_failed(settings: Settings) -> None:
    """Raise for a service on which the supervisor has given up."""
    try:
        table = supervision.process_table(settings)
    except Unavailable:
        return  # supervisord has not opened its socket yet
    for row in table:
        if row["state"] == "fatal":
            log = settings.state_dir / "logs" / f"{row['name']}.log"
            raise ServiceError(f"{row['name']} does not start: {_last_line(log)} (all of it: {log})")


def _last_line(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "it left no log"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _said(lines[-1])[:200] if lines else "it said nothing"


def _said(line: str) -> str:
    """The message of a line of the service's log, which is JSON; any other line as it is."""
    try:
        return str(json.loads(line)["message"])
    except (ValueError, TypeError, KeyError):
        return line


def url_of(name: str, settings: Settings) -> str | None:
    """Where a person looks at a service; `None` for the worker, which has no page."""
    return {"api": settings.api_url, "prefect": settings.prefect_url, "mlflow": settings.mlflow_url}.get(name)


def stop(settings: Settings) -> bool:
    """Stop the platform and whatever it left behind: the worker first, then the others.

    Returns:
        Whether anything was running.
    """
    was_up = supervision.is_present(settings)
    supervision.shut_down(settings)
    _ports_file(settings).unlink(missing_ok=True)
    return was_up


def is_up(settings: Settings) -> bool:
    """Whether the platform of this home runs; a service of it may still be ill, see `status`."""
    return supervision.is_running(settings)


def status(settings: Settings) -> list[dict[str, Any]]:
    """The state of each service: `running`, `starting` (alive, not yet healthy), `restarting`, `failed` or `down`."""
    names = [service.name for service in supervision.services(settings)]
    try:
        table = {row["name"]: row for row in supervision.process_table(settings)}
    except Unavailable:
        table = {}
    return [_status_of(name, table.get(name), settings) for name in names]


def _status_of(name: str, row: dict[str, Any] | None, settings: Settings) -> dict[str, Any]:
    if row is None:
        return {"name": name, "state": "down", "url": None, "pid": None, "uptime_s": 0, "restarts": 0}
    state = {"backoff": "restarting", "exited": "restarting", "fatal": "failed"}.get(row["state"], row["state"])
    if state in ("running", "starting"):
        state = "running" if is_healthy(name, settings, since=row["started"]) else "starting"
    return {
        "name": name,
        "state": state,
        "url": url_of(name, settings),
        "pid": row["pid"],
        "uptime_s": row["uptime_s"],
        "restarts": row["restarts"],
    }


def follow(settings: Settings, say: Say, poll_s: float = 2.0) -> None:
    """Stay until the platform goes down, and say when a service falls or comes back."""
    known = {row["name"]: ("running", row["restarts"]) for row in status(settings)}
    while is_up(settings):
        time.sleep(poll_s)
        for row in status(settings):
            now = (row["state"], row["restarts"])
            if now != known[row["name"]] and row["state"] not in ("down", "stopping", "stopped"):
                say(f"  {row['name']}: {row['state']}, {row['restarts']} restarts so far")
                known[row["name"]] = now


def redeploy(settings: Settings) -> list[str]:
    """Tell the running platform of new, changed and removed projects; nothing when it is down.

    Returns:
        The names of the deployments.
    """
    if not is_up(settings):
        return []
    adopt_environment(settings, settings.prefect_url)
    from console.prefect_setup import set_up

    return set_up(settings)


def adopt_environment(settings: Settings, prefect_url: str) -> None:
    """Make this process one of this home, talking to that Prefect server; must come before Prefect is imported."""
    os.environ.update(environment(settings) | {"PREFECT_API_URL": f"{prefect_url}/api"})


@contextmanager
def prefect_server(settings: Settings) -> Iterator[str]:
    """A Prefect server for the block: the platform's when it is up, else one of its own on a free loopback port.

    Both keep their records in the same database, so that a run made while the platform is down shows up later. The
    own server starts in the background: call the yielded address only after `wait_for_server`.

    Yields:
        The server's base URL.

    Raises:
        Unavailable: The platform is up but its Prefect server does not answer.
    """
    if is_up(settings):
        wait_for_server(settings.prefect_url, 30)
        adopt_environment(settings, settings.prefect_url)
        yield settings.prefect_url
        return
    host = "127.0.0.1"
    port = free_port(host)
    url = f"http://{host}:{port}"
    adopt_environment(settings, url)
    server = _launch_server(settings, host, port)
    try:
        yield url
    finally:
        try:
            _drain()
        finally:
            _end_server(server)


def _launch_server(settings: Settings, host: str, port: int) -> subprocess.Popen[bytes]:
    log = settings.state_dir / "logs" / "prefect-command.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "console.service", "run", host, str(port)],
            env=environment(settings) | NO_SCHEDULES | {"PREFECT_API_URL": f"http://{host}:{port}/api"},
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def wait_for_server(url: str, deadline_s: float = PREFECT_COMMAND_DEADLINE_S) -> None:
    """Wait until a Prefect server answers.

    Raises:
        Unavailable: It does not within the time.
    """
    deadline = time.monotonic() + deadline_s
    while not answers(f"{url}/api/health"):
        if time.monotonic() > deadline:
            raise Unavailable(
                f"The Prefect server at {url} does not answer; see `treadle status` and the logs in .treadle/logs."
            )
        time.sleep(0.1)


def _drain() -> None:
    """Send what Prefect's threads of this process still hold: logs, and the events that task states are made of."""
    if "prefect" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=10)
    APILogWorker.drain_all(timeout=10)


def _end_server(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
