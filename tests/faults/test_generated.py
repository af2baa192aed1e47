"""Requests that tools make up: from the model's own columns (hypothesis), and from /openapi.json (schemathesis)."""

import json
from datetime import UTC, timedelta, timezone

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.faults.case import Case
from tests.faults.connection import Reply, http
from tests.faults.installation import columns
from tests.faults.routes import ROUTES

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


def many(count, start=1):
    """Try so many examples, the same at every run; failures are collected, so nothing is shrunk."""
    quiet = hypothesis_settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: quiet(seed(start)(test))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
zones = st.none() | st.just(UTC) | st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))
FIT = {
    "number": st.none() | st.floats(-1e30, 1e30, allow_nan=False) | st.integers(-(2**70), 2**70),
    "integer": st.none() | st.integers(-(2**63), 2**63) | st.floats(-1e9, 1e9, allow_nan=False),
    "boolean": st.none() | st.booleans() | st.sampled_from([0, 1]),
    "datetime": st.none()
    | st.datetimes(timezones=zones).filter(lambda at: 1901 < at.year < 2199).map(lambda at: at.isoformat()),
    "category": st.none() | st.text(max_size=50) | st.sampled_from(["day", "night & day", "été ✓"]),
}
"""Values that a column of a kind takes."""

MEMBERS = ("ids", "at", "id", "outputs", "parameters", "params", "labels")
"""Members that some protocol has beside its rows."""


def fitting_rows():
    """Lists of rows that the model takes."""
    row = st.fixed_dictionaries({column.name: FIT[column.kind] for column in columns()})
    return st.lists(row, min_size=1, max_size=4)


def test_rows_that_fit(served, examine, much):
    """rows that fit the model's columns (hypothesis): every one is answered"""
    with examine() as examiner:

        @many(much(60, 3_000))
        @given(some=fitting_rows())
        def send(some):
            body = json.dumps({"rows": some}).encode()
            examiner.examine(Case(f"rows {body!r:.200}", http("POST", ROUTES[0].path, body), ROUTES[0], accepted=True))

        send()


def test_rows_that_hardly_fit(served, examine, much):
    """rows that fit but for some values, columns, members (hypothesis)"""
    routes, names = served[2], [column.name for column in columns()]
    with examine() as examiner:

        @many(much(60, 5_000), start=2)
        @given(
            route=st.sampled_from(routes),
            some=fitting_rows(),
            change=st.dictionaries(st.sampled_from(names), json_values, max_size=3),
            more=st.dictionaries(
                st.sampled_from(MEMBERS),
                json_values,
                max_size=2,
            ),
        )
        def send(route, some, change, more):
            some[-1] = some[-1] | change
            body = json.dumps(route.wrap(some) | more).encode()
            examiner.examine(Case(f"{route.name} {body!r:.300}", http("POST", route.path, body), route))

        send()


def note(examiner, case, response) -> None:
    """Judge an answer to a request of schemathesis: as all others, and by what /openapi.json promises."""
    address = response.request.path_url.split("?")[0]
    route = next((route for route in ROUTES if route.path == address and case.method == "POST"), None)
    headers = {name.lower(): values[0] for name, values in response.headers.items()}
    said = f"{case.method} {response.request.path_url[:100]} {str(response.request.body)[:200]}"
    line = f"{case.method} {response.request.path_url}".encode()
    examiner.note(Case(said, line, route), Reply(response.status_code, headers, response.content))
    try:
        case.validate_response(response, checks=CHECKS)
    except FailureGroup as group:
        examiner.failures.append(f"{said}: " + "; ".join(f"{type(e).__name__} {e}" for e in group.exceptions)[:500])


def described(service, ready):
    """The API's description, read from the service; `ready` with the ready models that are here, which take their time.

    Of others it says 501, and of jobs 503 where no Prefect runs: both are right, and neither is the caller's doing.
    """
    schema = schemathesis.openapi.from_dict(service.get("/openapi.json").json())
    schema.config.update(base_url=f"http://127.0.0.1:{service.port}", request_timeout=120)
    if not ready:
        return schema.exclude(path_regex="^/v1/ready/.+|^/openai/.+")
    listed = service.get("/v1/ready").json()["capabilities"]
    away = [one["capability"] for one in listed if not any(model["installed"] for model in one["models"])]
    paths = [f"^/v1/ready/({'|'.join(away)})$"] if away else []
    paths += ["^/openai/v1/chat/.+"] if "generate-text" in away else []
    return schema.exclude(path_regex="|".join(paths)) if paths else schema


def test_requests_from_the_description(served, examine, much):
    """requests made from /openapi.json, that fit it and that do not (schemathesis)"""
    schema = described(served[1], ready=much(False, True))
    with examine() as examiner, requests.Session() as session:
        for start, mode in enumerate((GenerationMode.POSITIVE, GenerationMode.NEGATIVE), start=3):

            @many(much(40, 2_500), start)
            @given(case=schema.as_strategy(generation_mode=mode))
            def send(case):
                for name in [name for name in case.headers if name.lower() == "prefer"]:
                    del case.headers[name]
                note(examiner, case, case.call(session=session))

            send()


def test_sequences_from_the_description(served, examine, much):
    """sequences of requests that use each other's answers (schemathesis, stateful)"""
    schema = described(served[1], ready=much(False, True))
    with examine() as examiner:

        class Sequences(schema.as_state_machine()):
            def validate_response(self, response, case, **_options):
                note(examiner, case, response)

        Sequences.run(
            settings=hypothesis_settings(
                max_examples=much(5, 150), stateful_step_count=8, deadline=None, database=None, derandomize=True,
                phases=[Phase.generate], suppress_health_check=list(HealthCheck),
            )
        )  # fmt: skip
