"""The text of drawn tokens as it grows: stops, half characters, room."""

import pytest

from treadle.capabilities.generation import as_text, check_room
from treadle.capabilities.limits import BadInput
from treadle.capabilities.pieces import pieces

BYTES = "one twó three".encode()


def write(tokens):
    return bytes(tokens).decode("utf-8", errors="replace")


def told(tokens, stops=()):
    return [text for text, _ in pieces(iter(tokens), write, stops)]


def test_every_piece_is_told_once_and_no_half_character():
    said = told(BYTES)
    assert "".join(said) == "one twó three"
    assert all("\ufffd" not in text for text in said)
    assert len(said) == len("one twó three")


def test_a_stop_ends_the_answer_and_nothing_of_it_is_told():
    said = told(BYTES, ("twó", "zebra"))
    assert "".join(said) == "one "
    assert said[-1] == ""
    assert "".join(told(BYTES, ("three!",))) == "one twó three"
    assert told(b"stop", ("stop",)) == [""]


def test_what_began_like_a_stop_and_was_none_is_told():
    assert "".join(told(b"thread thin", ("three",))) == "thread thin"


def test_what_ends_in_half_a_character_is_told_at_the_end():
    assert "".join(told(BYTES[:7])) == "one tw\ufffd"


def test_what_does_not_fit_is_refused():
    check_room(10, 10, 20)
    with pytest.raises(BadInput, match="11 tokens"):
        check_room(11, 10, 20)


def test_a_chat_as_text():
    assert as_text("a") == "a"
    assert as_text([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]) == "a\nb"
