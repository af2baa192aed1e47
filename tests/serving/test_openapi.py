"""What /openapi.json says is so: every model's own columns, examples that work, responses that are as described."""

import json
import re
import shutil
import subprocess
import time

import httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker

ROW = {"size": 50.0, "serial": 1e12, "member": True, "plan": "plus", "when": "2024-01-05T06:00:00Z"}
MODELS = ("amount", "churned", "timeless")


@pytest.fixture(scope="module")
def document(trained_client):
    return trained_client.get("/openapi.json").json()


def valid(schema, content):
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(content)


def operation_of(document, method, path):
    """The operation of a path: its own entry first, then a pattern's, as OpenAPI has it."""
    if path in document["paths"]:
        return document["paths"][path][method]
    for pattern, entry in document["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path):
            return entry[method]
    pytest.fail(f"{path} is not described")


def check(document, reply, method, path):
    """A response has a described status and type, and a body of the described form."""
    responses = operation_of(document, method, path)["responses"]
    assert str(reply.status_code) in responses, (reply.status_code, path)
    content = responses[str(reply.status_code)].get("content", {})
    kind = reply.headers["content-type"].partition(";")[0]
    assert kind in content, (kind, path, reply.status_code)
    if kind.endswith("json"):
        valid(content[kind].get("schema", {}), reply.json())


def body_of(document, path):
    return document["paths"][path]["post"]["requestBody"]["content"]["application/json"]


def row_of(document, name):
    return body_of(document, f"/v1/models/{name}/predict")["schema"]["properties"]["rows"]["items"]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_its_own_columns(document, trained_client, name):
    row = row_of(document, name)
    columns = trained_client.get(f"/v1/models/{name}").json()["columns"]
    assert list(row["properties"]) == row["required"] == [column["name"] for column in columns]
    types = {"number": "number", "integer": "number", "boolean": "boolean", "category": "string", "datetime": "string"}
    for column in columns:
        said = row["properties"][column["name"]]
        assert said["type"] == [types[column["kind"]], "null"]
        missing = "Was missing at times" if column["nullable"] else "Was never missing"
        assert said["description"].startswith(missing)
        assert said.get("examples", []) == (column["categories"] or [])[:10]
    assert (row["properties"].get("when", {}).get("format") == "date-time") == (name != "timeless")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("route", ["v1/models/{}/predict", "v1/models/{}/invocations", "v2/models/{}/infer"])
def test_examples_are_of_the_described_form_and_work_as_they_are(document, trained_client, name, route):
    path = "/" + route.format(name)
    body = body_of(document, path)
    valid(body["schema"], body["example"])
    reply = trained_client.post(path, json=body["example"])
    assert reply.status_code == 200, reply.text
    check(document, reply, "post", path)


@pytest.mark.parametrize("name", MODELS)
def test_examples_are_rows_of_the_table(document, trained, name):
    (example,) = body_of(document, f"/v1/models/{name}/predict")["example"]["rows"]
    assert example["serial"] in trained.frames[name]["serial"].to_numpy()


@pytest.mark.parametrize("name", MODELS)
def test_null_is_answered_in_every_column_as_described(document, trained_client, name):
    row = {column: ROW[column] for column in row_of(document, name)["properties"]}
    for column in row:
        body = {"rows": [row | {column: None}]}
        valid(body_of(document, f"/v1/models/{name}/predict")["schema"], body)
        assert trained_client.post(f"/v1/models/{name}/predict", json=body).status_code == 200


@pytest.mark.parametrize(
    "change",
    [{"size": "50"}, {"size": True}, {"member": "perhaps"}, {"plan": 3}, {"when": "soon"}, {"when": 3}, {"colour": 1}],
    ids=str,
)
def test_what_is_described_as_wrong_is_refused(document, trained_client, change):
    body = {"rows": [ROW | change]}
    schema = body_of(document, "/v1/models/amount/predict")["schema"]
    assert not Draft202012Validator(schema, format_checker=FormatChecker()).is_valid(body)
    assert trained_client.post("/v1/models/amount/predict", json=body).status_code == 422


REQUESTS = [
    ("get", "/healthz", None),
    ("get", "/readyz", None),
    ("get", "/metrics", None),
    ("get", "/v1/models", None),
    ("get", "/v1/models/amount", None),
    ("get", "/v1/models/nobody", None),
    ("post", "/v1/models/amount/predict", {"rows": [ROW, ROW]}),
    ("post", "/v1/models/amount/predict", {"rows": [ROW], "at": "2024-01-05T06:00:00Z"}),
    ("post", "/v1/models/amount/predict?explain=true", {"rows": [ROW]}),
    ("post", "/v1/models/churned/predict", {"rows": [ROW]}),
    ("post", "/v1/models/churned/predict?explain=true", {"rows": [ROW]}),
    ("post", "/v1/models/amount/predict", {"rows": []}),
    ("post", "/v1/models/amount/predict", {"rows": [ROW | {"size": "x"}]}),
    ("post", "/v1/models/amount/predict", {"rows": [ROW] * 10_001}),
    ("post", "/v1/models/amount/predict", "{"),
    ("post", "/v1/models/nobody/predict", {"rows": [ROW]}),
    ("post", "/v1/models/amount/invocations", {"inputs": [ROW]}),
    ("post", "/v1/models/churned/invocations", {"inputs": [ROW]}),
    ("post", "/v1/models/churned/versions/1/invocations", {"inputs": [ROW]}),
    ("post", "/v1/models/churned/versions/9/invocations", {"inputs": [ROW]}),
    ("post", "/v1/models/amount/invocations", {"inputs": [ROW | {"size": "x"}]}),
    ("post", "/v1/models/nobody/invocations", {"inputs": [ROW]}),
    ("post", "/v1/models/amount/feedback", {"labels": [{"id": "nobody's", "label": 1}]}),
    ("post", "/v1/models/amount/feedback", {"labels": [{"id": "nobody's", "label": "x"}]}),
    ("get", "/v2", None),
    ("get", "/v2/models/amount", None),
    ("get", "/v2/models/nobody", None),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_responses_are_as_described(document, trained_client, method, path, body):
    content = body if body is None or isinstance(body, str) else json.dumps(body)
    reply = trained_client.request(method, path, content=content, headers={"content-type": "application/json"})
    check(document, reply, method, path.partition("?")[0])


def test_labels_of_an_answer_are_taken_as_described(document, trained_client):
    reply = trained_client.post("/v1/models/churned/predict", json={"rows": [ROW]})
    labels = {"labels": [{"id": reply.json()["predictions"][0]["id"], "label": "yes", "at": "2024-01-06T00:00:00Z"}]}
    valid(body_of(document, "/v1/models/churned/feedback")["schema"], labels)
    given = trained_client.post("/v1/models/churned/feedback", json=labels)
    assert given.json() == {"accepted": 1, "repeated": 0}
    check(document, given, "post", "/v1/models/churned/feedback")


def test_columns_are_taken_and_given_as_described(document, trained_client):
    pa = pytest.importorskip("pyarrow")
    table = pa.Table.from_pylist([ROW])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    path = "/v1/models/amount/predict"
    kinds = document["paths"][path]["post"]["requestBody"]["content"]
    for kind, status in ((k, 200 if "stream" in k else 400) for k in kinds if "apache" in k):
        reply = trained_client.post(path, content=sink.getvalue().to_pybytes(), headers={"content-type": kind})
        assert reply.status_code == status
        check(document, reply, "post", path)
    headers = {"content-type": "application/vnd.apache.arrow.stream", "accept": "text/html"}
    check(document, trained_client.post(path, content=b"x", headers=headers), "post", path)


SEND_ALL = """(async () => {
  const said = [];
  for (const section of document.querySelectorAll("section")) {
    const button = section.querySelector("button");
    if (!button) continue;
    button.click();
    const answer = [...section.querySelectorAll("pre")].pop();
    while (answer.hidden) await new Promise((done) => setTimeout(done, 20));
    said.push([section.querySelector("p").textContent, answer.textContent.slice(0, 3)]);
  }
  return said;
})()"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no browser here")
def test_every_form_of_the_page_works_as_it_stands(home, serve, tmp_path):
    """All Send buttons, pressed in a real browser under the page's own policy, one after the other."""
    connect = pytest.importorskip("websockets.sync.client").connect
    home.register("flags", classes=True)
    home.promote("flags")
    with serve(home.settings) as (_, address):
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        command = ["chromium", *flags, f"--user-data-dir={tmp_path / 'browser'}", f"{address}/docs"]
        browser = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            port = next(re.search(r"127\.0\.0\.1:(\d+)", line) for line in browser.stderr if "DevTools" in line)[1]
            with connect(page_of(port), max_size=1 << 24) as devtools:
                while not evaluate(devtools, "document.querySelectorAll('section').length"):
                    time.sleep(0.1)
                said = evaluate(devtools, SEND_ALL)
        finally:
            browser.terminate()
            browser.wait(20)
            browser.stderr.close()
    wrong = [(where, status) for where, status in said if status != "200"]
    assert wrong == []
    forms = ["toy/predict", "toy/feedback", "flags/feedback", "toy/invocations", "toy/infer"]
    assert [form for form in forms if not any(where.endswith(form) for where, _ in said)] == []


def page_of(port, deadline_s=20):
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        for target in httpx.get(f"http://127.0.0.1:{port}/json").json():
            if target["type"] == "page":
                return target["webSocketDebuggerUrl"]
        time.sleep(0.1)
    pytest.fail("the browser opened no page")


def evaluate(devtools, expression):
    options = {"expression": expression, "awaitPromise": True, "returnByValue": True}
    devtools.send(json.dumps({"id": 1, "method": "Runtime.evaluate", "params": options}))
    return json.loads(devtools.recv(timeout=60))["result"]["result"].get("value")
