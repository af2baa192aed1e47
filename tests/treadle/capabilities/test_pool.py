"""Models are opened once, leave when nobody asks or memory is short, and are killed when a request takes too much."""

import os
import signal
import time
from concurrent.futures import wait
from pathlib import Path

import msgspec
import pytest

from treadle.capabilities import pool as pools
from treadle.capabilities.limits import BadInput, TooMuch
from treadle.capabilities.process import Ended, Process
from treadle.capabilities.sources import NotInstalled, Tampered
from treadle.errors import Unavailable

GERMAN, FRENCH = "Der Zug nach Wien fährt um neun Uhr.", "Le train pour Vienne part à neuf heures."


def languages(done):
    return [answer["language"] for answer in msgspec.msgpack.decode(done.answers)]


def ask(pool, texts, **options):
    return pool.ask("detect-language", texts, {}, **options)[1]


def pid(pool):
    (runner,) = pool._runners.values()
    return runner._child.pid


def eventually(true, seconds=10):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


@pytest.fixture
def started(monkeypatch):
    """Counts the processes that are started."""
    count = []

    class Counted(Process):
        def __init__(self, *arguments):
            count.append(1)
            super().__init__(*arguments)

    monkeypatch.setattr(pools, "Process", Counted)
    return count


def test_fifty_first_calls_at_once_open_it_once(make_pool, started):
    pool = make_pool()
    asked = [ask(pool, [GERMAN, FRENCH]) for _ in range(50)]
    wait(asked, timeout=60)
    assert [languages(done.result()) for done in asked] == [["de", "fr"]] * 50
    assert len(started) == 1


def test_it_leaves_memory_when_nobody_asks_and_comes_back(make_pool, started):
    pool = make_pool(ready_idle_s=0.3)
    ask(pool, [GERMAN]).result(60)
    assert pool.loaded()["py3langid"] > 10
    eventually(lambda: not pool.loaded())
    assert languages(ask(pool, [FRENCH]).result(60)) == ["fr"]
    assert len(started) == 2


def test_a_killed_process_is_told_and_the_next_request_starts_another(make_pool, started):
    pool = make_pool()
    ask(pool, [GERMAN]).result(60)
    (runner,) = pool._runners.values()
    os.kill(pid(pool), signal.SIGKILL)
    eventually(lambda: not runner._child.lives)
    assert languages(ask(pool, [FRENCH]).result(60)) == ["fr"]
    os.kill(pid(pool), signal.SIGSTOP)
    waiting = ask(pool, [GERMAN])
    eventually(waiting.running)
    os.kill(pid(pool), signal.SIGKILL)
    with pytest.raises(Ended):
        waiting.result(60)
    assert languages(ask(pool, [FRENCH]).result(60)) == ["fr"]
    assert len(started) == 3


def test_what_takes_too_long_is_ended(make_pool):
    pool = make_pool(ready_run_s=0.5)
    ask(pool, [GERMAN]).result(60)
    stopped = pid(pool)
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(TooMuch, match=r"longer than 0\.5 seconds"):
        ask(pool, [GERMAN]).result(60)
    assert not Path(f"/proc/{stopped}").exists()
    assert languages(ask(pool, [FRENCH]).result(60)) == ["fr"]


def test_the_process_dies_with_its_owner(make_pool):
    pool = make_pool()
    ask(pool, [GERMAN]).result(60)
    child = pid(pool)
    pool.stop()
    assert not Path(f"/proc/{child}").exists()
    with pytest.raises(Unavailable):
        ask(pool, [GERMAN])


def test_the_longest_unused_makes_room(make_pool):
    pool = make_pool(ready_memory_mb=800)
    ask(pool, [GERMAN]).result(60)
    assert set(pool.loaded()) == {"py3langid"}
    from tests.contract.test_capabilities import picture

    pool.ask("read-text", [picture()], {})[1].result(60)
    assert set(pool.loaded()) == {"pp-ocrv6-small"}


def test_a_model_that_can_never_fit_is_told_at_once(make_pool):
    pool = make_pool(ready_memory_mb=256)
    with pytest.raises(Unavailable, match="TREADLE_READY_MEMORY_MB"):
        ask(pool, [GERMAN]).result(60)


def test_a_changed_model_is_not_opened(make_pool, tmp_path, monkeypatch):
    from treadle.capabilities import catalog
    from treadle.capabilities.catalog import Entry, HubSource

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.npz.xz").write_bytes(b"not the one")
    source = HubSource(kind="hub", id=str(folder), files=("model.npz.xz",))
    entry = Entry(
        capability="detect-language", model="other", version="1", source=source, digest="0" * 64, licence="MIT",
        size_bytes=1, runtime="python",
    )  # fmt: skip
    pool = make_pool()
    catalog.add_entry(entry, pool.settings)
    with pytest.raises(Tampered):
        ask(pool, [GERMAN], model="other").result(60)
    assert languages(ask(pool, [GERMAN]).result(60)) == ["de"]


def test_a_model_that_is_not_here_names_the_command(make_pool):
    from treadle.capabilities import catalog
    from treadle.capabilities.catalog import Entry, HubSource

    pool = make_pool()
    source = HubSource(kind="hub", id="owner/name")
    entry = Entry(
        capability="detect-language",
        model="far",
        version="",
        source=source,
        licence="MIT",
        size_bytes=1,
        runtime="python",
    )
    catalog.add_entry(entry, pool.settings)
    with pytest.raises(NotInstalled, match="treadle ready install detect-language --model far"):
        ask(pool, [GERMAN], model="far")


def test_a_wrong_input_ends_nothing(make_pool, started):
    pool = make_pool()
    with pytest.raises(BadInput):
        ask(pool, [" "]).result(60)
    assert languages(ask(pool, [FRENCH]).result(60)) == ["fr"]
    assert len(started) == 1


def test_the_child_has_nothing_of_the_service(make_pool, monkeypatch):
    monkeypatch.setenv("TREADLE_LEDGER_URL", "postgresql://user:secret@nowhere/x")
    pool = make_pool()
    ask(pool, [GERMAN]).result(60)
    environment = Path(f"/proc/{pid(pool)}/environ").read_bytes()
    assert b"secret" not in environment
    assert b"HF_HUB_OFFLINE=1" in environment
    limits = Path(f"/proc/{pid(pool)}/limits").read_text()
    (data,) = [line for line in limits.splitlines() if line.startswith("Max data size")]
    assert str(pool.settings.ready_memory_mb << 20) in data
