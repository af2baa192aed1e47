"""The watch flow: one look at the newest predictions, and the decision whether to retrain."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.decide import decide_retrain
from tasks.label import examine_labels
from tasks.probation import follow_probation
from tasks.quality import follow_quality
from tasks.report import report_watch
from tasks.slot import taken_once
from tasks.steps import settle_steps
from tasks.turn import metered, run_name
from tasks.watch import judge_window


@flow(name="watch", flow_run_name=run_name, persist_result=True)
@taken_once
def watch(project: str, at: str | None = None) -> dict[str, Any]:
    """Look at the newest predictions and say whether the model still holds: **probation → steps → judge → follow → decide → report**.

    A champion on probation that labels show to be worse than the one before it is rolled back first, and so are the steps of a
    stream that is followed.
    Verdicts: `ok`, `drift`, `quality-loss`, `insufficient-data`, `invalid`. A verdict that asks for a retrain passes
    the project's governor first (cooldown, one in flight, a maximum a day, new labels); if it passes, the event
    `treadle.retrain.requested` is emitted and an automation runs the train deployment.

    Args:
        project: A folder in `projects/`.
        at: Event time of the look, ISO 8601; now, when left out.

    Returns:
        What `treadle watch --json` prints.
    """
    with metered(project, "watch", at):
        labels = examine_labels(project, at)
        probation = follow_probation(project, at)
        steps = settle_steps(project, at)
        verdict = judge_window(project, at)
        quality = follow_quality(project, at, verdict)
        decision = decide_retrain(project, at, verdict | quality)
        page = report_watch(project, probation | steps | verdict | quality | decision)
        return labels | probation | steps | verdict | quality | decision | page
