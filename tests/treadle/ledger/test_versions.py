"""Champions and leases, on SQLite and on PostgreSQL through the same tests."""

import subprocess
import sys
import time
from datetime import timedelta

import pytest
from sqlalchemy import text

from tests.treadle.ledger.conftest import NOW, register
from treadle.errors import Conflict, NotFound
from treadle.ledger import Ledger


def test_the_swap_that_made_the_champion_is_known(ledger):
    register(ledger, 1, 2)
    assert ledger.last_promotion("m") is None
    ledger.promote("m", 1, None, reason="first", at=NOW)
    ledger.promote("m", 2, 1, reason="better", at=NOW + timedelta(hours=1))
    swap = ledger.last_promotion("m")
    assert (swap.version, swap.from_version, swap.fence, swap.verdict) == (2, 1, 2, "promoted")
    assert (swap.reason, swap.at) == ("better", NOW + timedelta(hours=1))


def test_compare_and_swap(ledger):
    register(ledger, 1, 2)
    assert ledger.champion("m") is None
    assert ledger.promote("m", 1, None, reason="first").fence == 1
    with pytest.raises(Conflict):
        ledger.promote("m", 2, None, reason="late")
    with pytest.raises(Conflict):
        ledger.promote("m", 2, 7, reason="wrong")
    second = ledger.promote("m", 2, 1, reason="better")
    assert (second.version, second.previous, second.fence) == (2, 1, 2)
    assert ledger.rollback("m").version == 1
    assert ledger.champions() == {"m": ledger.champion("m")}


def test_what_is_not_registered_or_serves_already_is_not_promoted(ledger):
    register(ledger, 1)
    with pytest.raises(NotFound, match="no version 2"):
        ledger.promote("m", 2, None, reason="never registered")
    assert ledger.champion("m") is None
    ledger.promote("m", 1, None, reason="first")
    with pytest.raises(Conflict, match="already"):
        ledger.promote("m", 1, 1, reason="again")
    with pytest.raises(NotFound, match="no version 2"):
        ledger.promote("m", 2, 1, reason="never registered")
    assert ledger.champion("m").fence == 1


def test_what_serves_or_would_after_a_rollback_is_not_deleted(ledger):
    register(ledger, 1, 2, 3)
    ledger.promote("m", 1, None, reason="first")
    ledger.promote("m", 2, 1, reason="better")
    for held in (1, 2):
        with pytest.raises(Conflict, match=f"Version {held}"):
            ledger.remove_version("m", held)
    ledger.remove_version("m", 3)
    assert [version.version for version in ledger.versions("m")] == [2, 1]
    with pytest.raises(NotFound):
        ledger.remove_version("m", 3)


def test_rollback_without_a_past(ledger):
    register(ledger, 1)
    ledger.promote("m", 1, None, reason="first")
    with pytest.raises(NotFound, match="no previous"):
        ledger.rollback("m")


def test_one_lease_at_a_time_and_a_dead_holder_frees_it(ledger):
    register(ledger, 1)
    lease = ledger.acquire("m", "a", NOW, 30)
    assert ledger.acquire("m", "b", NOW, 30) is None
    assert ledger.in_flight("m")
    ledger.release(lease)
    assert not ledger.in_flight("m")
    dead = ledger.acquire("m", "b", NOW, -1)
    heir = ledger.acquire("m", "c", NOW, 30)
    assert lease.fence < dead.fence < heir.fence
    assert not ledger.beat(dead)
    with pytest.raises(Conflict, match="taken over"):
        ledger.promote("m", 1, None, reason="from the dead", lease_fence=dead.fence)
    assert ledger.champion("m") is None
    assert ledger.promote("m", 1, None, reason="by the heir", lease_fence=heir.fence).version == 1


RACER = """
import sys
from treadle.errors import Conflict
from treadle.ledger import Ledger, Version
ledger, me, rounds = Ledger.open(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
def worth(version):
    return version * 7919 % 1000
for round in range(rounds):
    model, version = f"m{round}", round * 8 + me + 1
    ledger.add_version(Version(model, version, "run", "b", "d", "linear", {}, {}, None))
    while True:
        champion = ledger.champion(model)
        if champion is not None and worth(champion.version) >= worth(version):
            break
        try:
            ledger.promote(model, version, champion.version if champion else None, reason="better")
            break
        except Conflict:
            continue
"""


def worth(version):
    return version * 7919 % 1000


def race(url, rounds):
    """Eight processes open an empty ledger at once, and each promotes only what beats the champion that it saw."""
    racers = [subprocess.Popen([sys.executable, "-c", RACER, url, str(me), str(rounds)]) for me in range(8)]
    assert [racer.wait(timeout=100) for racer in racers] == [0] * 8
    ledger = Ledger.open(url)
    for number in range(rounds):
        model, contenders = f"m{number}", [number * 8 + me + 1 for me in range(8)]
        with ledger.engine.connect() as connection:
            query = text("SELECT fence, version FROM promotions WHERE model = :model ORDER BY seq")
            history = connection.execute(query, {"model": model}).all()
        reigns = [worth(version) for _, version in history]
        assert reigns == sorted(set(reigns)), "a champion was replaced by a worse one"
        assert [fence for fence, _ in history] == list(range(1, len(history) + 1))
        assert ledger.champion(model).version == history[-1].version == max(contenders, key=worth)


def test_eight_processes_never_leave_a_worse_champion(url):
    race(url, 5)


@pytest.mark.slow
def test_eight_processes_never_leave_a_worse_champion_in_50_rounds(url):
    race(url, 50)


HOLDER = """
import sys
from datetime import UTC, datetime
from treadle.ledger import Ledger
ledger = Ledger.open(sys.argv[1])
print(ledger.acquire("m", "train", datetime.now(UTC), 1.0).fence, flush=True)
sys.stdin.read()
"""


def test_a_killed_train_frees_its_lease(ledger, url):
    """No negative time here: the lease is a second long, its holder is killed, and only the clock frees it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    fence = int(process.stdout.readline())
    assert ledger.acquire("m", "heir", NOW, 1.0) is None
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while (heir := ledger.acquire("m", "heir", NOW, 60.0)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert heir.fence == fence + 1
