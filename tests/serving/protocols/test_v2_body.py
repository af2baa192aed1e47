"""Bodies of the Open Inference Protocol beside plain JSON: binary tensor data and compression.

Specification: docs/protocol/extension_binary_data.md of Triton.
"""

import gzip
import json
import struct
import zlib

import numpy as np
import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from tests.serving.protocols.conftest import (
    HEADER,
    INFER,
    ROW,
    binary,
    binary_body,
    binary_inputs,
    in_ledger,
    inputs,
    output,
    refused,
    request,
    tensor,
    texts,
)


def test_binary_inputs_with_json_outputs(client, home, eventually):
    said, buffers = binary_inputs()
    body, headers = binary_body({"id": "b", "inputs": said}, *buffers)
    reply = client.post(INFER, content=body, headers=headers)
    assert output(reply, "prediction")["data"] == pytest.approx([1013.5, 1104.5])
    assert HEADER not in reply.headers
    assert ROW in [row.features for row in in_ledger(home, eventually, "toy", 2)]


def test_binary_and_json_inputs_mixed_with_binary_outputs(many):
    said, buffers = binary_inputs()
    said[1], buffers[1] = inputs()[1], b""
    wanted = [{"name": "id"}, {"name": "probabilities", "parameters": {"binary_data": True}}]
    body, headers = binary_body({"inputs": said, "outputs": wanted}, *buffers)
    reply = many.post("/v2/models/sorted/infer", content=body, headers=headers)
    assert reply.headers["content-type"] == "application/octet-stream"
    length = int(reply.headers[HEADER])
    ids, shares = json.loads(reply.content[:length])["outputs"]
    assert len(ids["data"]) == 2
    assert shares["parameters"]["binary_data_size"] == 32
    assert "data" not in shares
    found = np.frombuffer(reply.content[length:], "<f8").reshape(shares["shape"])
    assert found.sum(axis=1) == pytest.approx([1, 1])


def test_binary_data_output_is_for_all_outputs_that_do_not_say_otherwise(many):
    body = {"inputs": inputs(), "parameters": {"binary_data_output": True}}
    reply = many.post("/v2/models/sorted/infer", json=body)
    length = int(reply.headers[HEADER])
    said = json.loads(reply.content[:length])["outputs"]
    assert [s["name"] for s in said] == ["prediction", "probabilities", "id"]
    sizes = [s["parameters"]["binary_data_size"] for s in said]
    assert sizes == [16, 32, 72]
    assert len(reply.content) == length + sum(sizes)
    assert reply.content[length : length + 16] == texts("high", "high")
    body["outputs"] = [{"name": "prediction", "parameters": {"binary_data": False}}]
    assert output(many.post("/v2/models/sorted/infer", json=body), "prediction")["data"] == ["high", "high"]


def test_bf16_is_the_upper_half_of_a_fp32(many):
    raw = (np.array([1.5, -2.0], "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    body, headers = binary_body({"inputs": [binary("one", "BF16", 2, 4), tensor("two", "INT8", [0, 0])]}, raw)
    reply = many.post("/v2/models/sum/infer", content=body, headers=headers)
    assert output(reply, "prediction")["data"] == [1.5, -2.0]


def test_a_raw_binary_request_is_for_models_of_one_column(many):
    raw = np.array([1.5, 2.5, 3.5], "<f8").tobytes()
    reply = many.post("/v2/models/single/infer", content=raw, headers={HEADER: "0"})
    length = int(reply.headers[HEADER])
    said = json.loads(reply.content[:length])["outputs"]
    assert np.frombuffer(reply.content[length : length + 24], "<f8").tolist() == [1.5, 2.5, 3.5]
    assert [s["shape"] for s in said] == [[3], [3]]
    refused(many.post("/v2/models/single/infer", content=raw[:-1], headers={HEADER: "0"}), 400)
    refused(many.post("/v2/models/single/infer", content=b"", headers={HEADER: "0"}), 400)
    refused(many.post("/v2/models/sum/infer", content=raw, headers={HEADER: "0"}), 400)


def spoiled(*changes, header=None):
    """The binary request of `toy`, with an input or its data changed."""
    said, buffers = binary_inputs()
    for index, entry, raw in changes:
        said[index] = said[index] | entry
        buffers[index] = buffers[index] if raw is None else raw
    body, headers = binary_body({"inputs": said}, *buffers)
    return body, headers | ({} if header is None else {HEADER: header})


def size(count):
    return {"parameters": {"binary_data_size": count}}


WHOLE, HEADERS = spoiled()
BAD_BINARY = {
    "cut off": (WHOLE[:-1], HEADERS),
    "without all data": (WHOLE[: int(HEADERS[HEADER])], HEADERS),
    "longer than said": (WHOLE + b"x", HEADERS),
    "a header length beyond the body": spoiled(header="1000000"),
    "a header length within the JSON": spoiled(header="10"),
    "a negative header length": spoiled(header="-1"),
    "a header length that is no number": spoiled(header="ten"),
    "a header length of many digits": spoiled(header="9" * 5000),
    "no header length": (WHOLE, {}),
    "a negative size": spoiled((0, size(-16), None)),
    "a size that is a truth": spoiled((0, size(True), None)),
    "a size that is text": spoiled((0, size("16"), None)),
    "a size that overflows": spoiled((0, size(2**64), None)),
    "a size for fewer elements": spoiled((0, size(8), b"\0" * 8)),
    "a size for more elements": spoiled((0, size(24), b"\0" * 24)),
    "a size for half an element": spoiled((0, size(12), b"\0" * 12)),
    "data twice": spoiled((0, {"data": [1.0, 2.0]}, None)),
    "infinity": spoiled((0, {}, np.array([np.inf, 1.0], "<f8").tobytes())),
    "a truth that is 2": spoiled((1, {}, b"\x00\x02")),
    "a text beyond the data": spoiled((3, size(8), struct.pack("<I", 100) + b"1234")),
    "a text of 4 GB": spoiled((3, size(8), struct.pack("<I", 2**32 - 1) + b"1234")),
    "a text without its length": spoiled((3, size(12), texts("summer") + b"\0\0")),
    "one text too few": spoiled((3, size(10), texts("summer"))),
    "one text too many": spoiled((3, size(30), texts("summer") * 3)),
    "a text that is no text": spoiled((3, size(10), struct.pack("<I", 1) + b"\xff" + struct.pack("<I", 1) + b"\xff")),
}


@pytest.mark.parametrize(("body", "headers"), BAD_BINARY.values(), ids=BAD_BINARY)
def test_binary_data_that_do_not_fit_are_refused(steady, body, headers):
    refused(steady.post(INFER, content=body, headers=headers), 400)


def test_binary_data_that_are_refused_are_not_in_the_ledger(client, home, eventually):
    for body, headers in BAD_BINARY.values():
        client.post(INFER, content=body, headers=headers)
    ids = output(client.post(INFER, json={"inputs": inputs()}), "id")["data"]
    assert sorted(row.id for row in in_ledger(home, eventually, "toy", 2)) == sorted(ids)


COMPRESSIONS = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_compressed_body_is_read(client, name):
    said, buffers = binary_inputs()
    body, headers = binary_body({"inputs": said}, *buffers)
    headers["Content-Encoding"] = name
    reply = client.post(INFER, content=COMPRESSIONS[name](body), headers=headers)
    assert output(reply, "prediction")["data"] == pytest.approx([1013.5, 1104.5])


BAD_COMPRESSION = {
    "not compressed": (WHOLE, "gzip", 400),
    "the other one": (zlib.compress(WHOLE), "gzip", 400),
    "cut off": (gzip.compress(WHOLE)[:-9], "gzip", 400),
    "with more behind it": (gzip.compress(WHOLE) + b"more", "gzip", 400),
    "unknown": (WHOLE, "br", 415),
    "twice": (gzip.compress(gzip.compress(WHOLE)), "gzip, gzip", 415),
    "a bomb": (gzip.compress(b" " * 100_000_000, 9), "gzip", 413),
}


@pytest.mark.parametrize(("body", "encoding", "status"), BAD_COMPRESSION.values(), ids=BAD_COMPRESSION)
def test_a_body_that_cannot_be_decompressed_is_refused(steady, body, encoding, status):
    refused(steady.post(INFER, content=body, headers=HEADERS | {"Content-Encoding": encoding}), status)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_large_answer_is_compressed_for_those_who_ask(client, encoding):
    body = {"inputs": [said | {"shape": [200], "data": said["data"] * 100} for said in inputs()]}
    reply = client.post(INFER, json=body, headers={"Accept-Encoding": encoding})
    assert reply.headers["content-encoding"] == encoding
    assert len(output(reply, "prediction")["data"]) == 200
    plain = client.post(INFER, json=body, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers


def test_too_large_a_body_is_413(make_home):
    home = make_home(max_body_bytes=2_000)
    home.register()
    home.promote()
    long = request(inputs(), parameters={"note": "x" * 5_000})
    with TestClient(create_app(home.settings)) as client:
        refused(client.post(INFER, content=long), 413)
        for name, squeeze in COMPRESSIONS.items():
            assert len(squeeze(long)) < 2_000
            assert "decompressed" in refused(
                client.post(INFER, content=squeeze(long), headers={"Content-Encoding": name}), 413
            )
