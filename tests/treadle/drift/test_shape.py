"""Windows that cannot be compared say why in one line; none crashes, none is an alarm."""

import numpy as np
import pandas as pd
import pytest

from treadle.drift import judge
from treadle.project import Watch


def of(world, scene):
    return judge(world.reference, scene.window(), world.columns, Watch())


BROKEN = {
    "missing": (lambda r: r.drop(columns="size"), "lacks the column 'size'"),
    "renamed": (lambda r: r.rename(columns={"size": "Size"}), "an unknown one, 'Size': was it renamed?"),
    "retyped to text": (lambda r: r.assign(size="tall"), "holds str, not numbers"),
    "retyped to numbers": (lambda r: r.assign(plan=1.0), "not text"),
    "infinite": (lambda r: r.assign(size=np.inf), "holds infinite values"),
    "one infinity": (lambda r: r.assign(size=r["size"].where(r.index != 3, -np.inf)), "holds infinite values"),
    "two gone": (lambda r: r.drop(columns=["size", "age"]), "And 1 more"),
    "all empty": (lambda r: r.assign(**dict.fromkeys(r.columns, np.nan)), "are empty"),
    "one row again and again": (lambda r: r.iloc[[0] * len(r)], "are the same one"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_window_is_invalid_and_says_why(world, case):
    change, said = BROKEN[case]
    s = world.scene(300, 21)
    found = of(world, type(s)(change(s.rows), s.answers, s.targets, s.losses))
    assert found.verdict == "invalid"
    assert said in found.reason
    assert found.persistence is None


def test_columns_in_another_order_are_the_same(world):
    s = world.scene(300, 21)
    assert of(world, type(s)(s.rows[s.rows.columns[::-1]], s.answers, s.targets, s.losses)).verdict == "ok"


def test_an_extra_column_is_told_and_harms_nothing(world):
    found = of(world, world.scene(300, 21).but(extra=1))
    assert found.verdict == "ok"
    assert [(f.kind, f.name) for f in found.findings if f.drifted] == [("schema", "extra")]
    assert "'extra' that the model does not know" in found.reason


@pytest.mark.parametrize("rows", [0, 1, 29])
def test_too_few_rows(world, rows):
    assert of(world, world.scene(rows, 3)).verdict == "insufficient-data"


def test_no_rows_and_no_columns(world):
    s = world.scene(0, 3)
    assert of(world, type(s)(pd.DataFrame(), s.answers, s.targets, s.losses)).verdict == "insufficient-data"
