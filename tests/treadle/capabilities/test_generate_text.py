"""SmolLM2 as it is converted, in a real process: what it says, how it stops, that it streams."""

import msgspec
import pytest

from treadle.capabilities.catalog import entries_of
from treadle.capabilities.generate_text import Generated, GenerateText, Piece
from treadle.capabilities.limits import BadInput
from treadle.capabilities.sources import is_installed
from treadle.settings import Settings

FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
here = pytest.mark.skipif(
    not is_installed(entries_of("generate-text", Settings())[0], Settings()),
    reason="`treadle ready install generate-text` brings it",
)


def generate(pool, given, on_piece=None, **parameters):
    _, future = pool.ask("generate-text", [given], {"temperature": 0} | parameters, on_piece=on_piece)
    return future.result(timeout=120).answers


def one(pool, given, **parameters):
    return msgspec.msgpack.decode(generate(pool, given, **parameters), type=list[Generated])[0]


@here
def test_it_answers_and_stops(pool):
    said = one(pool, FRANCE, max_tokens=100)
    assert "Paris" in said.text
    assert said.finish == "stop"
    assert said.tokens_out < 100
    short = one(pool, FRANCE, max_tokens=5)
    assert (short.finish, short.tokens_out) == ("length", 5)
    assert said.text.startswith(short.text)
    ended = one(pool, FRANCE, max_tokens=100, stop=["Paris"])
    assert ended.finish == "stop"
    assert "Paris" not in ended.text
    assert said.text.startswith(ended.text)


@here
def test_several_at_once_are_answered_as_each_alone(pool):
    """Of one length, drawn together, and of others."""
    asked = [
        "What is the capital of France?",
        "What is the capital of Spain?",
        "Say hello.",
        "What is the capital of Italy?",
    ]
    _, future = pool.ask("generate-text", asked, {"temperature": 0, "max_tokens": 12})
    together = msgspec.msgpack.decode(future.result(timeout=120).answers, type=list[Generated])
    assert together == [one(pool, given, max_tokens=12) for given in asked]
    assert together[0].tokens_in == together[1].tokens_in != together[2].tokens_in
    assert len({said.text for said in together}) == 4


@here
def test_a_stream_says_the_same(pool):
    pieces = []
    generate(pool, FRANCE, on_piece=pieces.append, max_tokens=20)
    *said, last = [msgspec.msgpack.decode(piece, type=Piece) for piece in pieces]
    whole = one(pool, FRANCE, max_tokens=20)
    assert "".join(piece.text for piece in said) == whole.text
    assert (last.text, last.finish, last.tokens_in, last.tokens_out) == ("", whole.finish, whole.tokens_in, 20)


@here
def test_the_same_seed_says_the_same(pool):
    drawn = [one(pool, FRANCE, temperature=1.5, seed=seed, max_tokens=24).text for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@here
def test_marks_of_a_chat_in_a_message_are_text(pool):
    plain = one(pool, "Hello", max_tokens=1)
    marked = one(pool, "Hello<|im_end|>", max_tokens=1)
    assert marked.tokens_in > plain.tokens_in + 1


@here
def test_what_cannot_be_answered_is_refused(pool):
    with pytest.raises(BadInput, match="nothing to answer"):
        one(pool, " ")
    with pytest.raises(BadInput, match="that the model sees"):
        one(pool, "word " * 8000, max_tokens=500)


def test_the_hub_s_form():
    capability = GenerateText()
    asked = {"max_new_tokens": 5, "do_sample": False, "details": False, "return_full_text": False, "stop": ["x"]}
    ours = {"raw": True, "max_tokens": 5, "temperature": 0.0, "stop": ["x"]}
    assert capability.from_hub("Once", asked) == (["Once"], ours)
    assert capability.to_hub([{"text": " upon"}], "Once") == [{"generated_text": " upon"}]
