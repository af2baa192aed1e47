"""Triton's own client, unchanged, against the service as a process of its own; and the documents' transcripts."""

import re
import shutil
import subprocess

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from treadle.models.bundle import ManifestColumn
from treadle.settings import CHECKOUT

pytestmark = pytest.mark.e2e
PAGE = (CHECKOUT / "docs" / "protocols.md").read_text(encoding="utf-8")
BIKES = [
    *(ManifestColumn(name, "integer") for name in ("season", "hr", "holiday", "weekday", "workingday")),
    ManifestColumn("weathersit", "category"),
    *(ManifestColumn(name, "number") for name in ("temp", "atemp", "hum", "windspeed")),
    ManifestColumn("timestamp", "datetime"),
]  # those of projects/bikes
COLUMNS = {
    "temp": np.array([3.5, 4.5]),
    "holiday": np.array([False, True]),
    "when": np.array(["2011-01-01T05:00:00", "2011-01-02T05:00:00Z"], dtype=object),
    "season": np.array(["summer", "winter"], dtype=object),
}
WANTED = [1013.5, 1104.5]


@pytest.fixture(scope="module")
def address(module_home, register_sum, serve):
    """The service with `toy` (two versions), `sorted`, `sum` and `bikes`."""
    for version in (2, 1):
        module_home.register(version=version)
    module_home.promote()
    module_home.register("sorted", classes=True)
    module_home.promote("sorted")
    register_sum(module_home, "sum")
    register_sum(module_home, "bikes", BIKES)
    with serve(module_home.settings) as (_, url):
        yield url.removeprefix("http://")


@pytest.fixture
def client(address):
    with triton.InferenceServerClient(address) as client:
        yield client


def inputs(columns=COLUMNS, *, binary=True):
    return [made(name, values, binary=binary) for name, values in columns.items()]


def made(name, values, *, binary=True):
    tensor = triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
    return tensor.set_data_from_numpy(values, binary_data=binary)


def test_it_asks_what_there_is(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("toy")
    assert client.is_model_ready("toy", "2")
    assert not client.is_model_ready("toy", "3")
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    said = client.get_model_metadata("toy")
    assert said == client.get_model_metadata("toy", "1")
    assert [tensor["name"] for tensor in said["inputs"]] == list(COLUMNS)
    names = [model["name"] for model in client.get_model_repository_index()]
    assert names == ["bikes", "sorted", "sum", "toy"]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_it_infers(client, binary_in, binary_out):
    wanted = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("prediction", "id")]
    answer = client.infer(
        "toy", inputs(binary=binary_in), request_id="mine", outputs=None if binary_out is None else wanted
    )
    assert answer.as_numpy("prediction").dtype == np.float64
    assert answer.as_numpy("prediction").tolist() == pytest.approx(WANTED)
    assert len(set(answer.as_numpy("id").tolist())) == 2
    said = answer.get_response()
    assert (said["model_name"], said["model_version"], said["id"]) == ("toy", "1", "mine")


@pytest.mark.parametrize("binary", [True, False])
def test_classes_are_bytes_and_probabilities_a_matrix(client, binary):
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("prediction", "probabilities")]
    answer = client.infer("sorted", inputs(), outputs=wanted)
    first = answer.as_numpy("prediction")[0]
    assert first == (b"high" if binary else "high")  # the client decodes JSON's text, not its own binary
    assert answer.as_numpy("probabilities").shape == (2, 2)
    assert answer.as_numpy("probabilities").sum(axis=1) == pytest.approx([1, 1])
    assert answer.as_numpy("id") is None


def test_it_infers_many_at_once(address):
    with triton.InferenceServerClient(address, concurrency=4) as client:
        asked = [
            client.async_infer("sum", inputs({"one": np.array([float(n)]), "two": np.array([n])}), request_id=str(n))
            for n in range(20)
        ]
        answers = [one.get_result() for one in asked]
    assert [answer.get_response()["id"] for answer in answers] == [str(n) for n in range(20)]
    assert [answer.as_numpy("prediction")[0] for answer in answers] == [2.0 * n for n in range(20)]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_it_compresses_both_ways(client, algorithm):
    columns = {name: np.repeat(values, 200) for name, values in COLUMNS.items()}
    answer = client.infer(
        "toy",
        inputs(columns),
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert answer.as_numpy("prediction")[[0, 399]].tolist() == pytest.approx(WANTED)


def test_it_infers_with_a_version(client):
    answer = client.infer("toy", inputs(), model_version="2")
    assert answer.get_response()["model_version"] == "2"
    assert answer.as_numpy("prediction").tolist() == pytest.approx([value + 1000 for value in WANTED])


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("binary", [True, False])
def test_it_sends_every_whole_number(client, module_home, eventually, kind, binary):
    limits = np.iinfo(kind)
    two = np.array([limits.min, limits.max], dtype=kind)
    answer = client.infer("sum", inputs({"one": np.zeros(2), "two": two}, binary=binary))
    assert answer.as_numpy("prediction").tolist() == two.astype(float).tolist()
    ids = {name.decode() for name in answer.as_numpy("id")}
    eventually(lambda: ids <= {row.id for row in module_home.ledger.window("sum", 1000)})
    kept = [row.features["two"] for row in module_home.ledger.window("sum", 1000) if row.id in ids]
    assert sorted(kept) == two.tolist()


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("binary", [True, False])
def test_it_sends_every_fraction(client, kind, binary):
    one = np.array([-1.5, 0.1, 65504.0], dtype=kind)
    answer = client.infer("sum", inputs({"one": one, "two": np.zeros(3, "int8")}, binary=binary))
    assert answer.as_numpy("prediction").tolist() == one.astype(float).tolist()


def test_nan_is_a_value_that_is_not_known(client):
    answer = client.infer("sum", inputs({"one": np.array([np.nan, 1.0]), "two": np.array([5, 5])}))
    assert answer.as_numpy("prediction").tolist() == [5.0, 6.0]


def test_one_matrix_has_all_columns(client):
    matrix = made("x", np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32))
    assert client.infer("sum", [matrix]).as_numpy("prediction").tolist() == [3.0, 7.0]


def test_its_errors_say_what_is_wrong(client):
    with pytest.raises(InferenceServerException, match="'holiday' is missing") as told:
        client.infer("toy", inputs({"temp": COLUMNS["temp"]}))
    assert told.value.status() == "400"
    with pytest.raises(InferenceServerException, match="when.* must be an ISO 8601 time.*row 0"):
        client.infer("toy", inputs(COLUMNS | {"when": np.array(["now", "later"], dtype=object)}))
    with pytest.raises(InferenceServerException, match="No model 'nobody'"):
        client.get_model_metadata("nobody")
    with pytest.raises(InferenceServerException, match="no version 7"):
        client.infer("toy", inputs(), model_version="7")


def blocks(language):
    """The transcripts of a language in the section of the protocol."""
    section = PAGE[PAGE.index("## Open Inference Protocol") :].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_the_transcript_of_the_client_works_as_written(address, capsys):
    (code,) = blocks("python")
    assert "localhost:8000" in code
    exec(compile(code.replace("localhost:8000", address), "docs/protocols.md", "exec"), {})
    assert capsys.readouterr().out.startswith("bikes 1 [")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_the_transcript_of_curl_works_as_written(address):
    (code,) = blocks("sh")
    told = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", code.replace("localhost:8000", address)],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert '"name":"treadle"' in told.stdout
    assert '"model_name":"bikes"' in told.stdout
    assert '"error":' not in told.stdout
