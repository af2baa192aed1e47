"""`python -m serving`: the service. This process opens the port, keeps the workers alive and carries the journal."""

from __future__ import annotations

import logging
import sys

from serving.parent import Parent
from serving.telemetry import logs
from treadle.errors import TreadleError
from treadle.settings import Settings


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; requests that are under way are answered first. SIGHUP renews the workers."""
    settings = Settings()
    logs.install(settings)
    try:
        parent = Parent(settings)
    except TreadleError as error:
        logging.getLogger("treadle.serving").critical("%s", error)
        sys.exit(error.exit_code)
    sys.exit(parent.run())


if __name__ == "__main__":
    main()
