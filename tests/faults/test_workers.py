"""Ends and beginnings under load: SIGTERM, renewed workers, killed workers, two services on one port."""

import signal
import time

import psutil

from tests.faults.installation import eventually, installation_of
from tests.faults.load import Load, Outcome
from tests.faults.report import Row
from tests.faults.service import Service
from tests.faults.traffic import acknowledged, predicts

RATE = 100.0
TWO = {"TREADLE_WORKERS": "2"}


def more(load: Load, count: int = 50) -> None:
    """Wait until so many more requests have ended."""
    begun = len(load.outcomes)
    eventually(lambda: len(load.outcomes) >= begun + count)


def listens(worker: psutil.Process) -> bool:
    """Whether a worker takes connections already."""
    try:
        return any(found.status == psutil.CONN_LISTEN for found in worker.net_connections())
    except psutil.Error:  # it has ended
        return False


def until_workers(service: Service, count: int, *, without: set[int] = frozenset()) -> list[psutil.Process]:
    """Wait until a service has so many workers, none of them one of `without`; its workers."""
    found = []

    def are_there() -> bool:
        found[:] = service.workers()
        return sum(map(listens, found)) == count == len(found) and not without & {worker.pid for worker in found}

    eventually(are_there, pause_s=0.1)
    return found


def failed(load: Load) -> list[Outcome]:
    """What was not answered well."""
    return [o for o in load.outcomes if o.reply.status != 200]


def test_sigterm(installation, row, much):
    """SIGTERM under load"""
    worst, service = 0.0, Service(installation.settings)
    for _ in range(much(1, 10)):
        with service.start(), Load(service.port, predicts((1, 20, 500)), rate=RATE) as load:
            more(load)
            begun = time.monotonic()
            service.process.send_signal(signal.SIGTERM)
            eventually(lambda: service.get("/readyz").status == 503)
            load.stop()  # as whoever sends callers here does, when readyz says so
            code = service.process.wait(60)
            worst = max(worst, time.monotonic() - begun)
        with service.start():
            missing = installation.missing(acknowledged(load.outcomes))
        bad = failed(load)
        row.count(code == 0 and not bad and not missing)
        row.note(requests=row.figures.get("requests", 0) + len(load.outcomes), slowest_end_s=worst)
        assert (code, bad, missing) == (0, [], set())


def test_renewed_workers(installation, row, much):
    """two workers renewed one after the other (SIGHUP) under load"""
    with (
        Service(installation.settings, **TWO) as service,
        Load(service.port, predicts((1, 20, 200)), rate=RATE) as load,
    ):
        for _ in range(much(1, 5)):
            old = {worker.pid for worker in until_workers(service, 2)}
            service.process.send_signal(signal.SIGHUP)
            until_workers(service, 2, without=old)
            more(load)
            row.count(not failed(load))
        load.stop()
        missing = installation.missing(acknowledged(load.outcomes))
    row.note(requests=len(load.outcomes), failed=len(failed(load)), sent_again=load.repeated, lost=len(missing))
    assert failed(load) == []
    assert missing == set()


def test_killed_workers(installation, row, much):
    """kill -9 of one of two workers under load"""
    recovery, kills = [], []
    with (
        Service(installation.settings, **TWO) as service,
        Load(service.port, predicts((1, 20, 200)), rate=RATE) as load,
    ):
        for number in range(much(2, 10)):
            victim = until_workers(service, 2)[number % 2]
            more(load)
            begun, before = time.monotonic(), load.now()
            victim.kill()
            until_workers(service, 2, without={victim.pid})
            recovery.append(time.monotonic() - begun)
            kills.append((before, load.now()))
            row.count(True)
        more(load)
        load.stop()
        missing = installation.missing(acknowledged(load.outcomes))
    bad = failed(load)
    beyond = [o for o in bad if not any(o.sent <= end and o.done >= begin for begin, end in kills)]
    row.note(requests=len(load.outcomes), failed_in_flight=len(bad), sent_again=load.repeated, lost=len(missing))
    row.note(slowest_replacement_s=max(recovery))
    assert beyond == []
    assert len(bad) <= 4 * len(kills)
    assert missing == set()


def restart_in_turn(services: tuple[Service, Service], workers: int, rounds: int, load: Load, row: Row) -> None:
    """Restart two services one after the other, so many times in all; nobody may fail."""
    for number in range(rounds):
        service = services[number % 2]
        more(load)
        code = service.terminate()
        service.start()
        until_workers(service, workers)
        row.count(code == 0 and not failed(load))


def test_two_services_on_one_port(installation, row, much):
    """two services on one port and one ledger, restarted one after the other under load"""
    shared = {"TREADLE_REUSE_PORT": "1"}
    first, second = Service(installation.settings, **shared), Service(installation.settings, **shared)
    second.port = first.port
    with first, second.start(), Load(first.port, predicts((1, 20, 200)), rate=RATE) as load:
        until_workers(second, 1)
        restart_in_turn((first, second), 1, much(2, 10), load, row)
        load.stop()
        missing = installation.missing(acknowledged(load.outcomes))
    row.note(requests=len(load.outcomes), failed=len(failed(load)), sent_again=load.repeated, lost=len(missing))
    assert failed(load) == []
    assert missing == set()


def test_two_replicas_on_postgresql(tmp_path, postgresql, row, much):
    """two services of two workers each, on one port and one PostgreSQL, restarted in turn under load"""
    installation = installation_of(tmp_path, ledger_url=postgresql.url)
    installation.register(2)
    shared = TWO | {"TREADLE_REUSE_PORT": "1", "TREADLE_LEDGER_URL": postgresql.url}
    first, second = Service(installation.settings, **shared), Service(installation.settings, **shared)
    second.port = first.port
    make = predicts((1, 20, 200), own_ids=7)
    with first, second.start(), Load(first.port, make, rate=RATE / 2) as load:
        until_workers(second, 2)
        restart_in_turn((first, second), 2, much(2, 10), load, row)
        installation.promote(2)
        eventually(lambda: {o.reply.json()["version"] for o in load.outcomes[-20:] if o.reply.status == 200} == {2})
        load.stop()
        missing = installation.missing(acknowledged(load.outcomes))
    row.note(database=postgresql.name, requests=len(load.outcomes), failed=len(failed(load)))
    row.note(sent_again=load.repeated, lost=len(missing))
    assert failed(load) == []
    assert missing == set()
