"""A storm of drift: a thousand looks in a minute of event time, from two schedulers that are killed and come back."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from console.platform import prefect_server, wait_for_server
from tasks.decide import EVENT
from tests.answered import answered
from tests.faults.scheduler import BEGAN
from treadle.ledger import Feedback, Ledger, Version
from treadle.project import load_project
from treadle.retraining.governor import Governor
from treadle.settings import CHECKOUT, Settings

YAML = """name: toy
problem: tabular-regression
data: {source: toy.csv, target: y}
retrain: {cooldown: 6h, min_new_labels: 10}
"""


@pytest.fixture
def storm(tmp_path) -> Iterator[Storm]:
    """A project with a champion and new labels, and a Prefect server."""
    settings = Settings(home=tmp_path)
    (settings.projects_dir / "toy").mkdir(parents=True)
    (settings.projects_dir / "toy" / "project.yaml").write_text(YAML)
    ledger = Ledger.open(settings)
    ledger.add_version(Version("toy", 1, "run", "b", "d" * 64, "linear", {}, {}, None))
    ledger.promote("toy", 1, None, reason="first")
    ledger.add_entries([answered(f"p{i}", "toy", 1, BEGAN, "{}", "{}") for i in range(20)])
    ledger.add_feedback("toy", [Feedback(f"p{i}", 1.0, BEGAN) for i in range(20)])
    before = dict(os.environ)
    try:
        with prefect_server(settings) as url:
            wait_for_server(url)
            yield Storm(settings, ledger, url)
    finally:
        os.environ.clear()
        os.environ.update(before)


class Storm:
    """The looks that are still to be answered, and who answers them."""

    def __init__(self, settings: Settings, ledger: Ledger, url: str) -> None:
        self.settings, self.ledger, self.url = settings, ledger, url
        self.governor = Governor(ledger, load_project("toy", settings))
        self.answered: list[tuple[str, ...]] = []

    def schedule(self, numbers: list[int], kills: int, chance: random.Random) -> int:
        """Answer looks by one scheduler after another: each but the last is killed; how often one really was."""
        killed, left = 0, list(numbers)
        while left:
            process = self._start(left)
            assert process.stdout is not None
            stop_after = chance.randrange(1, max(2, len(left) // 2)) if killed < kills else len(left)
            for count, line in enumerate(process.stdout):
                if line.strip() == "ready":
                    continue
                self.answered.append(tuple(line.split()))
                left.remove(int(line.split()[0]))
                if count >= stop_after and left:
                    time.sleep(chance.uniform(0, 0.05))
                    process.kill()
                    killed += 1
                    break
            process.wait(timeout=60)
        return killed

    def _start(self, numbers: list[int]) -> subprocess.Popen[str]:
        environment = self.settings.environment() | {"PREFECT_API_URL": f"{self.url}/api"}
        command = [sys.executable, "-m", "tests.faults.scheduler", "toy", *map(str, numbers)]
        return subprocess.Popen(command, env=environment, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)

    def events(self) -> int:
        """How often Prefect was asked for a train run."""
        query = {"filter": {"event": {"name": [EVENT]}}, "limit": 50}
        return int(
            httpx.post(f"{self.url}/api/events/filter", json=query, timeout=30).raise_for_status().json()["total"]
        )


def test_a_storm_of_drift_with_schedulers_that_are_killed(storm, row, much):
    """a storm of drift events, two schedulers, kill -9 and restart in the middle"""
    from concurrent.futures import ThreadPoolExecutor

    looks, kills = much(40, 1000), much(1, 10)
    with ThreadPoolExecutor(2) as both:
        runs = [
            both.submit(storm.schedule, list(range(first, looks, 2)), kills, random.Random(first)) for first in (0, 1)
        ]
        killed = sum(run.result() for run in runs)
    triggers = storm.governor.last(5000)
    granted = [trigger for trigger in triggers if trigger.rule is None]
    suppressed = [trigger for trigger in triggers if trigger.rule is not None]
    unanswered = [look for look in storm.answered if look[1] == "False" and look[2] == "None"]
    assert killed == 2 * kills
    assert len(storm.answered) == looks
    assert looks <= len(triggers) <= looks + killed  # one that was under way at a kill is looked at again
    assert len(granted) == 1
    assert all(trigger.state == "held" and trigger.reason for trigger in suppressed)
    assert unanswered == []
    assert sum(storm.governor.standing(BEGAN).suppressed.values()) == len(suppressed)
    _runs_once(storm, granted[0].seq)
    follow_up = storm.governor.weigh("drift", "inputs moved.", BEGAN + timedelta(hours=7))
    assert follow_up.decision.retrain
    assert {trigger.answer for trigger in storm.governor.last(5000) if trigger.state == "merged"} == {follow_up.trigger}
    row.tried, row.survived = looks, looks
    row.note(retrains=len(granted), suppressed=len(suppressed), killed=killed, events=storm.events())


def _runs_once(storm: Storm, seq: int) -> None:
    """The event is there, unless its sender was killed before it; and of two runs that come for it, one begins."""
    end = time.monotonic() + 20
    while storm.events() == 0 and time.monotonic() < end:
        time.sleep(0.2)
    assert storm.events() == 1 or storm.governor.last(5000)[-1].asked is None
    assert [storm.governor.begin(seq, run) is None for run in ("a", "b")] == [True, False]
    storm.governor.end(seq, "a")
