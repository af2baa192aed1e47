import numpy as np
import pytest

from treadle.learning.losses import losses_of_answers
from treadle.promotion.release import Evidence, Latencies, Losses, Rules, judge, look_at, total

RULES = Rules("mae", min_answers=100, min_minutes=5.0)


def evidence(answers=200, rows=None, candidate_s=0.001, champion_s=0.001, **failures):
    seen = Evidence(answers=answers, rows=answers if rows is None else rows, **failures)
    for _ in range(answers):
        seen.candidate.add(candidate_s)
        seen.champion.add(champion_s)
    return seen


def decide(seen, minutes=10.0, rules=RULES, quality=None, recent=None):
    return judge(seen, Evidence() if recent is None else recent, minutes, rules, quality)


def test_all_is_well_and_the_evidence_is_in():
    found = decide(evidence())
    assert found.decision == "advance"
    assert "200 rows" in found.reason
    assert found.figures["answers"] == 200
    assert decide(evidence(), rules=Rules("mae", advance="human", min_answers=100)).decision == "ask"


@pytest.mark.parametrize(
    ("seen", "minutes", "missing"), [(evidence(40), 10.0, "60 answers"), (evidence(), 1.0, "4.0 minutes")]
)
def test_what_is_missing_is_said(seen, minutes, missing):
    found = decide(seen, minutes)
    assert found.decision == "continue"
    assert missing in found.reason


@pytest.mark.parametrize("kind", ["errors", "timeouts", "nonfinite"])
def test_failures_roll_back_by_their_share_and_two_never(kind):
    assert decide(evidence(10, **{kind: 2}), 0.1).decision == "continue"
    assert decide(evidence(10, **{kind: 3}), 0.1).decision == "roll back"
    assert decide(evidence(1000, **{kind: 3})).decision == "advance"
    assert decide(evidence(10, dropped=1000), 0.1).decision == "continue"


def test_who_begins_to_fail_is_not_saved_by_a_good_past():
    past = evidence(100_000)
    now = evidence(10, errors=5)
    past.take(now)
    found = decide(past, recent=now)
    assert found.decision == "roll back"
    assert found.reason.startswith("In the last two minutes it failed 5 of 15 requests (33%; 2% are allowed)")


@pytest.mark.parametrize(
    ("candidate_s", "champion_s", "decision"),
    [(0.5, 0.1, "roll back"), (0.25, 0.1, "advance"), (0.04, 0.001, "advance"), (0.06, 0.001, "roll back")],
)
def test_latency_is_compared_above_a_floor(candidate_s, champion_s, decision):
    assert decide(evidence(candidate_s=candidate_s, champion_s=champion_s)).decision == decision
    few = evidence(10, candidate_s=9.0)
    assert decide(few, 0.1).decision == "continue"


def test_sketches_add_up_and_are_right_to_a_twentieth():
    rng = np.random.default_rng(3)
    values = rng.lognormal(-6, 1, 4000)
    parts = [Latencies() for _ in range(4)]
    for place, value in enumerate(values):
        parts[place % 4].add(float(value))
    whole = total(Evidence(candidate=part) for part in parts).candidate
    assert whole.count == 4000
    for share in (0.5, 0.95, 0.99):
        assert whole.quantile(share) == pytest.approx(np.quantile(values, share), rel=0.06)
    assert Latencies().quantile(0.95) == 0.0


def paired(n, better_by, seed=0):
    rng = np.random.default_rng(seed)
    hard = rng.exponential(10.0, n)  # what is hard for one is hard for the other
    return Losses(hard, hard - better_by + rng.normal(0, 1, n), paired=True)


def test_quality_needs_labels_and_finds_what_is_better_and_worse():
    assert look_at(paired(49, 1.0), RULES) is None
    better, worse = look_at(paired(400, 2.0), RULES), look_at(paired(400, -2.0), RULES)
    assert (better.worse, better.not_worse) == (False, True)
    assert (worse.worse, worse.not_worse) == (True, False)
    assert decide(evidence(), quality=worse).decision == "roll back"
    assert decide(evidence(), quality=better).decision == "advance"
    same = Losses(np.ones(60), np.ones(60), paired=True)
    assert (look_at(same, RULES).worse, look_at(same, RULES).not_worse) == (False, True)


def test_undecided_labels_hold_an_advance_back():
    rng = np.random.default_rng(1)
    losses = Losses(rng.exponential(1.0, 60), rng.exponential(1.0, 60), paired=False)
    found = look_at(losses, RULES)
    assert (found.worse, found.not_worse) == (False, False)
    held = decide(evidence(), quality=found)
    assert held.decision == "continue"
    assert "labels that say more" in held.reason


def test_two_groups_of_rows_are_compared_too():
    rng = np.random.default_rng(2)
    found = look_at(Losses(rng.exponential(1.0, 900), rng.exponential(2.0, 800), paired=False), RULES)
    assert found.worse
    assert found.rows == 800


def test_looks_are_taken_at_doublings_only_so_that_waiting_finds_nothing():
    every = paired(99, 0.0)
    looked = [look_at(Losses(every.champion[:n], every.candidate[:n], True), RULES) for n in range(50, 100)]
    assert all(found == looked[0] for found in looked)
    assert looked[0].needed == pytest.approx(0.95)
    assert look_at(paired(400, 0.0), RULES).needed == pytest.approx(1 - 0.1 / 16)


def test_candidates_that_are_just_as_good_are_seldom_called_worse():
    ends = [any(look_at(paired(n, 0.0, seed), RULES).worse for n in (50, 100, 200, 400)) for seed in range(100)]
    assert sum(ends) <= 18  # 10 in 100 are allowed; more than 18 would come once in 200 times


def test_rows_of_one_day_are_drawn_together():
    rng = np.random.default_rng(4)
    days = np.repeat(np.arange(10), 20)
    shift = rng.normal(0, 1.0, 10)[days]  # whole days are better or worse
    apart = Losses(np.full(200, 5.0), 5.0 - 0.5 - shift, True)
    together = Losses(apart.champion, apart.candidate, True, days, days)
    assert look_at(together, RULES).probability <= look_at(apart, RULES).probability
    assert not look_at(together, RULES).worse


def test_losses_that_are_no_numbers_are_left_out_in_pairs():
    old, new = np.ones(60), np.full(60, 0.5)
    old[3], new[7] = np.nan, np.inf
    assert look_at(Losses(old, new, True), RULES).rows == 50
    assert look_at(Losses(np.full(60, np.nan), new, True), RULES) is None


def test_losses_of_what_the_ledger_keeps():
    shares = {"prediction": "no", "probabilities": {"no": 0.75, "yes": 0.25}}
    assert losses_of_answers("mae", [3.0], [{"prediction": 5}]).tolist() == [2.0]
    assert losses_of_answers("rmse", [3.0], [{"prediction": 5}]).tolist() == [4.0]
    assert losses_of_answers("accuracy", ["no", "yes"], [shares, shares]).tolist() == [0.0, 1.0]
    assert losses_of_answers("log_loss", ["yes"], [shares])[0] == pytest.approx(-np.log(0.25))
    assert losses_of_answers("brier", ["no", "new"], [shares, shares]) == pytest.approx([0.0625, 0.8125])
    assert losses_of_answers("log_loss", ["new"], [shares])[0] > 10
    assert np.isnan(losses_of_answers("mae", ["warm", None], [{"prediction": 5}, {}])).all()
