"""A small Llama that comes as GGUF, converted once to what CTranslate2 runs: weights as int8, a tokenizer, a few facts.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. llama.cpp orders the rows of queries and keys for
rotations of neighbours; so does CTranslate2 with `rotary_interleave`, so they stay as they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from treadle.capabilities.sources import missing_guest

MODEL, TOKENIZER, FACTS = "model", "tokenizer.json", "facts.json"
CONTROL = 3
"""The type of a token that no text is read as, in GGUF."""


def convert(file: Path, to: Path) -> None:
    """Convert a model.

    Args:
        file: GGUF of the architecture `llama`, whose tokenizer is a byte-level BPE.
        to: Gets a folder for CTranslate2, a tokenizer, and `facts.json`: the end token and the longest context.
    """
    try:
        import gguf
    except ImportError:
        raise missing_guest("gguf", "language") from None
    reader = gguf.GGUFReader(file)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    tensors = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    tokens = facts["tokenizer.ggml.tokens"]
    end = tokens[facts["tokenizer.ggml.eos_token_id"]]
    spec = _spec(facts, tensors)
    spec.register_vocabulary(tokens)
    spec.config.bos_token = tokens[facts["tokenizer.ggml.bos_token_id"]]
    spec.config.eos_token = end
    spec.config.unk_token = tokens[facts["tokenizer.ggml.unknown_token_id"]]
    spec.config.layer_norm_epsilon = facts["llama.attention.layer_norm_rms_epsilon"]
    spec.validate()
    spec.optimize(quantization="int8")
    (to / MODEL).mkdir()
    spec.save(str(to / MODEL))
    _tokenizer(facts).save(str(to / TOKENIZER))
    said = {"end": end, "longest": facts["llama.context_length"]}
    (to / FACTS).write_text(json.dumps(said), encoding="utf-8")


def _spec(facts: dict[str, Any], tensors: dict[str, np.ndarray]) -> Any:
    """The network as CTranslate2 wants it."""
    try:
        from ctranslate2.specs import common_spec, transformer_spec
    except ImportError:
        raise missing_guest("ctranslate2", "language") from None
    spec: Any = transformer_spec.TransformerDecoderModelSpec.from_config(
        facts["llama.block_count"], facts["llama.attention.head_count"], pre_norm=True,
        activation=common_spec.Activation.SWISH, ffn_glu=True, rms_norm=True, rotary_dim=0, rotary_interleave=True,
        rotary_base=facts["llama.rope.freq_base"], num_heads_kv=facts["llama.attention.head_count_kv"],
    )  # fmt: skip
    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = tensors["token_embd.weight"]
    decoder.projection.weight = tensors.get("output.weight", tensors["token_embd.weight"])
    decoder.layer_norm.gamma = tensors["output_norm.weight"]
    for number, layer in enumerate(decoder.layer):
        mine = {name: tensors[f"blk.{number}.{name}.weight"] for name in
                ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")}  # fmt: skip
        attention, forward = layer.self_attention, layer.ffn
        attention.layer_norm.gamma = mine["attn_norm"]
        attention.linear[0].weight = np.concatenate([mine["attn_q"], mine["attn_k"], mine["attn_v"]])
        attention.linear[1].weight = mine["attn_output"]
        forward.layer_norm.gamma = mine["ffn_norm"]
        forward.linear_0.weight = mine["ffn_gate"]
        forward.linear_0_noact.weight = mine["ffn_up"]
        forward.linear_1.weight = mine["ffn_down"]
    return spec


def _tokenizer(facts: dict[str, Any]) -> Any:
    """The byte-level BPE; digits stand alone, as in SmolLM's."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = facts["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ", 1)) for pair in facts["tokenizer.ggml.merges"]]
    made = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    kinds = zip(tokens, facts["tokenizer.ggml.token_type"], strict=True)
    made.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token, kind in kinds if kind == CONTROL]
    )
    return made
