"""Ports: which are free, who holds a taken one, and which to take instead. Knows nothing of what listens on them."""

from __future__ import annotations

import socket

from treadle.errors import Unavailable
from treadle.settings import Settings

SERVERS = ("api", "prefect", "mlflow")


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on this address now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str) -> int:
    """A port that the system says is free now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def choose_ports(settings: Settings, auto: bool) -> dict[str, int]:
    """The ports of the three servers.

    Args:
        settings: Holds the host and the wished ports.
        auto: Take the next free port where the wished one is taken.

    Raises:
        Unavailable: A port is taken, or wished twice, and `auto` is off; the message names its holder and the way out.
    """
    wished = {"api": settings.api_port, "prefect": settings.prefect_port, "mlflow": settings.mlflow_port}
    chosen: dict[str, int] = {}
    for name, port in wished.items():
        if port not in chosen.values() and is_free(settings.host, port):
            chosen[name] = port
        elif auto:
            chosen[name] = _next_free(settings.host, port, set(wished.values()) | set(chosen.values()))
        else:
            held = _holder(port) if port not in chosen.values() else "another service of this platform"
            raise Unavailable(
                f"Port {port} for {name} is taken by {held}. "
                f"Choose another with --{name}-port, or let `treadle up --auto-ports` choose."
            )
    return chosen


def _next_free(host: str, port: int, avoid: set[int]) -> int:
    """The first free port above `port`, so that the address stays easy to remember; any free one if all are taken."""
    near = (p for p in range(port + 1, min(port + 200, 65536)) if p not in avoid and is_free(host, p))
    return next(near, None) or free_port(host)


def _holder(port: int) -> str:
    """Who listens on a port, as far as this user may know."""
    import psutil

    try:
        for connection in psutil.net_connections("inet"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return _describe(connection.pid)
    except psutil.Error:
        pass
    return "another process"


def _describe(pid: int | None) -> str:
    import psutil

    if pid is None:
        return "another user's process"
    try:
        command = " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return f"process {pid}"
    return f"process {pid} ({command[:60]})"
