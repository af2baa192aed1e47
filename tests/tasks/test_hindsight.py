"""A new champion is judged by labels of rows that the one before answered, a week before those of its own rows come."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.watch import look_at
from tests.answered import answered
from treadle.families import load_family
from treadle.learning.reference import make_reference
from treadle.ledger import Feedback
from treadle.models.answering import open_version
from treadle.problems import load_problem
from treadle.project import Watch, load_project
from treadle.tables.schema import Schema

DAY = timedelta(days=1)
SWAP = datetime(2024, 3, 1, tzinfo=UTC)
LATE = 7 * DAY  # labels
LEARNED = SWAP - LATE  # the newest row that had a label when the new champion was trained
RULES = Watch(window=336, min_rows=100, min_labelled=100)


@pytest.fixture(scope="module")
def reference(toy):
    schema, frame = toy("tabular-regression")
    problem, family = load_problem("tabular-regression"), load_family("linear")

    def fit(rows):
        target = problem.encode_target(rows["amount"], schema)
        return family.fit(rows, target, {"strength": 1.0}, problem=problem, schema=schema, metric="mae").model

    return make_reference(frame, schema, problem, "mae", fit, 0)[0]


def live(installation, ledger, learned=LEARNED):
    """Hours of sixteen days, labelled a week later: version 1 answers until the swap, then 2, which is its opposite."""
    settings, frame = installation
    registered = ledger.versions("toy")
    ledger.forget("toy")
    for version in registered:
        ledger.add_version(replace(version, data_until=learned))
    ledger.promote("toy", 1, None, reason="first", at=SWAP - 30 * DAY)
    ledger.promote("toy", 2, 1, reason="better", at=SWAP)
    rows = frame.head(24 * 16).reset_index(drop=True)
    moments = [LEARNED - 2 * DAY + timedelta(hours=i) for i in range(len(rows))]
    rows["when"] = [moment.replace(tzinfo=None) for moment in moments]
    answers = {version: open_version(settings, ledger, "toy", version).answer(rows) for version in (1, 2)}
    kept = json.loads(rows[["size", "serial", "member", "plan", "amount"]].to_json(orient="records"))
    for i, (at, row) in enumerate(zip(moments, kept, strict=True)):
        version, label = (1 if at < SWAP else 2), row.pop("amount")
        features, said = row | {"when": at.isoformat()}, {"prediction": float(answers[version][i])}
        ledger.add_entries([answered(f"r{i}", "toy", version, at, json.dumps(features), json.dumps(said))])
        ledger.add_feedback("toy", [Feedback(f"r{i}", label, at + LATE)])
    return rows, answers[2]


def look(installation, ledger, reference, after, **changes):
    settings, _ = installation
    project = load_project("toy", settings).model_copy(update={"watch": RULES} | changes)
    schema = Schema.load(project.folder / "schema.json")
    return look_at(settings, project, ledger, schema, reference, 2, SWAP + after)


def test_a_bad_champion_is_found_before_a_single_answer_of_its_own_is_labelled(installation, ledger, reference):
    rows, answers = live(installation, ledger)
    seen = look(installation, ledger, reference, 5 * DAY)
    assert (len(seen.rows), seen.labelled, seen.again) == (121, 120, 120)
    assert seen.found.verdict == "quality-loss", seen.found.reason
    moments = rows["when"].dt.tz_localize("UTC")
    judged = (moments > LEARNED) & (moments <= SWAP - 2 * DAY)  # not what it learned from
    expected = abs(rows["amount"] - answers)[judged].mean()
    assert seen.found.quality.window == pytest.approx(expected, rel=1e-5)


def test_labels_of_its_own_answers_take_over_as_they_come(installation, ledger, reference):
    live(installation, ledger)
    seen = look(installation, ledger, reference, 14 * DAY)
    assert (seen.labelled, seen.again) == (335, 167)
    short = look(installation, ledger, reference, 14 * DAY, watch=RULES.model_copy(update={"window": 160}))
    assert (short.labelled, short.again) == (160, 0)


def test_answers_and_inputs_that_are_judged_stay_its_own(installation, ledger, reference):
    """What was answered again speaks of the loss alone: the window's rows are those that the version answered."""
    live(installation, ledger)
    early = look(installation, ledger, reference, 3 * DAY)
    assert (len(early.rows), early.labelled, early.again) == (73, 72, 72)
    assert early.found.verdict == "insufficient-data"


@pytest.mark.parametrize("case", ["unknown", "privacy", "tampered"])
def test_where_it_cannot_answer_again_its_own_answers_alone_judge_it(installation, ledger, reference, case):
    settings, _ = installation
    live(installation, ledger, None if case == "unknown" else LEARNED)
    changes = {}
    if case == "privacy":
        privacy = load_project("toy", settings).privacy
        changes = {"privacy": privacy.model_copy(update={"columns": {"plan": "drop"}})}
    if case == "tampered":
        bundle = settings.home / ledger.version("toy", 2).bundle / "model.onnx"
        content = bundle.read_bytes()
        bundle.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        before, after = (look(installation, ledger, reference, days * DAY, **changes) for days in (5, 12))
    finally:
        if case == "tampered":
            bundle.write_bytes(content)
    assert (before.labelled, before.again) == (0, 0)
    assert (after.labelled, after.again) == (121, 0)
