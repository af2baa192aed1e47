"""What a person sees of a run's log."""

from __future__ import annotations

import logging

from console.progress import describe
from treadle.errors import BadData


def record(message, task=None, error=None):
    made = logging.LogRecord(
        "prefect.task_runs", logging.INFO, "f", 1, message, None, error and (type(error), error, None)
    )
    made.task_name = task
    return made


def test_a_step_that_ended_well_is_one_word():
    assert describe(record("Finished in state Completed()", "load data")) == "load data: done"


def test_ceremony_is_left_out():
    assert describe(record("Beginning flow run 'x' for flow 'train'")) is None
    assert describe(record("Finished in state Completed()")) is None
    assert describe(record("Crash detected! Execution was aborted by an interrupt signal.")) is None


def test_an_error_that_the_last_line_will_say_is_not_said_twice():
    assert describe(record("Task run failed with exception", "load data", BadData("no rows"))) is None
    assert describe(record("Task run failed with exception", "load data", ValueError("x"))) == (
        "load data: Task run failed with exception"
    )


def test_a_long_message_is_its_first_line():
    assert describe(record("trial 3 of 20\nand more", "tune")) == "tune: trial 3 of 20"
