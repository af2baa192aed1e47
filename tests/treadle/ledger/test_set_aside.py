"""Labels by key: bursts that contradict the model are set aside, drift that all keys see is not, and people settle it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.answered import answered
from treadle.errors import Conflict, NotFound
from treadle.ledger import Feedback, Ledger
from treadle.ledger.audit import last as audit
from treadle.ledger.set_aside import batches, drop, release
from treadle.project import Project
from treadle.retraining.suspicion import FUTURE, Losses, examine, examine_served, suspects
from treadle.settings import Settings

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
PROJECT = Project.model_validate(
    {"name": "m", "problem": "tabular-classification", "data": {"source": "x.csv", "target": "y"}}
)
RULES = PROJECT.retrain


def give(ledger, key, n, wrong, at=NOW - timedelta(hours=5), seed=0, numbers=False):
    """`n` labels of a key at one moment; a share `wrong` of them contradicts the model."""
    rng = np.random.default_rng([seed, n])
    name = f"{key}{at:%m%d%H}"
    ledger.add_entries(
        [answered(f"{name}-{i}", "m", 1, at, "{}", '{"prediction": %s}' % (10.0 if numbers else '"yes"')) for i in range(n)]
    )  # fmt: skip
    if numbers:
        labels = np.where(rng.random(n) < wrong, -10.0, 10.0) + rng.normal(0, 1, n)
    else:
        labels = np.where(rng.random(n) < wrong, "no", "yes").tolist()
    given = [Feedback(f"{name}-{i}", label, at + timedelta(seconds=i % 60)) for i, label in enumerate(labels)]
    for begin in range(0, n, 1000):
        ledger.add_feedback("m", given[begin : begin + 1000], key_id=key)
    return [one.id for one in given]


@pytest.mark.parametrize("numbers", [False, True])
@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_one_key_that_flips_its_labels_is_set_aside_and_nobody_else(ledger, share, numbers):
    flipped = int(1000 * share)
    give(ledger, "shop", 600 - flipped // 2, 0.1, numbers=numbers)
    give(ledger, "till", 400 - flipped // 2, 0.12, numbers=numbers)
    give(ledger, "thief", flipped, 0.9, numbers=numbers)
    examined = examine(ledger, PROJECT, NOW)
    assert examined.labels == flipped
    assert len(ledger.labelled("m")) == 1000 - 2 * (flipped // 2)
    assert ledger.count_labelled_since("m", None) == 1000 - 2 * (flipped // 2)
    (batch,) = batches(ledger, "m")
    assert (batch.key_id, batch.labels) == ("thief", flipped)
    assert "contradict the model" in batch.reason
    assert [(row.what, row.after["labels"]) for row in audit(ledger.engine, 1)] == [("set labels aside", flipped)]
    assert examine(ledger, PROJECT, NOW).labels == 0


def test_a_burst_of_ten_thousand_does_not_make_the_others_look_wrong(ledger):
    give(ledger, "shop", 120, 0.1)
    give(ledger, "thief", 4000, 0.9)
    examine(ledger, PROJECT, NOW)
    assert {batch.key_id for batch in batches(ledger, "m")} == {"thief"}


def test_a_world_that_moves_for_all_keys_is_drift_and_no_suspicion(ledger):
    for week in range(1, 5):
        give(ledger, "shop", 200, 0.1, NOW - timedelta(days=7 * week + 1))
        give(ledger, "till", 200, 0.1, NOW - timedelta(days=7 * week + 1))
    give(ledger, "shop", 200, 0.6, seed=1)
    give(ledger, "till", 200, 0.65, seed=1)
    assert examine(ledger, PROJECT, NOW).labels == 0


def test_one_key_alone_and_no_keys_are_not_compared_with_anybody(ledger):
    give(ledger, None, 300, 0.9)
    assert examine(ledger, PROJECT, NOW).labels == 0


def test_a_key_whose_rows_always_were_harder_is_no_suspect():
    rng = np.random.default_rng(3)
    hard = Losses((rng.random(400) < 0.4).astype(float), (rng.random(400) < 0.38).astype(float))
    easy = Losses((rng.random(400) < 0.1).astype(float), (rng.random(400) < 0.1).astype(float))
    assert suspects({"hard": hard, "easy": easy}, RULES) == []
    fresh = Losses(hard.recent, np.empty(0))
    assert [one.key for one in suspects({"hard": fresh, "easy": easy}, RULES)] == ["hard"]


def test_a_key_that_suddenly_gives_most_labels_is_allowed_half():
    rng = np.random.default_rng(4)
    loud = (rng.random(4000) < 0.2).astype(float)
    easy = Losses((rng.random(900) < 0.1).astype(float), (rng.random(900) < 0.1).astype(float))
    assert [one.key for one in suspects({"loud": Losses(loud, np.zeros(0)), "easy": easy}, RULES)] == ["loud"]
    assert suspects({"quiet": Losses(loud[:400], np.zeros(0)), "easy": easy}, RULES) == []


def test_two_liars_do_not_hide_behind_each_other():
    rng = np.random.default_rng(5)
    made = {key: Losses((rng.random(300) < p).astype(float), np.empty(0)) for key, p in
            (("a", 0.9), ("b", 0.8), ("c", 0.1), ("d", 0.1))}  # fmt: skip
    assert [one.key for one in suspects(made, RULES)] == ["a", "b"]


def test_honest_keys_are_hardly_ever_suspected():
    """400 seeded pairs of keys that differ by chance alone, at every size."""
    rng = np.random.default_rng(6)
    wrong = 0
    for _ in range(400):
        n, m, p = int(rng.integers(20, 2000)), int(rng.integers(50, 2000)), rng.uniform(0.02, 0.5)
        made = {"a": (rng.random(n) < p).astype(float), "b": (rng.random(m) < p).astype(float)}
        wrong += len(suspects({key: Losses(values, np.empty(0)) for key, values in made.items()}, RULES))
    assert wrong == 0


def test_labels_dated_in_the_future_are_set_aside(ledger):
    moment = datetime.now(UTC)
    ledger.add_entries([answered(f"p{i}", "m", 1, moment, "{}", '{"prediction": "yes"}') for i in range(2)])
    ledger.add_feedback("m", [Feedback("p0", "yes", moment), Feedback("p1", "yes", moment + timedelta(days=30))])
    assert examine(ledger, PROJECT, moment).reasons == (FUTURE,)
    assert [row.id for row in ledger.labelled("m")] == ["p0"]


def test_a_person_releases_labels_and_they_are_not_set_aside_again(ledger):
    give(ledger, "shop", 300, 0.1)
    mine = give(ledger, "thief", 100, 0.9)
    examine(ledger, PROJECT, NOW)
    with pytest.raises(NotFound, match="No labels of batch 7 of .m. are"):
        release(ledger, "m", "ann", 7)
    assert release(ledger, "m", "ann", 1) == 100
    assert {row.id for row in ledger.labelled("m")} >= set(mine)
    assert examine(ledger, PROJECT, NOW).labels == 0
    assert audit(ledger.engine, 1)[0].what == "release labels"
    with pytest.raises(NotFound, match="No labels of 'm' are set aside"):
        release(ledger, "m", "ann")


def test_a_person_drops_labels_and_better_ones_may_come(ledger):
    give(ledger, "shop", 300, 0.1)
    mine = give(ledger, "thief", 100, 0.9)
    examine(ledger, PROJECT, NOW)
    assert drop(ledger, "m", "ann") == 100
    assert batches(ledger, "m") == []
    assert ledger.add_feedback("m", [Feedback(mine[0], "yes", NOW)], key_id="shop").accepted == 1


def test_a_label_that_is_set_aside_is_known_still(ledger):
    give(ledger, "shop", 300, 0.1)
    mine = give(ledger, "thief", 100, 1.0)
    examine(ledger, PROJECT, NOW)
    assert ledger.add_feedback("m", [Feedback(mine[0], "no", NOW)], key_id="thief").repeated == 1
    with pytest.raises(Conflict):
        ledger.add_feedback("m", [Feedback(mine[0], "yes", NOW)], key_id="shop")


def test_looks_far_apart_leave_no_label_unseen(ledger):
    give(ledger, "shop", 300, 0.1, NOW - timedelta(days=30))
    examine(ledger, PROJECT, NOW - timedelta(days=29))
    give(ledger, "shop", 300, 0.1, NOW - timedelta(days=20))
    give(ledger, "thief", 100, 0.9, NOW - timedelta(days=20))
    assert examine(ledger, PROJECT, NOW).labels == 100


def test_what_is_set_aside_goes_with_its_prediction_and_its_model(ledger):
    give(ledger, "shop", 300, 0.1)
    give(ledger, "thief", 100, 0.9)
    examine(ledger, PROJECT, NOW)
    ledger.prune(datetime.now(UTC) + timedelta(days=1))
    assert batches(ledger, "m") == []
    give(ledger, "shop", 300, 0.1)
    give(ledger, "thief", 100, 0.9)
    examine(ledger, PROJECT, NOW)
    ledger.forget("m")
    assert batches(Ledger(ledger.engine), "m") == []


def test_a_service_examines_labels_where_it_has_the_project(tmp_path):
    settings = Settings(home=tmp_path)
    ledger, now = Ledger.open(settings), datetime.now(UTC)
    give(ledger, "shop", 300, 0.1, now - timedelta(minutes=5))
    give(ledger, "thief", 100, 0.9, now - timedelta(minutes=5))
    examine_served(settings, ledger, "m")
    assert batches(ledger, "m") == []
    (settings.projects_dir / "m").mkdir(parents=True)
    text = "name: m\nproblem: tabular-classification\ndata: {source: x.csv, target: y}\n"
    (settings.projects_dir / "m" / "project.yaml").write_text(text)
    later = give(ledger, "shop", 300, 0.1, now - timedelta(hours=2))
    examine_served(settings, ledger, "m")
    assert [batch.key_id for batch in batches(ledger, "m")] == ["thief"]
    assert {row.id for row in ledger.labelled("m")} >= set(later)
