"""The search over families and their parameters, and what comes back of it.

Knows neither Optuna (`study`), nor how one trial is run (`trial`), nor processes (`searchers`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from treadle.errors import BadData, Unavailable
from treadle.learning.search_spec import SearchSpec, Start

if TYPE_CHECKING:
    import optuna

__all__ = ["Progress", "SearchResult", "SearchSpec", "Start", "TrialRecord", "search"]

State = Literal["complete", "pruned", "failed", "stale", "running"]


@dataclass(frozen=True)
class TrialRecord:
    """One trial, as it is told to people and to MLflow.

    Attributes:
        number: The trial's number in its study, from 0.
        family: The family's name.
        params: What the family was asked to fit.
        score: On the validation rows, by the search's metric; of a pruned trial the last one seen, `None` if it has
            none.
        state: `complete`, `pruned`, `failed` (raised; see `reason`), `stale` (its process died) or `running`.
        seconds: Wall seconds.
        cpu_seconds: CPU seconds.
        started: Aware, UTC.
        ended: Aware, UTC; `None` while it runs.
        curve: (step, score) while it was fitted.
        fitted: Parameters that reproduce the fit without validation rows; empty unless `complete`.
        reason: Why it failed or was stopped, one line.
    """

    number: int
    family: str
    params: dict[str, Any]
    score: float | None
    state: State
    seconds: float
    cpu_seconds: float
    started: datetime
    ended: datetime | None
    curve: tuple[tuple[int, float], ...] = ()
    fitted: dict[str, Any] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Progress:
    """How far a search is; `share` (0..1) counts trials or minutes, whichever is nearer to its limit."""

    done: int
    pruned: int
    failed: int
    running: int
    trials: int
    seconds: float
    share: float
    best: float | None
    family: str | None

    @property
    def finished(self) -> int:
        """Trials that count against the limit."""
        return self.done + self.pruned + self.failed


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        metric: The name of the metric that decided.
        best: The best complete trial.
        trials: All trials of the study by number, also stale ones and those of earlier sessions.
        done: Complete trials.
        pruned: Trials stopped early because they were behind.
        failed: Trials that raised.
        stopped_by: The limit that ended it.
        reused: Nothing was left to do.
        resumed: Some trials had been done by an earlier session.
        lost: One sentence for each search process that died.
        seconds: Wall seconds of this session.
    """

    metric: str
    best: TrialRecord
    trials: tuple[TrialRecord, ...]
    done: int
    pruned: int
    failed: int
    stopped_by: Literal["trials", "minutes"]
    reused: bool
    resumed: bool
    lost: tuple[str, ...]
    seconds: float

    @property
    def family(self) -> str:
        """The best trial's family."""
        return self.best.family

    @property
    def params(self) -> dict[str, Any]:
        """Parameters that reproduce the best fit, rounds or epochs included."""
        return self.best.fitted or self.best.params

    @property
    def score(self) -> float:
        """The best score on the validation rows."""
        return float("nan") if self.best.score is None else self.best.score

    @property
    def said(self) -> str:
        """The search in one or two sentences."""
        counts = [f"{self.done} complete", f"{self.pruned} pruned"] + ([f"{self.failed} failed"] if self.failed else [])
        when = (
            "done before" if self.reused else f"{self.seconds:.0f} s, {'resumed' if self.resumed else 'from scratch'}"
        )
        best = f"Best: {self.family} with {self.metric} {self.score:.4g} in trial {self.best.number}."
        return " ".join([f"{', '.join(counts)} ({when}).", best, *self.lost])


def search(spec: SearchSpec, progress: Callable[[Progress], None] | None = None) -> SearchResult:
    """Try families and parameters until `trials` or `minutes` are used up, and return the best.

    Finished trials stay in the study's folder: the same spec after a kill -9, or Ctrl-C, goes on where it stopped, and
    returns at once when nothing is left to do. Trials whose process died are failed and done again.

    Args:
        spec: The search.
        progress: Called at most about once a second, and at the end.

    Raises:
        NotFound: An unknown family or problem.
        BadProject: A family does not learn the problem.
        BadData: Every trial failed; the message is the first one's reason.
        Unavailable: Every search process died, or the folder cannot be written.
    """
    started = time.monotonic()
    try:
        Path(spec.folder).mkdir(parents=True, exist_ok=True)
        return _search(spec, progress or _ignore, started)
    except ProcessLookupError as error:  # a worker that was just killed, seen in the act
        raise Unavailable(
            f"A worker of the search died by SIGKILL: {error}. Run it again: finished trials are kept."
        ) from error
    except OSError as error:
        raise Unavailable(
            f"The search cannot use {spec.folder}: {error.strerror or error}. Mend that and run it again: "
            "finished trials are kept."
        ) from error


def _search(spec: SearchSpec, progress: Callable[[Progress], None], started: float) -> SearchResult:
    from treadle.families import check_families
    from treadle.learning import study as studies
    from treadle.learning.searchers import search_beside

    check_families(spec.families, spec.problem)  # told of here, not by processes
    study = studies.open_study(spec)
    studies.fail_stale(study, spec)
    before = studies.count_spent(study)
    lost: tuple[str, ...] = ()
    told = _Told(lambda: progress(_progress(study, spec, started)))
    if not (reused := studies.is_finished(study, spec)):
        deadline = time.time() + studies.seconds_left(study, spec)
        if min(spec.workers, spec.trials - before) <= 1:
            _search_here(spec, study, deadline, told.soon)
        else:
            lost = search_beside(spec, study, deadline, told.soon)
        studies.mark_finished(study, spec)
    told.now()
    return _result(study, spec, reused=reused, resumed=before > 0, lost=lost, seconds=time.monotonic() - started)


class _Told:
    """Tells of progress, at most once a second: who listens may be slow, and no trial shall wait for that."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell, self._last = tell, 0.0

    def soon(self) -> None:
        if time.monotonic() - self._last >= 1:
            self.now()

    def now(self) -> None:
        self._tell()
        self._last = time.monotonic()


def _search_here(spec: SearchSpec, study: optuna.Study, deadline: float, told: Callable[[], None]) -> None:
    """Search in this process, on one thread as the others do."""
    from threadpoolctl import threadpool_limits

    from treadle.learning.trial import work

    with threadpool_limits(1):
        work(spec, study, index=0, deadline=deadline, after=told)


def _progress(study: optuna.Study, spec: SearchSpec, started: float) -> Progress:
    from treadle.learning import study as studies

    trials = studies.records(study)
    counts = _counts(trials)
    best = _best(trials, studies.is_maximized(study))
    seconds = time.monotonic() - started
    spent = counts["complete"] + counts["pruned"] + counts["failed"]
    return Progress(
        done=counts["complete"],
        pruned=counts["pruned"],
        failed=counts["failed"],
        running=counts["running"],
        trials=spec.trials,
        seconds=seconds,
        share=min(1.0, max(spent / spec.trials, seconds / (spec.minutes * 60))),
        best=best.score if best else None,
        family=best.family if best else None,
    )


def _result(
    study: optuna.Study, spec: SearchSpec, *, reused: bool, resumed: bool, lost: tuple[str, ...], seconds: float
) -> SearchResult:
    from treadle.learning import study as studies

    trials = studies.records(study)
    counts = _counts(trials)
    best = _best(trials, studies.is_maximized(study))
    if best is None:
        studies.forget(study)
        reasons = [trial.reason for trial in trials if trial.state == "failed" and trial.reason]
        raise BadData(
            f"Every trial of {spec.project} failed; the first: {reasons[0] if reasons else 'no reason given.'}"
        )
    spent = counts["complete"] + counts["pruned"] + counts["failed"]
    return SearchResult(
        metric=spec.metric,
        best=best,
        trials=trials,
        done=counts["complete"],
        pruned=counts["pruned"],
        failed=counts["failed"],
        stopped_by="trials" if spent >= spec.trials else "minutes",
        reused=reused,
        resumed=resumed,
        lost=lost,
        seconds=seconds,
    )


def _counts(trials: tuple[TrialRecord, ...]) -> dict[str, int]:
    states = ("complete", "pruned", "failed", "stale", "running")
    return {state: sum(trial.state == state for trial in trials) for state in states}


def _best(trials: tuple[TrialRecord, ...], maximize: bool) -> TrialRecord | None:
    """The best complete trial; the earlier of two equals."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.score is not None]
    sign = -1 if maximize else 1
    return min(complete, key=lambda trial: sign * (trial.score or 0.0), default=None)


def _ignore(_: Progress) -> None:
    return None
