"""How quick ready models are beside plain Transformers or PyTorch with the same weights: `python -m benchmarks.ready_speed [NAME …]`.

Both in one process, on one core, in turns; the median of CPU time, decoding left out. Networks that Transformers does not have run in plain
PyTorch by onnx2torch, between the same steps before and after; Transformers reads GGUF with accelerate: `pip install --no-deps onnx2torch
accelerate`. Then int8 beside float32.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.labelled_texts import rated_texts, reuters
from benchmarks.ready import photographs
from benchmarks.ready_texts import SPANISH, TOPICS
from benchmarks.sentiment import split
from treadle.capabilities import load_capability
from treadle.capabilities.limits import Limits
from treadle.capabilities.network import open_network
from treadle.capabilities.pictures import read_picture
from treadle.capabilities.pool import prepare
from treadle.capabilities.protocol import Weights
from treadle.capabilities.sources import made_folder, pick
from treadle.settings import Settings

AT_ONCE = (1, 16)
ROUNDS = 5
TOKENS = 16
"""Tokens that are generated for each prompt."""
NETWORKS = {
    "classify-image": ("efficientnet-lite0/classifier.onnx",),
    "detect-objects": ("yolox-nano/yolox_nano.onnx",),
    "detect-faces": ("yunet/yunet_n_dynamic.onnx",),
    "compare-faces": ("yunet/yunet_n_dynamic.onnx", "dlib-face-resnet/descriptor.onnx"),
}
"""Where each network of a capability is, below `weights/`."""
NOT_COMPARED = {
    "read-text": "PP-OCRv6 comes as ONNX; Transformers does not have its networks",
    "extract-entities": "a network of spaCy's, which runs in its own library",
    "transcribe": "the weights come in CTranslate2's form, which Transformers cannot open",
    "detect-speech": "Silero's network comes as ONNX; Transformers does not have it",
}
Run = Callable[[Sequence[Any]], object]


@dataclass(frozen=True)
class Pair:
    """What is compared.

    Attributes:
        plain: What the other one is.
        inputs: At least sixteen.
        rounds: How often each is measured.
    """

    what: str
    plain: str
    ours: Run
    other: Run
    inputs: Sequence[Any]
    rounds: int = ROUNDS


def open_here(name: str, settings: Settings) -> tuple[Any, Weights]:
    """A capability with its default model, in this process."""
    entry, folder = pick(name, None, settings)
    prepare(name, entry, folder, settings)
    weights = Weights(entry, folder, made_folder(entry, settings), Limits.of(settings))
    capability = load_capability(name)
    capability.load(weights)
    return capability, weights


def texts(settings: Settings) -> Iterator[Pair]:
    """The sentence encoder, which `embed-text`, `similar-items`, `classify-text`, `analyze-sentiment` and `summarize` share."""
    import torch
    from transformers import pipeline

    capability, weights = open_here("embed-text", settings)
    folder = str(weights.folder)
    asked = pipeline("feature-extraction", model=folder, tokenizer=folder, device="cpu")

    def plain(some: Sequence[str]) -> list[Any]:
        with torch.inference_mode():
            found = asked(list(some), batch_size=len(some), return_tensors=True, truncation=True, max_length=256)
        return [tokens[0].mean(dim=0) for tokens in found]

    stories = [str(text) for text in reuters()["Text"][:16]]
    sentences = (list(SPANISH) * 2)[:16]
    for what, inputs in (("a sentence of ten words", sentences), ("a news story", stories)):
        ours: Run = lambda some: capability.run(some, capability.parse({}))  # noqa: E731
        yield Pair(f"`embed-text` and its kin, {what}", "transformers.pipeline", ours, plain, inputs)


def generation(settings: Settings) -> Iterator[Pair]:
    """SmolLM2 in int8 of CTranslate2, beside the dequantized model in Transformers."""
    import ctranslate2
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    from treadle.capabilities.llama_gguf import MODEL

    capability, weights = open_here("generate-text", settings)
    (file,) = weights.entry.source.files
    model = AutoModelForCausalLM.from_pretrained(weights.folder, gguf_file=file).eval()
    tokenizer = AutoTokenizer.from_pretrained(weights.folder, gguf_file=file)
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.pad_token or tokenizer.eos_token, "left"
    asked = pipeline("text-generation", model=model, tokenizer=tokenizer, device="cpu")
    asked_for = {"max_tokens": TOKENS, "temperature": 0.0, "raw": True}

    def plain(some: Sequence[str]) -> object:
        return asked(list(some), batch_size=len(some), max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False)

    ours: Run = lambda some: capability.run(some, capability.parse(asked_for))  # noqa: E731
    prompts = [f"{sentence} And then" for sentence in (list(SPANISH) * 2)[:16]]
    yield Pair(f"`generate-text`, {TOKENS} tokens", "transformers.pipeline", ours, plain, prompts, 2)
    wide, _ = open_here("generate-text", settings)
    wide._model._model = ctranslate2.Generator(
        str(weights.made / MODEL), device="cpu", compute_type="float32", intra_threads=1
    )
    float32: Run = lambda some: wide.run(some, wide.parse(asked_for))  # noqa: E731
    yield Pair("the same, int8", "CTranslate2 in float32", ours, float32, prompts, 2)


def vision(settings: Settings) -> Iterator[Pair]:
    """The vision capabilities, with the same networks in PyTorch."""
    picture = read_picture(photographs()["astronaut"], Limits())
    for name, files in NETWORKS.items():
        capability, weights = open_here(name, settings)
        root = next(parent for parent in [weights.folder, *weights.folder.parents] if parent.name == "weights")
        networks = [open_network(root / file) for file in files]
        plain = [TorchSession(root / file) for file in files]
        own = [network._session for network in networks]  # pyright: ignore[reportPrivateUsage]
        given = picture if isinstance(capability.takes, str) else dict.fromkeys(capability.takes, picture)

        ours, other = (partial(run_with, capability, networks, sessions) for sessions in (own, plain))
        yield Pair(f"`{name}`", "PyTorch", ours, other, [given] * 16)


def run_with(capability: Any, networks: Sequence[Any], sessions: Sequence[Any], some: Sequence[Any]) -> object:
    """Have a capability answer, its networks run by these; then they are as they were, for others that share them."""
    before = [network._session for network in networks]
    for network, session in zip(networks, sessions, strict=True):
        network._session = session
    try:
        return capability.run(some, capability.parse({}))
    finally:
        for network, session in zip(networks, before, strict=True):
            network._session = session


class TorchSession:
    """An ONNX file in plain PyTorch, asked like a session of onnxruntime."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        for name in ("torchvision", "torchvision.ops"):  # onnx2torch wants it for operators that no network of ours has
            sys.modules.setdefault(name, types.ModuleType(name))
        sys.modules["torchvision.ops"].roi_align = None  # pyright: ignore[reportAttributeAccessIssue]
        from onnx2torch import convert  # pyright: ignore[reportMissingImports]

        try:
            self._model = convert(str(path)).eval()
        except KeyError:  # weights that are kept in 8 bits, and are widened when the file is opened
            with tempfile.TemporaryDirectory() as folder:
                options = onnxruntime.SessionOptions()
                options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
                options.optimized_model_filepath = f"{folder}/widened.onnx"
                onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
                self._model = convert(options.optimized_model_filepath).eval()

    def run(self, _names: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Its outputs in order."""
        import torch

        with torch.inference_mode():
            found = self._model(*map(torch.from_numpy, given.values()))
        return [one.numpy() for one in ([found] if torch.is_tensor(found) else found)]


def measure(pair: Pair) -> str:
    """A row: CPU milliseconds an input, and how many times as quick, for one and for sixteen at once."""
    cells = []
    for many in AT_ONCE:
        some = pair.inputs[:many]
        pair.ours(some), pair.other(some)
        ours, other = (
            median(t)
            for t in zip(*[(spent(pair.ours, some), spent(pair.other, some)) for _ in range(pair.rounds)], strict=True)
        )
        cells.append(f"{ours / many:.1f} | {other / many:.1f} | {other / ours:.1f}")
    return f"| {pair.what} | {pair.plain} | {' | '.join(cells)} |"


def spent(run: Run, some: Sequence[Any]) -> float:
    """CPU milliseconds of all threads."""
    begun = time.process_time()
    run(some)
    return (time.process_time() - begun) * 1000


def int8(settings: Settings) -> None:
    """The sentence encoder with 8-bit arithmetic: likeness, sentiments and topics found, and time."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from treadle.capabilities.analyze_sentiment import HEAD, SENTIMENTS, Head, Lexicon
    from treadle.capabilities.minilm import ENCODER, Embedder

    _, weights = open_here("embed-text", settings)
    rated, stories = rated_texts(), reuters()[:300]
    held = rated.iloc[split(rated)[1]]
    measures = Lexicon().measures(held["text"])
    codes, sentences = np.array(list(TOPICS)), [f"This text is about {topic}." for topic in TOPICS.values()]
    some, before = [str(text) for text in stories["Text"][:16]], None
    print(
        "\n| encoder | MB | cosine to float32, least | a story alone and among 16, least | sentiments | topics | CPU ms, 1 | 16 |"
    )
    print(f"|{'---|' * 8}")
    with tempfile.TemporaryDirectory() as folder:
        quantize_dynamic(weights.made / ENCODER, Path(folder) / ENCODER, weight_type=QuantType.QInt8, per_channel=True)
        for name, made in (("float32", weights.made), ("int8", Path(folder))):
            embedder = Embedder(weights.folder, made)
            seen, _ = embedder.embed(list(held["text"]))
            right = np.array(SENTIMENTS)[Head(HEAD).scores(seen, measures).argmax(axis=1)] == held["sentiment"]
            read, topics = embedder.embed(list(stories["Text"]))[0], embedder.embed(sentences)[0]
            found = codes[(read @ topics.T).argmax(axis=1)] == stories["Category"]
            before = seen if before is None else before
            times = [median(spent(embedder.embed, some[:many]) for _ in range(ROUNDS)) / many for many in AT_ONCE]
            size = (made / ENCODER).stat().st_size / 1e6
            cosines = (seen * before).sum(axis=1)
            alone = np.concatenate([embedder.embed([one])[0] for one in some])
            kept = float((alone * embedder.embed(some)[0]).sum(axis=1).min())
            print(
                f"| {name} | {size:.0f} | {cosines.mean():.4f}, {cosines.min():.3f} | {kept:.5f} | {right.mean():.3f} | {found.mean():.3f}"
                f" | {times[0]:.1f} | {times[1]:.1f} |",
                flush=True,
            )


COMPARED: dict[str, Callable[[Settings], Iterator[Pair]]] = {"texts": texts, "generation": generation, "vision": vision}


def main(names: Sequence[str]) -> None:
    """Print the tables."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import torch

    torch.set_num_threads(1)
    settings = Settings()
    print(
        "| what | beside | ours, CPU ms | its | times | ours, 16 at once | its | times |\n|---|---|---|---|---|---|---|---|"
    )
    for name in names or COMPARED:
        if name in COMPARED:
            for pair in COMPARED[name](settings):
                print(measure(pair), flush=True)
    if not names:
        print(
            "".join(f"| `{name}` | not compared: {why} | | | | | | |\n" for name, why in NOT_COMPARED.items()), end=""
        )
    if not names or "int8" in names:
        int8(settings)


if __name__ == "__main__":
    main(sys.argv[1:])
