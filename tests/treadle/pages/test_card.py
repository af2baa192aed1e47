import json
import shlex
from dataclasses import replace

import pytest

from treadle.pages.card import Card, Score, escape, render_card
from treadle.tables.schema import Column, Schema

SCHEMA = Schema(
    columns=(
        Column(name="age", kind="integer", low=17, high=90, example=39),
        Column(name="job|title", kind="category", nullable=True, categories=("it's", "<b>x</b>"), example="it's"),
        Column(name="when", kind="datetime", low=1293840000, high=1301616000, example="2011-01-01T00:00:00"),
        Column(name="member", kind="boolean", tokens=("no", "yes"), example=True),
        Column(name="ssn", kind="identifier"),
        Column(name="income", kind="category"),
    ),
    target="income",
    time="when",
    classes=("<=50K", ">50K"),
    ignored=("ssn",),
)
CARD = Card(
    model="adult",
    version=3,
    problem="tabular-classification",
    family="gradient-boosting",
    params={"rounds": 120, "learning_rate": 0.0512345},
    metric="auc",
    schema=SCHEMA,
    rows={"train": 1200, "test": 300},
    digest="abc123",
    since="2011-01-01",
    until="2011-03-31",
    scores=[Score("auc", 0.9271, 0.921, 0.933, 0.5), Score("brier", 0.1, 0.09, 0.11, 0.2)],
    holdout={"auc": 0.92},
    slices=[
        {"slice": "job|title = <b>x</b>", "rows": 40, "score": 0.81},
        {"slice": "age > 50", "rows": 400, "score": 0.9},
    ],
    parity=2.3e-7,
    url="http://127.0.0.1:8123",
    lineage={"Git commit": "f00", "Seed": 0},
    said="Promoted: better by 0.004 auc.",
    quarantined=7,
)


def tables(card):
    return [line for line in card.splitlines() if line.startswith("|")]


def test_the_card_tells_what_a_reader_asks():
    card = render_card(CARD)
    assert card.startswith("# adult, version 3\n\nPromoted: better by 0.004 auc.\n")
    for line in (
        "| auc (decides) | 0.9271 | 0.921 to 0.933 | 0.5 | 0.92 |",
        "| brier | 0.1 | 0.09 to 0.11 | 0.2 | not judged |",
        "| Rows, train | 1,200 |",
        "| Rows set aside by validation | 7 |",
        "| Digest | abc123 |",
        "| Event times | 2011-01-01 to 2011-03-31 (UTC, by when) |",
        "| Columns left out | ssn |",
        r"| Parameter learning\_rate | 0.05123 |",
        "| ONNX parity | 2.3e-07 (largest difference to the trained model on held-out rows) |",
        "| age > 50 | 400 | 0.9 |".replace(">", "&gt;"),
        "| when | datetime | no | 2011-01-01 00:00 to 2011-04-01 00:00 |",
        "| member | boolean | no | no or yes |",
        "| age | integer | no | 17 to 90 |",
        "| Git commit | f00 |",
    ):
        assert line in card.splitlines()


def test_the_card_says_how_much_of_the_past_was_learned_from():
    card = render_card(replace(CARD, history="**12w.** It had the lowest mean loss."))
    data = card[card.index("## What it learned from") : card.index("## How good it is")]
    assert "How much of the past: **12w.** It had the lowest mean loss." in data
    assert "How much of the past" not in render_card(CARD)


def test_what_comes_from_the_data_is_escaped():
    card = render_card(CARD).split("## How to call it")[0]
    assert "<b>" not in card
    assert r"job\|title = &lt;b&gt;x&lt;/b&gt;" in card
    widths = [line.replace(r"\|", "").count("|") for line in tables(card)]
    assert set(widths) == {3, 4, 5, 6}
    assert escape("a\nb\r\n|`*_[x](y)#") == r"a b \|\`\*\_\[x\](y)\#"


def test_the_limits_say_what_it_has_not_seen():
    limits = render_card(CARD).split("## What it has not seen")[1].split("##")[0]
    assert "Nothing after 2011-03-31 or before 2011-01-01." in limits
    assert "Categories other than those above" in limits
    assert "outside the ranges above (age)" in limits
    assert "Missing values of age, when, member." in limits
    assert "fewer than 100 rows: job" in limits
    assert "age &gt; 50" not in limits
    assert "Other classes of income" in limits


def test_the_call_is_a_command_that_a_shell_takes():
    command = render_card(CARD).split("```sh\n")[1].split("\n```")[0]
    words = [word for word in shlex.split(command) if word != "\n"]
    assert words[:3] == ["curl", "-sS", "http://127.0.0.1:8123/v1/models/adult/predict"]
    body = json.loads(words[-1])
    row = {"age": 39, "job|title": "it's", "when": "2011-01-01T00:00:00", "member": True}
    assert body == {"rows": [row]}
    assert '"age": 39,' in words[-1]


def test_backticks_in_the_data_do_not_end_the_command():
    column = Column(name="x", kind="category", example="```\n# gone")
    card = render_card(replace(CARD, schema=Schema(columns=(column,), target="y")))
    assert "\n````sh\n" in card
    assert card.endswith("\n````\n")


@pytest.mark.parametrize(
    "gone", [{"scores": (), "slices": (), "parity": None, "said": None, "version": None, "until": None}]
)
def test_a_card_of_what_is_not_known_says_so(gone):
    card = render_card(replace(CARD, **gone))
    assert card.startswith("# adult\n\n## What it is\n")
    assert "It was not judged" in card
    assert "No slice had enough rows" in card
    assert "Nothing after" not in card
    assert "None" not in card
    assert "nan" not in card
