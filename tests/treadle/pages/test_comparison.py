"""One column before and now: shares that add up, words that are true, a picture that is only a picture."""

from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from treadle.pages.comparison import compare_column, draw
from treadle.tables.schema import Column

ATTACK = '</title></svg><script>alert(1)</script>"onload="alert(2)'


def column(kind, name="x"):
    return Column(name=name, kind=kind, nullable=True)


def test_numbers_share_their_bins_and_say_what_changed():
    rng = np.random.default_rng(0)
    before, now = pd.Series(rng.normal(10, 1, 2000)), pd.Series(rng.normal(13, 1, 500))
    found = compare_column(before, now.where(now.index >= 50), column("number"))
    assert sum(found.normal) == pytest.approx(1)
    assert sum(found.now) == pytest.approx(1)
    assert sum(found.normal[:8]) > 0.5 > sum(found.now[:8])
    assert found.change.startswith("median ")
    assert "missing 0.0% → 10.0%" in found.change


def test_an_absurd_value_does_not_squeeze_all_others_into_one_bin():
    before = pd.Series(np.linspace(0, 1, 1000))
    found = compare_column(before, pd.concat([before, pd.Series([1e12])]), column("number"))
    assert max(found.normal) < 0.1
    assert sum(found.now) == pytest.approx(1)


def test_categories_that_come_and_go_are_named_and_the_rest_is_one_bar():
    before = pd.Series(["winter"] * 60 + ["summer"] * 40)
    now = pd.Series(["summer"] * 50 + ["monsoon"] * 50)
    found = compare_column(before, now, column("category"))
    assert "winter 60% → 0%" in found.change
    assert "monsoon 0% → 50% (new)" in found.change
    many = pd.Series([f"c{i % 40}" for i in range(4000)])
    assert compare_column(many, many, column("category")).labels[-1] == "all others"
    assert compare_column(many, many, column("category")).change == "the same shares"


@pytest.mark.parametrize("kind", ["number", "category"])
@pytest.mark.parametrize(("before", "now"), [([], [1.0]), ([1.0], []), ([None], [None]), ([np.nan, 1.0], [np.nan])])
def test_where_there_is_nothing_to_compare_nothing_is_drawn(kind, before, now):
    found = compare_column(pd.Series(before, dtype="float64"), pd.Series(now, dtype="float64"), column(kind))
    assert found.change.startswith("no values to compare")
    assert draw(found) == ""


def test_constant_and_infinite_numbers_can_be_drawn():
    for before, now in (([5.0] * 9, [5.0] * 9), ([1.0, np.inf, 2.0], [-np.inf, 1.5, 2.0])):
        found = compare_column(pd.Series(before), pd.Series(now), column("number"))
        ET.fromstring(draw(found))


def test_a_picture_holds_names_and_categories_as_text():
    before, now = pd.Series(["a", ATTACK] * 9), pd.Series(["b", ATTACK] * 9)
    svg = ET.fromstring(draw(compare_column(before, now, column("category", ATTACK))))
    assert {part.tag for part in svg.iter()} == {"svg", "rect", "title", "path", "line"}
    assert not [name for part in svg.iter() for name in part.attrib if name.startswith("on")]
    assert any("alert(1)" in (part.text or "") for part in svg.iter("title"))
