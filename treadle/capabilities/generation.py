"""Language models that go on with a text, token by token."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from treadle.capabilities import llama_gguf
from treadle.capabilities.hub import open_generator
from treadle.capabilities.limits import BadInput, cores
from treadle.capabilities.protocol import Weights
from treadle.capabilities.sources import missing_guest

TOGETHER = 4096
"""Tokens that are in memory at once when several are drawn together, some 50 KB each in SmolLM2."""
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

    def go_on_each(self, asked: Sequence[list[int]], sampling: Sampling) -> Iterable[Iterator[int]]:
        """The same for several, in order; some may be drawn together, to their ends."""
        ...

    def write(self, tokens: Sequence[int]) -> str:
        """Tokens as text."""
        ...


def open_model(weights: Weights) -> Generator:
    """The model of an entry: by CTranslate2 where it was converted, or by Transformers."""
    return Hubs(weights) if weights.entry.runtime == "transformers" else Converted(weights.made)


def _is_seeded(sampling: Sampling) -> bool:
    """Whether chance decides, and is asked to decide as it did before."""
    return sampling.seed is not None and sampling.temperature > 0


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
        if _is_seeded(sampling):  # a seed counts for threads that begin after it is set
            self._set_seed(sampling.seed)
            del self._model
            self._model = self._open()
        for step in self._model.generate_tokens(self._named(tokens), **self._drawing(sampling)):
            if step.token == self._end:
                return
            yield step.token_id

    def go_on_each(self, asked: Sequence[list[int]], sampling: Sampling) -> Iterable[Iterator[int]]:
        """Draw those of one length together, which is much quicker and gives each what it gets alone; of other lengths it would not."""
        if _is_seeded(sampling):
            return (self.go_on(tokens, sampling) for tokens in asked)
        drawn: list[list[int]] = [[]] * len(asked)
        by_length = sorted(range(len(asked)), key=lambda place: len(asked[place]))
        for length, places in groupby(by_length, key=lambda place: len(asked[place])):
            alike, most = list(places), max(1, TOGETHER // (length + sampling.max_tokens))
            for some in (alike[begin : begin + most] for begin in range(0, len(alike), most)):
                found = self._model.generate_batch(
                    [self._named(asked[place]) for place in some],
                    include_prompt_in_result=False,
                    **self._drawing(sampling),
                )
                for place, one in zip(some, found, strict=True):
                    drawn[place] = one.sequences_ids[0]
        return map(iter, drawn)

    def _named(self, tokens: Sequence[int]) -> list[str]:
        return [str(self._tokenizer.id_to_token(token)) for token in tokens]

    def _drawing(self, sampling: Sampling) -> dict[str, Any]:
        greedy = sampling.temperature == 0
        return {
            "max_length": sampling.max_tokens,
            "sampling_topk": 1 if greedy else sampling.top_k,
            "sampling_topp": 1.0 if greedy else sampling.top_p,
            "sampling_temperature": 1.0 if greedy else sampling.temperature,
            "repetition_penalty": sampling.repetition_penalty,
            "end_token": self._end,
        }

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

    def go_on_each(self, asked: Sequence[list[int]], sampling: Sampling) -> Iterable[Iterator[int]]:
        """One after the other."""
        return (self.go_on(tokens, sampling) for tokens in asked)

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


def check_room(asked: int, wanted: int, longest: int) -> None:
    """Refuse what does not fit into the model's view.

    Raises:
        BadInput: It does not.
    """
    if asked + wanted > longest:
        raise BadInput(f"{asked} tokens and max_tokens {wanted} are more than the {longest} that the model sees.")
