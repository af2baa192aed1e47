"""`python -m serving`: one worker of the service, on the address that the settings name."""

from __future__ import annotations

import logging

import uvicorn

from serving.app import create_app
from treadle.settings import Settings


def main() -> None:
    """Serve until SIGTERM; requests that are under way are answered first."""
    settings = Settings()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.api_port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=20,
        server_header=False,
    )


if __name__ == "__main__":
    main()
