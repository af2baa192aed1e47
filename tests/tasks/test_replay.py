"""The replay's arithmetic; the replay itself runs in the demo, against the platform."""

from datetime import datetime

import pandas as pd
import pytest

from tasks.replay import Plan, errors_of, plan_replay
from treadle.errors import BadData, NotFound


def test_steps_follow_each_other_without_a_gap():
    plan = Plan("p", "s", "f", "t", "y", "2011-04-01T00:00:00", 3, 14 * 86400.0, 7 * 86400.0, "id", "now")
    assert plan.window(0) == (datetime(2011, 4, 1), datetime(2011, 4, 15))
    assert plan.window(1)[0] == plan.window(0)[1]


def test_errors_are_absolute_for_numbers_and_wrong_or_right_for_classes():
    truth = pd.Series([1.0, 5.0], index=[3, 9])
    assert errors_of(truth, [2.0, 2.0]).tolist() == [1.0, 3.0]
    assert errors_of(pd.Series(["a", "b"]), ["a", "c"]).tolist() == [0.0, 1.0]


def test_a_project_without_time_and_a_missing_stream_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path))
    for name, extra in {"still": "", "moving": ", time: t"}.items():
        folder = tmp_path / "projects" / name
        folder.mkdir(parents=True)
        (folder / "project.yaml").write_text(
            f"name: {name}\nproblem: tabular-regression\ndata: {{source: d.csv, target: y{extra}}}\n"
        )
    with pytest.raises(BadData, match="no time column"):
        plan_replay.fn("still", "stream.csv", "2w", "7d")
    with pytest.raises(NotFound, match="No stream"):
        plan_replay.fn("moving", "stream.csv", "2w", "7d")
