"""Whether a server answers. Uses the standard library alone, so that a look costs no imports."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

from treadle.settings import Settings

SILENT_S = 180.0
FAILURES = (OSError, http.client.HTTPException, ValueError)


def answers(url: str, timeout_s: float = 2.0) -> bool:
    """Whether a GET is answered with a 2xx within the time."""
    try:
        with _open(url, None, timeout_s):
            return True
    except FAILURES:
        return False


def fetch(url: str, body: dict[str, Any] | None = None, timeout_s: float = 5.0) -> Any:
    """The JSON that a GET, or a POST of `body`, is answered with.

    Raises:
        OSError: Nobody answered, or not with a 2xx.
        ValueError: The answer is not JSON.
    """
    with _open(url, body, timeout_s) as reply:
        return json.loads(reply.read())


def _open(url: str, body: dict[str, Any] | None, timeout_s: float) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310 - our own servers
    return _DIRECT.open(request, timeout=timeout_s)


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Our own servers are never reached through a proxy."""


def is_healthy(name: str, settings: Settings, since: float = 0.0) -> bool:
    """Whether one of the services does its work.

    Args:
        name: `prefect`, `mlflow`, `api`, `alerts` or `worker`.
        settings: Where the services are.
        since: A worker's sign of life must be newer than this, seconds since the epoch.
    """
    match name:
        case "prefect":
            return answers(f"{settings.prefect_url}/api/health")
        case "mlflow":
            return answers(f"{settings.mlflow_url}/health")
        case "api":
            return answers(f"{settings.api_url}/healthz")
        case "alerts":
            return _touched(settings.state_dir / "alerts.beat", since)
        case _:
            return _worker_polls(settings, since)


def _touched(file: Path, since: float) -> bool:
    """Whether a file was touched since then, and in the last minutes."""
    try:
        return file.stat().st_mtime >= max(since, time.time() - SILENT_S)
    except OSError:
        return False


def _worker_polls(settings: Settings, since: float) -> bool:
    """Whether a worker of our pool has been heard of since then, by Prefect's own record."""
    url = f"{settings.prefect_url}/api/work_pools/treadle/workers/filter"
    try:
        workers = fetch(url, {}, timeout_s=3)
    except FAILURES:
        return False
    beats = [datetime.fromisoformat(worker["last_heartbeat_time"].replace("Z", "+00:00")) for worker in workers]
    return any(beat.timestamp() >= since for beat in beats)
