"""`treadle replay` as a shell sees it: one JSON object, progress beside it, a chart for people, errors in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from console.replays import chart, compared

PROJECT = """
name: toy
problem: tabular-regression
data: {source: rows.csv, target: y, time: when, ignore: [when]}
train: {families: [linear]}
promote: {metric: mae}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    folder = home / "projects" / "toy"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text(PROJECT)
    rng = np.random.default_rng(5)
    n = 400
    table = pd.DataFrame({"when": pd.date_range("2024-01-01", periods=n, freq="2h"), "x": rng.normal(size=n)})
    table.assign(y=table["x"] + rng.normal(0, 0.1, n)).to_csv(folder / "rows.csv", index=False)
    return home


def run(home, *words):
    return subprocess.run(
        [sys.executable, "-m", "console.cli", "replay", *words],
        env=dict(os.environ) | {"TREADLE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_a_replay_needs_no_server_and_prints_one_object(home):
    done = run(home, "toy", "--from", "2024-01-20", "--every", "4d", "--delay", "2d", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [policy["name"] for policy in found["policies"]] == ["static", "every-window", "evidently", "treadle"]
    assert found["metric"] == "mae"
    assert found["recommended"] in {"static", "every-window", "evidently", "treadle"}
    assert "CPU seconds" in found["because"]
    assert (found["every_s"], found["delay_s"]) == (4 * 86400, 2 * 86400)
    assert "window 4 of 4" in done.stderr
    assert not (home / ".treadle").exists()
    said = compared(found)
    assert f"Recommended: {found['recommended']}." in said
    assert "every-window" in said


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("toi",), 2, "Did you mean 'toy'?"),
        (("toy", "--every", "a month"), 2, "--every: 'a month' is not a duration"),
        (("toy", "--every", "0d"), 2, "write --every like 30d"),
        (("toy", "--delay", "soon"), 2, "--delay: 'soon' is not a duration"),
        (("toy", "--from", "spring"), 2, "'spring' is not an ISO 8601 time"),
        (("toy", "--from", "2031-01-01"), 2, "the newest is of 2024-02-03"),
        (("toy", "--stream", "nowhere.csv"), 2, "No stream"),
        (("toy", "--live"), 5, "treadle up --detach"),
        (("toy", "--live", "--every", "x"), 2, "--every: 'x' is not a duration"),
        (("toy", "--live", "--from", "2024-01-20"), 2, "leave --from out"),
    ],
)
def test_what_cannot_be_replayed_is_one_line(home, words, code, says):
    done = run(home, *words)
    assert done.returncode == code, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert says in last


def windows(*errors, retrained=()):
    return [
        {"rows": 0 if error is None else 10, "error": error, "retrained": number in retrained}
        for number, error in enumerate(errors)
    ]


def test_the_chart_has_one_scale_gaps_and_marks():
    lines = chart(
        [
            {"name": "static", "windows": windows(1.0, 4.0, None, 8.0)},
            {"name": "treadle", "windows": windows(1.0, 4.0, None, 2.0, retrained={1})},
        ],
        "mae",
    )
    assert lines[0].startswith("mae over time; a full bar is 8")
    assert lines[1:] == ["static   ▂▅ █", "treadle  ▂▅ ▃", "          ^"]


def test_a_long_chart_is_squeezed_and_weighted_by_rows():
    many = windows(*[1.0, 3.0] * 60, retrained={0, 1})
    head, bars, marks = chart([{"name": "x", "windows": many}], "mae")
    assert len(bars) == len("x  ") + 60
    assert "2" in head
    assert marks == "   +"
    assert chart([{"name": "x", "windows": windows(None, None)}], "mae")[1].strip() == "x"
