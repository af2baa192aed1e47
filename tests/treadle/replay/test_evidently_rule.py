"""Evidently's verdict is its own: the preset's, number for number."""

import numpy as np
import pandas as pd
import pytest

from treadle.replay.evidently_rule import drift_share
from treadle.tables.schema import Column, Schema

SCHEMA = Schema(
    columns=(
        Column(name="a", kind="number"),
        Column(name="b", kind="number"),
        Column(name="c", kind="category"),
        Column(name="t", kind="datetime"),
        Column(name="y", kind="number"),
    ),
    target="y",
    time="t",
)


def rows(n, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(shift, 1, (n, 2)), columns=["a", "b"])
    return frame.assign(c=rng.choice(list("xy"), n), t=pd.Timestamp("2024-01-01"), y=0.0)


@pytest.mark.parametrize(("n", "shift", "drift"), [(40, 0.0, True), (400, 0.0, False), (400, 1.0, True)])
def test_it_is_what_the_preset_says(n, shift, drift):
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    before, now = rows(1500, 1), rows(n, 2, shift)
    definition = DataDefinition(numerical_columns=["a", "b"], categorical_columns=["c"])
    sets = [Dataset.from_pandas(frame[["a", "b", "c"]], data_definition=definition) for frame in (now, before)]
    said = Report([DataDriftPreset()]).run(*sets).dict()["metrics"][0]
    share = drift_share(before, now, SCHEMA)
    assert (share.drifted, share.limit) == (said["value"]["share"], said["config"]["drift_share"])
    assert (share.drifted >= share.limit) == drift  # noise is drift to it in windows of 40 rows


def test_what_it_cannot_judge_is_no_verdict():
    assert drift_share(rows(100, 1), rows(0, 2), SCHEMA) is None
    assert drift_share(rows(100, 1), rows(50, 2).assign(a=np.nan), SCHEMA) is None
