"""A stream that moves, lived through with the platform up: won duel, steps by the real flows, the proof that they pay, and an undoing."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
import numpy as np
import pandas as pd
import pytest

from tests.commands import platform_of_toy, treadle
from treadle.ledger import Ledger
from treadle.models.tracking import client
from treadle.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.xdist_group("platform")]

BEGAN = datetime(2024, 1, 1)
TABLE = 400  # hours
RULES = """promote: {metric: mae}
train: {families: [gradient-boosting]}
tune: {trials: 2, minutes: 1, workers: 1, retrain_trials: 1}
watch: {every: 52w, window: 100, min_rows: 50, min_labelled: 24, needed: 1}
retrain: {follow: 0.05, cooldown: 1h, min_new_labels: 20, history: 10d}
"""


def world(hours, slope, rng):
    """Hours of a stream in which `x` counts `slope`."""
    frame = pd.DataFrame({"x": rng.normal(size=len(hours)), "kind": rng.choice(["a", "b"], len(hours))})
    y = slope * frame["x"] + 2 * (frame["kind"] == "a") + rng.normal(0, 0.2, len(hours))
    return frame.assign(when=[(BEGAN + timedelta(hours=int(hour))).isoformat() for hour in hours]), y


class Life:
    """A platform that is up, and the hour that it is in its stream."""

    def __init__(self, home):
        self.home, self.settings, self.hour = home, Settings(home=home), TABLE
        self.ledger, self.rng = Ledger.open(self.settings), np.random.default_rng(1)
        self.looks = []

    def live(self, hours, slope, label=None):
        """So many hours of requests, whose labels come at once; then a look, and the train run that it asks for."""
        taken = range(self.hour, self.hour + hours)
        rows, y = world(taken, slope, self.rng)
        url = f"{self.settings.api_url}/v1/models/toy"
        body = {"rows": rows.to_dict("records"), "at": [f"{at}Z" for at in rows["when"]]}
        given = httpx.post(f"{url}/predict", json=body, timeout=60).raise_for_status().json()["predictions"]
        labels = [
            {"id": one["id"], "label": float(truth) if label is None else label, "at": f"{at}Z"}
            for one, truth, at in zip(given, y, rows["when"], strict=True)
        ]
        httpx.post(f"{url}/feedback", json={"labels": labels}, timeout=60).raise_for_status()
        self.hour += hours
        at = f"{(BEGAN + timedelta(hours=self.hour)).isoformat()}Z"
        before = self.ledger.champion("toy").version
        look = treadle(self.home, "watch", "toy", "--at", at)
        self.looks.append(look)
        if look["retrain"]:
            self.wait(lambda: self.ledger.champion("toy").version != before)
        self.wait(lambda: httpx.get(url).json()["version"] == self.ledger.champion("toy").version)
        return look

    def wait(self, what, seconds=240):
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, [(d.kind, d.reason) for d in self.ledger.last_decisions("toy", 5)]
            time.sleep(0.5)


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    home = tmp_path_factory.mktemp("steps")
    rows, y = world(range(TABLE), 3.0, np.random.default_rng(0))
    rows.assign(y=y).to_csv(home / "toy.csv", index=False)
    with platform_of_toy(home, RULES):
        lived = Life(home)
        lived.wait(lambda: httpx.get(f"{lived.settings.api_url}/v1/models/toy").status_code == 200)
        yield lived


@dataclass(frozen=True)
class Lived:
    """What was seen until labels said that the steps pay; tests come in any order, and one of them lives on."""

    loss: dict
    steps: list[dict]
    decisions: list[str]
    promotion: str
    status: dict
    page: dict


@pytest.fixture(scope="module")
def followed(life):
    """A loss, the duel that it leads to, and as many steps as it takes until labels say whether they pay."""
    loss, steps = life.live(168, -2.0), []
    while not steps or (steps[-1]["followed"]["state"] == "follows" and len(steps) < 8):
        steps.append(life.live(48, -3.0 - len(steps)))
    return Lived(
        loss,
        steps,
        [decision.kind for decision in life.ledger.last_decisions("toy", 40)],
        life.ledger.last_promotion("toy").verdict,
        treadle(life.home, "governor", "status", "toy"),
        httpx.get(f"{life.settings.api_url}/console.json").json()["models"][0],
    )


def test_a_won_duel_on_a_loss_begins_it(followed):
    assert (followed.loss["verdict"], followed.loss["retrain"]) == ("quality-loss", True)
    begun = followed.steps[0]["followed"]
    assert (begun["state"], begun["base"], begun["version"]) == ("follows", 2, 2)
    assert "The stream is followed from version 2 on" in begun["reason"]


def test_each_growth_is_a_step_by_the_real_flows(followed):
    steps = followed.steps
    assert all(look["retrain"] for look in steps)
    assert all(look["retrain_reason"].startswith("stream-moves: the stream is known to move") for look in steps)
    assert followed.decisions.count("promoted") == 2 + len(steps)
    assert followed.promotion == "followed"


def test_steps_between_two_refits_are_updates(life, followed):
    """A look tells the step before it."""
    told = [look["followed"] for look in followed.steps]
    updates = [one for one in told if one["refit"] < one["version"]]
    assert all(one["updates"] for one in told)
    assert 1 <= len(updates) < len(told) - 1  # the first is the duel's, and one of the others a refit
    run = life.ledger.version("toy", updates[0]["version"]).run_id
    assert client(life.settings).get_run(run).data.tags["update_of"] == f"version {updates[0]['refit']}"


def test_labels_say_that_the_steps_pay_and_the_status_tells_it(followed):
    assert [look["followed"]["state"] for look in followed.steps] == ["follows", "follows", "follows", "pays"]
    assert "following the stream pays" in followed.steps[-1]["followed"]["reason"]
    assert followed.status["followed"].startswith("The stream is followed from version ")
    assert followed.page["governor"]["followed"] == followed.status["followed"]


@pytest.mark.usefixtures("followed")
def test_steps_for_the_worse_are_undone(life):
    """Two days of labels are a constant; the step that believes them loses to its base in the fortnight after."""
    before = life.ledger.champion("toy").version
    life.live(48, -6.0, label=100.0)
    assert life.ledger.champion("toy").version == before + 1
    look = life.live(336, -6.0)
    assert look["followed"]["state"] == "worse", look["followed"]
    assert life.ledger.champion("toy").version == look["followed"]["base"] == before - 1
    assert "is champion again, and the stream is followed no more" in look["followed"]["reason"]
    assert treadle(life.home, "governor", "status", "toy")["followed"] is None
    assert "rolled-back" in [decision.kind for decision in life.ledger.last_decisions("toy", 10)]
