"""Language models that go on with a text, token by token, and the text that comes of it, piece by piece."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from treadle.capabilities import llama_gguf
from treadle.capabilities.hub import open_generator
from treadle.capabilities.limits import BadInput, cores
from treadle.capabilities.protocol import Weights
from treadle.capabilities.sources import missing_guest

BROKEN = "\ufffd"
"""What half a character decodes to."""
Message = dict[str, str]
POLITE = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
"""What SmolLM2 was tuned with where a chat does not begin with a message of the system."""


class Sampling(Protocol):
    """How the next token is drawn; `treadle.capabilities.generate_text.Generation` has the meanings."""

    @property
    def max_tokens(self) -> int: ...  # noqa: D102
    @property
    def temperature(self) -> float: ...  # noqa: D102
    @property
    def top_p(self) -> float: ...  # noqa: D102
    @property
    def top_k(self) -> int: ...  # noqa: D102
    @property
    def repetition_penalty(self) -> float: ...  # noqa: D102
    @property
    def seed(self) -> int | None: ...  # noqa: D102


class Generator(Protocol):
    """A model that goes on with tokens.

    Attributes:
        longest: Tokens that it can see, asked and answered.
    """

    longest: int

    def read(self, given: str | Sequence[Message], raw: bool) -> list[int]:
        """The tokens of a chat, or of a text to go on with."""
        ...

    def go_on(self, tokens: list[int], sampling: Sampling) -> Iterator[int]:
        """The tokens that follow, without the one that ends them."""
        ...

    def write(self, tokens: Sequence[int]) -> str:
        """Tokens as text."""
        ...


def open_model(weights: Weights) -> Generator:
    """The model of an entry: by CTranslate2 where it was converted, or by Transformers."""
    return Hubs(weights) if weights.entry.runtime == "transformers" else Converted(weights.made)


class Converted:
    """A chat model that `llama_gguf.convert` made; it speaks ChatML.

    Args:
        made: What it made.
    """

    def __init__(self, made: Path) -> None:
        try:
            import ctranslate2
            from tokenizers import Tokenizer
        except ImportError:
            raise missing_guest("ctranslate2 and tokenizers", "language") from None
        facts = json.loads((made / llama_gguf.FACTS).read_text(encoding="utf-8"))
        self.longest: int = facts["longest"]
        self._end: str = facts["end"]
        self._tokenizer = Tokenizer.from_file(str(made / llama_gguf.TOKENIZER))
        self._marks = [self._tokenizer.encode(mark).ids[0] for mark in ("<|im_start|>", "<|im_end|>")]
        self._tokenizer.encode_special_tokens = True
        self._set_seed = ctranslate2.set_random_seed
        self._open = partial(
            ctranslate2.Generator,
            str(made / llama_gguf.MODEL), device="cpu", compute_type="int8", intra_threads=cores(),
        )  # fmt: skip
        self._model = self._open()

    def read(self, given: str | Sequence[Message], raw: bool) -> list[int]:
        """A chat as ChatML; what messages say is never read as a mark of it."""
        if raw:
            return self._plain(as_text(given))
        messages = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
        if messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": POLITE})
        begin, end = self._marks
        tokens: list[int] = []
        for message in messages:
            said = self._plain(f"{message['role']}\n{message['content']}")
            tokens += [begin, *said, end, *self._plain("\n")]
        return [*tokens, begin, *self._plain("assistant\n")]

    def _plain(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text).ids)

    def go_on(self, tokens: list[int], sampling: Sampling) -> Iterator[int]:
        """Draw tokens one by one."""
        greedy = sampling.temperature == 0
        if sampling.seed is not None and not greedy:  # a seed counts for threads that begin after it is set
            self._set_seed(sampling.seed)
            del self._model
            self._model = self._open()
        steps = self._model.generate_tokens(
            [self._tokenizer.id_to_token(token) for token in tokens],
            max_length=sampling.max_tokens,
            sampling_topk=1 if greedy else sampling.top_k,
            sampling_topp=1.0 if greedy else sampling.top_p,
            sampling_temperature=1.0 if greedy else sampling.temperature,
            repetition_penalty=sampling.repetition_penalty,
            end_token=self._end,
        )
        for step in steps:
            if step.token == self._end:
                return
            yield step.token_id

    def write(self, tokens: Sequence[int]) -> str:
        """Tokens as text."""
        return self._tokenizer.decode(list(tokens))


class Hubs:
    """A causal language model of the hub, by Transformers.

    Args:
        weights: Its folder.
    """

    def __init__(self, weights: Weights) -> None:
        self._tokenizer, self._model = open_generator(weights, "AutoModelForCausalLM")
        config = self._model.config
        self.longest: int = getattr(config, "max_position_embeddings", None) or 1024
        ends = self._model.generation_config.eos_token_id
        self._ends = set(ends if isinstance(ends, list) else [ends])

    def read(self, given: str | Sequence[Message], raw: bool) -> list[int]:
        """A chat by the model's template; a model that has none goes on with the text."""
        if raw or self._tokenizer.chat_template is None:
            return list(self._tokenizer(as_text(given))["input_ids"])
        messages = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
        read = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
        return list(read["input_ids"])

    def go_on(self, tokens: list[int], sampling: Sampling) -> Iterator[int]:
        """Draw tokens in a thread of its own, which ends when nobody listens."""
        import torch
        from transformers import set_seed

        if sampling.seed is not None:
            set_seed(sampling.seed)
        enough = threading.Event()
        drawn: SimpleQueue[int | BaseException | None] = SimpleQueue()
        draw: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            draw = {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k,
            }

        def work() -> None:
            try:
                ids = torch.tensor([tokens])
                self._model.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=sampling.max_tokens, **draw,
                    repetition_penalty=sampling.repetition_penalty, streamer=_Streamer(drawn),
                    stopping_criteria=[_Enough(enough)],
                    pad_token_id=self._model.generation_config.pad_token_id or next(iter(self._ends)) or 0,
                )  # fmt: skip
                drawn.put(None)
            except BaseException as error:  # noqa: BLE001 - the thread that listens raises it
                drawn.put(error)

        threading.Thread(target=work, daemon=True).start()
        try:
            while (token := drawn.get()) is not None:
                if isinstance(token, BaseException):
                    raise token
                if token in self._ends:
                    return
                yield token
        finally:
            enough.set()

    def write(self, tokens: Sequence[int]) -> str:
        """Tokens as text."""
        return self._tokenizer.decode(list(tokens), skip_special_tokens=True)


class _Enough:
    """Ends a drawing of tokens, between two of them."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def __call__(self, ids: Any, scores: Any, **rest: Any) -> Any:  # noqa: ARG002 - as Transformers calls it
        import torch

        return torch.full((len(ids),), self._event.is_set())


class _Streamer:
    """Puts tokens into a queue; the first call brings those that were asked with."""

    def __init__(self, drawn: SimpleQueue[Any]) -> None:
        self._drawn = drawn
        self._begun = False

    def put(self, value: Any) -> None:
        if self._begun:
            for token in value.flatten().tolist():
                self._drawn.put(token)
        self._begun = True

    def end(self) -> None: ...


def as_text(given: str | Sequence[Message]) -> str:
    """What is gone on with where there is no form for chats: the messages, one below the other."""
    return given if isinstance(given, str) else "\n".join(message["content"] for message in given)


def pieces(
    tokens: Iterator[int], write: Callable[[Sequence[int]], str], stops: Sequence[str]
) -> Iterator[tuple[str, int]]:
    """The text of tokens as it grows: no half characters, nothing of what stops it.

    Args:
        tokens: As they are drawn.
        write: Tokens as text.
        stops: Texts that end the answer and are not part of it.

    Yields:
        A piece of text, and how many tokens were drawn until then; the last is `""` when a stop ended it.
    """
    drawn: list[int] = []
    told = 0
    for token in tokens:
        drawn.append(token)
        text = write(drawn)
        found = [place for place in (text.find(stop) for stop in stops) if place >= 0]
        if found:
            if min(found) > told:
                yield text[told : min(found)], len(drawn)
            yield "", len(drawn)
            return
        sure = len(text) - held_back(text, stops)
        if sure > told:
            yield text[told:sure], len(drawn)
            told = sure
    text = write(drawn)
    if len(text) > told:
        yield text[told:], len(drawn)


def held_back(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end may be half a character or the beginning of a stop.

    >>> held_back("one tw", ["two", "wool"])
    2
    >>> held_back("one", ["two"])
    0
    """
    whole = text.rstrip(BROKEN)
    sizes = (n for stop in stops for n in range(min(len(stop) - 1, len(whole)), 0, -1) if whole.endswith(stop[:n]))
    return len(text) - len(whole) + max(sizes, default=0)


def check_room(asked: int, wanted: int, longest: int) -> None:
    """Refuse what does not fit into the model's view.

    Raises:
        BadInput: It does not.
    """
    if asked + wanted > longest:
        raise BadInput(f"{asked} tokens and max_tokens {wanted} are more than the {longest} that the model sees.")
