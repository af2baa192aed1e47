"""A small client of the service, for Python programs: ready models, predictions, labels. It needs nothing but Python."""

from __future__ import annotations

import base64
import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from treadle.errors import TreadleError, Unavailable

LONGEST_POLL_S = 2.0


class Refused(TreadleError):
    """A request that the service did not answer as was hoped.

    Attributes:
        status: The HTTP status.
        problem: The whole answer (RFC 9457), or nothing where there was none.
    """

    title = "Refused"

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or f"The service answers {status}."))
        self.status = status
        self.problem = dict(problem)


class Client:
    """One service.

    >>> client = Client("http://127.0.0.1:8000")
    >>> client.ready("detect-language", "Guten Morgen")  # doctest: +SKIP
    [{'language': 'de', ...}]

    Args:
        url: The service's address.
        key: Of `treadle keys create`; `None` while there are no keys.
        timeout_s: Seconds that one answer may take.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", key: str | None = None, timeout_s: float = 120.0) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._timeout_s = timeout_s

    def capabilities(self) -> list[dict[str, Any]]:
        """The ready models that the service has."""
        return list(self._ask("GET", "/v1/ready")["capabilities"])

    def ready(
        self, capability: str, inputs: Any, *, model: str | None = None, **parameters: Any
    ) -> list[dict[str, Any]]:
        """Have a ready model answer.

        Args:
            capability: As `capabilities` lists it.
            inputs: One input or a list: texts, bytes of files, paths of files, or mappings of these.
            model: Another model than the service's own choice.
            parameters: The capability's.

        Returns:
            One answer for each input.

        Raises:
            Refused: The service says no.
            Unavailable: It cannot be reached.
        """
        return list(self.ask_ready(capability, inputs, model=model, **parameters)["answers"])

    def ask_ready(self, capability: str, inputs: Any, *, model: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The same, with the model's name, version and licence, and what it cost."""
        return dict(self._ask("POST", f"/v1/ready/{capability}", _body(inputs, model, parameters)))

    def stream_ready(
        self, capability: str, given: Any, *, model: str | None = None, **parameters: Any
    ) -> Iterator[dict[str, Any]]:
        """Have a ready model answer piece by piece.

        Raises:
            Refused: The service says no, at the beginning or later.
            Unavailable: It cannot be reached.
        """
        body = _body(given, model, parameters) | {"stream": True}
        with self._open("POST", f"/v1/ready/{capability}", body) as response:
            name = ""
            for line in response:
                field, _, value = line.decode().strip().partition(": ")
                if field == "event":
                    name = value
                elif field == "data" and name == "piece":
                    yield json.loads(value)
                elif field == "data" and name == "error":
                    raise Refused(response.status, json.loads(value))

    def start_job(self, capability: str, inputs: Any, *, model: str | None = None, **parameters: Any) -> str:
        """Have a ready model answer in the background; the job's id."""
        body = _body(inputs, model, parameters)
        said = self._ask("POST", f"/v1/ready/{capability}", body, {"Prefer": "respond-async"})
        return str(said["id"])

    def job(self, name: str) -> dict[str, Any]:
        """How a job is: `state`, `done` of `inputs`, and `answers` when it has ended well."""
        return dict(self._ask("GET", f"/v1/ready/jobs/{name}"))

    def wait(self, name: str, timeout_s: float = 3600.0) -> list[dict[str, Any]]:
        """A job's answers, once it has ended.

        Raises:
            Refused: It failed.
            Unavailable: It did not end in time.
        """
        end, pause = time.monotonic() + timeout_s, 0.1
        while time.monotonic() < end:
            job = self.job(name)
            if job["state"] == "failed":
                raise Refused(500, {"detail": job["error"]})
            if job["state"] == "completed":
                return list(job["answers"])
            time.sleep(pause)
            pause = min(LONGEST_POLL_S, pause * 1.5)
        raise Unavailable(f"The job {name} did not end within {timeout_s:g} seconds.")

    def predict(
        self,
        project: str,
        rows: Any,
        ids: Sequence[str] | None = None,
        at: str | Sequence[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Predictions of a project's champion, one a row, with their ids.

        Args:
            project: Its name.
            rows: Mappings of column to value, or a pandas DataFrame. NaN means that a value is not known.
            ids: Your own ids, one a row.
            at: The event time of all rows, or one each; now when left out.

        Raises:
            Refused: The service says no.
            Unavailable: It cannot be reached.
        """
        records = rows.to_dict("records") if hasattr(rows, "columns") else rows
        body: dict[str, Any] = {"rows": [{name: _cell(value) for name, value in row.items()} for row in records]}
        body |= {"ids": list(ids)} if ids is not None else {}
        body |= {"at": at if isinstance(at, str) else list(at)} if at is not None else {}
        return list(self._ask("POST", f"/v1/models/{project}/predict", body)["predictions"])

    def feedback(self, project: str, labels: Mapping[str, Any]) -> dict[str, int]:
        """Give labels by prediction id; how many were new, and how many were there."""
        rows = [{"id": name, "label": _cell(label)} for name, label in labels.items()]
        return dict(self._ask("POST", f"/v1/models/{project}/feedback", {"labels": rows}))

    def _ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        with self._open(method, path, body, headers) as response:
            return json.loads(response.read())

    def _open(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, content, method=method)  # noqa: S310 - the caller's own address
        request.add_header("Content-Type", "application/json")
        if self._key is not None:
            request.add_header("Authorization", f"Bearer {self._key}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            return urllib.request.urlopen(request, timeout=self._timeout_s)  # noqa: S310 - the caller's own address
        except urllib.error.HTTPError as error:
            raise Refused(error.code, _problem(error)) from None
        except OSError as error:
            raise Unavailable(f"{self._url} cannot be reached: {error}") from error


def _body(inputs: Any, model: str | None, parameters: Mapping[str, Any]) -> dict[str, Any]:
    given = [_plain(one) for one in inputs] if isinstance(inputs, list) else _plain(inputs)
    return {"inputs": given, "parameters": dict(parameters)} | ({"model": model} if model else {})


def _plain(given: Any) -> Any:
    """An input as JSON has it: files in base64."""
    if isinstance(given, Path):
        given = given.read_bytes()
    if isinstance(given, bytes):
        return base64.b64encode(given).decode()
    if isinstance(given, Mapping):
        return {name: _plain(value) for name, value in given.items()}
    return given


def _cell(value: Any) -> Any:
    """A value of a table as JSON has it: times in ISO 8601, NumPy's kinds as Python's, what is missing as null."""
    if isinstance(value, float):
        return None if math.isnan(value) else float(value)
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return _cell(value.item()) if hasattr(value, "item") else value


def _problem(error: urllib.error.HTTPError) -> dict[str, Any]:
    try:
        found = json.loads(error.read())
    except (ValueError, OSError):
        return {}
    return found if isinstance(found, dict) else {}
