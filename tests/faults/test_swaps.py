"""New champions under load: nothing fails, nothing is mixed, and harmed versions never answer."""

import itertools
import json
import shutil
import time

import pytest
from sqlalchemy import text

from tests.faults.installation import MODEL, Installation, eventually, graph, graph_of_nan, installation_of, rows
from tests.faults.load import Figures, Load
from tests.faults.service import Service
from tests.faults.traffic import PREDICT, is_mixed, predicts
from treadle.ledger import Ledger
from treadle.models.bundle import MANIFEST, SIGNATURE
from treadle.models.bundle import MODEL as ONNX
from treadle.models.signing import signer
from treadle.models.trust import begin_signing
from treadle.settings import Settings

RATE = 100.0


def answers_of(service: Service) -> int:
    """The version that answers now."""
    reply = service.post(PREDICT, json.dumps({"rows": rows()[:1]}).encode())
    assert reply.status == 200, reply.body
    return reply.json()["version"]


def test_swaps(installation, row, much):
    """hot swaps at a steady rate"""
    count = much(8, 50)
    for version in range(2, count + 2):
        installation.register(version)
    digests = {version: installation.digest(version) for version in range(1, count + 2)}
    with Service(installation.settings) as service, Load(service.port, predicts((1, 20)), rate=RATE) as load:
        time.sleep(much(1, 5))
        before, quiet = service.footprint(), load.now()
        for version in range(2, count + 2):
            begun = len(load.outcomes)
            installation.promote(version)
            eventually(
                lambda version=version, begun=begun: answers_of(service) == version and len(load.outcomes) > begun
            )
        swapped = load.now()
        time.sleep(much(1, 5))
        after = service.footprint()
    failed = [o.reply for o in load.outcomes if o.reply.status != 200]
    mixed = [o.reply for o in load.outcomes if o.reply.status == 200 and is_mixed(o.reply, digests)]
    seen = {o.reply.json()["version"] for o in load.outcomes if o.reply.status == 200}
    during = Figures.of([o for o in load.outcomes if quiet <= o.due < swapped], swapped - quiet)
    at_rest = Figures.of([o for o in load.outcomes if o.due < quiet], quiet)
    row.tried, row.survived = count, 0 if failed or mixed else count
    row.note(requests=len(load.outcomes), failed=len(failed), mixed=len(mixed), versions_seen=len(seen))
    row.note(p99_ms=during.p99_ms, p99_ms_at_rest=at_rest.p99_ms, rss_after_over_before=after.rss_mb / before.rss_mb)
    assert failed == []
    assert mixed == []
    assert count + 1 in seen
    if count >= 50:
        assert after.rss_mb <= 1.1 * before.rss_mb


def _flip(folder):
    content = bytearray((folder / ONNX).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / ONNX).write_bytes(content)


def _link(folder):
    (folder / ONNX).rename(folder.parent / f"elsewhere-{folder.name}")
    (folder / ONNX).symlink_to(folder.parent / f"elsewhere-{folder.name}")


def _edit_manifest(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["smoke"] = []
    (folder / MANIFEST).write_text(json.dumps(manifest))


def _grow(folder):
    with (folder / ONNX).open("ab") as file:
        file.write(b"more")


def _stranger(home):
    """The signature of another installation."""
    other = Settings(home=home)
    begin_signing(other, Ledger.open(other))
    return signer(other)


HARM = {
    "a byte flipped": _flip,
    "cut short": lambda folder: (folder / ONNX).write_bytes((folder / ONNX).read_bytes()[:-100]),
    "bytes added": _grow,
    "emptied": lambda folder: (folder / ONNX).write_bytes(b""),
    "the model gone": lambda folder: (folder / ONNX).unlink(),
    "the manifest gone": lambda folder: (folder / MANIFEST).unlink(),
    "the signature gone": lambda folder: (folder / SIGNATURE).unlink(),
    "another version's signature": lambda folder: shutil.copy(folder.parent / "1" / SIGNATURE, folder),
    "the folder gone": shutil.rmtree,
    "the manifest edited": _edit_manifest,
    "a file too many": lambda folder: (folder / "sitecustomize.py").write_text("import os"),
    "a link out": _link,
    "a folder for a file": lambda folder: ((folder / ONNX).unlink(), (folder / ONNX).mkdir()),
    "the first version's files": lambda folder: shutil.copytree(folder.parent / "1", folder, dirs_exist_ok=True),
}
"""What is done to a bundle's folder after it was registered."""
ODD = {
    "NaN among its weights": lambda make, version, folder: make(version, graph_of_nan()),
    "not ONNX": lambda make, version, folder: make(version, b"not ONNX at all"),
    "answers of another version": lambda make, version, folder: make(version, graph(7.0)),
    "another model's bundle": lambda make, version, folder: make(version, says="other"),
    "signed by a stranger": lambda make, version, folder: make(version, sign=_stranger(folder.parent / "stranger")),
}
"""Versions that were registered odd, with digests that are right."""
MISBEHAVES = {"NaN among its weights", "answers of another version"}
"""What was made here and is whole, but answers badly: a matter for who trained it, not for the audit."""


@pytest.mark.parametrize("what", [*HARM, *ODD])
def test_harmed_versions(guarded, what):
    """a harmed or odd version becomes champion"""
    guarded(what)


@pytest.fixture(scope="module")
def guard(tmp_path_factory):
    """One installation and one service under load for all harms: version 1 must answer through all of them."""
    installation = installation_of(tmp_path_factory.mktemp("harm") / "home")
    with Service(installation.settings) as service, Load(service.port, predicts((1, 20)), rate=RATE / 2) as load:
        yield installation, service, load, itertools.count(2)


@pytest.fixture
def guarded(guard, row):
    """Makes a harmed version the champion, and sees that nobody notices but who looks after the service."""
    installation, service, load, numbers = guard

    def try_harm(what: str) -> None:
        version, whole = next(numbers), answers_of(service)
        row.fault = f"champion harmed: {what}"
        if what in HARM:
            HARM[what](installation.register(version))
        else:
            ODD[what](installation.register, version, installation.settings.home)
        installation.promote(version)
        eventually(lambda: is_refused(service, version) or answers_of(service) == version)
        begun = len(load.outcomes)
        assert answers_of(service) == whole
        status, said = service.ready()
        assert (status, said["status"]) == (200, "degraded")
        assert MODEL in said["degraded"]
        eventually(lambda: len(load.outcomes) > begun + 20)
        outcomes = load.outcomes[begun:]
        assert [o.reply for o in outcomes if o.reply.status != 200] == []
        assert {o.reply.json()["version"] for o in outcomes} == {whole}
        audited = refusals(installation, version)
        row.note(requests=len(outcomes), failed=0, audited=audited)
        assert audited or what in MISBEHAVES

    return try_harm


def refusals(installation: Installation, version: int) -> int:
    """How often the audit says that a version was refused."""
    query = text("SELECT COUNT(*) FROM audit WHERE what = 'bundle refused' AND subject = :subject")
    with installation.ledger.engine.connect() as connection:
        return int(connection.execute(query, {"subject": f"{MODEL}/{version}"}).scalar_one())


def is_refused(service: Service, version: int) -> bool:
    """Whether the service has looked at a champion and does not serve it."""
    (listed,) = service.get("/v1/models").json()
    return listed["champion"] == version and listed["degraded"] is not None


def test_a_whole_version_after_harmed_ones(guard, row):
    """a whole version after all the harmed ones"""
    installation, service, load, numbers = guard
    version = next(numbers)
    installation.register(version)
    installation.promote(version)
    eventually(lambda: answers_of(service) == version)
    status, said = service.ready()
    assert (status, said["status"], said["degraded"]) == (200, "ok", {})
    row.note(requests=len(load.outcomes), lost=load.figures().lost)


@pytest.mark.parametrize("harm", ["a byte flipped", "the folder gone"])
def test_a_start_with_a_harmed_champion(installation, row, harm):
    """a start with a harmed champion: the one before it answers"""
    HARM[harm](installation.register(2))
    installation.promote(2)
    with Service(installation.settings) as service:
        assert answers_of(service) == 1
        status, said = service.ready()
        assert (status, said["status"]) == (200, "degraded")
