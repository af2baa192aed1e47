"""Makes small random models of the architectures that the hub has, each with a tokenizer of two dozen words, as safetensors."""

from treadle.capabilities.catalog import Entry, HubSource

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "dog",
    "this",
    "text",
    "is",
    "about",
    "in",
    "of",
    "summarize",
    "translate",
    "english",
    "to",
    "german",
    ":",
    ".",
    "user",
    "assistant",
]
SIZE = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
SEQ = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
       "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}  # fmt: skip
CHAT = "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} . {% endfor %}assistant :"


def tokenizer(**marks):
    """A tokenizer of whole words in lower case."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "</s>", *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", eos_token="</s>", sep_token="</s>",
        model_max_length=64, **marks,
    )  # fmt: skip


def _save(folder, kind, config, *, speaks=False, **marks):
    """Save one; one that `speaks` gives its marks no weight, so that it says words and does not end at once."""
    import torch
    import transformers

    torch.manual_seed(0)
    words = tokenizer(**marks)
    settings = {"vocab_size": len(words), "pad_token_id": 0, "eos_token_id": 2} | config
    model = getattr(transformers, kind)
    made = model(model.config_class(**settings))
    if speaks:
        made.get_output_embeddings().weight.data[: -len(WORDS)] = 0
    made.save_pretrained(folder, safe_serialization=True)
    words.save_pretrained(folder)


def distilbert(folder):
    config = {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 32, "id2label": {0: "NEGATIVE", 1: "POSITIVE"}}
    _save(folder, "DistilBertForSequenceClassification", config, model_input_names=["input_ids", "attention_mask"])


def nli(folder):
    labels = {0: "contradiction", 1: "neutral", 2: "entailment"}
    config = SIZE | {"id2label": labels, "label2id": {name: number for number, name in labels.items()}}
    _save(folder, "BertForSequenceClassification", config)


def tagger(folder):
    _save(folder, "BertForTokenClassification", SIZE | {"id2label": {0: "B-PER", 1: "I-PER", 2: "B-LOC"}})


def marian(folder):
    _save(folder, "MarianMTModel", SEQ | {"decoder_start_token_id": 0, "max_position_embeddings": 1024})


def bart(folder):
    _save(folder, "BartForConditionalGeneration", SEQ | {"decoder_start_token_id": 2, "bos_token_id": 2})


def t5(folder):
    config = {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
    _save(folder, "T5ForConditionalGeneration", config)


def gpt2(folder):
    _save(
        folder,
        "GPT2LMHeadModel",
        {"n_embd": 32, "n_layer": 1, "n_head": 2, "bos_token_id": 2, "n_positions": 128},
        speaks=True,
    )


def llama(folder):
    config = SIZE | {"num_key_value_heads": 1, "bos_token_id": 2, "max_position_embeddings": 256}
    _save(folder, "LlamaForCausalLM", config, speaks=True, chat_template=CHAT)


def make_entry(capability, make, folder, **more):
    """The catalog's entry of a model that a function makes, once."""
    if not folder.exists():
        make(folder)
    source = HubSource(kind="hub", id=str(folder), files=tuple(sorted(path.name for path in folder.iterdir())))
    return Entry(
        capability=capability, model=make.__name__, version="1", source=source, licence="MIT", size_bytes=1,
        memory_mb=1000, runtime="transformers", **more,
    )  # fmt: skip
