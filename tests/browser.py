"""A real Chromium without a network, driven through its DevTools: what a page runs, asks for and says is seen."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

needs_browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no browser here")
DEADLINE_S = 30
# Names resolve to nothing and there is a proxy that is not there: only loopback can be reached.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0", "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-background-networking",
)  # fmt: skip


class Tab:
    """One tab.

    Attributes:
        dialogs: Texts of the alerts that opened.
        asked: Addresses that were asked for.
        said: What went wrong, as the console tells it: exceptions, and what a policy refused.
    """

    def __init__(self, devtools: Any) -> None:
        self._devtools = devtools
        self._ids = itertools.count(1)
        self.dialogs: list[str] = []
        self.asked: list[str] = []
        self.said: list[str] = []
        self._loaded = False
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its result; what happens meanwhile is noted."""
        number = next(self._ids)
        self._devtools.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._devtools.recv(timeout=DEADLINE_S))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]
            self._note(message["method"], message["params"])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Page.javascriptDialogOpening":
            self.dialogs.append(params["message"])
            self._devtools.send(
                json.dumps({"id": next(self._ids), "method": "Page.handleJavaScriptDialog", "params": {"accept": True}})
            )
        elif method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.exceptionThrown":
            self.said.append(params["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.said.append(params["entry"]["text"])

    def open(self, address: str) -> None:
        """Go there and wait until it has loaded."""
        self._loaded = False
        self.call("Page.navigate", url=address)
        self.wait(lambda: self._loaded)

    def wait(self, done: Any) -> None:
        """Wait until something is so.

        The pause is ours, not the page's: a page that may not run scripts has no timers, and one that is being left
        takes its promises with it.
        """
        end = time.monotonic() + DEADLINE_S
        while not done():
            assert time.monotonic() < end, "the page did not come so far"
            time.sleep(0.05)
            self.call("Browser.getVersion")  # whatever happened meanwhile is noted on the way

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, or of the promise that it gives."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return found["result"].get("value")

    def look_like(self, width: int, height: int, dark: bool = False) -> None:
        """Be a screen of that size and colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def photograph(self, path: Path) -> None:
        """The whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def open_browser(folder: Path, *flags: str) -> Iterator[Tab]:
    """A browser with one tab and a profile of its own; `flags` are Chromium's."""
    connect = pytest.importorskip("websockets.sync.client").connect
    command = ["chromium", *FLAGS, *flags, f"--user-data-dir={folder / 'browser'}", "about:blank"]
    browser = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        port = next(re.search(r"127\.0\.0\.1:(\d+)", line) for line in browser.stderr if "DevTools" in line)[1]
        targets = httpx.get(f"http://127.0.0.1:{port}/json", timeout=DEADLINE_S).json()
        page = next(target for target in targets if target["type"] == "page")
        with connect(page["webSocketDebuggerUrl"], max_size=1 << 26) as devtools:
            yield Tab(devtools)
    finally:
        browser.terminate()
        browser.wait(20)
        browser.stderr.close()
