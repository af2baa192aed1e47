"""Good predict requests of the installation, and the judgement of their answers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.faults.connection import Reply, http
from tests.faults.installation import MODEL, STEP, rows
from tests.faults.load import Make, Outcome

PREDICT = f"/v1/models/{MODEL}/predict"
FEEDBACK = f"/v1/models/{MODEL}/feedback"


def predicts(counts: Sequence[int] = (1,), *, own_ids: int = 0, headers: Mapping[str, str] | None = None) -> Make:
    """Makes predict requests of so many rows in turn; every `own_ids`-th carries ids of its own.

    What is remembered of a request is its number of rows.
    """
    some = rows()
    serial = itertools.count()

    def make(number: int) -> tuple[bytes, int]:
        count = counts[number % len(counts)]
        body: dict[str, Any] = {"rows": [some[(number + k) % len(some)] for k in range(count)]}
        if own_ids and number % own_ids == 0:
            body["ids"] = [f"own-{next(serial)}-{k}" for k in range(count)]
        # as clients send text; escapes would be left to the app, and the quick lane would see none of it
        return http("POST", PREDICT, json.dumps(body, ensure_ascii=False).encode(), dict(headers or {})), count

    return make


def repeated(make: Make, kinds: int = 40) -> Make:
    """The first requests of a maker again and again: sending costs next to nothing then."""
    made = [make(number) for number in range(kinds)]
    return lambda number: made[number % kinds]


def acknowledged(outcomes: Iterable[Outcome]) -> set[str]:
    """Ids of all predictions that were answered."""
    return {p["id"] for o in outcomes if o.reply.status == 200 for p in o.reply.json()["predictions"]}


def is_mixed(reply: Reply, digests: Mapping[int, str]) -> bool:
    """Whether a good answer is not wholly one version's: its digest, and each of its predictions."""
    body = reply.json()
    answers = [p["prediction"] for p in body["predictions"]]
    return digests[body["version"]] != body["digest"] or any(version_of(a) != body["version"] for a in answers)


def version_of(answer: float) -> int:
    """The version that gives such an answer; the model's own lie between -200 and 200."""
    return round(answer / STEP)
