"""The app as a worker serves it, in a thread of this process, and requests of it byte by byte."""

import socket
import threading
import time
from contextlib import contextmanager

import uvicorn

from serving.app import create_app
from serving.door.http import Connection

PREDICT = "/v1/models/toy/predict"


@contextmanager
def served(home):
    """The app, and where it listens."""
    app = create_app(home.settings, drains=False)
    with running(app) as (_, address):
        yield app, address


@contextmanager
def running(app):
    """A server of an app, and where it listens."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=Connection, ws="none", log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server, listening.getsockname()
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
    assert not thread.is_alive()


def post(body, *headers):
    """The head of a request for predictions; for its body to follow, as long as `body` is unless a header says otherwise."""
    length = () if any("encoding" in header for header in headers) else (f"content-length: {len(body)}",)
    lines = (f"POST {PREDICT} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json", *length, *headers)
    return "\r\n".join((*lines, "", "")).encode()


def reply(reader):
    """Status, headers and body of the next answer on a connection."""
    status = int(reader.readline().split()[1])
    headers = dict(line.decode().strip().lower().split(": ", 1) for line in iter(reader.readline, b"\r\n"))
    return status, headers, reader.read(int(headers.get("content-length", 0)))
