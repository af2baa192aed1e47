"""The supervisor of the platform's processes: supervisord, its configuration, and the talk with it.

Knows how a service is started, restarted and stopped; not what the services say over HTTP.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treadle.alerting.channels import has_channels
from treadle.errors import Unavailable
from treadle.settings import Settings

MARK = "TREADLE_PLATFORM"
"""In the environment of every process below the supervisor, with the home as its value; how strays are found."""
SERVICE = "TREADLE_SERVICE"
"""In the environment of a service and its children, with the service's name as its value."""
START_RETRIES = 8
"""Starts in a row that may fail; the wait before each grows by a second."""


class ShuttingDown(Unavailable):
    """Supervisord is there, but on its way out."""


@dataclass(frozen=True)
class Service:
    """One process to keep alive.

    Attributes:
        name: What `status` calls it.
        command: Program and arguments.
        priority: Started from low to high, stopped from high to low, one after the other.
        startsecs: A process that ends sooner after its start has failed to start, seconds.
        stopwaitsecs: Between SIGTERM and SIGKILL, seconds.
    """

    name: str
    command: tuple[str, ...]
    priority: int
    startsecs: int
    stopwaitsecs: int


def services(settings: Settings) -> tuple[Service, ...]:
    """The services. The worker is stopped first: it may ignore SIGTERM once its server is gone.

    Alerts are carried out by a process of their own where there are channels to carry them to.
    """
    python = sys.executable
    port = str(settings.ports["prefect"])
    prefect = ("-m", "prefect", "server", "start", "--host", settings.inner_host, "--port", port)
    alerts = Service("alerts", (python, "-m", "console.service", "alerts"), priority=35, startsecs=3, stopwaitsecs=5)
    return (
        Service("prefect", (python, *prefect), priority=10, startsecs=6, stopwaitsecs=15),
        Service("mlflow", (python, "-m", "console.service", "mlflow"), priority=20, startsecs=6, stopwaitsecs=10),
        Service("api", (python, "-m", "serving"), priority=30, startsecs=3, stopwaitsecs=20),
        Service("worker", (python, "-m", "console.service", "worker"), priority=40, startsecs=8, stopwaitsecs=15),
        *([alerts] if has_channels(settings) else []),
    )


def write_config(settings: Settings) -> Path:
    """Write supervisord's configuration for these settings and return its path."""
    folder = _folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    logs = settings.state_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    sock = _new_socket(settings)
    sections = [
        {
            "": "supervisord",
            "nodaemon": "true",
            "silent": "true",
            "pidfile": folder / "supervisord.pid",
            "logfile": folder / "supervisord.log",
            "logfile_maxbytes": 0,
            "directory": settings.home,
        },
        {"": "unix_http_server", "file": sock, "chmod": "0600"},
        {
            "": "rpcinterface:supervisor",
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface",
        },
        *(_program(service, logs) for service in services(settings)),
    ]
    path = folder / "supervisord.conf"
    path.write_text("\n".join(_section(section) for section in sections), encoding="utf-8")
    (folder / "socket").write_text(str(sock), encoding="utf-8")
    return path


def _program(service: Service, logs: Path) -> dict[str, object]:
    return {
        "": f"program:{service.name}",
        "command": shlex.join(service.command),
        "environment": f'{SERVICE}="{service.name}"',
        "priority": service.priority,
        "autorestart": "true",
        "startsecs": service.startsecs,
        "startretries": START_RETRIES,
        "stopwaitsecs": service.stopwaitsecs,
        "stopasgroup": "true",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": logs / f"{service.name}.log",
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 2,
    }


def _section(section: dict[str, object]) -> str:
    """One section of the INI file; supervisord reads `%` as the start of a reference."""
    lines = [f"{key}={str(value).replace('%', '%%')}" for key, value in section.items() if key]
    return "\n".join([f"[{section['']}]", *lines, ""])


def _folder(settings: Settings) -> Path:
    return settings.state_dir / "supervisor"


def _new_socket(settings: Settings) -> Path:
    """A path short enough for a Unix socket, in a folder that only this user can enter.

    Raises:
        Unavailable: The folder belongs to somebody else.
    """
    folder = Path(tempfile.gettempdir()) / f"treadle-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    owner = folder.lstat()
    if not stat.S_ISDIR(owner.st_mode) or owner.st_uid != os.getuid():
        raise Unavailable(f"{folder} belongs to somebody else; set TMPDIR to a folder of your own.")
    folder.chmod(0o700)
    return folder / f"{hashlib.sha256(str(settings.home.resolve()).encode()).hexdigest()[:16]}.sock"


def launch(settings: Settings, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start supervisord in a session of its own, so that Ctrl-C in this terminal does not reach it."""
    config = write_config(settings)
    (_folder(settings) / "supervisord.log").unlink(missing_ok=True)
    with (_folder(settings) / "start.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and configuration
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)],
            cwd=settings.home,
            env=environment | {MARK: str(settings.home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextmanager
def talk(settings: Settings) -> Iterator[Any]:
    """Supervisord's remote interface, an XML-RPC proxy.

    Raises:
        Unavailable: Supervisord is not running.
    """
    import http.client
    import xmlrpc.client

    from supervisor.xmlrpc import SupervisorTransport

    try:
        path = (_folder(settings) / "socket").read_text(encoding="utf-8")
        transport = SupervisorTransport(None, None, serverurl=f"unix://{path}")
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
            yield proxy.supervisor
    except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
        raise Unavailable("The platform is down; start it with `treadle up`.") from error
    except xmlrpc.client.Fault as fault:
        raise ShuttingDown("The platform is shutting down; try again in a few seconds.") from fault


def is_running(settings: Settings) -> bool:
    """Whether this home's supervisord answers."""
    try:
        with talk(settings) as supervisor:
            return bool(supervisor.getState()["statename"] == "RUNNING")
    except Unavailable:
        return False


def process_table(settings: Settings) -> list[dict[str, Any]]:
    """What supervisord knows of each service: name, state, pid, uptime in seconds, restarts since `up`.

    Raises:
        Unavailable: Supervisord is not running.
    """
    with talk(settings) as supervisor:
        table = supervisor.getAllProcessInfo()
    log = _folder(settings) / "supervisord.log"
    history = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return [
        {
            "name": row["name"],
            "state": row["statename"].lower(),
            "pid": row["pid"] or None,
            "started": float(row["start"]),
            "uptime_s": max(0, row["now"] - row["start"]) if row["pid"] else 0,
            "restarts": max(0, history.count(f"spawned: '{row['name']}' ") - 1),
        }
        for row in table
    ]


def shut_down(settings: Settings, deadline_s: float = 75) -> None:
    """Stop the services in order and then supervisord; then end what was left over from killed ones.

    Runs in flight are asked to end while Prefect is still there to note it.
    """
    with suppress(Unavailable), talk(settings) as supervisor:
        _stop_worker(supervisor)
        end_strays(settings, {"PREFECT__FLOW_RUN_ID"}, grace_s=8)
        supervisor.shutdown()
    deadline = time.monotonic() + deadline_s
    while is_present(settings) and time.monotonic() < deadline:
        time.sleep(0.1)
    end_strays(settings, set(), grace_s=5)


def _stop_worker(supervisor: Any) -> None:
    import xmlrpc.client

    with suppress(xmlrpc.client.Fault):  # not running: nothing to stop
        supervisor.stopProcess("worker", False)


def is_present(settings: Settings) -> bool:
    """Whether supervisord's socket still takes calls, also while it shuts down."""
    try:
        with talk(settings) as supervisor:
            supervisor.getState()
    except ShuttingDown:
        return True
    except Unavailable:
        return False
    return True


def end_strays(settings: Settings, having: set[str], grace_s: float, service: str | None = None) -> list[int]:
    """End every process below this home's supervisor whose environment has all of these variables.

    Args:
        settings: Its home tells our processes from those of another checkout.
        having: Names of environment variables; empty for all processes.
        grace_s: Between SIGTERM and SIGKILL, seconds.
        service: Only processes of this service.

    Returns:
        The ids of the processes that were ended.
    """
    import psutil

    strays = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue
        ours = environment.get(MARK) == str(settings.home) and environment.get(SERVICE, "") == (
            service or environment.get(SERVICE, "")
        )
        if ours and having <= environment.keys():
            strays.append(process)
    for process in strays:
        _signal(process, "terminate")
    _, alive = psutil.wait_procs(strays, timeout=grace_s)
    for process in alive:
        _signal(process, "kill")
    return [process.pid for process in strays]


def _signal(process: Any, how: str) -> None:
    import psutil

    try:
        getattr(process, how)()
    except psutil.Error:
        return  # ended by itself in the meantime
