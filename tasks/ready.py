"""Jobs of ready models: answer each input in a process that can be killed, and say how far it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from tasks.step import step
from treadle.capabilities.jobs import Jobs
from treadle.capabilities.limits import Limits
from treadle.capabilities.pool import Pool
from treadle.errors import TreadleError
from treadle.ledger import ANSWERED, Ledger, ReadyCall, ReadyCalls
from treadle.settings import Settings

SERVER_FAULT = 500


@step("answer inputs")
def answer_inputs(job: str) -> dict[str, Any]:
    """Answer what a job has not answered yet; an input that cannot be answered says why, and the others go on.

    Raises:
        TreadleError: The model itself fails, or is not here.
    """
    settings = Settings()
    jobs = Jobs(settings)
    begun = jobs.resume(job)
    known = jobs.change(job, state="running", done=begun)
    inputs, parameters = jobs.request(job)
    progress = create_progress_artifact(
        progress=100 * begun / len(inputs),
        key=f"ready-{known.capability}",
        description=f"{known.capability}: {len(inputs)} inputs",
    )
    pool = Pool(settings, limits=replace(Limits.of(settings), run_s=settings.ready_job_s))
    try:
        for number in range(begun, len(inputs)):
            answer = _answer(pool, settings, job, inputs[number], parameters)
            done = jobs.add(job, answer).done
            update_progress_artifact(progress, progress=100 * done / len(inputs))
    except TreadleError as error:
        jobs.change(job, state="failed", error=str(error))
        raise
    finally:
        pool.stop()
    ended = jobs.change(job, state="completed")
    return {"job": job, "capability": ended.capability, "inputs": ended.inputs, "state": ended.state}


def _answer(pool: Pool, settings: Settings, job: str, given: Any, parameters: dict[str, Any]) -> Any:
    """One input's answer, or why it has none; what was answered is in the ledger with its cost."""
    known = Jobs(settings).read(job)
    try:
        entry, answering = pool.ask(known.capability, [given], parameters, model=known.model)
        done = answering.result()
    except TreadleError as error:
        if error.status >= SERVER_FAULT:
            raise
        return {"error": str(error)}
    ReadyCalls(Ledger.open(settings)).add(
        ReadyCall(
            job, known.capability, entry.model, entry.version, known.key_id, known.who, "job", ANSWERED, 1,
            done.cpu_seconds, done.seconds, done.confidence, done.facts,
        )
    )  # fmt: skip
    named = {"model": entry.model, "version": entry.version, "licence": entry.licence}
    return named | {"answer": msgspec.msgpack.decode(done.answers)[0]}
