"""`treadle ready`: list, install from a hub and from a folder, run texts, files, folders; the network is then not needed."""

import json
import os
import subprocess
import sys

import pytest

from tests.console.hub import COMMIT, hub
from treadle.capabilities import CAPABILITIES
from treadle.settings import CHECKOUT

GERMAN = "Der Zug nach Wien fährt um neun Uhr."


@pytest.fixture
def treadle(tmp_path):
    def run(*words, given=None, code=0, **environment):
        command = [sys.executable, "-m", "console.cli", "ready", *words]
        env = os.environ | {"TREADLE_HOME": str(tmp_path / "home")} | environment
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, input=given, timeout=300)
        assert done.returncode == code, done.stderr.decode()[-2000:]
        return done

    return run


def said(done):
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """A sentence encoder of 16 numbers, made here: config, tokenizer, safetensors, and files that must not be taken."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("hub") / "tiny-bert"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "dog", "law", "the"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    (folder / "modeling_evil.py").write_text("raise SystemExit('code of a model was run')")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    return folder


def reference(folder, text):
    """The same embedding by Transformers."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    tokens.pop("token_type_ids", None)
    with torch.no_grad():
        mean = AutoModel.from_pretrained(folder)(**tokens).last_hidden_state.mean(dim=1)[0]
    return (mean / mean.norm()).tolist()


def test_a_model_of_the_hub_is_pinned_and_works_without_it(treadle, tiny_bert, tmp_path):
    pytest.importorskip("transformers")
    with hub({"tiny/bert": tiny_bert}) as (address, asked):
        online = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf")}
        refused = treadle("install", "embed-text", "--hub", "tiny/bert", code=2, **online)
        assert b"--yes" in refused.stderr
        assert b"licence apache-2.0" in refused.stderr
        installed = said(treadle("install", "embed-text", "--hub", "tiny/bert", "--yes", "--json", **online))
        taken = {path.rpartition("/")[2].partition("?")[0] for path in asked if "/resolve/" in path}
        treadle("install", "embed-text", "--hub", "tiny/nobody", "--yes", code=2, **online)
    assert (installed["model"], installed["version"], installed["licence"]) == ("bert", COMMIT[:12], "apache-2.0")
    assert installed["prepared"] is True
    assert "model.safetensors" in taken
    assert not taken & {"modeling_evil.py", "pytorch_model.bin"}
    answer = said(treadle("run", "embed-text", "a cat", "--model", "bert", "--json", HF_ENDPOINT="http://127.0.0.1:9"))
    assert answer["version"] == COMMIT[:12]
    assert answer["answers"][0]["embedding"] == pytest.approx(reference(tiny_bert, "a cat"), abs=1e-4)
    weights = next((tmp_path / "home/.treadle/ready/hub").rglob("model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    changed = treadle("run", "embed-text", "a cat", "--model", "bert", code=4)
    assert b"not those that the catalog knows" in changed.stderr


@pytest.mark.slow
def test_a_folder_is_a_model_too(treadle, tiny_bert):
    installed = said(treadle("install", "embed-text", "--hub", str(tiny_bert), "--model", "mine", "--yes", "--json"))
    assert installed["version"] == "local"
    answer = said(treadle("run", "embed-text", "the law", "--model", "mine", "--json"))
    assert len(answer["answers"][0]["embedding"]) == 16
    (row,) = [row for row in said(treadle("--json")) if row["model"] == "mine"]
    assert row["installed"] is True


def test_weights_that_could_run_code_are_not_taken(treadle, tmp_path):
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    refused = treadle("install", "embed-text", "--hub", str(folder), "--yes", code=2)
    assert b"safetensors or ONNX" in refused.stderr


def test_the_list_has_every_capability(treadle):
    rows = said(treadle("--json"))
    assert {row["capability"] for row in rows} == set(CAPABILITIES)
    text = treadle().stdout.decode()
    assert all(name in text for name in CAPABILITIES)
    (row,) = [r for r in rows if (r["capability"], r["model"]) == ("classify-text", "all-minilm-l6-v2")]
    assert [figure["value"] for figure in row["quality"] if figure["metric"] == "accuracy"] == [0.646, 0.354]
    assert all(figure["on"] for figure in row["quality"])
    assert "accuracy 0.646, macro-F1 0.65 " in text  # the first of a metric, as it was measured to be compared


def test_texts_come_as_words_files_and_standard_input(treadle, tmp_path):
    (tmp_path / "note.txt").write_text("Le train pour Vienne part à neuf heures.")
    answers = said(treadle("run", "detect-language", GERMAN, "note.txt", "--set", "top_k=1", "--json"))["answers"]
    assert [answer["language"] for answer in answers] == ["de", "fr"]
    piped = said(treadle("run", "detect-language", "--json", given=GERMAN.encode()))
    assert piped["answers"][0]["language"] == "de"
    assert b"py3langid 0.4.0 (BSD-3-Clause)" in treadle("run", "detect-language", GERMAN).stdout


def test_a_picture_is_annotated_and_a_folder_is_json_lines(treadle, tmp_path):
    from tests.contract.test_capabilities import picture

    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture())
    (folder / "b.png").write_bytes(b"no picture")
    done = treadle("run", "read-text", "pictures/a.png", "--out", "marked")
    assert b"Hello 42" in done.stdout
    from PIL import Image

    with Image.open(tmp_path / "marked" / "a.read-text.png") as marked, Image.open(folder / "a.png") as plain:
        assert marked.size == plain.size
        assert marked.convert("RGB").tobytes() != plain.convert("RGB").tobytes()
    done = treadle("run", "read-text", "pictures")
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["text"] == "Hello 42"
    assert "no picture" in second["error"]
    assert b"2 of 2" in done.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["run", "red-text", "x"], b"Did you mean 'read-text'"),
        (["run", "read-text", "no-such.png"], b"no file"),
        (["run", "detect-language", "x", "--set", "languages"], b"name=value"),
        (["run", "detect-language", "x", "--set", "languages=3"], b"unknown field"),
        (["run", "detect-language", "x", "--model", "gpt-9"], b"Known: py3langid"),
        (["run", "detect-language", "x" * 200_000], b""),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_one_line(treadle, words, why):
    if len(words[-1]) > 100_000:
        done = treadle(*words[:-1], given=words[-1].encode(), code=2)
        assert b"at most 100,000" in done.stderr
        return
    done = treadle(*words, code=2)
    assert why in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_what_ready_models_cost_is_in_the_bill(treadle, tmp_path):
    treadle("run", "detect-language", GERMAN)
    command = [sys.executable, "-m", "console.cli", "cost", "--json"]
    env = os.environ | {"TREADLE_HOME": str(tmp_path / "home")}
    bill = json.loads(subprocess.run(command, env=env, cwd=CHECKOUT, capture_output=True, check=True).stdout)
    (row,) = bill["ready"]
    assert (row["capability"], row["model"], row["calls"]) == ("detect-language", "py3langid", 1)
    assert bill["cpu_seconds"] == pytest.approx(row["cpu_seconds"], abs=1e-3)
