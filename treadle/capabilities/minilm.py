"""Sentence embeddings by small BERT-like encoders: tokenizer, encoder as ONNX, mean of the tokens, length one.

Reimers and Gurevych, Sentence-BERT (2019), https://arxiv.org/abs/1908.10084. The export needs PyTorch and Transformers,
once; afterwards onnxruntime and tokenizers are enough.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from treadle.capabilities import protocol
from treadle.capabilities.catalog import Entry
from treadle.capabilities.limits import cores
from treadle.capabilities.sources import missing_guest
from treadle.models.onnx_session import open_session

BATCH = 32
ENCODER = "encoder.onnx"


class OnEncoder(protocol.Capability):
    """A capability whose model on onnxruntime is such an encoder, exported once."""

    def prepares(self, entry: Entry) -> bool:
        """Encoders are exported to ONNX."""
        return entry.runtime == "onnxruntime"

    def prepare(self, weights: protocol.Weights, to: Path) -> None:
        """Export the encoder."""
        export(weights.folder, to)


class Embedder:
    """An encoder that was exported by `export`.

    Args:
        folder: Has `tokenizer.json`.
        made: Has the encoder.
        most_tokens: Longer texts are cut.
    """

    def __init__(self, folder: Path, made: Path, most_tokens: int = 256) -> None:
        try:
            from tokenizers import Tokenizer

            self._session = open_session(made / ENCODER, cores())
        except ImportError:
            raise missing_guest("onnxruntime and tokenizers", "language") from None
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(most_tokens)
        self._names = {given.name for given in self._session.get_inputs()}

    def embed(self, texts: list[str]) -> tuple[np.ndarray, list[int]]:
        """Embed texts.

        Returns:
            float32 (n, width), rows of length one; and the tokens that each text has.
        """
        encodings = self._tokenizer.encode_batch(texts)
        counts = [len(encoding.ids) for encoding in encodings]
        order = np.argsort(counts)  # texts of like length share a batch, so that little is padded
        vectors: list[np.ndarray] = [np.empty(0)] * len(texts)
        for begin in range(0, len(order), BATCH):
            some = order[begin : begin + BATCH]
            for place, vector in zip(some, self._encode([encodings[i].ids for i in some]), strict=True):
                vectors[place] = vector
        return np.stack(vectors), counts

    def _encode(self, rows: list[list[int]]) -> np.ndarray:
        """One padded batch, float32 (n, width)."""
        longest = max(map(len, rows))
        ids = np.zeros((len(rows), longest), np.int64)
        mask = np.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden: Any = self._session.run(None, {name: given[name] for name in self._names})[0]  # (n, tokens, width)
        weights = mask[:, :, None].astype(np.float32)
        means = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


@cache
def open_embedder(folder: Path, made: Path) -> Embedder:
    """The embedder of a model, opened once in a process however many capabilities use it."""
    return Embedder(folder, made)


def export(folder: Path, to: Path) -> None:
    """Write the encoder of a Transformers folder as ONNX.

    Args:
        folder: Has `config.json` and `model.safetensors`.
        to: Gets the encoder.
    """
    try:
        import torch
        from transformers import AutoModel
    except ImportError:
        raise missing_guest("torch and transformers (to export the model once)", "platform") from None
    model = AutoModel.from_pretrained(folder, use_safetensors=True, attn_implementation="eager").eval()
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if kind == "bert" else [])]
    example = tuple(torch.ones(2, 8, dtype=torch.long) for _ in names)
    axes = {0: "rows", 1: "tokens"}

    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            return self.model(**dict(zip(names, given, strict=True))).last_hidden_state

    with torch.no_grad():
        torch.onnx.export(
            Hidden(), example, str(to / ENCODER), input_names=names, output_names=["hidden"],
            dynamic_axes=dict.fromkeys([*names, "hidden"], axes), opset_version=18, dynamo=False,
        )  # fmt: skip
