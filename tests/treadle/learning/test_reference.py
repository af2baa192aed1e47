"""The reference says what error is normal, from rows that the fold had not seen; evidence is kept and forgotten."""

import numpy as np
import pandas as pd
import pytest

from treadle.learning.reference import keep_reference, load_reference, make_reference, reference_from
from treadle.models.evidence import Evidence
from treadle.problems import load_problem


class Memory:
    """Knows the rows it was fitted on by heart, and nothing else: out of fold it must fail."""

    def __init__(self, frame):
        self.known = dict(zip(frame["__row__"], frame["amount"], strict=True))

    def predict(self, frame):
        return np.array([self.known.get(row, 0.0) for row in frame["__row__"]])


def test_losses_are_out_of_fold_and_days_are_whole(toy, tmp_path):
    schema, frame = toy("tabular-regression")
    problem = load_problem("tabular-regression")
    seen = []

    def fit(rows):
        seen.append(set(rows["__at__"].dt.floor("D")))
        return Memory(rows)

    reference, judged, answer = make_reference(frame, schema, problem, "mae", fit, seed=0)
    assert np.array_equal(answer, np.zeros(len(judged)))
    assert np.allclose(reference.losses, judged["amount"].abs())
    assert all(len(days) < frame["__at__"].dt.floor("D").nunique() for days in seen)
    keep_reference(reference, tmp_path / "1")
    kept = load_reference(tmp_path / "1")
    assert np.array_equal(kept.losses, reference.losses)
    assert kept.timed
    assert kept.rows.equals(reference.rows)
    assert np.array_equal(kept.answers, answer)
    assert np.array_equal(kept.targets, judged["amount"])
    assert kept.judged.equals(reference.rows.tail(len(judged)).reset_index(drop=True))
    assert load_reference(tmp_path / "2") is None


@pytest.mark.parametrize(("rows", "fits"), [(600, 5), (2400, 5), (3300, 4), (6000, 2)])
def test_a_fold_leaves_four_fifths_of_the_rows_to_learn_from_and_no_more_folds_are_made(toy, rows, fits):
    schema, frame = toy("tabular-regression")
    long = pd.concat([frame] * 10, ignore_index=True).head(rows)
    long["__row__"] = [f"r{i}" for i in range(rows)]
    long["__at__"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(rows), unit="h")
    learned = []

    def fit(some):
        learned.append(len(some))
        return Memory(some)

    make_reference(long, schema, load_problem("tabular-regression"), "mae", fit, seed=0)
    assert len(learned) == fits
    assert min(learned) > 0.75 * rows  # days are whole, so a fold may leave out a few more


def test_a_version_that_was_turned_down_is_known_by_its_rehearsal(toy, tmp_path):
    schema, frame = toy("tabular-regression")
    judged = frame.iloc[40:80].sample(frac=1, random_state=0)
    answer = judged["amount"].to_numpy() + 1
    made = reference_from(
        frame.drop(index=judged.index), judged, answer, schema, load_problem("tabular-regression"), "mae"
    )
    assert np.allclose(made.losses, 1)
    assert len(made.rows) == len(frame)
    assert np.all(np.diff(made.loss_days) >= 0)
    keep_reference(made, tmp_path)
    kept = load_reference(tmp_path)
    assert np.allclose(kept.answers, made.answers)
    assert kept.judged.equals(made.rows.tail(len(judged)).reset_index(drop=True))


def test_the_holdout_is_frozen_once(settings):
    evidence = Evidence(settings, "toy")
    assert evidence.holdout() is None
    evidence.freeze(["b", "a"])
    evidence.freeze(["c"])
    assert evidence.holdout() == {"a", "b"}
    evidence.keep_seen(3, ["x"])
    assert evidence.seen(3) == {"x"}
    assert evidence.seen(4) == set()
    evidence.forget()
    assert evidence.holdout() is None


def test_a_reference_of_an_earlier_release_is_read(toy, tmp_path):
    schema, frame = toy("tabular-regression")
    frame[["size", "plan"]].to_parquet(tmp_path / "reference.parquet", index=False)
    np.savez(tmp_path / "losses.npz", losses=np.ones(3), days=np.arange(3), timed=np.array([True]))
    kept = load_reference(tmp_path)
    assert (len(kept.losses), kept.answers, kept.targets, kept.judged) == (3, None, None, None)
    keep_reference(kept, tmp_path / "again")
    assert load_reference(tmp_path / "again").losses.tolist() == [1, 1, 1]


def test_rows_that_are_erased_take_their_losses_with_them(toy, tmp_path):
    schema, frame = toy("tabular-classification")
    problem = load_problem("tabular-classification")

    class Coin:
        def predict_proba(self, X):
            return np.column_stack([1 - X["member"].fillna(0) / 2, X["member"].fillna(0) / 2])

    reference, _, _ = make_reference(frame, schema, problem, "log_loss", lambda rows: Coin(), seed=0)
    keep_reference(reference, tmp_path)
    table = pd.read_parquet(tmp_path / "reference.parquet")
    table[table["plan"] != "basic"].to_parquet(tmp_path / "reference.parquet", index=False)
    kept = load_reference(tmp_path)
    stay = (reference.judged["plan"] != "basic").to_numpy()
    assert np.array_equal(kept.losses, reference.losses[stay])
    assert kept.answers.shape == (int(stay.sum()), 2)
    assert len(kept.judged) == len(kept.targets) == len(kept.losses)
