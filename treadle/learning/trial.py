"""One process of a search: take a trial, fit its family, judge it, until the search is over.

Runs inside the caller, or on its own as `python -m treadle.learning.trial SPEC INDEX DEADLINE`. Knows nothing of Prefect or
MLflow: what a trial has to say stays in the study.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from optuna.trial import TrialState

from treadle.errors import TreadleError
from treadle.learning import study as studies
from treadle.learning.search_spec import SearchSpec, Start, to_plain
from treadle.learning.study_files import Presence

ORPHANED = 3


@dataclass(frozen=True)
class Task:
    """What every trial of a search shares.

    Attributes:
        spec: The search.
        problem: The problem, from `treadle.problems`.
        schema: The schema, from `treadle.tables.schema`.
        families: Families by name, from `treadle.families`.
        train: Features (rows, columns) as a data frame, and encoded targets (rows,).
        valid: The same for the rows that judge.
        weights: What each row of `train` counts (rows,); `None` when all count alike.
    """

    spec: SearchSpec
    problem: Any
    schema: Any
    families: dict[str, Any]
    train: tuple[Any, np.ndarray]
    valid: tuple[Any, np.ndarray]
    weights: np.ndarray | None = None


def work(
    spec: SearchSpec, study: optuna.Study, *, index: int, deadline: float, after: Callable[[], None] | None = None
) -> None:
    """Run trials until the search is over.

    Args:
        spec: The search.
        study: Its study.
        index: Number of this process among those that search, from 0.
        deadline: When to take no further trial, seconds since the epoch.
        after: Called after every trial.

    Raises:
        NotFound: An unknown family or problem.
    """
    task = load_task(spec)
    presence = Presence(Path(spec.folder))
    seat = studies.Seat(study, spec, list_points(task), presence.name, index, deadline)
    try:
        while trial := studies.claim(seat):
            run_trial(seat, trial, task)
            if after:
                after()
    finally:
        presence.leave()


def load_task(spec: SearchSpec) -> Task:
    """Read the rows and look the names up.

    Raises:
        NotFound: An unknown family or problem.
    """
    from treadle.families import load_family
    from treadle.learning.history import History
    from treadle.problems import load_problem
    from treadle.tables.data import AT, ROW, load_snapshot
    from treadle.tables.schema import Schema

    schema, problem = Schema.load(Path(spec.schema)), load_problem(spec.problem)
    families = {name: load_family(name) for name in spec.families}
    frame = load_snapshot(spec.snapshot).set_index(ROW)
    parts = json.loads(Path(spec.split).read_text(encoding="utf-8"))
    columns = [column.name for column in schema.features]

    def part(name: str) -> tuple[Any, np.ndarray]:
        rows = frame.loc[parts[name]]
        return rows[columns].reset_index(drop=True), problem.encode_target(rows[schema.target], schema)

    half_life = None if spec.half_life_s is None else timedelta(seconds=spec.half_life_s)
    weights = History(half_life=half_life).weights(frame.loc[parts["train"]][AT].to_numpy())
    return Task(spec, problem, schema, families, part("train"), part("valid"), weights)


def list_points(task: Task) -> tuple[studies.Point, ...]:
    """What is tried first: the starts of the spec, then every family's defaults, each once.

    A family returns its parameters under the names by which it suggests them. What it returns without suggesting it,
    such as the most rounds, is the fit's to find anew: otherwise no champion could ever outgrow the one before.
    """
    defaults = [Start(name, family.defaults(task.problem)) for name, family in task.families.items()]
    points: dict[str, studies.Point] = {}
    for start in (*task.spec.start, *defaults):
        if start.family in task.families:
            point = _point(task, start)
            points.setdefault(point.key, point)
    return tuple(points.values())


def _point(task: Task, start: Start) -> studies.Point:
    nearest = _Nearest(start.params)
    space = task.families[start.family].search_space(cast("optuna.Trial", nearest), task.problem)
    found_anew = space.keys() - nearest.chosen.keys()
    params = {name: value for name, value in start.params.items() if name not in found_anew}
    fixed = {f"{start.family}.{name}": value for name, value in nearest.chosen.items()}
    text = json.dumps([start.family, params], sort_keys=True, default=to_plain)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    return studies.Point(key, start.family, params, {"family": start.family} | fixed)


class _Nearest:
    """Answers a search space with the values of a start, or the nearest that the space allows."""

    def __init__(self, params: dict[str, Any]) -> None:
        self._params = params
        self.chosen: dict[str, Any] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        middle = math.sqrt(low * high) if log else (low + high) / 2
        value = min(high, max(low, float(self._number(name, middle))))
        if step is not None:
            value = min(high, low + round((value - low) / step) * step)
        return self.chosen.setdefault(name, value)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        middle = math.sqrt(low * high) if log else (low + high) / 2
        value = min(high, max(low, round(self._number(name, middle))))
        return self.chosen.setdefault(name, low + (value - low) // step * step)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        value = self._params.get(name)
        return self.chosen.setdefault(name, value if value in choices else choices[0])

    def _number(self, name: str, default: float) -> float:
        value = self._params.get(name)
        return value if isinstance(value, int | float) and math.isfinite(value) else default


class _Prefixed:
    """The trial as a family sees it: its parameters' names are its own, and do not meet those of other families."""

    def __init__(self, trial: optuna.Trial, family: str) -> None:
        self._trial, self._family = trial, family

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def suggest_float(self, name: str, low: float, high: float, **how: Any) -> float:
        return self._trial.suggest_float(f"{self._family}.{name}", low, high, **how)

    def suggest_int(self, name: str, low: int, high: int, **how: Any) -> int:
        return self._trial.suggest_int(f"{self._family}.{name}", low, high, **how)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._trial.suggest_categorical(f"{self._family}.{name}", choices)


def run_trial(seat: studies.Seat, trial: optuna.Trial, task: Task) -> None:
    """Fit and judge one trial, and tell the study; whatever it raises is the trial's reason, not the search's end."""
    wall, cpu = time.perf_counter(), time.process_time()
    score, state = None, TrialState.FAIL
    try:
        score = _attempt(seat, trial, task)
        state = TrialState.COMPLETE
    except optuna.TrialPruned as pruned:
        state = TrialState.PRUNED
        trial.set_user_attr("reason", str(pruned) or "behind the median of its family")
    except Exception as error:  # noqa: BLE001  any family may raise anything, and the others still deserve their turn
        trial.set_user_attr("reason", _explain(error))
    except BaseException:
        seat.study.tell(trial, state=TrialState.FAIL)
        raise
    trial.set_user_attr("seconds", round(time.perf_counter() - wall, 4))
    trial.set_user_attr("cpu_seconds", round(time.process_time() - cpu, 4))
    seat.study.tell(trial, score, state=state)


def _attempt(seat: studies.Seat, trial: optuna.Trial, task: Task) -> float:
    """Choose, fit, judge; return the score."""
    spec, (X, y), (X_valid, y_valid) = task.spec, task.train, task.valid
    with studies.quiet():
        name = trial.suggest_categorical("family", sorted(task.families))
        params = task.families[name].search_space(cast("optuna.Trial", _Prefixed(trial, name)), task.problem)
    start = seat.point(trial.user_attrs.get("start"))
    params |= start.params if start else {}
    trial.set_user_attr("params", _plain(params))
    how: dict[str, Any] = {} if task.weights is None else {"weights": task.weights}
    fitted = task.families[name].fit(
        X,
        y,
        params,
        problem=task.problem,
        schema=task.schema,
        metric=spec.metric,
        valid=task.valid,
        seed=spec.seed,
        report=_reporter(seat, trial),
        **how,
    )
    score = float(task.problem.metrics[spec.metric].score(y_valid, task.problem.predict(fitted.model, X_valid)))
    if not math.isfinite(score):
        raise ValueError(f"its {spec.metric} on the validation rows is {score}")
    trial.set_user_attr("fitted", _plain(fitted.params))
    return score


def _reporter(seat: studies.Seat, trial: optuna.Trial) -> Callable[[int, float], None]:
    def report(step: int, score: float) -> None:
        if not is_reported(step) or not math.isfinite(score):
            return
        trial.report(float(score), int(step))
        if trial.should_prune():
            raise optuna.TrialPruned
        if time.time() > seat.deadline and studies.has_complete(seat.study):
            raise optuna.TrialPruned("the search's minutes were used up")

    return report


def is_reported(step: int) -> bool:
    """Whether a step goes into the journal: every one at first, then fewer, so that 1,000 steps write about 60 lines.

    >>> [step for step in range(131) if is_reported(step)][-4:]
    [90, 95, 100, 125]
    """
    if step < 20:
        return True
    return step % (5 if step < 100 else 25 if step < 500 else 100) == 0


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(params, default=to_plain))


def _explain(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, TreadleError) else f"{type(error).__name__}: {text}"


def _end_with_parent() -> None:
    """End this process when its parent is gone: the kernel then closes the pipe on stdin, however the parent died."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(ORPHANED)

    threading.Thread(target=watch, daemon=True).start()


def main(arguments: Sequence[str]) -> int:
    """Run one search process; returns its exit code, 2 for an error that a person can mend."""
    spec_path, index, deadline = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    _end_with_parent()
    spec = SearchSpec.load(Path(spec_path))
    try:
        work(spec, studies.open_study(spec), index=int(index), deadline=float(deadline))
    except TreadleError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
