"""Real sentences are written down, with times; what cannot be done is refused; models of the hub's forms listen too."""

import json

import msgspec
import pytest

from tests.contract.test_capabilities import sound
from treadle.capabilities import catalog
from treadle.capabilities.limits import BadInput
from treadle.capabilities.pool import Pool
from treadle.capabilities.transcribe import Transcribe, Transcription
from treadle.settings import CHECKOUT, Settings

SOUNDS = CHECKOUT / "tests" / "sounds"
SELFISH = SOUNDS / "austen-0890.flac"


def ask(pool, inputs, parameters=None, model=None):
    _, future = pool.ask("transcribe", inputs, parameters or {}, model=model)
    return msgspec.msgpack.decode(future.result(timeout=120).answers, type=list[Transcription])


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    pool = Pool(Settings(home=tmp_path_factory.mktemp("ready")))
    yield pool
    pool.stop()


def test_a_sentence_and_a_tone(pool):
    said, silent = ask(pool, [SELFISH.read_bytes(), sound()], {"language": "en"})
    assert said.text == "Unless to be rather cold-hearted and rather selfish is to be ill-disposed."
    assert (said.language, said.seconds) == ("en", 5.3)
    assert said.score > 0.6
    assert [chunk.text for chunk in said.chunks] == [said.text]
    assert 0 <= said.chunks[0].start < said.chunks[0].end <= said.seconds
    assert (silent.text, silent.chunks, silent.score) == ("", [], None)


def test_words_have_times_in_order(pool):
    (said,) = ask(pool, [SELFISH.read_bytes()], {"timestamps": "word"})
    assert " ".join(word.text for word in said.chunks) == said.text.replace("-", " -")
    times = [time for word in said.chunks for time in (word.start, word.end)]
    assert times == sorted(times)
    selfish = next(word for word in said.chunks if word.text == "selfish")
    assert 2.5 < selfish.start < selfish.end < 4.0


def test_a_language_that_it_does_not_know(pool):
    with pytest.raises(BadInput, match="the model knows en"):
        ask(pool, [SELFISH.read_bytes()], {"language": "de"})


def test_the_form_of_the_hub_s_client():
    given = Transcribe().from_hub(b"x", {"return_timestamps": "word", "generation_parameters": {}})
    assert given == ([b"x"], {"timestamps": "word"})
    answer = {"text": "Hello.", "chunks": [{"text": "Hello.", "start": 0.0, "end": 1.5}]}
    assert Transcribe().to_hub([answer], None) == {
        "text": "Hello.",
        "chunks": [{"text": "Hello.", "timestamp": [0.0, 1.5]}],
    }


def add_hub_model(pool_settings, folder, name):
    files = tuple(sorted(path.name for path in folder.iterdir() if path.suffix != ".py"))
    entry = catalog.Entry(
        capability="transcribe", model=name, version="0", licence="MIT", size_bytes=1, runtime="transformers",
        source=catalog.HubSource(kind="hub", id=str(folder), files=files),
    )  # fmt: skip
    catalog.add_entry(entry, pool_settings)


def save_wav2vec2(folder):
    """A tiny Wav2Vec2 with weights drawn by chance, as the hub has them."""
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    torch.manual_seed(0)
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghij"]
    (folder / "vocab.json").write_text(json.dumps({letter: number for number, letter in enumerate(letters)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=False)
    Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    convolutions = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    model = Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=len(letters), pad_token_id=0, **shape, **convolutions))
    model.save_pretrained(folder)


def save_whisper(folder):
    """A tiny Whisper with weights drawn by chance and a tokenizer of single bytes."""
    import torch
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    torch.manual_seed(0)
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>"]
    special += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    times = [f"<|{step * 0.02:.2f}|>" for step in range(1501)]
    letters = list(bytes_to_unicode().values())
    vocab = {token: number for number, token in enumerate([*letters, *special, *times])}
    tokenizer = WhisperTokenizer(vocab=vocab, merges=[])
    tokenizer.add_tokens([*special, *times], special_tokens=False)
    extractor = WhisperFeatureExtractor(feature_size=80)
    WhisperProcessor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)
    end, start = vocab["<|endoftext|>"], vocab["<|startoftranscript|>"]
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
    sizes |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    ids = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    model = WhisperForConditionalGeneration(
        WhisperConfig(vocab_size=len(vocab), max_target_positions=64, **sizes, **ids)
    )
    model.generation_config = GenerationConfig(
        **ids, max_length=40, is_multilingual=True, no_timestamps_token_id=vocab["<|notimestamps|>"],
        lang_to_id={"<|en|>": vocab["<|en|>"], "<|de|>": vocab["<|de|>"]},
        task_to_id={"transcribe": vocab["<|transcribe|>"], "translate": vocab["<|translate|>"]},
        alignment_heads=[[0, 0], [0, 1]], max_initial_timestamp_index=50,
    )  # fmt: skip
    model.save_pretrained(folder)


@pytest.mark.slow
@pytest.mark.parametrize("save", [save_wav2vec2, save_whisper])
def test_models_of_the_hub_s_forms(tmp_path, save):
    folder = tmp_path / "model"
    folder.mkdir()
    save(folder)
    settings = Settings(home=tmp_path)
    add_hub_model(settings, folder, "tiny")
    pool = Pool(settings)
    try:
        (said,) = ask(pool, [SELFISH.read_bytes()], model="tiny")
        assert said.seconds == 5.3
        assert all(0 <= chunk.start <= chunk.end <= said.seconds for chunk in said.chunks)
        assert "".join(said.text.split()) == "".join("".join(chunk.text.split()) for chunk in said.chunks)
        assert said.text  # by chance, but not nothing
        if save is save_wav2vec2:
            with pytest.raises(BadInput, match="one language"):
                ask(pool, [SELFISH.read_bytes()], {"language": "de"}, "tiny")
        else:
            ask(pool, [SELFISH.read_bytes()], {"language": "de", "timestamps": "word"}, "tiny")
    finally:
        pool.stop()
