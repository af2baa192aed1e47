"""What is learned from: the back-test takes a shorter past only where it pays, and says what it tried."""

from datetime import timedelta

import numpy as np
import pytest

from treadle.learning.history import FOLDS, History, candidates, choose

DAYS = 400
TIMES = np.datetime64("2020-01-01") + np.arange(DAYS * 4) * np.timedelta64(6, "h")


def slope_fit(y, x):
    """Least squares through the origin, by weights: the whole of learning in these tests."""

    def fit(learn, weights, judge):
        w = np.ones(len(learn)) if weights is None else weights
        slope = np.sum(w * x[learn] * y[learn]) / np.sum(w * x[learn] ** 2)
        return np.abs(y[judge] - slope * x[judge])

    return fit


def world(slopes, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, len(TIMES))
    return slope_fit(slopes * x + rng.normal(0, noise, len(TIMES)), x)


def chosen(fit, times=TIMES, **options):
    how = {"horizon": timedelta(days=14), "seconds": 60.0} | options
    return choose(times, fit, **how)


def test_a_world_that_stays_is_learned_from_whole():
    """In 50 quiet worlds a shorter past is better by chance, and is not taken."""
    assert {chosen(world(np.full(len(TIMES), 2.0), seed)).history.name for seed in range(50)} == {"all"}


def test_a_world_that_changed_is_learned_from_as_it_is_now():
    choice = chosen(world(np.where(np.arange(len(TIMES)) < 1000, -2.0, 2.0)))
    assert choice.history.name != "all"
    errors = {tried.name: tried.error for tried in choice.tried}
    assert errors[choice.history.name] == min(errors.values()) < 0.9 * errors["all"]
    assert choice.history.name in choice.why
    assert f"{errors['all']:.4g}" in choice.why


def test_what_was_tried_is_told_with_its_folds():
    figures = chosen(world(np.full(len(TIMES), 2.0))).figures()
    assert figures["chosen"] == "all"
    assert [tried["name"] for tried in figures["tried"]] == [
        "all", "200d", "100d", "50d", "weighted 200d", "weighted 100d", "weighted 50d",
    ]  # fmt: skip
    assert all(len(tried["folds"]) in range(2, FOLDS + 1) for tried in figures["tried"])
    assert figures["tried"][0]["error"] == pytest.approx(np.mean(figures["tried"][0]["folds"]))


def test_weighted_tries_no_window():
    names = [tried.name for tried in chosen(world(np.linspace(-3, 3, len(TIMES))), rule="weighted").tried]
    assert names == ["all", "weighted 200d", "weighted 100d", "weighted 50d"]


def test_no_fold_learns_from_what_it_is_judged_on_or_from_later():
    seen = []

    def fit(learn, weights, judge):
        seen.append((TIMES[learn].max(), TIMES[judge].min(), len(np.intersect1d(learn, judge))))
        return np.full(
            len(judge), 2.0 if len(seen) % 7 == 1 else 1.0
        )  # `all`, the first of each fold, is behind the others

    chosen(fit)
    assert len(seen) == FOLDS * 7
    assert all(last < first and not both for last, first, both in seen)


def test_what_is_behind_all_history_runs_no_further():
    """Seven candidates twice; then one of them and `all`, which are ahead of the others, to the end."""
    asked = []

    def fit(learn, weights, judge):
        asked.append(len(learn))
        of_a_fold = len(asked) - 1 if len(asked) <= 14 else 14 + 3 * (len(asked) % 2 == 0)
        return np.full(len(judge), {0: 2.0, 3: 1.5}.get(of_a_fold % 7, 3.0))

    choice = chosen(fit)
    assert len(asked) == 2 * 7 + 3 * 2
    assert [len(tried.folds) for tried in choice.tried] == [5, 2, 2, 5, 2, 2, 2]
    assert choice.history.name == choice.tried[3].name
    assert "1.5 against 2 of all history over 5 past stretches" in choice.why


def test_a_back_test_that_all_history_leads_ends_early():
    asked = []

    def fit(learn, weights, judge):
        asked.append(len(learn))
        return np.full(len(judge), 1.0)  # no difference: more data is the safer choice

    choice = chosen(fit)
    assert len(asked) == 2 * 7 + 1
    assert choice.history.name == "all"
    assert choice.since is not None


def test_the_order_of_the_rows_does_not_matter():
    x = np.random.default_rng(3).normal(0, 1, len(TIMES))
    y = np.linspace(-3, 3, len(TIMES)) * x
    mixed = np.random.default_rng(4).permutation(len(TIMES))
    straight = chosen(slope_fit(y, x))
    assert chosen(slope_fit(y[mixed], x[mixed]), TIMES[mixed]).history == straight.history


def test_a_back_test_that_costs_too_much_is_cut_short_and_says_so():
    def slow(learn, weights, judge):
        np.linalg.svd(np.random.default_rng(0).normal(size=(120, 120)))
        return np.ones(len(judge))

    choice = chosen(slow, seconds=0.0)
    assert choice.history.name == "all"
    assert "came to 1 folds" in choice.why
    assert choice.tried == ()


def test_few_rows_are_learned_from_whole():
    assert "too few" in chosen(world(np.full(len(TIMES), 2.0)), TIMES[:150]).why


def test_losses_that_are_not_numbers_choose_nothing():
    assert chosen(lambda learn, weights, judge: np.full(len(judge), np.nan)).history.name == "all"


def test_a_window_needs_rows():
    sparse = np.datetime64("2020-01-01") + np.arange(250) * np.timedelta64(1, "D")
    assert [history.name for history in candidates(sparse)][:2] == ["all", "124d"]
    assert all(history.window is None for history in candidates(sparse)[2:])


def test_weights_halve_with_each_half_life_and_are_one_on_average():
    times = np.array(["2024-01-01", "2024-01-11", "2024-01-21", "NaT"], dtype="datetime64[us]")
    weights = History(half_life=timedelta(days=10)).weights(times)
    assert weights.mean() == pytest.approx(1)
    assert weights[2] / weights[1] == pytest.approx(2)
    assert weights[1] / weights[0] == pytest.approx(2)
    assert weights[3] == weights[0]  # a row without a time is taken for the oldest
    assert History().weights(times) is None


def test_an_update_learns_from_all_of_the_newest_rows_and_ever_fewer_of_the_older():
    rng = np.random.default_rng(0)
    times = rng.permutation(np.datetime64("2024-01-01") + np.arange(2400) * np.timedelta64(1, "h"))
    newest = History(half_life=timedelta(days=15)).newest(times)
    age = (times.max() - times[newest]) / np.timedelta64(1, "D")
    assert (np.diff(age) < 0).all()  # in time order
    share = [((age >= days) & (age < days + 1)).sum() / 24 for days in (0, 10, 20, 30)]
    assert share == pytest.approx([1, 1 / 2, 1 / 4, 1 / 8], abs=0.05)  # it forgets half as fast again as the history
    assert len(History().newest(times)) == pytest.approx(2400 / 6 / np.log(2) * (1 - 0.5**6), abs=3)
    assert len(History(window=timedelta(days=100)).newest(times)) == len(History().newest(times))


def test_an_update_learns_from_no_row_without_a_time():
    times = np.array(["2024-01-02", "NaT", "2024-01-01"], dtype="datetime64[s]")
    assert History().newest(times).tolist()[-1] == 0
    assert 1 not in History().newest(times)
    assert not len(History().newest(times[1:2]))


def test_a_window_counts_from_the_newest_row():
    times = np.array(["2024-01-01", "2024-01-11", "NaT", "2024-01-21"], dtype="datetime64[us]")
    assert History(window=timedelta(days=10)).within(times).tolist() == [False, True, False, True]
    assert History().within(times).all()


@pytest.mark.parametrize("name", ["all", "12w", "weighted 36h"])
def test_a_history_is_read_back_from_its_name(name):
    assert History.of(name).name == name
