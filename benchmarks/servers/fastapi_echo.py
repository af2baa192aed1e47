"""An empty FastAPI route: reads the body, answers a constant of the size that Treadle answers. Arguments as for `echo`."""

import json
import sys

import uvicorn
from fastapi import FastAPI, Request, Response

REPLIES = {int(rows): b'"' + b"x" * (size - 2) + b'"' for rows, size in json.loads(sys.argv[2]).items()}
app = FastAPI()


@app.post("/{rows}")
async def echo(rows: int, request: Request) -> Response:
    """One request."""
    await request.body()
    return Response(REPLIES[rows], media_type="application/json")


uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning")
