"""One key gives flipped labels, over HTTP as any other does: they are set aside, and no label of the other keys is."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import numpy as np
import pytest

from tests.faults.installation import MODEL, rows
from tests.faults.service import Service
from treadle.keys import Role, create_key
from treadle.ledger.set_aside import batches
from treadle.project import Project
from treadle.retraining.suspicion import examine

PROJECT = Project.model_validate(
    {"name": MODEL, "problem": "tabular-regression", "data": {"source": "energy.csv", "target": "load"}}
)
LABELS = 600


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_flipped_labels_of_one_key(installation, row, much, share):
    """labels flipped by one key, 5, 20 and 40 % of all"""
    keys = {name: create_key(installation.ledger, name, Role.CALLER, "test") for name in ("shop", "till", "thief")}
    rng, taken, wrongly = np.random.default_rng(int(share * 100)), 0, 0
    with Service(installation.settings) as service:
        for _ in range(much(1, 10)):
            flipped = int(LABELS * share)
            counts = {"thief": flipped, "shop": (LABELS - flipped) // 2, "till": (LABELS - flipped) // 2}
            for name, count in counts.items():
                _give(service.port, keys[name][1], count, name == "thief", rng)
            before = len(installation.ledger.labelled(MODEL))
            examine(installation.ledger, PROJECT, datetime.now(UTC))
            aside = {batch.key_id: batch.labels for batch in batches(installation.ledger, MODEL)}
            wrongly += sum(labels for key, labels in aside.items() if key != keys["thief"][0].id)
            taken += before - len(installation.ledger.labelled(MODEL))
            row.count(set(aside) == {keys["thief"][0].id} and aside[keys["thief"][0].id] % flipped == 0)
    row.note(set_aside=taken, wrongly=wrongly)
    assert (row.survived, wrongly) == (row.tried, 0)


def _give(port: int, key: str, count: int, flip: bool, rng: np.random.Generator) -> None:
    """Ask for answers and give their labels: near the answer, or on the other side of the middle."""
    some = [dict(rows()[int(i)]) for i in rng.integers(0, len(rows()), count)]
    url = f"http://127.0.0.1:{port}/v1/models/{MODEL}"
    with httpx.Client(headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        answer = client.post(f"{url}/predict", json={"rows": some}).raise_for_status().json()["predictions"]
        middle = float(np.mean([one["prediction"] for one in answer]))
        labels = [
            {"id": one["id"], "label": _near(2 * middle - one["prediction"] if flip else one["prediction"], rng)}
            for one in answer
        ]
        client.post(f"{url}/feedback", json={"labels": labels}).raise_for_status()


def _near(value: float, rng: np.random.Generator) -> float:
    return float(value + rng.normal(0, 1))
