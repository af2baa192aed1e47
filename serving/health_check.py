"""`python -m serving.health_check`: exit code 0 while the service on this machine lives. For containers without curl."""

from __future__ import annotations

import http.client
import os
import sys


def lives(port: int, timeout_s: float = 2.0) -> bool:
    """Whether `/healthz` answers 200 on loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if lives(int(os.environ.get("TREADLE_API_PORT", "8000"))) else 1)
