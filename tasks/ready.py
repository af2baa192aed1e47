"""Jobs of ready models: answer each input in a process that can be killed, and say how far it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from tasks.step import step
from treadle.capabilities.jobs import Jobs
from treadle.capabilities.limits import Limits
from treadle.capabilities.pool import Pool
from treadle.ledger import ANSWERED, Ledger, ReadyCall, ReadyCalls
from treadle.settings import Settings


@step("answer inputs")
def answer_inputs(name: str) -> dict[str, Any]:
    """Answer what a job has not answered yet; every answer's cost is in the ledger, under the caller's name.

    Raises:
        TreadleError: The model itself fails, or is not here.
    """
    settings = Settings()
    jobs, calls = Jobs(settings), ReadyCalls(Ledger.open(settings))
    job = jobs.read(name)
    what = f"{job.capability}: {job.inputs} inputs"
    progress: Any = create_progress_artifact(progress=0.0, key=f"ready-{job.capability}", description=what)
    pool = Pool(settings, limits=replace(Limits.of(settings), run_s=settings.ready_job_s))
    try:
        for job, entry, done in jobs.answer(name, pool):
            if done is not None:
                calls.add(
                    ReadyCall(
                        name, job.capability, entry.model, entry.version, job.key_id, job.who, "job", ANSWERED, 1,
                        done.cpu_seconds, done.seconds, done.confidence, done.facts,
                    )
                )  # fmt: skip
            update_progress_artifact(progress, progress=100 * job.done / job.inputs)
    finally:
        pool.stop()
    return {"job": name, "capability": job.capability, "inputs": job.inputs, "state": jobs.read(name).state}
