"""Which labelled rows judge a version: never one that it may have learned from."""

import numpy as np
import pytest

from treadle.promotion.hindsight import judging

DAYS = np.arange("2024-01-01", "2024-01-11", dtype="datetime64[D]").astype("datetime64[us]")


@pytest.mark.parametrize("seed", range(20))
def test_no_row_that_it_may_have_learned_from_judges_it_by_another_versions_answers(seed):
    rng = np.random.default_rng(seed)
    by, times, until = rng.integers(0, 4, 200), rng.choice(DAYS, 200), rng.choice(DAYS)
    judge = judging(3, by, times, until)
    others = judge & (by != 3)
    assert (times[others] > until).all()
    assert (by[judge] > 0).all()
    assert judge[by == 3].all()
    assert judge.sum() == (by == 3).sum() + ((by > 0) & (by != 3) & (times > until)).sum()


def test_without_the_time_until_which_it_learned_only_its_own_answers_judge():
    assert judging(2, np.array([1, 2, 0]), DAYS[:3], None).tolist() == [False, True, False]
