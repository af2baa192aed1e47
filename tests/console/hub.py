"""The part of the hub's HTTP API that downloads need, over folders: what the real client asks for, on loopback."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
API = re.compile(rf"/api/models/(?P<name>[^/]+/[^/]+)(?P<what>|/revision/(?:{COMMIT}|main)|/tree/{COMMIT})")
FILE = re.compile(rf"/(?P<name>[^/]+/[^/]+)/resolve/{COMMIT}/(?P<file>[^/]+)")


class Hub(ThreadingHTTPServer):
    """A hub with some models.

    Attributes:
        asked: The paths that were asked for.
    """

    def __init__(self, models: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models = models
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Hub

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        api, file = API.fullmatch(path), FILE.fullmatch(path)
        found = api or file
        folder = self.server.models.get(found["name"]) if found else None
        if folder is None:
            self._send(404, b"{}", X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        elif file:
            content = (folder / file["file"]).read_bytes()
            self._send(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=COMMIT)
        elif api:
            self._send(
                200, json.dumps(_about(api["name"], api["what"], folder)).encode(), Content_Type="application/json"
            )

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _about(name: str, what: str, folder: Path) -> object:
    """A model, or the tree of its files."""
    files = sorted(folder.iterdir())
    if what.startswith("/tree"):
        return [
            {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": hashlib.sha1(f.read_bytes()).hexdigest()}
            for f in files
        ]
    siblings = [{"rfilename": file.name, "size": file.stat().st_size} for file in files]
    about = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": []}
    return about | {"cardData": {"license": "apache-2.0"}}


@contextmanager
def hub(models: dict[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """Serve folders as models; the address, and the paths that were asked for."""
    server = Hub(models)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", server.asked
    finally:
        server.shutdown()
        server.server_close()
