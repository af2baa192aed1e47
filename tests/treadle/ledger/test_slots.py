"""One run for a slot: with two schedulers, late by ten slots, after steps of the clock, in summer time and in winter."""

import multiprocessing
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import time_machine

from treadle.ledger import Ledger
from treadle.ledger.slots import claim, last_slots

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_one_run_for_a_slot_and_it_may_go_on_after_an_outage(ledger):
    with time_machine.travel(NOON):
        assert claim(ledger, "watch", "m", NOON, "a") is None
        why = claim(ledger, "watch", "m", NOON, "b")
        assert "due at 2026-03-01 12:00:00 UTC is not needed: run a began at 2026-03-01 12:00:00" in why
        assert claim(ledger, "watch", "m", NOON, "a") is None
        assert claim(ledger, "train", "m", NOON, "c") is None
        assert claim(ledger, "watch", "other", NOON, "d") is None
    assert last_slots(ledger, "watch", "m") == [(NOON, "a", 1)]


def test_ten_missed_slots_are_one_run(ledger):
    missed = [NOON + k * HOUR for k in range(10)]
    with time_machine.travel(NOON + timedelta(hours=9, minutes=20)):
        begun = [slot for slot in missed[::-1] if claim(ledger, "watch", "m", slot, f"run of {slot.hour}") is None]
    assert begun == missed[-1:]
    with time_machine.travel(NOON + timedelta(hours=9, minutes=20)):
        assert claim(ledger, "watch", "m", NOON + 9 * HOUR, "again") is not None
    with time_machine.travel(NOON + timedelta(hours=10)):
        assert claim(ledger, "watch", "m", NOON + 10 * HOUR, "next") is None
    assert [spared for _, _, spared in last_slots(ledger, "watch", "m")] == [0, 10]


def test_a_clock_that_was_set_back_does_not_run_a_slot_twice(ledger):
    with time_machine.travel(NOON):
        assert claim(ledger, "watch", "m", NOON, "a") is None
    with time_machine.travel(NOON - timedelta(minutes=40)):
        assert claim(ledger, "watch", "m", NOON, "b") is not None
        assert claim(ledger, "watch", "m", NOON - timedelta(minutes=30), "c") is not None
    with time_machine.travel(NOON + HOUR):
        assert claim(ledger, "watch", "m", NOON + HOUR, "d") is None


def test_a_clock_that_was_a_year_ahead_does_not_silence_the_flow(ledger):
    year = NOON + timedelta(days=365)
    with time_machine.travel(year):
        assert claim(ledger, "watch", "m", year, "a") is None
    with time_machine.travel(NOON):
        assert claim(ledger, "watch", "m", NOON, "b") is None
        assert claim(ledger, "watch", "m", NOON, "c") is not None
    with time_machine.travel(year):
        assert claim(ledger, "watch", "m", year, "d") is not None


def test_a_machine_whose_clock_is_behind_takes_no_slot_twice(ledger):
    with time_machine.travel(NOON - timedelta(minutes=5)):
        assert claim(ledger, "watch", "m", NOON, "behind") is None
    with time_machine.travel(NOON):
        assert claim(ledger, "watch", "m", NOON, "right") is not None


def _claim_all(url, name, out):
    ledger = Ledger.open(url)
    taken = []
    for k in range(20):
        with time_machine.travel(NOON + k * HOUR):
            taken += [k] if claim(ledger, "watch", "m", NOON + k * HOUR, f"{name} {k}") is None else []
    out.put(taken)


def test_two_schedulers_on_one_ledger_run_each_slot_once(url):
    ledger = Ledger.open(url)
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    both = [context.Process(target=_claim_all, args=(url, name, out)) for name in ("a", "b")]
    for process in both:
        process.start()
    taken = [slot for _ in both for slot in out.get(timeout=60)]
    for process in both:
        process.join(timeout=30)
    assert sorted(taken) == sorted(set(taken))
    claims = last_slots(ledger, "watch", "m", 99)
    assert len(claims) + sum(spared for _, _, spared in claims) == 40
    assert len(claims) == len(taken) >= 1


_DATES = """
import sys
from datetime import datetime, timezone
from anyio import run
from console.prefect_setup import NIGHTLY
from prefect.server.schemas.schedules import CronSchedule
begin = datetime.fromisoformat(sys.argv[1])
dates = run(CronSchedule(cron=NIGHTLY).get_dates, 5, begin)
print(*(date.astimezone(timezone.utc).isoformat() for date in dates))
"""


@pytest.mark.parametrize("day", ["2026-03-27", "2026-10-23"])
def test_nights_are_a_day_apart_where_clocks_change(day, ledger):
    """The schedule is in UTC: where the machine lives in a zone with summer time, no night has two trains and none has none."""
    environment = os.environ | {"TZ": "Europe/Berlin"}
    command = [sys.executable, "-c", _DATES, f"{day}T00:00:00+00:00"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    nights = [datetime.fromisoformat(text) for text in said.split()]
    assert [after - before for before, after in pairwise(nights)] == [timedelta(days=1)] * 4
    for night in nights:
        with time_machine.travel(night):
            assert claim(ledger, "train", "m", night, str(night)) is None
