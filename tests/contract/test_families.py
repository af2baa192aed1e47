"""Every family, by every problem it serves, through the same checks."""

import numpy as np
import pandas as pd
import pytest

from treadle.errors import BadData, BadProject, NotFound
from treadle.families import FAMILIES, check_families, load_family
from treadle.families.protocol import Updating
from treadle.families.storage import load_model, save_model
from treadle.models.onnx_export import check_parity, frame_to_inputs, pack, run_onnx
from treadle.models.packing import Packer
from treadle.problems import PROBLEMS, load_problem

CASES = [(family, problem) for family in FAMILIES for problem in PROBLEMS if problem in load_family(family).problems]
UPDATING = [case for case in CASES if isinstance(load_family(case[0]), Updating)]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}:{case[1]}")
def case(request, toy):
    family, problem = load_family(request.param[0]), load_problem(request.param[1])
    schema, frame = toy(problem.name)
    y = problem.encode_target(frame[schema.target], schema)
    return family, problem, schema, frame, y


def fit(case, rows=slice(None), **options):
    family, problem, schema, frame, y = case
    params = options.pop("params", family.defaults(problem))
    arguments = {"problem": problem, "schema": schema, "metric": problem.default_metric, "seed": 3} | options
    return family.fit(frame[rows], y[rows], params, **arguments)


def test_learns_more_than_the_baseline(case):
    family, problem, schema, frame, y = case
    model = fit(case, slice(0, 450)).model
    metric = problem.metrics[problem.default_metric]
    answer = problem.predict(model, frame[450:])
    trivial = problem.baseline(y[:450], len(y) - 450)
    assert answer.shape == trivial.shape
    assert metric.gain(metric.score(y[450:], trivial), metric.score(y[450:], answer)) > 0


def test_probabilities_sum_to_one(case):
    family, problem, schema, frame, y = case
    answer = problem.predict(fit(case).model, frame)
    if schema.classes:
        assert np.allclose(answer.sum(axis=1), 1, atol=1e-5)
    assert np.isfinite(answer).all()


def test_same_seed_same_model(case):
    _, problem, _, frame, _ = case
    assert np.array_equal(problem.predict(fit(case).model, frame), problem.predict(fit(case).model, frame))


def test_saved_model_answers_the_same(case, tmp_path):
    _, problem, _, frame, _ = case
    model = fit(case).model
    save_model(model, tmp_path / "model.skops")
    assert np.array_equal(problem.predict(model, frame), problem.predict(load_model(tmp_path / "model.skops"), frame))


def hard_rows(frame):
    """10,000 rows with everything that is odd and allowed."""
    rng = np.random.default_rng(1)
    hard = frame.sample(10_000, replace=True, random_state=1).reset_index(drop=True)
    hard["size"] = hard["size"] + rng.normal(0, 5, len(hard))
    hard.loc[rng.random(len(hard)) < 0.2, "size"] = np.nan
    hard.loc[rng.random(len(hard)) < 0.1, "serial"] = 1e12 + 250.5
    hard.loc[rng.random(len(hard)) < 0.1, "member"] = np.nan
    hard.loc[rng.random(len(hard)) < 0.1, "plan"] = "never seen"
    hard.loc[rng.random(len(hard)) < 0.1, "plan"] = None
    hard["when"] = hard["when"] + pd.to_timedelta(rng.integers(0, 10**8, len(hard)), unit="s")
    hard.loc[rng.random(len(hard)) < 0.05, "when"] = pd.NaT
    return hard


def test_onnx_agrees_on_missing_unseen_and_large_values(case):
    family, problem, schema, frame, y = case
    model = fit(case).model
    onnx_bytes = family.to_onnx(model, schema).SerializeToString()
    parity = check_parity(model, onnx_bytes, hard_rows(frame), schema, problem, float(np.std(y)))
    assert parity.ok, parity
    assert parity.rows == 10_000


def test_the_packed_form_answers_bit_for_bit_as_the_plain_one(case):
    family, _, schema, frame, _ = case
    model = fit(case).model
    graph = family.to_onnx(model, schema)
    columns = frame_to_inputs(hard_rows(frame), schema.features)
    packed = pack(graph, model[0], columns)
    assert packed is not None
    assert packed.inputs.numbers == ("size", "serial", "member", "when")
    assert set(packed.inputs.levels) == {"plan"}
    quick = run_onnx(packed.onnx_bytes, Packer(packed.inputs).pack(columns))
    assert np.array_equal(quick, run_onnx(graph.SerializeToString(), columns))


def test_a_packed_form_that_answers_otherwise_is_left_out(case):
    family, problem, schema, frame, y = case
    graph = family.to_onnx(fit(case).model, schema)
    other = fit((family, problem, schema, frame.assign(size=frame["size"] * 3 + 7), y)).model[0]
    assert pack(graph, other, frame_to_inputs(frame, schema.features)) is None


def test_fitted_params_reproduce_without_valid_rows(case):
    family, problem, schema, frame, y = case
    steps = []
    first = fit(
        case, slice(0, 450), valid=(frame[450:], y[450:]), report=lambda step, score: steps.append((step, score))
    )
    again = fit(case, slice(0, 450), params=first.params)
    assert set(first.params) == set(family.defaults(problem))
    assert np.allclose(problem.predict(first.model, frame), problem.predict(again.model, frame), atol=1e-6)
    assert [step for step, _ in steps] == sorted({step for step, _ in steps})


def test_rows_count_as_their_weights_say(case):
    """Half of the rows say the opposite; where they count for nothing, the model believes the others."""
    family, problem, schema, frame, y = case
    opposite = 1 - y if schema.classes else 2 * y.mean() - y
    told = np.where(np.arange(len(y)) % 2 == 0, opposite, y)
    weights = np.where(np.arange(len(y)) % 2 == 0, 1e-6, 2.0)
    metric = problem.metrics[problem.default_metric]

    def score(**how):
        model = fit((family, problem, schema, frame, told), slice(0, 450), **how).model
        return metric.score(y[450:], problem.predict(model, frame[450:]))

    alike = score()
    assert metric.gain(alike, score(weights=weights[:450])) > 0
    assert score(weights=np.ones(450)) == pytest.approx(
        alike, rel=0.05
    )  # a forest of weighted rows splits ties otherwise


def test_a_sketch_is_a_recipe_of_the_family_and_learns_too(case):
    family, problem, schema, frame, y = case
    sketch = family.sketch(family.defaults(problem))
    assert set(sketch) == set(family.defaults(problem))
    metric = problem.metrics[problem.default_metric]
    answer = problem.predict(fit(case, slice(0, 450), params=sketch).model, frame[450:])
    trivial = problem.baseline(y[:450], len(y) - 450)
    assert metric.gain(metric.score(y[450:], trivial), metric.score(y[450:], answer)) > 0


def test_pruning_reaches_the_caller(case):
    family, _, _, frame, y = case
    if family.name not in ("gradient-boosting", "mlp"):
        pytest.skip("fits in one go")

    class PrunedError(Exception):
        pass

    def report(step, score):
        raise PrunedError

    with pytest.raises(PrunedError):
        fit(case, slice(0, 450), valid=(frame[450:], y[450:]), report=report)


def test_search_space_gives_known_params(case):
    import optuna

    family, problem, *_ = case
    params = family.search_space(optuna.create_study().ask(), problem)
    assert set(params) == set(family.defaults(problem))


def test_unknown_parameter_is_named(case):
    family, problem, *_ = case
    known = sorted(family.defaults(problem))[0]
    with pytest.raises(BadProject, match=f"'{known}x'.*Did you mean '{known}'"):
        fit(case, params=family.defaults(problem) | {f"{known}x": 1})


def test_no_rows_is_a_clear_error(case):
    with pytest.raises(BadData, match="no rows"):
        fit(case, slice(0, 0))


def test_a_class_without_rows_is_named(toy):
    problem = load_problem("tabular-classification")
    schema, frame = toy(problem.name)
    one = frame[frame["churned"] == "yes"]
    with pytest.raises(BadData, match="'no'"):
        load_family("linear").fit(
            one,
            problem.encode_target(one["churned"], schema),
            {"strength": 1.0},
            problem=problem,
            schema=schema,
            metric="auc",
        )


def test_a_family_that_does_not_learn_the_problem_is_refused(monkeypatch):
    monkeypatch.setattr("treadle.families.linear.Linear.problems", frozenset({"tabular-regression"}))
    check_families(["linear", "forest"], "tabular-regression")
    with pytest.raises(BadProject, match="'linear' does not learn tabular-classification; these do: gradient-boosting"):
        check_families(["forest", "linear"], "tabular-classification")


def test_unknown_family_suggests_the_nearest():
    with pytest.raises(NotFound, match="Did you mean 'gradient-boosting'"):
        load_family("gradient-bosting")


def test_a_model_file_with_a_stranger_in_it_is_not_opened(tmp_path):
    import skops.io

    skops.io.dump({"x": pd.Timedelta("1h")}, tmp_path / "odd.skops")
    with pytest.raises(BadData, match="does not open"):
        load_model(tmp_path / "odd.skops")


def moved(case):
    """The case in another world: numbers are half as large again, and each class is called by the next one's name."""
    family, problem, schema, frame, y = case
    return family, problem, schema, frame, (y + 1) % len(schema.classes) if schema.classes else 1.5 * y


@pytest.mark.parametrize("case", UPDATING, indirect=True, ids=lambda case: f"{case[0]}:{case[1]}")
def test_an_update_learns_the_new_world_and_leaves_the_model_that_it_goes_on_from(case, tmp_path):
    family, problem, schema, frame, _ = case
    *_, y = moved(case)
    before, params = fit(case).model, family.defaults(problem)
    answered = problem.predict(before, frame)
    after = family.update(before, frame[:400], y[:400], params, schema=schema, seed=3)
    metric = problem.default_metric
    losses = [problem.row_losses(metric, y[400:], problem.predict(m, frame[400:])).mean() for m in (before, after)]
    assert losses[1] < 0.8 * losses[0]
    assert np.array_equal(problem.predict(before, frame), answered)
    again = family.update(before, frame[:400], y[:400], params, schema=schema, seed=3)
    assert np.array_equal(problem.predict(after, frame), problem.predict(again, frame))
    save_model(after, tmp_path / "model.skops")
    assert np.array_equal(problem.predict(load_model(tmp_path / "model.skops"), frame), problem.predict(after, frame))
    onnx_bytes = family.to_onnx(after, schema).SerializeToString()
    assert check_parity(after, onnx_bytes, hard_rows(frame), schema, problem, float(np.std(y))).ok


@pytest.mark.parametrize("case", UPDATING, indirect=True, ids=lambda case: f"{case[0]}:{case[1]}")
def test_an_update_of_a_model_that_was_read_from_disk_is_the_same(case, tmp_path):
    family, problem, schema, frame, y = case
    model = fit(case).model
    save_model(model, tmp_path / "model.skops")
    ways = [
        family.update(one, frame[:200], y[:200], family.defaults(problem), schema=schema)
        for one in (model, load_model(tmp_path / "model.skops"))
    ]
    assert np.allclose(problem.predict(ways[0], frame), problem.predict(ways[1], frame), rtol=1e-12)


def test_an_update_may_miss_a_class(toy):
    """The newest rows of a stream need not have them all."""
    family, problem = load_family("gradient-boosting"), load_problem("tabular-classification")
    schema, frame = toy(problem.name)
    schema = schema.model_copy(update={"classes": ("a", "b", "c")})
    size = frame["size"].fillna(0).to_numpy()
    y = np.digitize(size, np.quantile(size, [1 / 3, 2 / 3]))
    params = family.defaults(problem)
    made = family.fit(frame, y, params, problem=problem, schema=schema, metric="log_loss").model
    after = family.update(made, frame[y > 0], 3 - y[y > 0], params, schema=schema)
    before, now = (problem.predict(model, frame[y == 2]).mean(axis=0) for model in (made, after))
    assert now[1] > before[1] + 0.3  # what was c is b in these rows
    alone = family.update(made, frame[y == 0], y[y == 0], params, schema=schema)
    assert np.isfinite(problem.predict(alone, frame)).all()


def test_an_update_says_what_it_cannot_learn_from(toy):
    family, problem = load_family("gradient-boosting"), load_problem("tabular-regression")
    schema, frame = toy(problem.name)
    y = np.abs(problem.encode_target(frame[schema.target], schema))
    params = family.defaults(problem)
    made = family.fit(frame, y, params, problem=problem, schema=schema, metric="mae").model
    with pytest.raises(BadData, match="below zero"):
        family.update(made, frame, -y - 1, params, schema=schema)
    with pytest.raises(BadData, match="no rows"):
        family.update(made, frame[:0], y[:0], params, schema=schema)
