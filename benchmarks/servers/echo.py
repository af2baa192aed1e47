"""The fastest that uvicorn can be: reads the body, answers a constant of the size that Treadle answers.

`python -m benchmarks.servers.echo PORT SIZES`; POST /ROWS is answered with the constant for so many rows.
"""

import json
import sys
from typing import Any

import uvicorn

REPLIES = {f"/{rows}": b'"' + b"x" * (size - 2) + b'"' for rows, size in json.loads(sys.argv[2]).items()}
HEADERS = {
    path: [(b"content-type", b"application/json"), (b"content-length", str(len(reply)).encode())]
    for path, reply in REPLIES.items()
}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """One request."""
    path = scope["path"]
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS[path]})
    await send({"type": "http.response.body", "body": REPLIES[path]})


uvicorn.run(
    app, port=int(sys.argv[1]), loop="uvloop", http="httptools", ws="none", lifespan="off", access_log=False,
    log_level="warning", server_header=False,
)  # fmt: skip
