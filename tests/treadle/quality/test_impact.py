"""Each scenario with its control: what moved and is used costs, what moved and is not used costs nothing."""

import numpy as np
import pytest

from treadle.quality.impact import judge_impact
from treadle.quality.loss_model import LOSS


def impact(world, estimator, frame, moved):
    reference = world.rows(2000, 91)
    reference[LOSS] = world.losses(reference)
    expected = estimator.rows(frame, world.answer(frame))
    return judge_impact(estimator, expected, moved, frame, reference, world.schema.features)


def growth(world, **moved):
    """What the move truly costs, on rows without end."""
    return world.losses(world.rows(40_000, 3, **moved)).mean() / world.losses(world.rows(40_000, 4)).mean() - 1


@pytest.mark.parametrize("seed", range(5))
def test_a_column_that_the_model_does_not_use_cannot_hurt(learned, seed):
    world, estimator = learned
    found = impact(world, estimator, world.rows(300, seed, colour=2.0), {"colour"})
    assert found.harm == 0.0
    assert "does not use what moved (colour)" in found.reason
    assert abs(growth(world, colour=2.0)) < 0.03
    (row,) = [column for column in found.columns if column["moved"]]
    assert (row["name"], row["used"]) == ("colour", False)


@pytest.mark.parametrize("seed", range(5))
def test_a_column_that_the_model_uses_costs_about_what_it_truly_costs(learned, seed):
    world, estimator = learned
    found = impact(world, estimator, world.rows(400, seed, shop_c=0.5), {"shop"})
    truly = growth(world, shop_c=0.5)
    assert truly > 0.2
    assert found.harm == pytest.approx(truly, rel=0.35)
    assert found.check == pytest.approx(truly, rel=0.35)
    assert "shop (" in found.reason
    assert "only labels can tell" in found.reason


@pytest.mark.parametrize("seed", range(3))
def test_a_column_along_which_errors_differ_costs_whether_the_model_uses_it_or_not(learned, seed):
    """A regression's answers do not depend on `risk`, but its errors do: it would be wrong to say that it cannot hurt."""
    world, estimator = learned
    found = impact(world, estimator, world.rows(400, seed, risk=0.15), {"risk"})
    truly = growth(world, risk=0.15)
    assert truly > 0.1
    assert found.harm == pytest.approx(truly, abs=0.1)
    (row,) = [column for column in found.columns if column["moved"]]
    assert row["tells"]


def test_a_move_towards_easy_rows_is_said_to_help(learned):
    world, estimator = learned
    found = impact(world, estimator, world.rows(400, 1, shop_c=0.0), {"shop"})
    assert found.harm < 0
    assert growth(world, shop_c=0.0) < 0


def test_a_value_that_was_never_seen_costs_what_the_column_is_worth(learned):
    world, estimator = learned
    frame = world.rows(300, 2)
    frame["shop"] = np.where(np.arange(300) < 150, "D", frame["shop"])
    found = impact(world, estimator, frame, {"shop"})
    assert found.harm > 0.1
    assert "never learned from: shop 50%" in found.reason


def test_nothing_moved_costs_nothing_and_what_is_not_known_is_none(learned):
    world, estimator = learned
    frame = world.rows(300, 2)
    assert impact(world, estimator, frame, set()).harm == 0.0
    unknown = impact(world, estimator, frame, {"shop", "new column"})
    assert unknown.harm is None
    assert "new column" in unknown.reason
    assert judge_impact(None, None, {"shop"}, frame, None, world.schema.features).harm is None


def test_a_window_unlike_the_reference_is_not_checked_by_weights(learned):
    world, estimator = learned
    found = impact(world, estimator, world.rows(300, 2).assign(shop="D"), {"shop"})
    assert found.check is None
