"""`python -m serving`: one worker of the service, on the address that the settings name."""

from __future__ import annotations

import logging
import signal
import sys

import uvicorn

from serving.app import create_app
from treadle.errors import TreadleError
from treadle.settings import Settings

log = logging.getLogger("treadle.serving")


def main() -> None:
    """Serve until SIGTERM; requests that are under way are answered first."""
    settings = Settings()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # uvicorn raises the signal once more when it has ended well; that shall not look like a crash
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        app = create_app(settings)
    except TreadleError as error:
        log.critical("%s", error)
        sys.exit(error.exit_code)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.api_port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=20,
        server_header=False,
    )


if __name__ == "__main__":
    main()
