"""Register: the rehearsal's recipe fitted on all rows but the holdout, as MLflow model and as ONNX, if the two agree."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from prefect.artifacts import create_markdown_artifact

from tasks.evaluate import judge_part
from tasks.fit import Rehearsal, parts_of
from tasks.history import history_of, say_history
from tasks.promote import loses_at_once
from tasks.step import step
from tasks.steps import served_since_base
from treadle.drift import Reference
from treadle.families import load_family
from treadle.families.storage import TRUSTED, load_model
from treadle.learning.recipe import fit_recipe
from treadle.learning.reference import keep_reference, make_reference, reference_from
from treadle.ledger import Ledger
from treadle.models.bundle import Manifest, ManifestColumn, Smoke
from treadle.models.evidence import Evidence
from treadle.models.onnx_export import Parity, check_parity, frame_to_inputs, pack, run_onnx
from treadle.models.registry import Candidate, Registry
from treadle.models.tracking import log_metrics, log_model, log_text, set_tags
from treadle.pages.card import Card, Score, render_card
from treadle.privacy import check_columns
from treadle.problems import load_problem, pick_metric
from treadle.project import Project, load_project
from treadle.quality.estimator import make_estimator
from treadle.quality.storage import keep_estimator, with_losses
from treadle.quality.use import column_use
from treadle.retraining.turn import Registered, Rows, Scores, Turn
from treadle.settings import CHECKOUT, Settings
from treadle.tables.data import AT, ROW
from treadle.tables.labeling import audit_labels
from treadle.tables.schema import Schema

SMOKE_ROWS = 5
BACKGROUND_ROWS = 25
LEARNED = ("train", "valid", "test")


@step("register model")
def register_model(turn: Turn, rows: Rows, rehearsal: Rehearsal, scores: Scores) -> Registered:
    """Refit on everything that may be learned from, convert, compare, and register both forms as one version.

    Returns:
        The version; or none and the reason, if the ONNX disagrees with the model.
    """
    settings = Settings()
    project = load_project(turn.project, settings)
    schema = Schema.load(turn.path("schema.json"))
    problem = load_problem(project.problem)
    learned = parts_of(turn, rows, *LEARNED)
    unseen = parts_of(turn, rows, "holdout")
    model = _refit(turn, project, schema, rehearsal, learned)
    graph = load_family(rehearsal.family).to_onnx(model, schema)
    onnx_bytes = graph.SerializeToString()
    y = problem.encode_target(learned[schema.target], schema)
    held = unseen if len(unseen) else learned.tail(1000)
    parity = check_parity(model, onnx_bytes, held, schema, problem, float(np.std(y)))
    log_metrics(settings, turn.run_id, {"parity": parity.used, "onnx_kb": len(onnx_bytes) / 1024})
    if not parity.ok:
        return Registered(None, parity.used, _refusal(parity))
    held_out = _held_out(project, schema, model, unseen)
    log_metrics(settings, turn.run_id, {f"holdout_{name}": value for name, value in held_out.items()})
    metric = pick_metric(problem, project.promote.metric)
    manifest = make_manifest(project, schema, rehearsal.family, metric, scores, rows, learned, onnx_bytes)
    tags = _tags(project, rows)
    set_tags(settings, turn.run_id, tags | {"family": rehearsal.family})
    candidate = Candidate(
        run_id=turn.run_id,
        model_uri=log_model(settings, turn.run_id, model, schema, TRUSTED),
        family=rehearsal.family,
        params=rehearsal.params,
        metrics=scores.metrics,
        onnx_bytes=onnx_bytes,
        packed=pack(graph, model[0], frame_to_inputs(held, schema.features)),
        manifest=manifest,
        data_until=_until(learned),
        tags=tags,
    )
    version = Registry(settings, Ledger.open(settings)).register(project.name, candidate)
    _keep_evidence(turn, rows, project, schema, rehearsal, version, scores)
    card = _card(turn, project, schema, rehearsal, scores, rows, learned, version, held_out, parity)
    log_text(settings, turn.run_id, card, "model-card.md")
    create_markdown_artifact(key=f"{project.name}-card", markdown=card, description=f"Model card of version {version}")
    return Registered(
        version, parity.used, f"ONNX agrees: {parity.used:.2%} of the allowed difference on {parity.rows:,} rows."
    )


def _refit(turn: Turn, project: Project, schema: Schema, rehearsal: Rehearsal, learned: pd.DataFrame) -> Any:
    """The recipe on all that may be learned from; where no such row judged the rehearsal, that is what the rehearsal is."""
    if judge_part(turn) == "holdout":
        return load_model(rehearsal.path)
    return fit_recipe(project, schema, learned, rehearsal.family, rehearsal.params, history_of(turn))


def _refusal(parity: Parity) -> str:
    return (
        f"The ONNX differs from the model by up to {parity.max_difference:.3g} on {parity.rows:,} rows, "
        f"{parity.used:.1f} times what is allowed: the version is refused."
    )


def _held_out(project: Project, schema: Schema, model: Any, unseen: pd.DataFrame) -> dict[str, float]:
    """The final model's metrics on the frozen holdout, reported beside the gate."""
    if not len(unseen):
        return {}
    problem = load_problem(project.problem)
    y, answer = problem.encode_target(unseen[schema.target], schema), problem.predict(model, unseen)
    return {name: metric.score(y, answer) for name, metric in problem.metrics.items()}


def make_manifest(
    project: Project, schema: Schema, family: str, metric: str, scores: Scores, rows: Rows,
    learned: pd.DataFrame, onnx_bytes: bytes,
) -> Manifest:  # fmt: skip
    """What the bundle says of itself, with rows of `learned` and the ONNX's own answers to them.

    Of personal columns it has no value: in its rows they are not known.
    """
    named = [*project.privacy.columns, *filter(None, [project.privacy.subject])]
    check_columns(named, [column.name for column in schema.columns])
    schema = schema.without_values(project.privacy.personal)
    hidden = [column.name for column in schema.features if column.name in project.privacy.personal]
    learned = learned.assign(**{name: learned[name].mask(learned[name].notna()) for name in hidden})
    sample = learned.sample(min(SMOKE_ROWS, len(learned)), random_state=project.split.seed)
    background = learned.sample(min(BACKGROUND_ROWS, len(learned)), random_state=project.split.seed + 1)
    answers = run_onnx(onnx_bytes, frame_to_inputs(sample, schema.features)).reshape(len(sample), -1)
    smoke = [
        Smoke(_wire(row, schema), tuple(map(float, a))) for (_, row), a in zip(sample.iterrows(), answers, strict=True)
    ]
    until = _until(learned)
    return Manifest(
        model=project.name,
        problem=project.problem,
        family=family,
        columns=tuple(
            ManifestColumn(c.name, c.kind, c.nullable, c.categories, c.tokens, c.format, c.low, c.high, c.example)
            for c in schema.features
        ),
        target=schema.target,
        time=schema.time,
        classes=schema.classes,
        metric=metric,
        metrics=scores.metrics,
        smoke=tuple(smoke),
        redacted=project.privacy.redacted,
        background=tuple(_wire(row, schema) for _, row in background.iterrows()),
        data_digest=rows.digest,
        project_digest=project.digest,
        data_until=until.isoformat() if until else None,
        created_at=datetime.now(UTC).isoformat(),
    )


def _wire(row: pd.Series, schema: Schema) -> dict[str, Any]:
    """A row as a caller sends it: booleans are true and false, times ISO 8601, missing is null."""
    sent: dict[str, Any] = {}
    for column in schema.features:
        value = row[column.name]
        if pd.isna(value):
            sent[column.name] = None
        elif column.kind == "datetime":
            sent[column.name] = value.isoformat()
        elif column.kind == "boolean":
            sent[column.name] = bool(value)
        else:
            sent[column.name] = value if isinstance(value, str) else float(value)
    return sent


def _until(learned: pd.DataFrame) -> datetime | None:
    """Event time of the newest row learned from."""
    newest = learned[AT].max()
    return None if pd.isna(newest) else newest.to_pydatetime().replace(tzinfo=UTC)


def _tags(project: Project, rows: Rows) -> dict[str, str]:
    return {
        "data_digest": rows.digest,
        "project_digest": project.digest,
        "git_commit": _git_commit(),
        "seed": str(project.split.seed),
    }


def _git_commit() -> str:
    """The commit of this checkout; `unknown` when it is not one."""
    command = ["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _keep_evidence(
    turn: Turn, rows: Rows, project: Project, schema: Schema, rehearsal: Rehearsal, version: int, scores: Scores
) -> None:
    """What later judgements need: the rows seen, the frozen holdout, the reference, and the labels that look wrong."""
    settings = Settings()
    evidence = Evidence(settings, project.name)
    split = turn.read("split.json")
    evidence.freeze(split["holdout"])
    evidence.keep_seen(version, [row for part in (*LEARNED, "left_out") for row in split[part]])
    evidence.keep_history(version, turn.read("history.json"))
    problem = load_problem(project.problem)
    metric = pick_metric(problem, project.promote.metric)
    low, high = scores.intervals[metric]
    figures = {"metric": metric, "low": low, "high": high, "baseline": scores.baseline[metric]}
    evidence.keep_rehearsal(version, figures | {"search": turn.read("search.json")["kind"]})
    learned = parts_of(turn, rows, *LEARNED)
    reference, judged, answer = _reference(turn, rows, project, schema, rehearsal, learned)
    keep_reference(reference, evidence.of(version))
    _keep_estimator(turn, rows, project, schema, rehearsal, judged, answer, learned, evidence.of(version))
    if project.label.audit:
        y = problem.encode_target(judged[schema.target], schema)
        audit = audit_labels(judged, schema, y, answer)
        create_markdown_artifact(
            key=f"{project.name}-label-audit",
            markdown="\n".join([audit.said, "", *(_suspect(s) for s in audit.suspects[:20])]),
            description=audit.said,
        )
        turn.write("suspects.json", audit.suspects)


def _reference(
    turn: Turn, rows: Rows, project: Project, schema: Schema, rehearsal: Rehearsal, learned: pd.DataFrame
) -> tuple[Reference, pd.DataFrame, np.ndarray]:
    """What was normal, the judged rows and the answers to them: cross-validated, unless the version will be turned down.

    Of a step it is what was served since the steps began, as far as labels have come.
    """
    problem = load_problem(project.problem)
    metric = pick_metric(problem, project.promote.metric)
    judged = served_since_base(turn, project, schema) if turn.is_step else None
    if judged is None and loses_at_once(turn, rows, project):
        with np.load(turn.path("judged.npz")) as kept:
            judged = parts_of(turn, rows, judge_part(turn)), kept["answer"]
    if judged is not None:
        seen, answer = judged
        older = learned[~learned[ROW].isin(seen[ROW])]
        return reference_from(older, seen, answer, schema, problem, metric), seen, answer
    history = history_of(turn)
    return make_reference(
        learned,
        schema,
        problem,
        metric,
        lambda frame: fit_recipe(project, schema, frame, rehearsal.family, rehearsal.params, history),
        seed=project.split.seed,
    )


def _keep_estimator(
    turn: Turn, rows: Rows, project: Project, schema: Schema, rehearsal: Rehearsal,
    judged: pd.DataFrame, answer: np.ndarray, learned: pd.DataFrame, folder: Path,
) -> None:  # fmt: skip
    """What estimates the version's quality until labels come, from the columns that the ledger will have of its rows."""
    problem = load_problem(project.problem)
    metric = pick_metric(problem, project.promote.metric)
    columns = [column.name for column in schema.features if column.name not in project.privacy.redacted]
    unseen = parts_of(turn, rows, judge_part(turn))
    model = load_model(rehearsal.path)
    uses = column_use(
        problem,
        metric,
        lambda frame: problem.predict(model, frame),
        unseen,
        problem.encode_target(unseen[schema.target], schema),
        columns,
        project.split.seed,
    )
    estimator = make_estimator(judged, answer, learned, schema, problem, metric, uses, project.split.seed)
    if estimator is not None:
        losses = problem.row_losses(metric, problem.encode_target(judged[schema.target], schema), answer)
        kept = {use.name for use in uses if use.matters}
        subject = project.privacy.subject
        if subject is not None and subject in judged:
            kept.add(subject)  # so that a subject's rows can be found, and erased
        keep_estimator(estimator, with_losses(judged, sorted(kept), losses), folder)


def _suspect(suspect: dict[str, Any]) -> str:
    return f"- row `{suspect['row']}`: given {suspect['given']}, the model says {suspect['suggested']} (doubt {suspect['doubt']})"


def _card(
    turn: Turn, project: Project, schema: Schema, rehearsal: Rehearsal, scores: Scores, rows: Rows,
    learned: pd.DataFrame, version: int, held_out: dict[str, float], parity: Parity,
) -> str:  # fmt: skip
    problem = load_problem(project.problem)
    first, last = learned[AT].min(), learned[AT].max()
    refit = turn.updated
    return render_card(
        Card(
            model=project.name,
            version=version,
            problem=project.problem,
            family=rehearsal.family,
            params=rehearsal.params,
            metric=pick_metric(problem, project.promote.metric),
            schema=schema.without_values(project.privacy.personal),
            rows={name: len(ids) for name, ids in turn.read("split.json").items()},
            digest=rows.digest,
            since=None if pd.isna(first) else first.isoformat(),
            until=None if pd.isna(last) else last.isoformat(),
            scores=tuple(
                Score(name, value, *scores.intervals[name], scores.baseline[name])
                for name, value in scores.metrics.items()
            ),
            judged_on=scores.judged_on,
            holdout=held_out,
            slices=tuple(turn.read("slices.json")),
            parity=parity.max_difference,
            url=Settings().api_url,
            lineage={"MLflow run": turn.run_id}
            | _tags(project, rows)
            | ({"update of": f"version {refit}"} if refit else {}),
            quarantined=rows.quarantined,
            history=say_history(turn.read("history.json")),
        )
    )
