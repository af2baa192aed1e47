"""Every kind of change is found where it happens and named as what it is; the same window without it is quiet."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tasks.watch import _in_words
from treadle.drift import Reference, Window, judge
from treadle.pages.look import moved
from treadle.project import Watch
from treadle.tables.schema import Column

SEEDS = range(100, 106)
CLASSES = ("calm", "rough", "wild")


def look(world, scene, labelled=0, **options):
    return judge(world.reference, scene.window(labelled), world.columns, Watch(), **options)


def drifted(judgement):
    return {(f.kind, f.name) for f in judgement.findings if f.drifted}


def a_number_moves(s, rng):
    return s.but(size=s.rows["size"] + 6)


def values_go_missing(s, rng):
    return s.but(age=s.rows["age"].mask(rng.random(len(s.rows)) < 0.15))


def a_new_category_comes(s, rng):
    return s.but(plan=s.rows["plan"].mask(rng.random(len(s.rows)) < 0.15, "max"))


def a_category_vanishes(s, rng):
    return s.but(plan=s.rows["plan"].replace("pro", "basic"))


def truths_flip(s, rng):
    return s.but(member=1 - s.rows["member"])


def answers_move(s, rng):
    return replace(s, answers=s.answers + 1)


DRIFTS = [
    (a_number_moves, {("input", "size")}),
    (values_go_missing, {("missing", "age")}),
    (a_new_category_comes, {("categories", "plan")}),
    (a_category_vanishes, {("categories", "plan")}),
    (truths_flip, {("input", "member")}),
    (answers_move, {("prediction", "prediction")}),
]


@pytest.mark.parametrize(("change", "kinds"), DRIFTS, ids=[change.__name__ for change, _ in DRIFTS])
def test_what_moves_is_found_and_nothing_else(world, change, kinds):
    for seed in SEEDS:
        quiet = world.scene(400, seed)
        assert not drifted(look(world, quiet))
        found = look(world, change(quiet, np.random.default_rng(seed)))
        assert found.verdict == "drift", found.reason
        assert drifted(found) & kinds
        assert {name for _, name in drifted(found)} == {name for _, name in kinds}, found.reason
        assert "False alarms of this rule on" in found.reason


def a_larger_category_vanishes(s, rng):
    return s.but(plan=s.rows["plan"].replace("plus", "basic"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (a_new_category_comes, r"'max' of 'plan' was never seen in training: 1\d\.\d% of the rows"),
        (a_larger_category_vanishes, r"'plus' of 'plan' is gone, (30|29)\.\d% of the rows had it"),
    ],
    ids=["new", "vanished"],
)
def test_a_category_that_comes_or_goes_is_told_once(world, change, words):
    """Two comparisons see it: of the cells of the column, and of what is new or gone."""
    found = look(world, change(world.scene(1000, 100), np.random.default_rng(100)))
    assert drifted(found) == {("input", "plan"), ("categories", "plan")}
    assert len(re.findall(words, found.reason, re.IGNORECASE)) == 1
    assert found.reason.count("'plan'") == 1
    told = [one for one in moved(found.figures()) if one.name == "plan"]
    assert len(told) == 1
    assert re.match(words, told[0].words)
    assert len(_in_words(found)) == 1


def test_a_rare_category_that_grows_is_not_called_new(world):
    """The rare and the unseen share a cell; here it grows by the rare ones."""
    quiet = world.scene(1000, 100)
    rare = world.reference.rows["city"].value_counts().index[60]
    cities = [
        rare if n % 4 == 0 else f"stranger {n}" if n % 50 == 1 else city for n, city in enumerate(quiet.rows["city"])
    ]
    found = look(world, quiet.but(city=cities))
    assert "are and new categories of 'city' together went from" in found.reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (a_number_moves, r"'size' is 56\.\d+ on average, (50|49)\.\d+ was normal \(\+0\.\d\d standard deviations\)"),
        (truths_flip, r"'member' is 'true' in (5|6)\d\.\d% of the rows, (3|4)\d\.\d% was normal"),
        (answers_move, r"What the model answers is 6\.\d+ on average, 5\.\d+ was normal"),
        (a_category_vanishes, r"'pro' of 'plan' is gone, (9|10)\.\d% of the rows had it"),
    ],
)
def test_what_moved_is_told_in_values_that_people_know(world, change, words):
    found = look(world, change(world.scene(1000, 100), np.random.default_rng(100)))
    assert re.search(words, found.reason), found.reason


def test_values_of_a_column_that_is_not_to_be_told_are_not(world):
    rng = np.random.default_rng(100)
    for change, value, words in (
        (a_number_moves, "56", "'size' moved by +0."),
        (a_new_category_comes, "max", "1 category of 'plan' that training never saw"),
        (a_larger_category_vanishes, "plus", "a category of 'plan' is gone"),
    ):
        found = look(world, change(world.scene(1000, 100), rng), untold={"plan", "size"})
        assert found.verdict == "drift"
        assert words.lower() in found.reason.lower()
        assert value not in found.reason


def test_a_new_category_is_named_once_some_rows_share_it(world):
    """What one row alone has may say whose it is."""
    quiet = world.scene(400, 100)
    plans = [f"only {n}" if n % 8 == 0 else "gold" if n % 9 == 0 else plan for n, plan in enumerate(quiet.rows["plan"])]
    found = look(world, quiet.but(plan=plans))
    assert "51 categories of 'plan' that training never saw (such as 'gold'):" in found.reason
    assert "only " not in found.reason


def test_the_probability_that_moved_is_told_with_its_class(world):
    quiet = world.scene(400, 100)
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([5, 3, 2], 2000)
    reference = replace(world.reference, answers=shares, targets=None)
    moved = replace(quiet.window(), answers=rng.dirichlet([2, 3, 5], 400))
    found = judge(reference, moved, world.columns, Watch(), classes=CLASSES)
    assert drifted(found) == {("prediction", "prediction")}
    words = r"The probability of '(calm|wild)' that the model answers is \d\d\.\d% on average, \d\d\.\d% was normal"
    assert re.search(words, found.reason), found.reason


def test_labels_that_fall_otherwise_are_target_drift(world):
    for seed in SEEDS:
        quiet = world.scene(400, seed)
        assert not drifted(look(world, quiet, labelled=45))
        found = look(world, replace(quiet, targets=quiet.targets + 3), labelled=45)
        assert drifted(found) == {("target", "target")}
        assert found.verdict == "drift"


def test_classes_that_fall_otherwise_are_target_drift(world):
    rng = np.random.default_rng(5)
    reference = replace(world.reference, targets=rng.integers(0, 3, 2000), answers=None)
    window = replace(world.scene(400, 7).window(45), answers=None, targets=rng.integers(0, 3, 45))
    assert not drifted(judge(reference, window, world.columns, Watch(), classes=CLASSES))
    flipped = replace(window, targets=np.zeros(45, dtype=np.int64))
    found = judge(reference, flipped, world.columns, Watch(), classes=CLASSES)
    assert drifted(found) == {("target", "target")}
    assert re.search(r"'calm' went from 3\d\.\d% to 100\.0% of the labels", found.reason)


def test_a_growing_loss_is_a_quality_loss_while_inputs_stay(world):
    for seed in SEEDS:
        quiet = world.scene(400, seed)
        same = look(world, quiet, labelled=336)
        assert same.verdict == "ok"
        assert same.quality is not None
        found = look(world, replace(quiet, losses=quiet.losses * 1.6), labelled=336)
        assert found.verdict == "quality-loss"
        assert ("quality", "loss") in drifted(found)


def test_one_bad_slice_is_a_quality_loss_while_the_mean_holds(world):
    for seed in SEEDS:
        quiet = world.scene(800, seed)
        assert not drifted(look(world, quiet, labelled=800))
        bad = (quiet.rows["plan"] == "pro").to_numpy()
        good = np.where(bad, 3 * quiet.losses, quiet.losses * 0.75)
        found = look(world, replace(quiet, losses=good), labelled=800)
        assert found.quality.ratio < 1.15
        assert drifted(found) == {("segment", "plan = pro")}
        assert found.verdict == "quality-loss"
        assert "plan = pro" in found.reason


def test_no_slice_is_told_of_a_column_whose_values_may_not_be(world):
    quiet = world.scene(1000, 40)
    bad = quiet.rows["plan"].to_numpy() == "pro"
    scene = replace(quiet, losses=np.where(bad, 3 * quiet.losses, quiet.losses * 0.75))
    window = scene.window(labelled=800)
    told, untold = (judge(world.reference, window, world.columns, Watch(), untold=names) for names in ((), {"plan"}))
    assert any("plan" in finding.name for finding in told.findings if finding.kind == "segment")
    assert not any("plan" in finding.name for finding in untold.findings if finding.kind == "segment")
    assert any(finding.name == "plan" for finding in untold.findings), "it is compared all the same"
    assert "pro" not in repr([finding for finding in untold.findings if "plan" in finding.name])


def test_where_the_loss_grew_everywhere_only_a_slice_that_grew_by_more_is_named(world):
    quiet = world.scene(800, 400)
    everywhere = look(world, replace(quiet, losses=3 * quiet.losses), labelled=800)
    assert drifted(everywhere) == {("quality", "loss")}
    bad = (quiet.rows["plan"] == "pro").to_numpy()
    beyond = look(world, replace(quiet, losses=np.where(bad, 12, 1.5) * quiet.losses), labelled=800)
    assert drifted(beyond) == {("quality", "loss"), ("segment", "plan = pro")}
    assert "most of all where plan = pro, 1" in beyond.reason
    assert "most of all" not in everywhere.reason


def test_a_common_flow_of_new_categories_is_normal(world):
    """Ids that always come anew are no drift; as many of them as ever are expected, and fewer are a change."""
    rng = np.random.default_rng(3)
    ids = [f"id {i}" for i in range(5000)]
    reference = replace(world.reference, rows=world.reference.rows.assign(city=ids))
    quiet = world.scene(400, 8).but(city=[f"other {i}" for i in range(400)])
    found = judge(reference, quiet.window(), world.columns, Watch())
    assert not drifted(found)
    back = quiet.but(city=rng.choice(ids[:3], 400))
    assert ("categories", "city") in drifted(judge(reference, back.window(), world.columns, Watch()))


def test_long_tails_are_quiet():
    """Most categories of such a column are rare, and some of every window's are new."""

    def table(n, seed):
        return pd.DataFrame({"city": (np.random.default_rng(seed).zipf(1.3, n) % 50_000).astype(str)})

    nothing = np.empty(0), np.empty(0, dtype=np.int64)
    for seed in range(10):
        reference = Reference(table(5000, seed), False, *nothing)
        found = judge(
            reference, Window(table(1000, seed + 50), *nothing), [Column(name="city", kind="category")], Watch()
        )
        assert not drifted(found)


def six(n, rng):
    """Ten columns of six categories, of which one is rare."""
    shares = [0.4, 0.25, 0.15, 0.1, 0.08, 0.02]
    return pd.DataFrame({f"x{i}": rng.choice(list("abcdef"), n, p=shares) for i in range(10)})


SIX = [Column(name=f"x{i}", kind="category") for i in range(10)]
UNLABELLED = np.empty(0), np.empty(0, dtype=np.int64)


@pytest.mark.parametrize("rows", [30, 50])
def test_few_rows_of_categories_are_quiet(rows):
    """Among 30 quiet rows one of 15 % is absent by chance in each 130th column; the window says nothing by that."""
    rng = np.random.default_rng(rows)
    reference = Reference(six(5000, rng), False, *UNLABELLED)
    looks = [judge(reference, Window(six(rows, rng), *UNLABELLED), SIX, Watch(min_rows=30)) for _ in range(60)]
    assert sum(bool(drifted(found)) for found in looks) <= 1
    assert max(found.false_alarm_rate for found in looks) < 0.02


def test_a_fifth_of_300_rows_going_to_one_category_is_found():
    rng = np.random.default_rng(3)
    reference = Reference(six(5000, rng), False, *UNLABELLED)
    named = []
    for _ in range(30):
        rows = six(300, rng)
        moved = {name: rows[name].mask(rng.random(300) < 0.2, "b") for name in ("x0", "x1")}
        found = judge(reference, Window(rows.assign(**moved), *UNLABELLED), SIX, Watch())
        named.append(found.verdict == "drift" and drifted(found) <= {("input", "x0"), ("input", "x1")})
        assert "'b' of 'x" in found.reason
    assert sum(named) >= 27


def test_a_rare_category_that_grows_among_few_rows_is_found_and_named():
    """Of 60 rows of one that was 2 %, 16 are much for it alone, though little for the whole column."""
    rng = np.random.default_rng(5)
    reference = Reference(six(5000, rng), False, *UNLABELLED)
    rows = six(60, rng).assign(x4=["f"] * 16 + list(rng.choice(list("abcde"), 44)))
    found = judge(reference, Window(rows, *UNLABELLED), SIX, Watch(min_rows=30))
    assert drifted(found) == {("input", "x4")}
    assert "'f' of 'x4' went from 2" in found.reason


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("rows", [30, 300])
def test_the_rate_beside_the_alarm_counts_rows_that_say_something(rows, timed):
    """Half of every block is missing: its values are those of half as many rows, and a quiet stream's rate is still low."""
    rng = np.random.default_rng(rows)
    half = six(5000, rng).mask(rng.random((5000, 10)) < 0.5)
    window = six(rows, rng).mask(rng.random((rows, 10)) < 0.5)
    found = judge(Reference(half, timed, *UNLABELLED), Window(window, *UNLABELLED), SIX, Watch(min_rows=30))
    assert found.false_alarm_rate < 0.02


def test_frequent_categories_that_are_frequent_by_chance_are_quiet():
    """Of 50 equal categories the most frequent 24 of 300 rows are less so in all others, which is no drift."""

    def table(n, rng):
        return pd.DataFrame(rng.integers(0, 50, (n, 10))).astype("str").add_prefix("x")

    rng = np.random.default_rng(1)
    looks = []
    for _ in range(3):
        reference = Reference(table(300, rng), False, *UNLABELLED)
        looks += [judge(reference, Window(table(100, rng), *UNLABELLED), SIX, Watch()) for _ in range(15)]
    assert sum(bool(drifted(found)) for found in looks) <= 1
