import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from serving.models.isolated import Isolated, IsolatedFailure
from tests.serving.conftest import graph
from tests.serving.odd_graphs import SOMETIMES, odd_graph
from treadle.settings import CHECKOUT

GB = 1 << 30
ENDS = {"hangs": "timeout", "allocates 2 GB": "memory"}
STAYS = {"raises": "error", "drops rows": "shape"}


def columns(*temps: float) -> dict[str, np.ndarray]:
    zeros = np.zeros(len(temps))
    seasons = np.array(["summer"] * len(temps), dtype=object)
    return {"temp": np.array(temps), "holiday": zeros, "when": zeros, "season": seasons}


@pytest.fixture
def child():
    child = Isolated(GB)
    yield child
    child.kill()


def test_it_answers_as_the_model_does_in_this_process(child):
    child.load(graph(5.0, classes=False), 10)
    values, seconds = child.answer(columns(1.0, float("nan"), -2.5), 10)
    assert values.dtype == np.float64
    assert values.tolist() == [16.0, 15.0, 12.5]
    assert seconds > 0
    child.load(graph(0.0, classes=True), 10)  # another model in the same child
    values, _ = child.answer(columns(0.0), 10)
    assert values.shape == (1, 2)


@pytest.mark.parametrize("harm", ENDS)
def test_what_cannot_be_stopped_otherwise_is_killed(child, harm):
    child.load(odd_graph(harm, SOMETIMES), 10)
    assert child.answer(columns(1.0), 10)[0].tolist() == [2011.0]
    with pytest.raises(IsolatedFailure) as failure:
        child.answer(columns(1.0, 5000.0), 0.5)
    assert failure.value.kind == ENDS[harm]
    assert not child.lives
    assert not psutil.pid_exists(child.pid)


@pytest.mark.parametrize("harm", STAYS)
def test_what_only_fails_is_told_and_the_child_goes_on(child, harm):
    child.load(odd_graph(harm, SOMETIMES), 10)
    with pytest.raises(IsolatedFailure) as failure:
        child.answer(columns(1.0, 5000.0), 10)
    assert failure.value.kind == STAYS[harm]
    assert "5000" not in str(failure.value)
    assert child.answer(columns(1.0), 10)[0].tolist() == [2011.0]


def test_a_killed_child_is_told_as_one(child):
    child.load(graph(0.0, classes=False), 10)
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(IsolatedFailure) as failure:
        child.answer(columns(1.0), 10)
    assert failure.value.kind == "crash"


def test_what_is_no_model_is_told(child):
    with pytest.raises(IsolatedFailure, match="It raises"):
        child.load(b"no model", 10)


def test_it_has_nothing_of_the_service(child, monkeypatch):
    monkeypatch.setenv("TREADLE_SECRET", "a secret")
    other = Isolated(GB)
    try:
        other.load(graph(0.0, classes=False), 10)
        process = psutil.Process(other.pid)
        assert "TREADLE_SECRET" not in process.environ()
        assert process.nice() == psutil.Process().nice() + 5
        assert process.rlimit(psutil.RLIMIT_FSIZE)[0] == 0
        assert process.rlimit(psutil.RLIMIT_AS)[0] <= GB + 4 * 10_000
        files = [file.readlink() for file in Path(f"/proc/{other.pid}/fd").iterdir()]
        assert sum(str(f).startswith("socket:") for f in files) == 1
    finally:
        other.kill()


PARENT = """
import sys
sys.path[:0] = {paths!r}
from tests.serving.odd_graphs import ALWAYS, odd_graph
from serving.models.isolated import Isolated
import numpy as np
child = Isolated(1 << 30)
child.load(odd_graph("hangs", ALWAYS), 20)
print(child.pid, flush=True)
one = np.zeros(1)
child.answer(dict(temp=one, holiday=one, when=one, season=np.array([""], dtype=object)), 600)
"""


def test_it_dies_with_its_parent_even_in_the_middle_of_a_loop(eventually):
    code = PARENT.format(paths=[str(CHECKOUT)])
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=CHECKOUT)
    pid = int(parent.stdout.readline())
    child = psutil.Process(pid)
    eventually(lambda: child.cpu_times().user + child.cpu_times().system > 0.5)  # it is in the loop
    parent.kill()
    parent.wait()
    eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
