"""The train flow: one turn of the wheel, from a table to a promoted version. Run it by hand, nightly, or on drift."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.evaluate import evaluate_model
from tasks.fit import fit_model
from tasks.history import choose_history
from tasks.label import label_data
from tasks.load import load_data
from tasks.promote import promote_model
from tasks.register import register_model
from tasks.schedules import turn_schedules_on
from tasks.slot import taken_once
from tasks.split import split_data
from tasks.tune import tune_families
from tasks.turn import report_turn, run_name, turn_of
from tasks.validate import validate_data


@flow(name="train", flow_run_name=run_name, persist_result=True)
@taken_once
def train(
    project: str,
    trials: int | None = None,
    minutes: float | None = None,
    at: str | None = None,
    reason: str = "by hand",
    trigger: str | None = None,  # noqa: ARG001 - `taken_once` takes it up
) -> dict[str, Any]:
    """Turn the wheel once: **load → validate → label → split → history → tune → fit → evaluate → register → promote**.

    Args:
        project: A folder in `projects/`.
        trials: Trials of the search; the project's own number when left out.
        minutes: Wall-clock minutes of the search; the project's own when left out.
        at: Event time, ISO 8601; labels that came later are not known to this turn. Now, when left out.
        reason: Why, in plain words; shown in the run's name and in the ledger.
        trigger: The number of the trigger that asked for this run; one run alone may begin for it.

    Returns:
        What `treadle train --json` prints; the challenger is champion only if it won on the newest labelled rows, unseen by both.
    """
    with turn_of(project, at, reason) as turn:
        table = load_data(turn)
        valid = validate_data(turn, table)
        rows = label_data(turn, valid)
        split = split_data(turn, rows)
        parts = choose_history(turn, rows, split)
        best = tune_families(turn, rows, parts, trials, minutes)
        rehearsal = fit_model(turn, rows, best)
        scores = evaluate_model(turn, rows, rehearsal)
        version = register_model(turn, rows, rehearsal, scores)
        verdict = promote_model(turn, rows, version)
        turn_schedules_on(project)
        return report_turn(turn, rows, parts, best, version, verdict)
