"""Load: the project's source, read, conformed to its fixed schema, and kept as a snapshot."""

from __future__ import annotations

from prefect.artifacts import create_table_artifact

from tasks.step import step
from treadle.errors import BadProject, nearest
from treadle.families import check_families
from treadle.models.tracking import log_dataset
from treadle.problems import load_problem, pick_metric
from treadle.project import Project, load_project
from treadle.retraining.turn import Rows, Turn
from treadle.settings import Settings
from treadle.tables.data import conform, digest, load_schema, read_source, snapshot
from treadle.tables.schema import Schema


@step("load data", retries=2)
def load_data(turn: Turn) -> Rows:
    """Read the source and keep it as a snapshot named by its content.

    Returns:
        The snapshot; its digest is logged to MLflow as the run's dataset.

    Raises:
        NotFound: `train.families` names one that is not there.
        BadProject: It names one that does not learn the problem, or a group for fairness is no column.
    """
    settings = Settings()
    project = load_project(turn.project, settings)
    schema = load_schema(project)
    _check_group(project, schema)
    check_families(project.train.families, project.problem)
    frame = conform(read_source(project), schema)
    rows = Rows(snapshot(frame, settings, project.name), len(frame), digest(frame))
    schema.save(turn.path("schema.json"))
    turn.write("metric.json", pick_metric(load_problem(project.problem), project.promote.metric))
    log_dataset(
        settings,
        turn.run_id,
        frame,
        name=project.name,
        source=project.data.source,
        target=schema.target,
        digest=rows.digest,
    )
    create_table_artifact(
        key=f"{project.name}-columns",
        table=[{"column": c.name, "kind": c.kind, "missing": "yes" if c.nullable else "no"} for c in schema.columns],
        description=f"{rows.rows:,} rows from `{project.data.source}`, digest `{rows.digest[:12]}`",
    )
    return rows


def _check_group(project: Project, schema: Schema) -> None:
    """Refuse a fairness floor for a column that is not there, before anything is trained."""
    rule, known = project.promote.fairness, [column.name for column in schema.columns]
    if rule is not None and rule.group not in known:
        raise BadProject(f"promote.fairness.group: no column '{rule.group}'.{nearest(rule.group, known)}")
