"""A subject is found in every form in which it is written, and nothing else is taken for it."""

import json

import pytest

from treadle.mentions import ERASED, Mentions


@pytest.mark.parametrize(
    "text",
    [
        "4711",
        "user = 4711.",
        "(4711)",
        "4711, 4712",
        "user-4711",
        "4711.0",
        "'4711'",
        "/users/4711?x=1",
        "user 4711\nsaid",
    ],
)
def test_a_value_that_stands_alone_is_found(text):
    assert Mentions(["4711"]).without(text) == text.replace("4711.0", ERASED).replace("4711", ERASED)


@pytest.mark.parametrize(
    "text", ["", "0.4711", "4711.5", "4,711", "14711", "47112", "t:9f4711ab00000000", "user_4711", "471", "47…"]
)
def test_a_part_of_a_word_or_of_a_number_is_not(text):
    assert not Mentions(["4711"]).inside(text)


ODD = 'Zoë O\'Brien <zoe@example.org>, "Zo"'


@pytest.mark.parametrize(
    "text",
    [
        ODD,
        "Zoë O&#x27;Brien &lt;zoe@example.org&gt;, &quot;Zo&quot;",
        "Zoë O&#39;Brien &lt;zoe@example.org&gt;, &quot;Zo&quot;",
        'Zoë O\'Brien &lt;zoe@example.org&gt;, "Zo"',
        json.dumps(ODD)[1:-1],
        json.dumps(ODD, ensure_ascii=False)[1:-1],
        "Zo%C3%AB%20O%27Brien%20%3Czoe%40example.org%3E%2C%20%22Zo%22",
    ],
)
def test_a_value_is_found_as_pages_json_and_addresses_write_it(text):
    assert Mentions([ODD]).without(f"slice {text} moved") == f"slice {ERASED} moved"
    assert Mentions([ODD]).within(f"slice {text} moved".encode())


def test_a_value_on_several_lines_is_found_on_one():
    assert Mentions(["Main Street 1\n 12345  Town"]).without("at Main Street 1 12345 Town.") == f"at {ERASED}."


@pytest.mark.parametrize("left", ["anna", "anna.maria", "anna.maria.of.some.tow"])
def test_what_is_left_of_a_long_value_is_found(left):
    mentions = Mentions(["anna.maria.of.some.town"])
    assert mentions.without(f"user = {left}… and 2 more") == f"user = {ERASED}… and 2 more"
    assert not mentions.inside("hanna… and ann… and anna, anne…")


def test_data_is_searched_through_and_numbers_stay():
    data = {"slices": [{"name": "user = 7", "rows": 7}, None, True, 7.5], "by": {"7": 1.0}}
    assert Mentions(["7"]).without_in(data) == {
        "slices": [{"name": f"user = {ERASED}", "rows": 7}, None, True, 7.5],
        "by": {ERASED: 1.0},
    }


def test_what_is_no_text_is_searched_by_its_bytes():
    assert Mentions(["anna"]).within(b"\xff\x00\x04anna\x12")
    assert not Mentions(["anna"]).within(b"\xff\x00\x04anne\x12")
