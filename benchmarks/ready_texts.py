"""What the ready models for texts are worth, as Markdown: `python -m benchmarks.ready_texts`. Sentiments: `benchmarks.sentiment`."""

from __future__ import annotations

import re
import sys
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from sklearn.metrics import f1_score

from benchmarks.labelled_texts import reuters
from treadle.capabilities.pool import Pool
from treadle.settings import Settings

TOPICS = {
    "earn": "company earnings and dividends",
    "acq": "mergers and acquisitions of companies",
    "crude": "crude oil",
    "trade": "international trade",
    "money-fx": "foreign exchange and money markets",
    "interest": "interest rates",
    "ship": "shipping",
    "grain": "grain and crops",
}
SPANISH = {
    "I want to buy a house.": ("Quiero comprar una casa.",),
    "The train leaves at nine o'clock.": ("El tren sale a las nueve.", "El tren sale a las nueve en punto."),
    "Where is the library?": ("¿Dónde está la biblioteca?",),
    "My sister lives in Madrid.": ("Mi hermana vive en Madrid.",),
    "The book is on the table.": ("El libro está en la mesa.", "El libro está sobre la mesa."),
    "We will eat dinner at eight.": ("Cenaremos a las ocho.",),
    "She has two brothers.": ("Tiene dos hermanos.", "Ella tiene dos hermanos."),
    "It is raining today.": ("Está lloviendo hoy.", "Hoy está lloviendo.", "Hoy llueve."),
    "I don't understand the question.": ("No entiendo la pregunta.",),
    "The doctor works in the hospital.": ("El doctor trabaja en el hospital.", "El médico trabaja en el hospital."),
}
"""English sentences, and translations that are right."""
CAPITALS = {
    "Argentina": "Buenos Aires", "Australia": "Canberra", "Austria": "Vienna", "Brazil": "Brasília", "Canada": "Ottawa",
    "China": "Beijing", "Egypt": "Cairo", "Finland": "Helsinki", "France": "Paris", "Germany": "Berlin", "Greece": "Athens",
    "India": "New Delhi", "Italy": "Rome", "Japan": "Tokyo", "Kenya": "Nairobi", "Norway": "Oslo", "Poland": "Warsaw",
    "Spain": "Madrid", "Turkey": "Ankara", "Vietnam": "Hanoi",
}  # fmt: skip
"""Countries and their capitals, as a language model should know them."""
SUMS = [(7, 5), (12, 9), (23, 14), (31, 6), (48, 27), (9, 9), (15, 15), (60, 25), (17, 8), (33, 44)]
AT_ONCE = 32


def ask(pool: Pool, capability: str, inputs: list[Any], **parameters: Any) -> list[dict[str, Any]]:
    """Answers of the default model, in order."""
    answers: list[dict[str, Any]] = []
    for begin in range(0, len(inputs), AT_ONCE):
        _, future = pool.ask(capability, inputs[begin : begin + AT_ONCE], parameters)
        answers += msgspec.msgpack.decode(future.result().answers)
    return answers


def classify_text(pool: Pool) -> list[str]:
    """Reuters R8: the share of stories whose topic is found, with topics in words and with Reuters' codes."""
    rows = reuters()
    codes = np.array(list(TOPICS))
    found = []
    for what, labels in (("topics in words", list(TOPICS.values())), ("topics as codes", list(TOPICS))):
        said = ask(pool, "classify-text", list(rows["Text"]), labels=labels)
        guessed = np.array([codes[labels.index(one["label"])] for one in said])
        right = np.mean(guessed == rows["Category"])
        f1 = f1_score(rows["Category"], guessed, average="macro")
        found.append(f"| Reuters R8, {len(rows)} stories, {what} | accuracy {right:.3f}, macro-F1 {f1:.3f} |")
    return found


def translate(pool: Pool) -> list[str]:
    """Sentences whose translation is one of those that are right, but for capitals and the last mark."""
    said = ask(pool, "translate", list(SPANISH), source="en", target="es")
    right = sum(
        _plain(one["text"]) in {_plain(good) for good in known}
        for one, known in zip(said, SPANISH.values(), strict=True)
    )
    return [f"| {len(SPANISH)} English sentences into Spanish | {right} right |"]


def _plain(text: str) -> str:
    return text.strip(" .?¿").lower()


def generate_text(pool: Pool) -> list[str]:
    """Simple questions that are answered rightly; tokens a second, the model open already."""
    asked = {"max_tokens": 100, "temperature": 0}
    ask(pool, "generate-text", ["Say hello."], **asked)
    begun = time.perf_counter()
    (said,) = ask(pool, "generate-text", ["Explain in five sentences how bread is made."], **asked)
    speed = f"| one chat | {said['tokens_out'] / (time.perf_counter() - begun):.1f} tokens a second |"
    capitals = ask(pool, "generate-text", [f"What is the capital of {name}?" for name in CAPITALS], **asked)
    sums = ask(
        pool, "generate-text", [f"What is {one} plus {other}? Answer with the number." for one, other in SUMS], **asked
    )
    known = sum(_has(told["text"], name) for told, name in zip(capitals, CAPITALS.values(), strict=True))
    added = sum(_has(told["text"], str(one + other)) for told, (one, other) in zip(sums, SUMS, strict=True))
    return [speed, f"| {len(CAPITALS)} capitals | {known} right |", f"| {len(SUMS)} sums below 100 | {added} right |"]


def _has(text: str, word: str) -> bool:
    """Whether a text has a word, accents aside.

    >>> _has("It is Brasilia.", "Brasília"), _has("It is 121.", "12")
    (True, False)
    """
    plain = unicodedata.normalize("NFKD", f"{text}|{word}").encode("ascii", "ignore").decode()
    said, _, wanted = plain.rpartition("|")
    return re.search(rf"\b{wanted}\b", said) is not None


MEASURES: dict[str, Callable[[Pool], list[str]]] = {
    "classify-text": classify_text,
    "translate": translate,
    "generate-text": generate_text,
}


def main(names: list[str]) -> None:
    """Print the tables of these capabilities, or of all."""
    pool = Pool(Settings())
    try:
        for name in names or MEASURES:
            print(f"\n`{name}`\n\n| on | |\n|---|---|")
            print("\n".join(MEASURES[name](pool)))
    finally:
        pool.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
