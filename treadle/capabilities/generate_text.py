"""`generate-text`: a language model answers a chat, or goes on with a text, piece by piece if wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec

from treadle.capabilities import generation, llama_gguf, protocol
from treadle.capabilities.catalog import Entry
from treadle.capabilities.limits import BadInput
from treadle.capabilities.pieces import pieces

Finish = Literal["stop", "length"]


class Generation(protocol.Parameters, frozen=True, kw_only=True):
    """How to answer.

    Attributes:
        max_tokens: How many tokens the answer may have.
        temperature: 0 is always the likeliest token; higher is more varied.
        top_p: Only the likeliest tokens that together have this probability are drawn from.
        top_k: Only so many of the likeliest are drawn from; 0 is all.
        repetition_penalty: Above 1, what was said already is less likely.
        stop: Texts that end the answer, and are not part of it.
        seed: The same answer for the same number.
        raw: Go on with the text, rather than answer it.
    """

    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 256
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] = 0.2
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.9
    top_k: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    repetition_penalty: Annotated[float, msgspec.Meta(ge=0.5, le=2)] = 1.1
    stop: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=200)], ...], msgspec.Meta(max_length=8)
    ] = ()
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] | None = None
    raw: bool = False


class Generated(msgspec.Struct, frozen=True):
    """An answer.

    Attributes:
        text: What the model says: a draft, not a fact.
        tokens_in: Tokens that were asked with.
        tokens_out: Tokens that were drawn.
        finish: `stop` when the model or a stop ended it, `length` when `max_tokens` did.
    """

    text: str
    tokens_in: int
    tokens_out: int
    finish: Finish


class Piece(msgspec.Struct, frozen=True):
    """A piece of an answer; the last one also has what `Generated` has."""

    text: str
    finish: Finish | None = None
    tokens_in: int = 0
    tokens_out: int = 0


class GenerateText(protocol.Capability):
    """A chat's next answer."""

    name = "generate-text"
    takes = "chat"
    Parameters = Generation
    Answer = Generated
    Piece = Piece
    hub_task = "text-generation"
    example = MappingProxyType({"max_tokens": 24})

    def prepares(self, entry: Entry) -> bool:
        """GGUF is converted to int8 of CTranslate2."""
        return entry.runtime == "ctranslate2"

    def prepare(self, weights: protocol.Weights, to: Path) -> None:
        """Convert it."""
        llama_gguf.convert(weights.folder / weights.entry.source.files[0], to)

    def load(self, weights: protocol.Weights) -> None:
        """Open the model."""
        self._model = generation.open_model(weights)

    def run(self, inputs: Sequence[Any], parameters: Generation) -> list[Generated]:
        """Answer chats, those together that may be."""
        asked = [self._read(given, parameters) for given in inputs]
        if parameters.stop or len(asked) == 1:  # what a stop ends is not drawn any further
            drawn: Iterable[Iterator[int]] = (self._model.go_on(tokens, parameters) for tokens in asked)
        else:
            drawn = self._model.go_on_each(asked, parameters)
        return [self._whole(tokens, following, parameters) for tokens, following in zip(asked, drawn, strict=True)]

    def stream(self, given: Any, parameters: Generation) -> Iterator[Piece]:
        """Answer one chat as the answer grows."""
        asked = self._read(given, parameters)
        yield from self._told(asked, self._model.go_on(asked, parameters), parameters)

    def _read(self, given: Any, parameters: Generation) -> list[int]:
        """A chat as tokens.

        Raises:
            BadInput: There is nothing to answer, or no room for an answer.
        """
        if not generation.as_text(given).strip():
            raise BadInput("There is nothing to answer.")
        asked = self._model.read(given, parameters.raw)
        generation.check_room(len(asked), parameters.max_tokens, self._model.longest)
        return asked

    def _whole(self, asked: list[int], following: Iterator[int], parameters: Generation) -> Generated:
        *said, last = self._told(asked, following, parameters)
        return Generated(
            "".join(piece.text for piece in (*said, last)), last.tokens_in, last.tokens_out, last.finish or "stop"
        )

    def _told(self, asked: list[int], following: Iterator[int], parameters: Generation) -> Iterator[Piece]:
        """The pieces of an answer, as its tokens are drawn."""
        drawn = Count(following)
        stopped = False
        for text, _ in pieces(drawn, self._model.write, parameters.stop):
            stopped = not text
            if text:
                yield Piece(text)
        finish: Finish = "stop" if stopped or drawn.count < parameters.max_tokens else "length"
        yield Piece("", finish, len(asked), drawn.count)

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """`text_generation(prompt, max_new_tokens=…)`, which goes on with the prompt."""
        asked = {{"max_new_tokens": "max_tokens"}.get(k, k): v for k, v in parameters.items()}
        sample = asked.pop("do_sample", None)
        if sample is False:
            asked["temperature"] = 0.0
        dropped = [
            k for k in ("details", "return_full_text", "decoder_input_details", "watermark") if asked.get(k) is False
        ]
        kept = {k: v for k, v in asked.items() if k not in dropped}
        return super().from_hub(inputs, {"raw": True} | kept)

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:  # noqa: ARG002 - one form for all
        """What was generated."""
        return [{"generated_text": answer["text"]} for answer in answers]


class Count:
    """An iterator that counts."""

    def __init__(self, items: Iterator[int]) -> None:
        self._items = items
        self.count = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        item = next(self._items)
        self.count += 1
        return item
