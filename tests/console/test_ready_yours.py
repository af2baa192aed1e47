"""Models of one's own on the command line: the table of vectors, and what `treadle ready add` refuses."""

import io

import pandas as pd
import pytest

from console.ready_yours import add, embed, remove
from tests.treadle.capabilities.champions import register, table
from treadle.capabilities.catalog import entries_of
from treadle.errors import BadData, Conflict, NotFound

PROJECT = "name: {name}\nproblem: tabular-classification\ndata: {{source: x.csv, target: label}}\n"


def make_project(settings, name):
    folder = settings.projects_dir / name
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text(PROJECT.format(name=name))


def grey(level):
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (40, 40), (level, level, level)).save(out, "PNG")
    return out.getvalue()


def test_a_folder_of_pictures_becomes_a_table_and_a_model(settings, tmp_path):
    for label, levels in {"dark": (5, 20, 40), "light": (200, 230, 250)}.items():
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for level in levels:
            (tmp_path / "pictures" / label / f"{level}.png").write_bytes(grey(level))
    (tmp_path / "pictures" / "dark" / "note.txt").write_text("no picture")
    made = embed(settings, str(tmp_path / "pictures"), "text", None, tmp_path / "vectors.parquet")
    assert (made["rows"], made["numbers"], made["model"]) == (6, 1280, "efficientnet-lite0")
    frame = pd.read_parquet(made["table"])
    assert list(frame["label"]) == ["dark"] * 3 + ["light"] * 3
    assert frame["file"][0] == "dark/20.png"
    names = [name for name in frame if name.startswith("embed-image.28fbd2601574.")]
    assert len(names) == 1280
    make_project(settings, "shades")
    few = names[:30]
    register(
        settings, "shades", 1, table(frame[few].to_numpy().repeat(5, axis=0), frame["label"].repeat(5).to_numpy(), few)
    )
    assert add(settings, "classify-image", "shades", "mine")["version"] == 1
    assert "mine" in [e.model for e in entries_of("classify-image", settings)]
    assert remove(settings, "classify-image", "mine")["removed"] is True
    assert "mine" not in [e.model for e in entries_of("classify-image", settings)]


@pytest.mark.parametrize(
    ("words", "kind", "why"),
    [
        (("classify-txt", "tickets", None), NotFound, "Did you mean 'classify-text'"),
        (("classify-text", "tickts", None), NotFound, "Did you mean 'tickets'"),
        (("classify-text", "tickets", None), NotFound, "treadle train tickets"),
        (("classify-text", "tickets", "My Model"), BadData, "lower-case"),
        (("classify-text", "tickets", "all-minilm-l6-v2"), Conflict, "give another name"),
    ],
)
def test_what_cannot_be_added_says_why_and_adds_nothing(settings, words, kind, why):
    make_project(settings, "tickets")
    with pytest.raises(kind, match=why):
        add(settings, *words)
    assert {e.source.kind for e in entries_of("classify-text", settings)} == {"package", "hub"}


@pytest.mark.parametrize(
    ("source", "column", "to", "why"),
    [
        ("texts.csv", "txt", "out.parquet", "Did you mean 'text'"),
        ("texts.csv", "text", "out.csv", "out.parquet"),
        ("texts.csv", "empty", "out.parquet", "no text in any row"),
        ("pictures", "text", "out.parquet", "no folders with pictures"),
    ],
)
def test_what_cannot_be_embedded_says_why(settings, tmp_path, source, column, to, why):
    (tmp_path / "texts.csv").write_text("text,label,empty\na cat,x,\na dog,y,\n")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(BadData, match=why):
        embed(settings, str(tmp_path / source), column, None, tmp_path / to)
    assert not (tmp_path / to).exists()
