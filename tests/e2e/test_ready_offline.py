"""With the network cut every default answers: by command line, HTTP and the clients that people have."""

import subprocess
import sys

import pytest

from benchmarks.ready_offline import UNSHARED
from treadle.capabilities import CAPABILITIES
from treadle.settings import CHECKOUT

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("ready")]


@pytest.fixture(scope="module")
def unshared():
    try:
        done = subprocess.run([*UNSHARED[:3], "true"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if done.returncode:
        pytest.skip(f"nobody may make a network here: {done.stderr.strip()}")


def test_every_default_answers(unshared):
    command = [sys.executable, "-m", "benchmarks.ready_offline"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "Network is unreachable" in done.stdout
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert [cells[0].removeprefix("| ") for cells in rows] == list(CAPABILITIES)
    answered = [cells for cells in rows if "right" in cells]
    assert (
        len(answered) >= len(CAPABILITIES) - 3
    )  # no default, one of the system's packages, one that is installed apart
    assert all(cells[2:5] == ["right"] * 3 for cells in answered)
