"""Asks every ready model that is installed, in every way, with the network cut: `make ready-offline`.

It runs itself again where loopback is the only network (`unshare`, of util-linux). Prints a table; ends with 1 when an answer is wrong,
or when a default that the extras bring is missing. Needs `pip install -e '.[serving,vision,language,speech]' openai`, and no pytest.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from huggingface_hub import InferenceClient
from openai import OpenAI

from benchmarks.ready_questions import OBAMA, Question, questions
from treadle import Client
from treadle.capabilities import CAPABILITIES
from treadle.capabilities.catalog import PackageSource, entries_of
from treadle.capabilities.sources import NotInstalled, pick
from treadle.settings import CHECKOUT, Settings

CUT = "--cut"
UNSHARED = ("unshare", "--map-root-user", "--net", sys.executable, "-m", "benchmarks.ready_offline", CUT)
SET_FLAGS, UP = 0x8914, 1  # SIOCSIFFLAGS and IFF_UP of Linux
ELSEWHERE = ("192.0.2.1", 443)
"""An address that is nobody's (RFC 5737); without a network it is not even tried."""
WAIT_S = 300
COLUMNS = ("capability", "model", "treadle", "HTTP", "treadle.Client", "InferenceClient", "openai")
Way = Callable[[], bool]


def main() -> int:
    """Ask all, print the table; 0 when all is right."""
    leave_loopback_only()
    with tempfile.TemporaryDirectory(prefix="ready-offline-") as folder:
        settings, asked = Settings(home=folder), questions(Path(folder))
        os.environ["TREADLE_HOME"] = folder
        treadle("faces", "enroll", "Obama", str(OBAMA), "--consent", "A photograph in the public domain")
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
        with served() as url:
            rows = [row(url, name, asked.get(name), settings) for name in CAPABILITIES]
    return 0 if all(rows) else 1


def row(url: str, name: str, question: Question | None, settings: Settings) -> bool:
    """Ask one capability in every way and print its row; whether it is as it should be."""
    first = entries_of(name, settings)[0].source
    try:
        entry, _ = pick(name, None, settings)
    except NotInstalled as error:
        print(f"| {name} | {error} |" + " |" * 5, flush=True)
        return not (isinstance(first, PackageSource) and not first.alone)
    if question is None:
        print(f"| {name} | {entry.model}: nothing is asked |" + " |" * 5)
        return False
    found = [None if way is None else tried(name, way) for way in ways(url, name, question)]
    marks = ["" if right is None else "right" if right else "WRONG" for right in found]
    print(f"| {name} | {entry.model} | {' | '.join(marks)} |", flush=True)
    return False not in found


def ways(url: str, name: str, question: Question) -> list[Way | None]:
    """What asks, in the order of the columns; `None` where there is no such way."""
    client, hub = Client(url, timeout_s=WAIT_S), InferenceClient(f"{url}/v1/ready/{name}/hf", timeout=WAIT_S)
    openai = OpenAI(base_url=f"{url}/openai/v1", api_key="none", timeout=WAIT_S, max_retries=0)
    ask_hub, ask_openai = question.hub, question.openai
    return [
        lambda: question.right(by_command(name, question)),
        lambda: question.right(by_http(url, name, question)),
        lambda: question.right(client.ready(name, question.given, **question.parameters)[0]),
        None if ask_hub is None else lambda: ask_hub(hub),
        None if ask_openai is None else lambda: ask_openai(openai),
    ]


def tried(name: str, way: Way) -> bool:
    """Whether an answer is right; one that does not come is said to be wrong, and why."""
    try:
        return way()
    except Exception as error:  # noqa: BLE001 - whatever a client raises, the table goes on
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
        return False


def by_command(name: str, question: Question) -> Any:
    """The answer of `treadle ready run`."""
    words = [str(path) for path in question.files.values()] or [str(question.given)]
    given = [part for key, value in question.parameters.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    return treadle("ready", "run", name, *words, *given, "--out", os.environ["TREADLE_HOME"])["answers"][0]


def by_http(url: str, name: str, question: Question) -> Any:
    """The answer to a form with files, or to JSON."""
    files = {key: path.read_bytes() for key, path in question.files.items()}
    body = {"inputs": question.given, "parameters": question.parameters}
    given: dict[str, Any] = {"files": files, "data": question.parameters} if files else {"json": body}
    return httpx.post(f"{url}/v1/ready/{name}", timeout=WAIT_S, **given).raise_for_status().json()["answers"][0]


def treadle(*words: str) -> Any:
    """What the command line says."""
    command = [str(Path(sys.executable).with_name("treadle")), *words, "--json"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-500:])
    return json.loads(done.stdout)


@contextmanager
def served() -> Iterator[str]:
    """The service, as a process of its own; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"TREADLE_API_PORT": str(port), "TREADLE_LOG_LEVEL": "error"}
    service = subprocess.Popen([sys.executable, "-m", "serving"], cwd=CHECKOUT, env=environment)
    try:
        while not is_up(port):
            if service.poll() is not None:
                raise RuntimeError("The service does not start; its own words are above.")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        service.terminate()
        service.wait(WAIT_S)


def is_up(port: int) -> bool:
    """Whether something listens."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def leave_loopback_only() -> None:
    """Bring loopback up, which a new network begins without, and make sure that there is nothing else."""
    with socket.socket() as one:
        fcntl.ioctl(one, SET_FLAGS, struct.pack("16sH22x", b"lo", UP))
        found = one.connect_ex(ELSEWHERE)
    links = [name for _, name in socket.if_nameindex()]
    if links != ["lo"] or found == 0:
        raise RuntimeError(f"The network is not cut: {', '.join(links)}.")
    print(f"Networks here: lo. Connecting elsewhere: {os.strerror(found)}.\n", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == [CUT]:
        sys.exit(main())
    os.chdir(CHECKOUT)
    os.execvp(UNSHARED[0], UNSHARED)
