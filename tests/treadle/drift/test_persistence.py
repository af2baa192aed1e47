"""What is likely waits for another look, what is certain does not; and everyone is told since when."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from treadle.drift import Look, judge
from treadle.project import Watch

NOW = datetime(2024, 5, 1, tzinfo=UTC)
KEY = "input:size"


def looks(*found):
    """Earlier looks, newest first, an hour apart."""
    return [Look(NOW - timedelta(hours=i + 1), frozenset([KEY] if hit else [])) for i, hit in enumerate(found)]


@pytest.fixture
def likely(world):
    """A window whose size moved by just so much that it is likely, but not certain."""
    quiet = world.scene(300, 11)
    for step in range(1, 80):
        window = quiet.but(size=quiet.rows["size"] + step * 0.1).window()
        found = next(f for f in judge(world.reference, window, world.columns, Watch()).findings if f.key == KEY)
        if found.drifted:
            assert not found.certain
            return window
    raise AssertionError("no such window")


@pytest.mark.parametrize(
    ("past", "verdict", "seen"),
    [((), "ok", 1), ((True,), "drift", 2), ((False, True), "drift", 2), ((False, False, True), "ok", 1)],
)
def test_what_is_likely_is_drift_at_the_second_of_three_looks(world, likely, past, verdict, seen):
    found = judge(world.reference, likely, world.columns, Watch(), past=looks(*past), at=NOW)
    assert found.verdict == verdict
    assert (found.persistence.looks, found.persistence.of, found.persistence.needed) == (seen, 3, 2)
    assert ("Likely, but not certain" in found.reason) == (verdict == "ok")


def test_who_wants_every_look_believed_says_so(world, likely):
    assert judge(world.reference, likely, world.columns, Watch(needed=1)).verdict == "drift"


def test_since_is_the_first_look_without_a_gap(world, likely):
    found = judge(world.reference, likely, world.columns, Watch(), past=looks(True, True, False, True), at=NOW)
    since = {f.key: f.since for f in found.findings}
    assert since[KEY] == NOW - timedelta(hours=2)
    assert since["input:age"] is None
    assert found.figures()["findings"][0]["since"] == (NOW - timedelta(hours=2)).isoformat()


def test_nothing_moved_needs_no_persistence(world):
    assert judge(world.reference, world.scene(300, 12).window(), world.columns, Watch()).persistence is None


@pytest.mark.parametrize(
    ("ago", "verdict"),
    [([], "ok"), ([timedelta(hours=1), timedelta(days=6)], "ok"), ([timedelta(days=14)], "quality-loss")],
)
def test_a_small_loss_is_confirmed_by_looks_that_share_no_labelled_day(world, ago, verdict):
    quiet = world.scene(400, 5)
    worse = replace(quiet, losses=quiet.losses * 1.25 / quiet.losses[:336].mean())
    past = [Look(NOW - span, frozenset(["quality:loss"])) for span in ago]
    found = judge(world.reference, worse.window(336), world.columns, Watch(), past=past, at=NOW)
    assert found.verdict == verdict
    assert found.persistence.looks == (2 if verdict == "quality-loss" else 1)


def test_a_slice_that_was_bad_on_two_days_alone_is_no_slice_gone_bad(world):
    quiet = world.scene(400, 6)
    hours = np.arange(400)
    for last, bad in ((96, False), (192, True)):
        late = (hours >= 48) & (hours < last)
        plan = np.where(late, "pro", "basic")
        scene = replace(quiet.but(plan=plan), losses=np.where(late, 4.0, 0.8) * quiet.losses)
        found = judge(world.reference, scene.window(336), world.columns, Watch())
        assert (("segment", "plan = pro") in {(f.kind, f.name) for f in found.findings if f.drifted}) is bad
