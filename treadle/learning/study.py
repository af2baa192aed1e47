"""The record of a search: an Optuna study, its trials, and who works on which. Knows nothing of families or tables."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
import warnings
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from treadle.learning.search import State, TrialRecord
from treadle.learning.search_spec import SearchSpec
from treadle.learning.study_files import Journal, is_present, locked

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
STALE = "its process died; the trial was done again"
TRIES = 2
POLL_S = 0.1


class FamilyMedian(BasePruner):
    """Stop a trial whose best score so far is behind the median of its own family at the same step.

    Steps of different families (boosting rounds, epochs) cannot be compared, nor can the first steps of a slow learner:
    it waits for `least` complete trials of the family and for a third of their usual length.
    """

    def __init__(self, least: int = 4) -> None:
        self._least = least

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether `trial` should stop."""
        step, family = trial.last_step, trial.params.get("family")
        if step is None:
            return False
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        peers = [peer for peer in complete if peer.params.get("family") == family and peer.last_step is not None]
        scores = [peer.intermediate_values[step] for peer in peers if step in peer.intermediate_values]
        if len(scores) < self._least or step < statistics.median(peer.last_step or 0 for peer in peers) / 3:
            return False
        if is_maximized(study):
            return max(trial.intermediate_values.values()) < statistics.median(scores)
        return min(trial.intermediate_values.values()) > statistics.median(scores)


@dataclass(frozen=True)
class Point:
    """A start in the study's own terms: `fixed` holds the nearest values that the search space knows, by full name."""

    key: str
    family: str
    params: dict[str, Any]
    fixed: dict[str, Any]


@dataclass(frozen=True)
class Seat:
    """One process's place in a search.

    Attributes:
        study: The study, as this process opened it.
        spec: The search.
        points: What is tried first.
        owner: The name of the process's `Presence`.
        index: Its number among those that search, from 0.
        deadline: When to begin no further trial, seconds since the epoch.
    """

    study: optuna.Study
    spec: SearchSpec
    points: tuple[Point, ...]
    owner: str
    index: int
    deadline: float

    def point(self, key: str | None) -> Point | None:
        """The start with this key."""
        return next((point for point in self.points if point.key == key), None)


def open_study(spec: SearchSpec) -> optuna.Study:
    """Open the study of `spec`, or begin it; another problem, metric, seed or set of families is another study."""
    from treadle.problems import load_problem, pick_metric

    problem = load_problem(spec.problem)
    metric = problem.metrics[pick_metric(problem, spec.metric)]
    what = json.dumps([spec.problem, spec.metric, sorted(spec.families), spec.seed])
    with quiet():
        return optuna.create_study(
            storage=optuna.storages.JournalStorage(Journal(Path(spec.folder) / "journal.log")),
            study_name=hashlib.sha256(what.encode()).hexdigest()[:16],
            direction="maximize" if metric.higher_is_better else "minimize",
            pruner=FamilyMedian(),
            load_if_exists=True,
        )


@contextmanager
def quiet() -> Generator[None]:
    """Keep Optuna's log lines and warnings about experimental parts off stderr for the length of a block."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def claim(seat: Seat) -> optuna.Trial | None:
    """Take the next trial, or `None` when the search is over.

    Waits while the trials that others run could use the limit up: if one of them dies, its place is free again.
    """
    folder = Path(seat.spec.folder)
    while True:
        with locked(folder / "ask.lock"):
            _fail_stale(seat.study, folder)
            trials = seat.study.get_trials(deepcopy=False)
            spent = sum(_is_spent(trial) for trial in trials)
            running = sum(trial.state == TrialState.RUNNING for trial in trials)
            if spent >= seat.spec.trials or (time.time() >= seat.deadline and spent + running > 0):
                return None
            if spent + running < seat.spec.trials:
                return _ask(seat, trials, turn=spent)
        time.sleep(POLL_S)


def _ask(seat: Seat, trials: Sequence[FrozenTrial], turn: int) -> optuna.Trial:
    """Ask for a trial; what is chosen depends on the finished trials alone, so that a resumed search chooses alike."""
    study = seat.study
    deaths = sum(_is_stale(trial) and trial.user_attrs.get("turn") == turn for trial in trials)
    with quiet():
        study.sampler = optuna.samplers.TPESampler(
            seed=_seed(seat.spec.seed, seat.index, turn, deaths // TRIES),
            n_startup_trials=min(10, max(len(seat.points), seat.spec.trials // 3)),
            multivariate=True,
            group=True,
            constant_liar=True,
        )
        point = _next_point(seat.points, trials)
        if point and not any(trial.state == TrialState.WAITING for trial in trials):
            study.enqueue_trial(point.fixed, user_attrs={"start": point.key})
        trial = study.ask()
    trial.set_user_attr("turn", turn)
    trial.set_user_attr("owner", seat.owner)
    return trial


def _next_point(points: Sequence[Point], trials: Iterable[FrozenTrial]) -> Point | None:
    """The first start that nobody has taken; one that killed its process twice is let alone."""
    known = [(trial.user_attrs.get("start"), _is_stale(trial)) for trial in trials]
    for point in points:
        if (point.key, False) not in known and known.count((point.key, True)) < TRIES:
            return point
    return None


def _seed(*parts: int) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")


def fail_stale(study: optuna.Study, spec: SearchSpec) -> int:
    """Fail the running trials whose process is dead, and return how many they were."""
    with locked(Path(spec.folder) / "ask.lock"):
        return _fail_stale(study, Path(spec.folder))


def _fail_stale(study: optuna.Study, folder: Path) -> int:
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    dead = [trial for trial in running if not is_present(folder, trial.user_attrs.get("owner", "nobody"))]
    for trial in dead:
        study.tell(trial.number, state=TrialState.FAIL)
    return len(dead)


def _is_stale(trial: FrozenTrial) -> bool:
    """Whether a failed trial is one whose process died: a trial that raised says why."""
    return trial.state == TrialState.FAIL and "reason" not in trial.user_attrs


def _is_spent(trial: FrozenTrial) -> bool:
    """Whether a trial counts against the limit: complete, pruned, or raised; not one whose process died."""
    return trial.state in FINISHED and not _is_stale(trial)


def count_spent(study: optuna.Study) -> int:
    """Trials that count against the limit."""
    return sum(_is_spent(trial) for trial in study.get_trials(deepcopy=False))


def has_complete(study: optuna.Study) -> bool:
    """Whether there is a trial to fall back on."""
    return bool(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


def is_maximized(study: optuna.Study) -> bool:
    """Whether higher scores are better."""
    return study.direction == optuna.study.StudyDirection.MAXIMIZE


def is_finished(study: optuna.Study, spec: SearchSpec) -> bool:
    """Whether an earlier session has used up the trials, or as many minutes as `spec` allows."""
    return count_spent(study) >= spec.trials or study.user_attrs.get("minutes", 0) >= spec.minutes


def mark_finished(study: optuna.Study, spec: SearchSpec) -> None:
    """Remember that a search ended by its minutes; that it ended by its trials can be counted."""
    if count_spent(study) < spec.trials:
        study.set_user_attr("minutes", max(spec.minutes, study.user_attrs.get("minutes", 0)))


def forget(study: optuna.Study) -> None:
    """Remove a study in which nothing succeeded, so that a rerun begins anew."""
    optuna.delete_study(study_name=study.study_name, storage=study._storage)


def seconds_left(study: optuna.Study, spec: SearchSpec) -> float:
    """Wall seconds that earlier sessions left of `spec.minutes`."""
    used = sum(trial.seconds for trial in records(study) if trial.state != "stale")
    return max(0.0, spec.minutes * 60 - used / spec.workers)


def records(study: optuna.Study) -> tuple[TrialRecord, ...]:
    """All trials that were begun, by number."""
    return tuple(_record(trial) for trial in study.get_trials(deepcopy=False) if trial.state in STATES)


def _record(trial: FrozenTrial) -> TrialRecord:
    known, stale = trial.user_attrs, _is_stale(trial)
    started = trial.datetime_start or trial.datetime_complete
    if started is None:
        raise ValueError(f"trial {trial.number} has no start")  # Optuna gives every trial that was begun one
    ended = trial.datetime_complete
    return TrialRecord(
        number=trial.number,
        family=str(trial.params.get("family", "")),
        params=known.get("params", {}),
        score=trial.value if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
        state="stale" if stale else STATES[trial.state],
        seconds=float(known.get("seconds", 0.0)),
        cpu_seconds=float(known.get("cpu_seconds", 0.0)),
        started=started.astimezone(UTC),
        ended=ended.astimezone(UTC) if ended else None,
        curve=tuple(sorted(trial.intermediate_values.items())),
        fitted=known.get("fitted"),
        reason=STALE if stale else known.get("reason"),
    )
