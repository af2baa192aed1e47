"""The parent and its workers: two of them behind one port, killed, renewed and told to end."""

import os
import signal
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from tests.serving.conftest import ROW
from tests.serving.test_server import Callers, ids_in
from treadle.ledger import Ledger
from treadle.settings import CHECKOUT

pytestmark = pytest.mark.e2e
PREDICT = "/v1/models/toy/predict"


def workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children() if child.is_running()]


def test_two_workers_answer_and_one_that_is_killed_comes_back(home, serve, eventually):
    with serve(home.settings, TREADLE_WORKERS="2") as (process, address):
        eventually(lambda: len(workers(process)) == 2)
        before = {worker.pid for worker in workers(process)}
        victim = workers(process)[0]
        victim.kill()
        eventually(lambda: len(workers(process)) == 2 and victim.pid not in {w.pid for w in workers(process)})
        assert len(before & {worker.pid for worker in workers(process)}) == 1
        assert httpx.post(address + PREDICT, json={"rows": [ROW]}).status_code == 200
        process.terminate()
        assert process.wait(20) == 0


def test_renewing_two_workers_under_load_fails_no_request(home, serve, eventually):
    with serve(home.settings, TREADLE_WORKERS="2") as (process, address):
        eventually(lambda: len(workers(process)) == 2)
        before = {worker.pid for worker in workers(process)}
        callers = Callers(address, 4)
        process.send_signal(signal.SIGHUP)
        eventually(lambda: len(workers(process)) == 2 and not before & {w.pid for w in workers(process)}, 40)
        callers.join()
        assert (callers.refused, callers.cut) == ([], 0)
        assert len(callers.acknowledged) > 100
        eventually(lambda: set(callers.acknowledged) <= ids_in(home))


def test_a_worker_that_hangs_is_killed(home, serve, eventually):
    with serve(home.settings, TREADLE_HANG_S="2") as (process, address):
        (worker,) = workers(process)
        os.kill(worker.pid, signal.SIGSTOP)
        eventually(lambda: [w.pid for w in workers(process) if w.pid != worker.pid])
        eventually(lambda: httpx.post(address + PREDICT, json={"rows": [ROW]}, timeout=20).status_code == 200)


def test_a_service_that_was_paused_as_a_whole_keeps_its_worker(home, serve, eventually):
    """As `docker pause` does it: the worker gave no sign of life, but its parent did not look either."""
    with serve(home.settings, TREADLE_HANG_S="2") as (process, address):
        (worker,) = workers(process)
        worker.suspend()
        process.send_signal(signal.SIGSTOP)
        time.sleep(4)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.5)  # the parent looks before its worker can say a thing
        worker.resume()
        time.sleep(1)  # in which the parent looks at its worker ten times
        assert [w.pid for w in workers(process)] == [worker.pid]
        assert httpx.post(address + PREDICT, json={"rows": [ROW]}, timeout=20).status_code == 200


def test_workers_end_with_a_parent_that_is_killed(home, serve):
    with serve(home.settings) as (process, _):
        (worker,) = workers(process)
        process.kill()
        worker.wait(20)


def test_two_services_share_a_port_and_a_ledger(home, serve, eventually):
    with serve(home.settings, TREADLE_REUSE_PORT="1") as (_, address):
        port = address.rsplit(":", 1)[1]
        own = {"TREADLE_HOME": str(home.settings.home), "TREADLE_API_PORT": port, "TREADLE_REUSE_PORT": "1"}
        second = subprocess.Popen([sys.executable, "-m", "serving"], cwd=CHECKOUT, env=os.environ | own)
        try:
            eventually(lambda: len(psutil.Process(second.pid).children()) == 1)
            ids = set()
            for _ in range(40):  # each on a connection of its own: the kernel deals them out
                reply = httpx.post(address + PREDICT, json={"rows": [ROW]})
                ids.add(reply.json()["predictions"][0]["id"])
            eventually(lambda: {row.id for row in Ledger.open(home.settings).window("toy", 100)} >= ids)
        finally:
            second.terminate()
            assert second.wait(20) == 0


def test_a_scrape_adds_up_the_workers(home, serve, eventually):
    with serve(home.settings, TREADLE_WORKERS="2") as (process, address):
        eventually(lambda: len(workers(process)) == 2)
        for _ in range(30):  # on connections of their own, so that both workers get some
            httpx.post(address + PREDICT, json={"rows": [ROW, ROW]})
        said = httpx.get(f"{address}/metrics").text
        assert 'treadle_requests_total{model="toy",route="predict",status="200",version="1"} 30.0' in said
        assert 'treadle_rows_total{model="toy",route="predict",version="1"} 60.0' in said
        assert 'treadle_served_version{model="toy"} 1.0' in said


def test_a_second_service_keeps_the_numbers_of_the_first(home, serve, eventually):
    with serve(home.settings, TREADLE_WORKERS="2") as (process, address):
        eventually(lambda: len(workers(process)) == 2)
        httpx.post(address + PREDICT, json={"rows": [ROW, ROW]})
        with serve(home.settings, TREADLE_WORKERS="2") as (_, other):
            for url in (address, other):
                assert (
                    'treadle_rows_total{model="toy",route="predict",version="1"} 2.0'
                    in httpx.get(f"{url}/metrics").text
                )
