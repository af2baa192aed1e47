"""Tune: the search over families and their parameters; its trials become nested MLflow runs when it has ended."""

from __future__ import annotations

from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact

from tasks.step import step
from treadle.ledger import Ledger
from treadle.project import load_project
from treadle.registry import Registry
from treadle.search import Progress, SearchSpec, search
from treadle.settings import Settings
from treadle.tracking import log_trials
from treadle.turn import Best, Parts, Rows, Turn


@step("tune families")
def tune_families(
    turn: Turn, rows: Rows, parts: Parts, trials: int | None = None, minutes: float | None = None
) -> Best:
    """Search; a retrain starts from the champion's parameters and is short.

    A search that was killed goes on where it stopped: its study is named by the data, the split and the project.
    """
    settings = Settings()
    project = load_project(turn.project, settings)
    champion = Registry(settings, Ledger.open(settings)).champion_recipe(project.name)
    wanted = trials or (project.tune.retrain_trials if champion else project.tune.trials)
    spec = SearchSpec.of(
        project,
        settings,
        snapshot=rows.path,
        schema=str(turn.path("schema.json")),
        split=parts.path,
        trials=wanted,
        minutes=minutes or project.tune.minutes,
        start=[champion] if champion else [],
    )
    bar = create_progress_artifact(progress=0.0, key=f"{project.name}-search", description=f"0 of {wanted} trials")

    def show(progress: Progress) -> None:
        update_progress_artifact(
            artifact_id=bar,  # type: ignore[arg-type]
            progress=min(100.0, 100 * progress.finished / wanted),
            description=f"{progress.finished} of {wanted} trials, best {spec.metric} {progress.best}",
        )

    result = search(spec, show)
    log_trials(settings, turn.run_id, project.name, result.trials, metric=result.metric)
    create_table_artifact(
        key=f"{project.name}-trials",
        table=[
            {"trial": t.number, "family": t.family, "state": t.state, result.metric: t.score, "seconds": t.seconds}
            for t in result.trials
        ],
        description=result.said,
    )
    return Best(result.family, result.params, result.score, result.done, result.pruned)
