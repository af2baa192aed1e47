"""The reference says what error is normal, from rows that the fold had not seen; evidence is kept and forgotten."""

import numpy as np

from treadle.evidence import Evidence
from treadle.problems import load_problem
from treadle.reference import keep_reference, load_reference, make_reference


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
    assert load_reference(tmp_path / "2") is None


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
