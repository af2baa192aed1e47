"""The list of decisions is complete, and says which numbers are not there."""

import re

from treadle.settings import CHECKOUT

FOLDER = CHECKOUT / "docs" / "decisions"


def test_every_decision_is_listed_by_its_number_and_title():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| (\d+) \| \[(.+)\]\((.+\.md)\) \| \S.* \|$", text, re.M)
    there = []
    for page in sorted(FOLDER.glob("[0-9]*.md")):
        number, title = re.match(r"# (\d+)\. (.+)", page.read_text(encoding="utf-8")).groups()
        assert page.name.startswith(f"{int(number):04}-")
        there.append((number, title, page.name))
    assert listed == there


def test_numbers_are_used_once_and_gaps_are_named():
    numbers = [int(page.name[:4]) for page in FOLDER.glob("[0-9]*.md")]
    assert len(set(numbers)) == len(numbers)
    (said,) = re.findall(
        r"The numbers ([\d, and]+) were never used", (FOLDER / "README.md").read_text(encoding="utf-8")
    )
    assert {int(number) for number in re.findall(r"\d+", said)} == {*range(1, max(numbers) + 1)} - {*numbers}
