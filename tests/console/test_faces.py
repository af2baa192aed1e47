"""`treadle faces`: enroll, list, find, forget; the audit keeps no name."""

import json
import os
import subprocess
import sys

import pytest

from treadle.settings import CHECKOUT

PICTURES = CHECKOUT / "tests" / "pictures"


@pytest.fixture
def treadle(tmp_path):
    def run(*words, code=0):
        command = [sys.executable, "-m", "console.cli", *words, "--json"]
        env = os.environ | {"TREADLE_HOME": str(tmp_path / "home")}
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, timeout=300)
        assert done.returncode == code, done.stderr.decode()[-2000:]
        return json.loads(done.stdout) if code == 0 else done.stderr.decode()

    return run


def test_a_person_is_enrolled_found_and_forgotten(treadle):
    first, second = (str(PICTURES / f"{name}.jpg") for name in ("obama-2012", "obama-speaking"))
    enrolled = treadle("faces", "enroll", "Barack O.", first, "--consent", "In the public domain")
    assert enrolled == {
        "collection": "default",
        "person": "Barack O.",
        "pictures": 1,
        "consent": "In the public domain",
    }
    (person,) = treadle("faces", "list")
    assert (person["person"], person["consent"], person["pictures"]) == ("Barack O.", "In the public domain", 1)
    (answer,) = treadle("ready", "run", "search-faces", second)["answers"]
    assert answer["faces"][0]["matches"][0]["person"] == "Barack O."
    treadle("faces", "forget", "Barack O.")
    assert treadle("faces", "list") == []
    (answer,) = treadle("ready", "run", "search-faces", second)["answers"]
    assert answer["faces"][0]["matches"] == []
    said = [row["what"] for row in treadle("audit")]
    assert {"enroll face", "forget face"} <= set(said)
    assert "Barack" not in json.dumps(treadle("audit"))


def test_what_cannot_be_enrolled_is_told_in_one_line(treadle):
    first = str(PICTURES / "obama-2012.jpg")
    assert "note of the consent" in treadle("faces", "enroll", "Ada", first, "--consent", " ", code=2)
    assert "cannot be read" in treadle("faces", "enroll", "Ada", "no.jpg", "--consent", "Form 7", code=2)
    assert "Nobody of that name" in treadle("faces", "forget", "Ada", code=2)
