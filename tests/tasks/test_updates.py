"""A step between two refits goes on from the last refit, unless rows that it learned from are gone."""

from datetime import timedelta

import pytest

from tasks.fit import fit_model
from tasks.steps import followed_with
from tests.tasks.conftest import register
from tests.tasks.test_probation import SWAP
from treadle.families import load_family
from treadle.families.storage import load_model
from treadle.learning.history import Choice, History
from treadle.models.evidence import Evidence
from treadle.models.registry import Registry
from treadle.models.tracking import client, open_run
from treadle.problems import load_problem
from treadle.project import load_project
from treadle.retraining.steps import KIND, begun, followed_of
from treadle.retraining.turn import Best, Rows, Turn
from treadle.tables.data import ROW, snapshot
from treadle.tables.schema import Schema

FAMILY = "gradient-boosting"
KNEW, HELD = 400, 20


@pytest.fixture
def project(installation, monkeypatch):
    """The toy project, whose stream is followed by a tenth."""
    settings, _ = installation
    monkeypatch.setenv("TREADLE_HOME", str(settings.home))
    path = settings.projects_dir / "toy" / "project.yaml"
    before = path.read_text()
    path.write_text(f"{before}\nretrain: {{follow: 0.1}}\n")
    yield load_project("toy", settings)
    path.write_text(before)


@pytest.fixture
def recipe():
    return Best(FAMILY, load_family(FAMILY).defaults(load_problem("tabular-regression")) | {"rounds": 50}, 0.0, 0, 0)


@pytest.fixture
def refit(installation, project, ledger, recipe):
    """The champion: a model of the first rows that won its duel, so that the stream is followed from it on."""
    settings, frame = installation
    family, schema = load_family(FAMILY), Schema.load(project.folder / "schema.json")
    rows, problem = frame[:KNEW], load_problem(project.problem)
    y = problem.encode_target(rows[schema.target], schema)
    model = family.fit(rows, y, recipe.params, problem=problem, schema=schema, metric="mae").model
    version = register(settings, Registry(settings, ledger), schema, family, model)
    Evidence(settings, "toy").keep_seen(version, rows[ROW])
    figures = {KIND: dict(begun(version, KNEW, updates=True).figures())}
    ledger.promote("toy", version, None, reason="it won", figures=figures, at=SWAP)
    return version


@pytest.fixture
def stepped(installation, project, recipe):
    """Fits a step on rows of the table, without some of them; the turn and the fitted model."""
    settings, frame = installation

    def run(rows, *, without=(), is_step=True):
        table = frame[:rows].drop(index=list(without))
        held, ids = table[ROW].tolist()[:HELD], table[ROW].tolist()[HELD:]
        with open_run(settings, project, name="step", tags={}) as run_id:
            turn = Turn("toy", run_id, (SWAP + timedelta(days=1)).isoformat(), "stream-moves", 1, is_step)
            turn.write("split.json", {"train": ids, "valid": [], "test": [], "holdout": held, "left_out": []})
            turn.write("history.json", Choice(History(), (), "All.").figures())
            Schema.load(project.folder / "schema.json").save(turn.path("schema.json"))
            path = snapshot(table, settings, "toy")
            rehearsal = fit_model.fn(turn, Rows(str(path), len(table), "d" * 64), recipe)
        return turn, load_model(rehearsal.path).named_steps["model"]

    return run


def test_a_step_learns_on_from_the_last_refit_and_says_so(installation, project, ledger, refit, stepped):
    settings, _ = installation
    turn, model = stepped(KNEW + HELD + 30)
    assert turn.updated == refit
    assert model.booster_.num_trees() == 50 + 10
    assert client(settings).get_run(turn.run_id).data.tags["update_of"] == f"version {refit}"
    follows = followed_with(turn, project, followed_of(ledger, project, refit), refit + 1)
    assert (follows.version, follows.rows, follows.refit, follows.refit_rows) == (refit + 1, KNEW + 30, refit, KNEW)
    assert f"version {refit + 1}, of 430, an update of version {refit}" in follows.said


def test_once_the_rows_have_grown_enough_a_step_is_a_refit(project, ledger, refit, stepped):
    turn, model = stepped(KNEW + HELD + 80)
    assert turn.updated is None
    assert model.booster_.num_trees() == 50
    follows = followed_with(turn, project, followed_of(ledger, project, refit), refit + 1)
    assert (follows.refit, follows.refit_rows) == (refit + 1, KNEW + 80)


def test_rows_that_are_gone_are_unlearned_by_a_refit(refit, stepped):
    """They were erased, or whoever labelled them is in doubt by now; an update would keep what they taught."""
    turn, model = stepped(KNEW + HELD + 30, without=[KNEW - 1])
    assert turn.updated is None
    assert model.booster_.num_trees() == 50


def test_a_model_that_mlflow_has_no_more_is_fitted_anew(installation, refit, stepped):
    settings, _ = installation
    client(settings).delete_model_version("toy", str(refit))
    assert stepped(KNEW + HELD + 30)[0].updated is None


def test_what_is_no_step_is_fitted_anew(refit, stepped):
    assert stepped(KNEW + HELD + 30, is_step=False)[0].updated is None


def test_a_duel_that_is_won_begins_with_updates_where_the_family_can(installation, project, ledger, refit, stepped):
    turn, _ = stepped(KNEW + HELD + 30, is_step=False)
    won = Turn(turn.project, turn.run_id, turn.at, "quality-loss", 1)
    assert followed_with(won, project, None, refit) == begun(refit, KNEW + 30, updates=True)
    assert not followed_with(won, project, None, 1).updates  # a linear model is fitted in no time
