"""Shadow and canary, with real processes and models that do harm."""

import os
import signal
import threading
import time
from collections import Counter

import httpx
import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from serving.app import create_app
from serving.models import isolated
from serving.models.champions import Champions
from serving.releasing import candidate, releases
from serving.releasing.candidate import Outcome
from serving.releasing.live import STREAK, Live
from tests.serving.conftest import ROW
from tests.serving.odd_graphs import ALWAYS, HARM, SOMETIMES, odd_graph
from treadle.ledger import Feedback, Releases
from treadle.ledger.tables import promotions, shadow_answers
from treadle.promotion.release import Evidence, Rules, place, total

PREDICT = "/v1/models/toy/predict"
ODD = {"rows": [ROW | {"temp": 5000.0}]}
RULES = Rules("mae", min_answers=10_000, min_minutes=0.0, deadline_s=0.4)


def start(home, mode="shadow", version=2, rules=RULES, share=1.0, harm=None, above=SOMETIMES):
    home.register(version=version, onnx_bytes=harm and odd_graph(harm, above, version * 1000.0))
    return Releases(home.ledger).start("toy", version, mode, rules, share=share)


def seen(home, release):
    return total(Releases(home.ledger).evidence(release.seq).values())


def state(home, release):
    return Releases(home.ledger).get(release.seq).state


def wait_for_canary(client, eventually):
    """Until the candidate answers."""
    eventually(lambda: client.post(PREDICT, json={"rows": [ROW]}).json()["version"] == 2)


def test_a_shadow_is_compared_kept_and_seen_by_nobody(client, home, eventually):
    release = start(home)
    eventually(lambda: client.post(PREDICT, json={"rows": [ROW]}).json()["version"] == 1 and seen(home, release).rows)
    before = seen(home, release)
    reply = client.post(PREDICT, json={"rows": [ROW, ROW | {"temp": None}]}).json()
    assert reply["version"] == 1
    eventually(lambda: seen(home, release).rows >= before.rows + 2)
    found = seen(home, release)
    assert found.compared == found.rows
    assert found.disagreements == found.rows  # 2013.5 against 1013.5
    assert found.difference == pytest.approx(1000.0 * found.rows)
    assert found.candidate.count == found.champion.count == found.answers
    ids = {prediction["id"] for prediction in reply["predictions"]}
    with home.ledger.engine.connect() as connection:
        kept = {row.id: row.answer for row in connection.execute(select(shadow_answers))}
    assert ids <= kept.keys()
    assert {kept[name] for name in ids} == {'{"prediction":2013.5}', '{"prediction":2010.0}'}


def test_a_shadow_that_hangs_delays_nobody_and_what_comes_meanwhile_is_dropped(client, home, eventually, monkeypatch):
    monkeypatch.setattr(candidate, "MOST_ROWS", 3)
    release = start(home, harm="hangs", rules=Rules("mae", min_minutes=9.0, deadline_s=4.0, max_failures=1.0))
    eventually(lambda: client.post(PREDICT, json={"rows": [ROW]}) and seen(home, release).answers)
    assert client.post(PREDICT, json=ODD).json()["version"] == 1  # the shadow hangs from here on
    answered = [client.post(PREDICT, json={"rows": [ROW]}).json()["version"] for _ in range(20)]
    at_that_time = seen(home, release)
    assert answered == [1] * 20
    assert at_that_time.timeouts == 0  # all were answered before the shadow was through with the first
    eventually(lambda: seen(home, release).timeouts == 1)
    assert seen(home, release).dropped >= 10


@pytest.mark.parametrize("harm", HARM)
def test_a_canary_that_does_harm_hurts_nobody_and_is_rolled_back(client, home, eventually, harm):
    release = start(home, "canary", harm=harm, rules=Rules("mae", min_minutes=9.0, deadline_s=0.4))
    wait_for_canary(client, eventually)
    for _ in range(STREAK):
        reply = client.post(PREDICT, json=ODD)
        assert reply.status_code == 200
        assert (reply.json()["version"], reply.json()["predictions"][0]["prediction"]) == (1, 6010.0)
    eventually(lambda: state(home, release) == "rolled_back")
    ended = Releases(home.ledger).get(release.seq)
    figures = ended.figures
    assert figures["errors"] + figures["timeouts"] + figures["nonfinite"] >= 3
    assert "it failed" in ended.reason
    assert home.ledger.champion("toy").version == 1
    eventually(lambda: home.ledger.last_decisions("toy", 1) != [])
    (decision,) = home.ledger.last_decisions("toy", 1)
    assert (decision.kind, decision.figures["version"]) == ("rolled-back", 2)
    eventually(lambda: client.post(PREDICT, json={"rows": [ROW]}).json()["version"] == 1)
    assert client.get("/readyz").json()["status"] == "ok"


@pytest.mark.parametrize("harm", ["hangs", "allocates 2 GB"])
def test_a_candidate_that_does_harm_at_once_is_never_asked(make_home, eventually, harm):
    home = make_home(proof_s=2.0)
    home.register()
    home.promote()
    with TestClient(create_app(home.settings)) as client:
        release = start(home, "canary", harm=harm, above=ALWAYS)
        eventually(lambda: state(home, release) == "rolled_back")
        assert "is refused" in Releases(home.ledger).get(release.seq).reason
        assert client.post(PREDICT, json={"rows": [ROW]}).json()["version"] == 1
    assert seen(home, release).rows == 0


def test_a_candidate_that_no_process_can_try_yet_waits(client, home, eventually, monkeypatch):
    monkeypatch.setattr(isolated, "START_S", 0.0)
    release = start(home, "canary")
    log = []
    monkeypatch.setattr(releases.log, "warning", lambda *said: log.append(said[0] % said[1:]))
    eventually(lambda: "did not begin" in "".join(log))
    assert state(home, release) == "running"
    monkeypatch.undo()
    wait_for_canary(client, eventually)


def test_rows_that_no_version_can_answer_are_not_the_candidates_fault(client, home, eventually):
    release = start(home, "canary")
    wait_for_canary(client, eventually)
    for _ in range(10):
        assert client.post(PREDICT, json={"rows": [ROW | {"temp": 1e300}]}).status_code == 422
        assert client.post(PREDICT, json={"rows": [ROW | {"temp": "warm"}]}).status_code == 422
    wait_for_canary(client, eventually)
    eventually(lambda: seen(home, release).answers >= 2)
    assert seen(home, release).failures == 0


def test_every_reply_of_a_canary_is_wholly_one_versions(client, home, eventually):
    start(home, "canary", share=0.5)
    digests = {version: home.ledger.version("toy", version).digest for version in (1, 2)}
    eventually(
        lambda: (
            client.post(PREDICT, json={"rows": [ROW]}, headers={"x-sticky-key": _caller(home, 2)}).json()["version"]
            == 2
        )
    )
    found = Counter()
    for number in range(120):
        caller = f"caller {number}"
        body = {"rows": [ROW] * 5, "ids": [f"{number}-{row}" for row in range(5)]}
        reply = client.post(PREDICT, json=body, headers={"x-sticky-key": caller}).json()
        assert reply["version"] == (2 if place(_salt(home), b"n" + caller.encode()) < 0.5 else 1)
        assert reply["digest"] == digests[reply["version"]]
        assert [p["prediction"] for p in reply["predictions"]] == [13.5 + 1000 * reply["version"]] * 5
        found[reply["version"]] += 1
    assert min(found.values()) > 30
    home.ledger.add_feedback("toy", [Feedback("7-0", 1.0, home.ledger.version("toy", 1).created)])
    rows = home.ledger.window("toy", 1000)
    assert all(row.answer["prediction"] == 13.5 + 1000 * row.version for row in rows)


def _salt(home) -> str:
    return Releases(home.ledger).running()["toy"].salt


def _caller(home, version: int) -> str:
    names = (f"caller {n}" for n in range(1000))
    return next(name for name in names if (place(_salt(home), b"n" + name.encode()) < 0.5) == (version == 2))


def test_a_share_of_callers_and_always_the_same(home):
    shares = []
    for salt in ("one", "another"):
        places = [place(salt, b"n%d" % caller) for caller in range(10_000)]
        assert places == [place(salt, b"n%d" % caller) for caller in range(10_000)]
        shares.append(sum(at < 0.1 for at in places) / 10_000)
        assert shares[-1] == pytest.approx(0.1, abs=0.01)
    both = [place("one", b"n%d" % c) < 0.1 and place("another", b"n%d" % c) < 0.1 for c in range(10_000)]
    assert sum(both) < 200  # other callers in another release


def test_other_protocols_have_canaries_too_and_a_pinned_version_stays(client, home, eventually):
    start(home, "canary")
    wait_for_canary(client, eventually)
    tensors = [
        {"name": "temp", "shape": [1], "datatype": "FP64", "data": [3.5]},
        {"name": "holiday", "shape": [1], "datatype": "BOOL", "data": [False]},
        {"name": "when", "shape": [1], "datatype": "BYTES", "data": ["2011-01-01T05:00:00"]},
        {"name": "season", "shape": [1], "datatype": "BYTES", "data": ["summer"]},
    ]
    reply = client.post("/v2/models/toy/infer", json={"inputs": tensors})
    assert (reply.status_code, reply.json()["model_version"]) == (200, "2")
    reply = client.post("/v2/models/toy/versions/1/infer", json={"inputs": tensors})
    assert (reply.status_code, reply.json()["model_version"]) == (200, "1")


@pytest.mark.parametrize("mode", ["shadow", "canary"])
def test_a_release_whose_evidence_is_in_becomes_champion(client, home, eventually, mode):
    release = start(home, mode, rules=Rules("mae", min_answers=20, min_minutes=0.0), share=0.5)
    callers = [{"x-sticky-key": f"caller {n}"} for n in range(8)]

    def advanced() -> bool:
        for caller in callers:
            assert client.post(PREDICT, json={"rows": [ROW]}, headers=caller).status_code == 200
        return state(home, release) == "advanced"

    eventually(advanced)
    assert home.ledger.champion("toy").version == 2
    ended = Releases(home.ledger).get(release.seq)
    assert ended.figures["rows"] >= 20
    with home.ledger.engine.connect() as connection:
        last = connection.execute(select(promotions).order_by(promotions.c.seq.desc())).first()
    assert (last.version, last.from_version, last.verdict) == (2, 1, "advanced")
    eventually(lambda: client.get("/v1/models/toy").json()["version"] == 2)


def test_a_release_that_waits_for_a_person_says_so_and_waits(client, home, eventually):
    release = start(home, rules=Rules("mae", min_answers=1, min_minutes=0.0, advance="human"))
    eventually(
        lambda: client.post(PREDICT, json={"rows": [ROW]}) and "waits" in Releases(home.ledger).get(release.seq).reason
    )
    assert state(home, release) == "running"
    assert home.ledger.champion("toy").version == 1


@pytest.mark.parametrize(("truth", "ends"), [(1013.5, "rolled_back"), (2013.5, "advanced")])
def test_labels_decide_when_they_come(client, home, eventually, truth, ends):
    rules = Rules("mae", min_answers=80, min_minutes=0.0, min_labelled=40, advance="auto")
    release = start(home, rules=rules)
    eventually(lambda: client.post(PREDICT, json={"rows": [ROW]}) and seen(home, release).rows)
    ids = []
    for _ in range(4):
        reply = client.post(PREDICT, json={"rows": [ROW] * 12}).json()
        ids += [prediction["id"] for prediction in reply["predictions"]]
    labels = [{"id": name, "label": truth + n % 3} for n, name in enumerate(ids)]
    assert client.post("/v1/models/toy/feedback", json={"labels": labels}).status_code == 200
    eventually(lambda: client.post(PREDICT, json={"rows": [ROW] * 10}) and state(home, release) != "running")
    ended = Releases(home.ledger).get(release.seq)
    assert ended.state == ends
    assert "labelled rows" in ended.reason


def test_a_candidate_that_is_killed_comes_back_and_its_callers_notice_nothing(client, home, eventually):
    start(home, "canary")
    wait_for_canary(client, eventually)
    live = client.app.state.parts.releases.choose("toy", b"anybody")
    for _ in range(2):
        first = live.candidate.pid
        os.kill(first, signal.SIGKILL)
        reply = client.post(PREDICT, json={"rows": [ROW]})
        assert reply.status_code == 200
        eventually(
            lambda first=first: (
                client.post(PREDICT, json={"rows": [ROW]}).json()["version"] == 2 and live.candidate.pid != first
            )
        )


def test_a_judge_that_is_gone_is_followed_and_nothing_is_decided_twice(home, monkeypatch):
    monkeypatch.setattr(releases, "HOLD_S", 0.2)
    release = start(home, rules=Rules("mae", min_answers=1, min_minutes=0.0))
    book = Releases(home.ledger)
    assert book.hold(release, "one that dies", 4.0)
    book.put_evidence(release.seq, "one that dies", {int(time.time() // 60): Evidence(answers=5, rows=5)})
    champions = Champions(home.settings, home.ledger)
    champions.refresh()
    workers = [releases.Releases(home.settings, home.ledger, champions) for _ in range(2)]
    for worker in workers:
        worker.look()
    assert state(home, release) == "running"  # it is not theirs to judge yet
    time.sleep(4.1)
    looks = [threading.Thread(target=worker.look) for worker in workers]
    for look in looks:
        look.start()
    for look in looks:
        look.join()
    assert state(home, release) == "advanced"
    assert home.ledger.champion("toy").fence == 2
    assert len(home.ledger.last_decisions("toy", 10, kind="promoted")) == 1
    for worker in workers:
        worker.look()
        assert worker.running == {}
    champions.refresh()


def test_a_minute_that_runs_again_is_counted_beside_the_first(home, monkeypatch):
    """A clock is set back by two minutes, and later again by one."""
    release, book = start(home), Releases(home.ledger)
    live = Live(release, None)
    clock = [10_000.0]
    monkeypatch.setattr(releases.time, "time", lambda: clock[0] * 60)
    for n, minute in enumerate((10_000, 10_001, 10_002, 10_000, 10_001, 10_002, 10_003, 10_002)):
        clock[0] = float(minute)
        live.champion_answered(0.001)
        live.saw(Outcome("answer"), rows=2)
        if n % 3 != 1:  # some minutes are written together, some twice
            live.write(book, "worker")
            live.saw(Outcome("answer"), rows=2)
    live.write(book, "worker")
    found = book.evidence(release.seq)
    assert sum(evidence.champion.count for evidence in found.values()) == 8
    assert total(found.values()).rows == 2 * (8 + 5)
    assert found.keys() == {10_000, 10_001, 10_002, 10_003}


def test_the_console_has_a_line_for_what_is_tried(client, home):
    start(home, "canary", share=0.25)
    (said,) = client.get("/console.json").json()["models"]
    assert said["release"]["version"] == 2
    assert (said["release"]["mode"], said["release"]["percent"]) == ("canary", 25.0)


def test_another_champion_ends_a_release(client, home, eventually):
    release = start(home, "canary")
    wait_for_canary(client, eventually)
    home.register(version=3)
    home.promote(version=3)
    eventually(lambda: state(home, release) == "stopped")
    assert "version 3 now" in Releases(home.ledger).get(release.seq).reason
    eventually(lambda: client.post(PREDICT, json={"rows": [ROW]}).json()["version"] == 3)


def test_a_newer_release_takes_the_place_of_the_one_that_runs(client, home, eventually):
    start(home, "canary")
    wait_for_canary(client, eventually)
    start(home, "canary", version=3)
    eventually(lambda: client.post(PREDICT, json={"rows": [ROW]}).json()["version"] == 3)


def test_the_ledger_away_changes_nothing_for_callers(client, home, eventually):
    start(home, "canary")
    wait_for_canary(client, eventually)
    with home.ledger.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE releases RENAME TO elsewhere")
    for _ in range(10):
        assert client.post(PREDICT, json={"rows": [ROW]}).json()["version"] == 2
    with home.ledger.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO releases")


@pytest.mark.e2e
def test_two_workers_share_the_evidence_and_one_decides(home, serve, eventually):
    with serve(home.settings, TREADLE_WORKERS="2") as (_, address):
        release = start(home, rules=Rules("mae", min_answers=60, min_minutes=0.0))

        def call() -> bool:
            with httpx.Client(base_url=address) as client:  # a new connection, so either worker
                assert client.post(PREDICT, json={"rows": [ROW]}).status_code == 200
            return state(home, release) == "advanced"

        eventually(call)
        with home.ledger.engine.connect() as connection:
            made = connection.execute(select(promotions).where(promotions.c.version == 2)).fetchall()
        assert len(made) == 1
        eventually(lambda: httpx.get(f"{address}/v1/models/toy").json()["version"] == 2)


def test_swaps_of_releases_under_load_fail_nothing_and_mix_nothing(client, home, eventually):
    versions = range(2, 6)
    for version in versions:
        home.register(version=version)
    digests = {version: home.ledger.version("toy", version).digest for version in (1, *versions)}
    stop, wrong, found = threading.Event(), [], set()

    def call(caller: int) -> None:
        while not stop.is_set():
            reply = client.post(PREDICT, json={"rows": [ROW] * 20}, headers={"x-sticky-key": str(caller)})
            body = reply.json()
            version = body.get("version")
            wanted = [13.5 + 1000 * (version or 0)] * 20
            answers = [p["prediction"] for p in body.get("predictions", [])]
            if reply.status_code != 200 or answers != wanted or body["digest"] != digests[version]:
                wrong.append(body)
            found.add(version)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(3)]
    for caller in callers:
        caller.start()
    book = Releases(home.ledger)
    for version in versions:
        release = book.start("toy", version, "canary", Rules("mae", min_answers=30, min_minutes=0.0))
        eventually(lambda release=release: book.get(release.seq).state == "advanced")
        eventually(lambda version=version: version in found)
    stop.set()
    for caller in callers:
        caller.join()
    assert wrong == []
    assert {1, 5} <= found
