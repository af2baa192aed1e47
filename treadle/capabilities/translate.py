"""`translate`: a text in another language, by the rules of Apertium where the system has it, or by a model of the hub.

Forcada et al., Apertium: a free/open-source platform for rule-based machine translation (2011),
https://doi.org/10.1007/s10590-011-9090-0.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import msgspec

from treadle.capabilities import protocol
from treadle.capabilities.hub import open_generator
from treadle.capabilities.limits import BadInput
from treadle.capabilities.sources import missing_guest

APERTIUM = MappingProxyType({
    "af": "afr", "be": "bel", "bg": "bul", "ca": "cat", "da": "dan", "en": "eng", "es": "spa", "fr": "fra", "id": "ind",
    "is": "isl", "it": "ita", "mk": "mkd", "ms": "zlm", "nb": "nob", "nl": "nld", "nn": "nno", "oc": "oci", "pl": "pol",
    "pt": "por", "ro": "ron", "ru": "rus", "sl": "slv", "sv": "swe", "uk": "ukr",
})  # fmt: skip
"""ISO 639-1 codes by those of Apertium's modes, ISO 639-3; a few older pairs use the short ones."""
T5 = MappingProxyType({"en": "English", "de": "German", "fr": "French", "ro": "Romanian"})
"""What T5 learned to translate, as its prompts name it."""
MOST_NEW = 512
"""Tokens of a translation by a model of the hub."""
Code = Annotated[str, msgspec.Meta(pattern="^[a-z]{2,3}$")]


class Pair(protocol.Parameters, frozen=True, kw_only=True):
    """From which language into which; models that know one pair need neither.

    Attributes:
        source: ISO 639-1 code of the text's language.
        target: ISO 639-1 code of the answer's.
    """

    source: Code | None = None
    target: Code | None = None


class Translated(msgspec.Struct, frozen=True):
    """The text in the other language."""

    text: str


class Translate(protocol.Capability):
    """Texts in another language."""

    name = "translate"
    takes = "text"
    Parameters = Pair
    Answer = Translated
    hub_task = "translation"
    example = MappingProxyType({"source": "en", "target": "es"})

    _translate: Callable[[str, Pair], str]

    def load(self, weights: protocol.Weights) -> None:
        """Look which pairs there are, or open the hub's model."""
        if weights.entry.runtime == "transformers":
            self._translate = Hubs(weights).translate
        else:
            self._translate = Apertium(weights.folder, weights.limits.run_s).translate

    def run(self, inputs: Sequence[str], parameters: Pair) -> list[Translated]:
        """Translate texts."""
        if any(not text.strip() for text in inputs):
            raise BadInput("There is no text to translate.")
        return [Translated(self._translate(text, parameters)) for text in inputs]

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """`translation(text, src_lang=…, tgt_lang=…)`."""
        names = {"src_lang": "source", "tgt_lang": "target"}
        dropped = ("clean_up_tokenization_spaces", "truncation")
        return super().from_hub(inputs, {names.get(k, k): v for k, v in parameters.items() if k not in dropped})

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:  # noqa: ARG002 - one form for all
        """Translations."""
        return [{"translation_text": answer["text"]} for answer in answers]


class Apertium:
    """Apertium's programs, each of which reads what the one before writes; no file is written.

    Args:
        folder: Of `modes`, one file a pair.
        run_s: Seconds that a translation may take.
    """

    def __init__(self, folder: Path, run_s: float) -> None:
        self._modes = {path.stem: path for path in (folder / "modes").glob("*.mode")}
        self._run_s = run_s

    def translate(self, text: str, pair: Pair) -> str:
        """A text in the pair's target.

        Raises:
            BadInput: There is no such pair here.
        """
        mode = str(self._mode(pair))
        plain = self._say(["apertium-destxt"], text.replace("\0", " ").encode())
        said = self._say(["/bin/sh", mode, "-n"], plain)  # -n: words that it does not know stay without a mark
        return self._say(["apertium-retxt"], said).decode("utf-8", errors="replace").strip()

    def _mode(self, pair: Pair) -> Path:
        for code in (APERTIUM.get, lambda short: short):
            found = self._modes.get(f"{code(pair.source or '')}-{code(pair.target or '')}")
            if found is not None:
                return found
        known = ", ".join(sorted(name for name in self._modes if re.fullmatch("[a-z]+-[a-z]+", name)))
        raise BadInput(f"parameters: give source and target; here are {known}. apt-cache search apertium has more.")

    def _say(self, command: list[str], given: bytes) -> bytes:
        try:
            done = subprocess.run(command, input=given, capture_output=True, timeout=self._run_s, check=True)  # noqa: S603 - names of its modes, no input
        except FileNotFoundError:
            raise missing_guest("apertium (apt-get install apertium)", "language") from None
        return done.stdout


class Hubs:
    """A translator of the hub: Marian, which knows one pair, T5, or M2M100.

    Args:
        weights: Its folder.
    """

    def __init__(self, weights: protocol.Weights) -> None:
        self._tokenizer, self._model = open_generator(weights, "AutoModelForSeq2SeqLM")
        self._kind: str = self._model.config.model_type

    def translate(self, text: str, pair: Pair) -> str:
        """A text in the pair's target.

        Raises:
            BadInput: The model needs to be told the pair, or does not know it.
        """
        prefix, forced = self._told(pair)
        given = self._tokenizer(prefix + text, return_tensors="pt", truncation=True)
        drawn = self._model.generate(**given, max_new_tokens=MOST_NEW, **forced)
        return str(self._tokenizer.decode(drawn[0], skip_special_tokens=True))

    def _told(self, pair: Pair) -> tuple[str, dict[str, Any]]:
        """What goes before the text, and what the answer is made to begin with."""
        if self._kind == "t5":
            source, target = (T5.get(code or "") for code in (pair.source, pair.target))
            if not source or not target:
                raise BadInput(f"parameters: give source and target; the model knows {', '.join(T5)}.")
            return f"translate {source} to {target}: ", {}
        if self._kind == "m2m_100":
            known = getattr(self._tokenizer, "lang_code_to_id", {})
            if pair.source not in known or pair.target not in known:
                raise BadInput(f"parameters: give source and target; the model knows {', '.join(sorted(known))}.")
            self._tokenizer.src_lang = pair.source
            return "", {"forced_bos_token_id": known[pair.target]}
        return "", {}
