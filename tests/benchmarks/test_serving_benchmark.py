"""The serving benchmark reads wrk rightly, says what was missed, and runs."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from benchmarks.load import Sample, read_wrk
from benchmarks.report import POINTS, Figures, render
from treadle.settings import CHECKOUT

SAID = """Running 2s test @ http://127.0.0.1:1/predict
  1 threads and 8 connections
  Latency Distribution
     50%  350.00us
     99%    1.50ms
  1000 requests in 2.00s, 1.00MB read
  Socket errors: connect 0, read 1, write 0, timeout 4
  Non-2xx or 3xx responses: 5
Requests/sec:    500.00
"""


def test_what_wrk_says_is_read_and_failures_do_not_count_as_answers():
    assert read_wrk(SAID, cpu_s=0.5) == Sample(per_second=495.0, cpu_ms=0.5, p99_ms=1.5, failed=10)


def figures(per_second, p99_ms=10.0, worker_mib=100.0):
    return Figures(1.0, worker_mib, worker_mib, {point: [Sample(per_second, 0.1, p99_ms, 0)] for point in POINTS})


def lines(**given):
    return {line.split(":")[0]: line for line in render(given).splitlines() if line.startswith("- ")}


def test_the_targets_are_said_and_what_misses_them_too():
    servers = {"treadle": figures(6100.0), "mlflow": figures(100.0), "echo": figures(12_000.0)}
    said = lines(**servers)
    assert "MISSED" not in said["- times mlflow"]
    assert "(1, 1) 61×" in said["- times mlflow"]
    assert said["- of a raw echo"].count("MISSED") == 1  # 51 % is enough but at 64 callers
    assert "MISSED" not in said["- p99 at 64 callers"]
    slow = lines(treadle=figures(90.0, p99_ms=20.0, worker_mib=151.0), mlflow=figures(100.0))
    assert slow["- ahead of mlflow"].count("MISSED") == len(POINTS)
    assert "MISSED" in slow["- p99 at 64 callers"]
    assert "MISSED" in slow["- memory of one worker"]
    assert "- of a raw echo" not in slow


def test_ratios_are_those_of_the_same_round():
    """A machine that is slow in one round is so for both."""
    without = [100.0, 1000.0, 1000.0, 100.0, 200.0, 100.0]
    own = [90.0, 900.0, 900.0, 90.0, 90.0, 90.0]
    said = lines(**{"treadle": rounds(own), "treadle-no-ledger": rounds(without)})
    assert said["- for the ledger"].startswith("- for the ledger: (1, 1) 10%; (1, 8) 10%; (1, 64) 10%")
    assert "(1, 8) 10% to 10%" in said["- for the ledger, half of the 6 rounds"]


def rounds(speeds):
    return Figures(1.0, 100.0, 100.0, {p: [Sample(speed, 0.1, 1.0, 0) for speed in speeds] for p in POINTS})


def test_a_server_that_answered_nothing_is_no_crash():
    assert "MISSED" not in lines(treadle=figures(100.0), mlflow=figures(0.0))["- ahead of mlflow"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_it_runs():
    command = [sys.executable, "-m", "benchmarks.serving", "--only", "echo,treadle-no-ledger", "--json"]
    done = subprocess.run(
        [*command, "--rounds", "1", "--seconds", "1"],
        cwd=CHECKOUT, env=dict(os.environ), capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert set(measured) == {"treadle", "treadle-no-ledger", "echo"}
    assert all(point["failed"] == 0 for server in measured.values() for point in server["points"].values())
