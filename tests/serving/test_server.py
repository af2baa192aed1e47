"""The service as a process of its own, driven over real sockets."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from treadle.ledger import Ledger
from treadle.settings import CHECKOUT

pytestmark = pytest.mark.e2e
ROW = {"temp": 3.5, "holiday": False, "when": "2011-01-01T05:00:00", "season": "summer"}


class Callers:
    """Threads that predict without pause, and note each id that was acknowledged."""

    def __init__(self, address: str, count: int) -> None:
        self.acknowledged: list[str] = []
        self.refused: list[int] = []
        self.cut = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(address, n)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def _call(self, address: str, caller: int) -> None:
        number = 0
        with httpx.Client(base_url=address, timeout=30) as client:
            while not self._stop.is_set():
                number += 1
                rows = 1 + number % 3
                body = {"rows": [ROW] * rows}
                if number % 5 == 0:  # most go through the journal, these through the writer
                    body["ids"] = [f"{caller}-{number}-{row}" for row in range(rows)]
                try:
                    reply = client.post("/v1/models/toy/predict", json=body)
                except httpx.TransportError:
                    self.cut += 1
                    return
                if reply.status_code == 200:
                    self.acknowledged += [p["id"] for p in reply.json()["predictions"]]
                else:
                    self.refused.append(reply.status_code)

    def join(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


def ids_in(home) -> set[str]:
    with Ledger.open(home.settings).engine.connect() as connection:
        return {name for (name,) in connection.exec_driver_sql("SELECT id FROM predictions")}


@pytest.mark.parametrize("round_", range(3))
def test_kill_9_under_load_loses_no_acknowledged_prediction(home, serve, eventually, round_):
    with serve(home.settings) as (process, address):
        callers = Callers(address, 8)
        eventually(lambda: len(callers.acknowledged) > 200 + 150 * round_)
        workers = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
        for worker in workers:
            worker.kill()
        eventually(lambda: callers.cut == 8)  # all were under way when the service died
        callers.join()
    assert callers.refused == []
    with serve(home.settings) as (_, address):  # and it comes back, and brings what was on its way
        assert httpx.post(f"{address}/v1/models/toy/predict", json={"rows": [ROW]}).status_code == 200
        eventually(lambda: set(callers.acknowledged) <= ids_in(home))


def test_sigterm_answers_what_is_under_way_and_exits_0(home, serve, eventually):
    with serve(home.settings) as (process, address):
        callers = Callers(address, 4)
        eventually(lambda: len(callers.acknowledged) > 100)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        callers.join()
    assert callers.refused == []
    assert set(callers.acknowledged) <= ids_in(home)


def test_an_endless_body_is_413_without_being_kept(home, serve):
    with serve(home.settings, TREADLE_MAX_BODY_BYTES="1000000") as (process, address):
        (worker,) = psutil.Process(process.pid).children()
        before = worker.memory_info().rss
        chunks = (b" " * 65536 for _ in range(1600))  # 100 MB, without a Content-Length
        reply = httpx.post(f"{address}/v1/models/toy/predict", content=chunks, timeout=60)
        assert reply.status_code == 413
        assert reply.headers["content-type"] == "application/problem+json"
        assert worker.memory_info().rss - before < 30_000_000
        assert httpx.get(f"{address}/healthz").status_code == 200


def test_a_caller_who_leaves_in_the_middle_harms_nobody(home, serve):
    with serve(home.settings) as (_, address):
        host, port = address.removeprefix("http://").split(":")
        for _ in range(20):
            with socket.create_connection((host, int(port))) as half:
                half.sendall(b"POST /v1/models/toy/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
        assert httpx.post(f"{address}/v1/models/toy/predict", json={"rows": [ROW]}).status_code == 200


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no browser here")
@pytest.mark.parametrize(
    ("path", "words"),
    [("/", ["toy", "version 1", "Not looked at yet"]), ("/docs", ["Predict bikers", "winter, summer", "Send"])],
)
def test_the_pages_work_in_a_browser_under_their_own_policy(home, serve, tmp_path, path, words):
    with serve(home.settings) as (_, address):
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
        command = ["chromium", *flags, f"--user-data-dir={tmp_path / 'browser'}", f"{address}{path}"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    main = shown[shown.index("<main") : shown.index("</main>")]
    assert [word for word in words if word not in main] == []


def test_serving_needs_no_training_library():
    heavy = [
        "pandas",
        "sklearn",
        "lightgbm",
        "torch",
        "mlflow",
        "prefect",
        "optuna",
        "evidently",
        "onnx",
        "great_expectations",
    ]
    code = f"import sys, serving.app, serving.__main__; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_port_that_is_taken_is_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = os.environ | {"TREADLE_HOME": str(tmp_path), "TREADLE_API_PORT": str(taken.getsockname()[1])}
        command = [sys.executable, "-m", "serving"]
        ended = subprocess.run(
            command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=30, check=False
        )
    assert ended.returncode == 5
    assert "Cannot listen on 127.0.0.1" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_more_silent_callers_than_a_process_may_have_files_at_first_keep_nobody_out(home, serve):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = (
        sum(1 for _ in Path("/proc/self/fd").iterdir()) + 200
    )  # this process has to start the service under the limit, too
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        service = serve(home.settings)
        _, address = service.__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with ExitStack() as held:
        held.push(service)
        host, port = address.removeprefix("http://").split(":")
        for _ in range(few + 100):
            held.enter_context(socket.create_connection((host, int(port))))
        assert httpx.post(f"{address}/v1/models/toy/predict", json={"rows": [ROW]}).status_code == 200


def test_a_machine_that_allows_few_files_has_fewer_connections_and_keeps_nobody_out(home, serve):
    limited = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)); import serving.__main__ as m; m.main()"
    with serve(home.settings, command=("-c", limited)) as (_, address), ExitStack() as held:
        host, port = address.removeprefix("http://").split(":")
        for _ in range(400):
            held.enter_context(socket.create_connection((host, int(port))))
        for _ in range(3):
            assert httpx.post(f"{address}/v1/models/toy/predict", json={"rows": [ROW]}).status_code == 200
