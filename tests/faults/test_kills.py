"""kill -9 under load: whatever was acknowledged is in the ledger when the service is back."""

import random
import time

from tests.faults.load import Load
from tests.faults.service import Service
from tests.faults.traffic import acknowledged, predicts

RATE = 150.0


def test_kill_9_of_the_service(installation, row, much):
    """kill -9 of the service under load"""
    chance = random.Random(3)
    answered, lost, starts, service = 0, set(), [], Service(installation.settings)
    make = predicts((1, 1, 3, 1, 200), own_ids=7)  # by the quick way, by the long way, in a thread, past the journal
    for round_ in range(much(2, 20)):
        begun = time.monotonic()
        with service.start():
            starts.append(time.monotonic() - begun)
            with Load(service.port, make, rate=RATE) as load:
                time.sleep(chance.uniform(0.3, 1.5))
                (service.kill if round_ % 2 == 0 else service.kill_parent)()
            own = acknowledged(load.outcomes)
        assert own, "nothing was answered before the kill"
        with service.start():
            missing = installation.missing(own)
            service.terminate()
        answered, lost = answered + len(own), lost | missing
        row.count(not missing)
    row.note(acknowledged=answered, lost=len(lost), slowest_start_s=max(starts))
    assert lost == set()


def test_kill_9_while_it_comes_back(installation, row, much):
    """kill -9 in the first second of a start, with answers still on their way to the ledger"""
    chance, service = random.Random(4), Service(installation.settings)
    with service.start(), Load(service.port, predicts((1, 50)), rate=RATE) as load:
        time.sleep(1)
        service.kill()
    own = acknowledged(load.outcomes)
    for _ in range(much(2, 20)):
        with service.start(wait=False):
            time.sleep(chance.uniform(0.2, 1.5))
    with service.start():
        missing = installation.missing(own)
    row.tried = row.survived = much(2, 20)
    row.note(acknowledged=len(own), lost=len(missing))
    assert missing == set()
