"""Translations by Apertium's programs, where the system has them, in a real process."""

import msgspec
import pytest

from treadle.capabilities.catalog import SystemSource, entries_of
from treadle.capabilities.limits import BadInput
from treadle.capabilities.sources import NotInstalled, is_installed, pick
from treadle.capabilities.translate import Translate, Translated
from treadle.settings import Settings

ENTRY = entries_of("translate", Settings())[0]
here = pytest.mark.skipif(not is_installed(ENTRY, Settings()), reason="`apt-get install apertium apertium-eng-spa`")


def translate(pool, texts, **pair):
    _, future = pool.ask("translate", texts, pair)
    return [one.text for one in msgspec.msgpack.decode(future.result(timeout=60).answers, type=list[Translated])]


@here
def test_both_ways(pool):
    assert translate(pool, ["I want to buy a house.", "She has two brothers."], source="en", target="es") == [
        "Quiero comprar una casa.",
        "Tiene dos hermanos.",
    ]
    assert translate(pool, ["Quiero comprar una casa."], source="es", target="en") == ["I want to buy a house."]


@here
def test_marks_of_its_own_pass_through(pool):
    odd = "It is [big] ^and$ <b>red</b> @ \\ 100%; $(touch /tmp/x) `id`"
    (said,) = translate(pool, [odd], source="en", target="es")
    for mark in ("[", "]", "^", "$", "<b>", "</b>", "@", "\\", "100%"):
        assert mark in said


@here
def test_what_it_does_not_know_is_refused_with_what_it_does(pool):
    for pair in ({}, {"source": "en"}, {"source": "en", "target": "ja"}):
        with pytest.raises(BadInput, match="eng-spa"):
            translate(pool, ["Hello."], **pair)
    with pytest.raises(BadInput, match="source"):
        translate(pool, ["Hello."], source="../etc", target="es")


def test_where_the_system_has_none_the_command_is_told(tmp_path, monkeypatch):
    gone = SystemSource(kind="system", package="apertium", folder=str(tmp_path), files=("none.mode",))
    entry = ENTRY.model_copy(update={"source": gone})
    monkeypatch.setattr("treadle.capabilities.sources.entries_of", lambda *_: (entry,))
    with pytest.raises(NotInstalled, match="apt-get install apertium"):
        pick("translate", None, Settings())


def test_the_hub_s_form():
    capability = Translate()
    asked = {"src_lang": "en", "tgt_lang": "es", "truncation": "only_first"}
    assert capability.from_hub("x", asked) == (["x"], {"source": "en", "target": "es"})
    assert capability.to_hub([{"text": "y"}], "x") == [{"translation_text": "y"}]
