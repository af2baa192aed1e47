"""A process of ours that can be killed at any time: how its owner begins it, and how it confines itself.

It is a clean interpreter with one socket to its owner. It has no keys and nothing else of its owner's environment, stands
back behind it, and dies with it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

NICE = 5
"""It does not take the time of the process that answers."""
PR_SET_PDEATHSIG = 1


def begin(module: str, **environment: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a module of ours as such a process. It belongs to this thread: it dies when that ends.

    Args:
        module: What is run; it begins with `confine()`.
        environment: What it gets besides what it needs to find its libraries.

    Returns:
        The process, and its owner's end of the socket.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(os.getpid())]
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, pass_fds=(theirs.fileno(),), env=_to_find_libraries() | environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    return process, ours


def _to_find_libraries() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[1])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MALLOC_ARENA_MAX": "2",
    }


def confine() -> socket.socket:
    """In the process: die with the owner, stand back behind it, leave no core; the process's end of the socket."""
    channel, owner = (int(word) for word in sys.argv[1:3])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != owner:  # it was gone before this process could ask to be told
        sys.exit(1)
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return socket.socket(fileno=channel)
