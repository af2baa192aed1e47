"""Arrow and Parquet bodies that are not answered: what does not fit is named, hostile files hurt nobody."""

import random
import sys

import numpy as np
import psutil
import pyarrow as pa
import pytest

from serving.protocols.arrow import FILE, PARQUET, STREAM
from tests.serving.protocols.columns import PATH, ROWS, ask, body, read, refused, table
from treadle.settings import CHECKOUT

WRONG = {
    "column missing": ({"temp": None}, "temp", None),
    "text for a number": ({"temp": pa.array(["a"] * 8)}, "temp", None),
    "truth for a number": ({"temp": pa.array([True] * 8)}, "temp", None),
    "decimal": ({"temp": pa.array([1] * 8, pa.decimal128(5, 2))}, "temp", None),
    "list": ({"temp": pa.array([[1.0]] * 8)}, "temp", None),
    "infinity": ({"temp": pa.array([1.0, 2, 3, 4, np.inf, 6, 7, 8])}, "temp", 4),
    "two for true": ({"holiday": pa.array([1, 0, 2, 0, 0, 0, 0, 0])}, "holiday", 2),
    "a word for true": ({"holiday": pa.array(["yes"] * 7 + ["perhaps"])}, "holiday", 7),
    "number for a time": ({"when": pa.array([1] * 8)}, "when", None),
    "a word for a time": ({"when": pa.array(["soon"] * 8)}, "when", 0),
    "far time": ({"when": pa.array([2**52] * 8, pa.timestamp("s"))}, "when", 0),
    "number for a category": ({"season": pa.array([1] * 8)}, "season", None),
    "bytes for a category": ({"season": pa.array([b"x"] * 8)}, "season", None),
    "dictionary of numbers": ({"season": pa.array([1] * 8).dictionary_encode()}, "season", None),
    "long text": ({"season": pa.array(["x"] * 5 + ["x" * 10_001] * 3)}, "season", 5),
    "stranger": ({"tempo": pa.array([1] * 8)}, "tempo", None),
}


@pytest.mark.parametrize(("changes", "column", "row"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("form", [STREAM, PARQUET])
def test_what_does_not_fit_is_named(client, changes, column, row, form):
    refused(ask(client, body(table(8, **changes), form), form), 422, column, row)


def test_a_wrong_value_in_the_last_batch_is_told_before_anything_is_answered(client, home):
    temp = np.arange(ROWS, dtype=np.float64)
    temp[-1] = np.inf
    refused(ask(client, body(table(temp=pa.array(temp)))), 422, "temp", ROWS - 1)
    assert home.ledger.window("toy", 10) == []


def test_ids_and_times_that_do_not_fit(client):
    data = table(8)
    twice = data.append_column("name", pa.array(["a"] * 8))
    refused(ask(client, body(twice), path=f"{PATH}?ids=name"), 422, "name")
    refused(ask(client, body(data), path=f"{PATH}?ids=name"), 422, "name")
    refused(
        ask(client, body(data.append_column("name", pa.array([None, *"bcdefgh"]))), path=f"{PATH}?ids=name"),
        422,
        "name",
        0,
    )
    late = data.append_column("seen", pa.array([0] * 7 + [None], pa.timestamp("s")))
    refused(ask(client, body(late), path=f"{PATH}?at=seen"), 422, "seen", 7)


def test_an_answer_that_is_not_finite_names_its_row(client):
    temp = np.arange(8.0)
    temp[3] = 1e300
    refused(ask(client, body(table(8, temp=pa.array(temp)))), 422, None, 3)


def test_frames_of_the_request(client):
    refused(ask(client, b""), 400)
    refused(ask(client, b"no arrow"), 400)
    refused(ask(client, body(table(8)), FILE), 400)
    refused(ask(client, body(table(8), PARQUET), STREAM), 400)
    refused(ask(client, body(table(0))), 422)
    refused(ask(client, body(table(8)), accept="text/html"), 406)
    refused(ask(client, body(table(8)), path="/v1/models/nobody/predict"), 404)


@pytest.mark.parametrize("form", [STREAM, FILE, PARQUET])
@pytest.mark.parametrize("more", [b"\0", b"and more", body(table(8))], ids=["a byte", "text", "another"])
def test_what_follows_the_end_is_refused(client, form, more):
    reply = ask(client, body(table(8), form) + more, form)
    refused(reply, 400)
    if form == STREAM:
        assert "Bytes follow the end" in reply.json()["detail"]


@pytest.mark.parametrize(
    "end", [b"\xff\xff\xff\xff\0\0\0\0", b"\0\0\0\0", b""], ids=["marked", "as before Arrow 0.15", "open"]
)
def test_a_stream_may_end_as_the_format_says(client, end):
    assert read(ask(client, body(table(8))[:-8] + end)).num_rows == 8


def test_without_the_extra_it_says_what_to_install(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "arro3", None)
    reply = ask(client, body(table(8)))
    refused(reply, 415)
    detail = reply.json()["detail"]
    assert "send the rows as JSON" in detail
    assert "pip install '.[arrow]'" in detail
    assert (CHECKOUT / detail.rpartition("the image of ")[2].removesuffix(".")).exists()


def test_hostile_files_are_refused_and_hurt_nobody(client):
    """Bytes flipped and files cut at random; arro3 aborts or panics at a good part of them, in its own process."""
    rng = random.Random(5)
    assert ask(client, body(table(8))).status_code == 200
    files, children = psutil.Process().num_fds(), psutil.Process().children()
    for form in (STREAM, FILE, PARQUET):
        whole = body(table(64), form)
        for _ in range(12):
            content = bytearray(whole)
            for _ in range(rng.choice((1, 4, 32))):
                content[rng.randrange(len(content))] = rng.choice((0, 127, 128, 255, rng.randrange(256)))
            if rng.random() < 0.3:
                del content[rng.randrange(len(content)) :]
            reply = ask(client, bytes(content), form)
            assert reply.status_code in (200, 400, 413, 422), reply.text
    assert ask(client, body(table(8))).status_code == 200
    assert psutil.Process().num_fds() <= files + 12  # the client's own may come and go; a leak would be one a file, 36
    assert psutil.Process().children() == children
