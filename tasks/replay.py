"""Replay: sends a past stream as live traffic, over HTTP and Prefect's API alone, and keeps count.

Never trains, decides or promotes: it only waits for what the platform does by itself.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
from prefect.artifacts import create_table_artifact

from tasks import service
from tasks.step import step
from treadle.durations import parse_duration
from treadle.errors import BadData, NotFound, Unavailable
from treadle.project import load_project
from treadle.retraining.turn import parse_moment
from treadle.settings import Settings
from treadle.tables.data import read_table

RETRAIN_DEADLINE_S = 600
LABELS_A_REQUEST = 500


@dataclass(frozen=True)
class Plan:
    """A replay: where the stream is, its columns of note, and its steps in event time.

    Attributes:
        folder: Where each step leaves its answers, one Parquet file a step.
        step_s: Event time of one step, seconds.
        label_delay_s: Event time after which a label comes back, seconds.
        replay_id: Begins every prediction id of this replay.
        began: Wall-clock time at which the replay began; train runs from before are another replay's.
    """

    project: str
    source: str
    folder: str
    time: str
    target: str
    start: str
    steps: int
    step_s: float
    label_delay_s: float
    replay_id: str
    began: str

    def window(self, number: int) -> tuple[datetime, datetime]:
        """Event times at which a step begins and ends."""
        begin = datetime.fromisoformat(self.start) + timedelta(seconds=self.step_s * number)
        return begin, begin + timedelta(seconds=self.step_s)


@dataclass
class Caller:
    """What the background caller has counted so far."""

    sent: int = 0
    failed: int = 0
    versions: set[int] = field(default_factory=set)


@step("plan replay")
def plan_replay(project: str, stream: str, step_length: str, label_delay: str) -> Plan:
    """Read the stream once and lay out its steps.

    Raises:
        BadData: The project has no time column, or the stream lacks it or the target.
    """
    settings = Settings()
    found = load_project(project, settings)
    if not found.data.time:
        raise BadData(f"'{project}' has no time column to replay by; name one under data.time in its project.yaml.")
    path = Path(stream) if Path(stream).is_absolute() else found.folder / stream
    if not path.is_file():
        raise NotFound(f"No stream {path}; name a table with the columns of the project, its time and its target.")
    frame = _read_stream(str(path), found.data.time, found.data.target)
    step_s = parse_duration(step_length).total_seconds()
    start = frame[found.data.time].iloc[0].floor("D")
    span_s = (frame[found.data.time].iloc[-1] - start).total_seconds()
    replay_id = f"{project}-{int(time.time() * 1000):x}"
    folder = settings.state_dir / "replays" / replay_id
    folder.mkdir(parents=True)
    return Plan(
        project=project,
        source=str(path),
        folder=str(folder),
        time=found.data.time,
        target=found.data.target,
        start=start.isoformat(),
        steps=int(span_s // step_s) + 1,
        step_s=step_s,
        label_delay_s=parse_duration(label_delay).total_seconds(),
        replay_id=replay_id,
        began=datetime.now(UTC).isoformat(),
    )


def _read_stream(path: str, time_column: str, target: str) -> pd.DataFrame:
    frame = read_table(path)
    missing = [column for column in (time_column, target) if column not in frame]
    if missing:
        raise BadData(f"{path} has no column '{missing[0]}'. Columns: {', '.join(map(str, frame.columns))}.")
    frame[time_column] = pd.to_datetime(frame[time_column])
    return frame.sort_values(time_column, kind="stable", ignore_index=True)


@step("send step")
def send_step(plan: Plan, number: int) -> str:
    """Send one step, day by day: each row's prediction, then the labels that are due by the end of that day.

    Returns:
        The event time at which the step ends, ISO 8601.
    """
    begin, end = plan.window(number)
    frame = _read_stream(plan.source, plan.time, plan.target)
    times = frame[plan.time]
    due = times + pd.Timedelta(seconds=plan.label_delay_s)
    features = [column for column in _feature_columns(plan) if column in frame]
    answers: list[dict[str, Any]] = []
    with service.client(plan.project) as client:
        day = begin
        while day < end:
            tomorrow = min(day + timedelta(days=1), end)
            answers += [
                _predict(client, plan, frame.loc[index, features], int(index), times[index])
                for index in frame.index[(times >= day) & (times < tomorrow)]
            ]
            _feed_back(client, plan, frame[(due >= day) & (due < tomorrow)], plan.label_delay_s)
            day = tomorrow
    pd.DataFrame(answers).to_parquet(Path(plan.folder) / f"step-{number:04}.parquet", index=False)
    return end.replace(tzinfo=UTC).isoformat()


def _feature_columns(plan: Plan) -> list[str]:
    """The columns that the service asks for, as it says itself."""
    with service.client(plan.project) as client:
        reply = client.get(f"/v1/models/{plan.project}")
    if reply.status_code == httpx.codes.NOT_FOUND:
        raise NotFound(f"'{plan.project}' is not served yet. `treadle train {plan.project}` trains its first version.")
    return [column["name"] for column in reply.raise_for_status().json()["columns"]]


def _predict(client: httpx.Client, plan: Plan, row: Any, index: int, at: pd.Timestamp) -> dict[str, Any]:
    """Ask for one row's prediction at its own event time; the label stays here."""
    body = {"rows": [_wire(row)], "ids": [f"{plan.replay_id}-{index}"], "at": at.isoformat() + "Z"}
    reply = client.post(f"/v1/models/{plan.project}/predict", json=body)
    if reply.status_code != httpx.codes.OK:
        raise Unavailable(f"The service answered {reply.status_code} to a replayed row: {reply.text[:300]}")
    answer = reply.json()
    return {"row": index, "version": answer["version"], "answer": json.dumps(answer["predictions"][0])}


def _feed_back(client: httpx.Client, plan: Plan, rows: pd.DataFrame, delay_s: float) -> None:
    """Give the labels that came back, each at the event time at which it did."""
    labels = [
        {
            "id": f"{plan.replay_id}-{index}",
            "label": _plain(row[plan.target]),
            "at": (row[plan.time] + pd.Timedelta(seconds=delay_s)).isoformat() + "Z",
        }
        for index, row in rows.iterrows()
    ]
    for begin in range(0, len(labels), LABELS_A_REQUEST):
        body = {"labels": labels[begin : begin + LABELS_A_REQUEST]}
        client.post(f"/v1/models/{plan.project}/feedback", json=body).raise_for_status()


def _wire(row: Any) -> dict[str, Any]:
    """A row as JSON can carry it: missing is null, times are ISO 8601."""
    return {str(name): _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value


@contextmanager
def background_caller(plan: Plan, pace_per_s: float) -> Iterator[Caller]:
    """Call the service at a steady rate until the block ends, whatever it is doing, and count what fails.

    Its rows bear the event time at which the stream begins, so that they are in no later window. While the block runs
    the replay has a key, if keys are needed.
    """
    with service.own_key(plan.project), _calling(plan, pace_per_s) as caller:
        yield caller


@contextmanager
def _calling(plan: Plan, pace_per_s: float) -> Iterator[Caller]:
    caller = Caller()
    done = threading.Event()
    row = _wire(_read_stream(plan.source, plan.time, plan.target).loc[0, _feature_columns(plan)])
    body = {"rows": [row], "at": (datetime.fromisoformat(plan.start) - timedelta(days=1)).isoformat() + "Z"}

    def call() -> None:
        with service.client(plan.project, timeout_s=10) as client:
            due = time.monotonic()
            while not done.is_set():
                _call_once(client, plan.project, body, caller)
                due += 1 / pace_per_s
                done.wait(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=call, name="background caller", daemon=True)
    thread.start()
    try:
        yield caller
    finally:
        done.set()
        thread.join(timeout=15)


def _call_once(client: httpx.Client, project: str, body: dict[str, Any], caller: Caller) -> None:
    caller.sent += 1
    try:
        reply = client.post(f"/v1/models/{project}/predict", json=body)
        reply.raise_for_status()
        caller.versions.add(reply.json()["version"])
    except (httpx.HTTPError, ValueError, KeyError):
        caller.failed += 1


@step("wait for retrain")
def wait_for_swap(plan: Plan, until: str) -> str:
    """Wait until the train run that the event started has ended and the service answers with the champion.

    Returns:
        The name of the state in which the train run ended.

    Raises:
        Unavailable: No train run ended within ten minutes: is a worker running?
    """
    deadline = time.monotonic() + RETRAIN_DEADLINE_S
    while time.monotonic() < deadline:
        state = _train_state(plan, until)
        if state and _served_is_champion(plan.project):
            return state
        time.sleep(0.5)
    raise Unavailable(f"No train run of '{plan.project}' ended within {RETRAIN_DEADLINE_S} s; see `treadle status`.")


def _train_state(plan: Plan, until: str) -> str | None:
    """The end state of the deployed train run for this event time, by Prefect's API; `None` while there is none."""
    body = {
        "deployments": {"name": {"any_": [plan.project]}},
        "flows": {"name": {"any_": ["train"]}},
        "flow_runs": {"expected_start_time": {"after_": plan.began}},
        "sort": "EXPECTED_START_TIME_DESC",
        "limit": 20,
    }
    runs = httpx.post(f"{Settings().prefect_url}/api/flow_runs/filter", json=body, timeout=30).raise_for_status().json()
    for run in runs:
        same = parse_moment(run["parameters"].get("at")) == parse_moment(until)
        if same and run["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return str(run["state_name"])
    return None


def _served_is_champion(project: str) -> bool:
    """Whether the service answers with the version that the ledger calls champion."""
    with service.client(project) as client:
        model = client.get(f"/v1/models/{project}").raise_for_status().json()
    return bool(model["version"] == model["champion"])


def summarize_replay(plan: Plan, looks: list[dict[str, Any]], caller: Caller) -> dict[str, Any]:
    """Join the answers with the truth, by month.

    Returns:
        `months` [{month, error, rows}], `error` over all rows (mean absolute error on regression, share of wrong
        answers on classification), `versions` that answered, `requests` sent and `failed_requests`.
    """
    parts = [pd.read_parquet(path) for path in sorted(Path(plan.folder).glob("step-*.parquet"))]
    answers = pd.concat([part for part in parts if len(part)], ignore_index=True).set_index("row")
    frame = _read_stream(plan.source, plan.time, plan.target).loc[answers.index]
    given = [json.loads(answer)["prediction"] for answer in answers["answer"]]
    wrong = errors_of(frame[plan.target], given)
    month = frame[plan.time].dt.strftime("%Y-%m")
    changes = answers.groupby(month)["version"].agg(lambda versions: len(set(versions)))
    months = [
        {"month": name, "error": float(group.mean()), "rows": len(group), "versions": int(changes[name])}
        for name, group in wrong.groupby(month)
    ]
    create_table_artifact(key=f"{plan.project}-replay", table=months, description="Error by month of the replay")
    return {
        "project": plan.project,
        "months": months,
        "error": float(wrong.mean()),
        "versions": sorted(int(v) for v in answers["version"].unique()),
        "looks": [{"at": look["at"], "verdict": look["verdict"]} for look in looks],
        "retrains": [
            {"at": look["at"], "reason": look["retrain_reason"], "train": look["train"]}
            for look in looks
            if look["retrain"]
        ],
        "requests": len(answers) + caller.sent,
        "failed_requests": caller.failed,
        "answers": plan.folder,
    }


def errors_of(truth: pd.Series, given: list[Any]) -> pd.Series:
    """Absolute error of each row; 1 for a wrong class and 0 for a right one where the target is not a number."""
    answers = pd.Series(given, index=truth.index)
    if pd.api.types.is_numeric_dtype(truth) and pd.api.types.is_numeric_dtype(answers):
        return (answers - truth).abs()
    return (answers.astype(str) != truth.astype(str)).astype(float)
