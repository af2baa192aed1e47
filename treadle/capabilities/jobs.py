"""Jobs of ready models: requests that are answered in the background. A folder each, written so that a killed run goes on.

`request.msgpack` is what was asked, `answers.jsonl` has a line for each input that was answered, `state.json` says how it is.
"""

from __future__ import annotations

import json
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from treadle.capabilities.catalog import Entry
from treadle.capabilities.pool import Answering, Done, Pool
from treadle.errors import NotFound, TreadleError
from treadle.settings import Settings

State = Literal["waiting", "running", "completed", "failed"]
MOST_INPUTS = 10_000
SERVER_FAULT = 500
KEPT_DAYS = 7.0
"""Jobs, with what was sent and answered, are removed so long after they were made."""
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        key_id: Whose it is; `None` while there are no keys.
        inputs: How many there are.
        done: How many are answered.
        error: Why it failed.
        flow_run: Prefect's id of its run.
        created: Seconds since 1970.
    """

    id: str
    capability: str
    model: str | None
    key_id: str | None
    who: str
    inputs: int
    done: int = 0
    state: State = "waiting"
    error: str | None = None
    flow_run: str | None = None
    created: float = 0.0


class Jobs:
    """The jobs of one installation."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.ready_dir / "jobs"

    def create(
        self, capability: str, model: str | None, inputs: list[Any], parameters: dict[str, Any], key_id: str | None, who: str
    ) -> Job:  # fmt: skip
        """Write down what is asked; jobs of long ago are removed."""
        self._remove_old()
        job = Job(uuid.uuid4().hex, capability, model, key_id, who, len(inputs), created=time.time())
        folder = self._folder / job.id
        folder.mkdir(parents=True)
        (folder / "request.msgpack").write_bytes(msgspec.msgpack.encode({"inputs": inputs, "parameters": parameters}))
        self._write(job)
        return job

    def read(self, name: str) -> Job:
        """A job.

        Raises:
            NotFound: There is none of that id.
        """
        return Job(**json.loads((self._existing(name) / "state.json").read_text(encoding="utf-8")))

    def request(self, name: str) -> tuple[list[Any], dict[str, Any]]:
        """The inputs and parameters of a job."""
        asked = msgspec.msgpack.decode((self._existing(name) / "request.msgpack").read_bytes())
        return asked["inputs"], asked["parameters"]

    def answers(self, name: str) -> list[Any]:
        """What was answered so far, in order; a line that was cut off by a kill is none."""
        path = self._existing(name) / "answers.jsonl"
        if not path.exists():
            return []
        content = path.read_bytes()
        return [msgspec.json.decode(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]

    def resume(self, name: str) -> int:
        """How many inputs are answered already; what was cut off by a kill is removed."""
        path = self._existing(name) / "answers.jsonl"
        if not path.exists():
            return 0
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) != len(content):
            path.write_bytes(whole)
        return whole.count(b"\n")

    def add(self, name: str, answer: Any) -> Job:
        """Write the answer to the next input."""
        with (self._existing(name) / "answers.jsonl").open("ab") as file:
            file.write(msgspec.json.encode(answer) + b"\n")
        return self.change(name, done=self.read(name).done + 1)

    def change(self, name: str, **what: Any) -> Job:
        """Write down how a job is now."""
        job = replace(self.read(name), **what)
        self._write(job)
        return job

    def remove(self, name: str) -> None:
        """Forget a job, with all that was sent and answered."""
        shutil.rmtree(self._existing(name))

    def answer(self, name: str, pool: Pool) -> Iterator[tuple[Job, Entry, Done | None]]:
        """Answer what a job has not answered yet; an input that cannot be answered says why, and the others go on.

        Args:
            name: The job.
            pool: Where its model runs.

        Yields:
            After each input how the job is, the model, and what it took; `None` for an input that was refused.

        Raises:
            TreadleError: The model itself fails, or is not here; the job says so too.
        """
        begun = self.resume(name)
        job = self.change(name, state="running", done=begun)
        inputs, parameters = self.request(name)
        try:
            for given in inputs[begun:]:
                entry, answering = pool.ask(job.capability, [given], parameters, model=job.model)
                done, said = _said(answering, entry)
                yield self.add(name, said), entry, done
        except TreadleError as error:
            self.change(name, state="failed", error=str(error))
            raise
        self.change(name, state="completed")

    def _existing(self, name: str) -> Path:
        folder = self._folder / name
        if not _ID.fullmatch(name) or not (folder / "state.json").is_file():
            raise NotFound("There is no job of that id; jobs are kept for a week.")
        return folder

    def _write(self, job: Job) -> None:
        folder = self._folder / job.id
        fresh = folder / f".state-{uuid.uuid4().hex}"
        fresh.write_text(json.dumps(asdict(job)), encoding="utf-8")
        fresh.replace(folder / "state.json")

    def _remove_old(self) -> None:
        before = time.time() - KEPT_DAYS * 86_400
        for folder in self._folder.glob("*"):
            if folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)


def _said(answering: Answering, entry: Entry) -> tuple[Done | None, dict[str, Any]]:
    """What an input cost, and what the job keeps of it."""
    try:
        done = answering.result()
    except TreadleError as error:
        if error.status >= SERVER_FAULT:
            raise
        return None, {"error": str(error)}
    named = {"model": entry.model, "version": entry.version, "licence": entry.licence}
    return done, named | {"answer": msgspec.msgpack.decode(done.answers)[0]}
