"""Every route that takes rows, as one table: how rows become a body, how an answer is counted, how an error looks.

A new protocol is a new line in `ROUTES`; the corpus then sends it everything that it sends the others.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.connection import Reply
from tests.faults.installation import MODEL, columns

Rows = Sequence[Mapping[str, Any]]
PROBLEM = frozenset({"type", "title", "status", "detail", "instance"})


@dataclass(frozen=True)
class Route:
    """A route that is sent bad input.

    Attributes:
        name: As the table of faults calls it.
        path: Where it is.
        wrap: The document of some rows.
        error: The keys that an error's body must have.
        numbers: Takes the numbers that a good answer holds, one a row, out of its body.
        own: Whether it is Treadle's own protocol, which refuses every odd value; others have rules of their own.
        headers: What is sent along.
    """

    name: str
    path: str
    wrap: Callable[[Rows], Any]
    error: frozenset[str]
    numbers: Callable[[Any], list[Any]]
    own: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def rows_answered(self, reply: Reply) -> int:
        """How many rows a good answer holds; each must have a finite answer.

        Raises:
            ValueError: It is not JSON, or holds something that is no finite number.
        """

        def refuse(word: str) -> None:
            raise ValueError(f"the answer holds {word}")

        header = int(reply.headers.get("inference-header-content-length", len(reply.body)))
        answers = self.numbers(json.loads(reply.body[:header], parse_constant=refuse))
        if not all(isinstance(answer, int | float) and math.isfinite(answer) for answer in answers):
            raise ValueError("the answer holds something that is no finite number")
        return len(answers)


def _tensors(rows: Rows) -> dict[str, Any]:
    """The Open Inference Protocol's request: one tensor a column."""
    kinds = {"number": "FP64", "integer": "FP64", "boolean": "BOOL"}
    inputs = [
        {
            "name": column.name, "shape": [len(rows), 1], "datatype": kinds.get(column.kind, "BYTES"),
            "data": [row[column.name] for row in rows],
        }
        for column in columns()
    ]  # fmt: skip
    return {"inputs": inputs}


def _split(rows: Rows) -> dict[str, Any]:
    names = [column.name for column in columns()]
    return {"dataframe_split": {"columns": names, "data": [[row[name] for name in names] for row in rows]}}


def _lists(rows: Rows) -> dict[str, Any]:
    return {"inputs": {column.name: [row[column.name] for row in rows] for column in columns()}}


def _labels(rows: Rows) -> dict[str, Any]:
    """Feedback that nobody waits for, with the rows' values where labels should be."""
    odd = [value for row in rows for value in row.values() if isinstance(value, str)]
    return {"labels": [{"id": f"nobody-{k}", "label": value} for k, value in enumerate(odd)]}


V1, V2 = f"/v1/models/{MODEL}", f"/v2/models/{MODEL}"
_MLFLOW = frozenset({"error_code", "message"})
_predictions: Callable[[Any], list[Any]] = lambda body: body["predictions"]  # noqa: E731 - a table's cell


def _outputs(body: Any) -> list[Any]:
    """The predictions, or as many zeros as there are rows when a caller wanted other outputs, or binary ones."""
    found = {output["name"]: output for output in body["outputs"]}
    first = found.get("prediction", body["outputs"][0])
    return first["data"] if first["name"] == "prediction" and "data" in first else [0] * first["shape"][0]


ROUTES = (
    Route(
        "predict", f"{V1}/predict", lambda rows: {"rows": list(rows)}, PROBLEM,
        lambda body: [p["prediction"] for p in body["predictions"]], own=True,
    ),
    Route(
        "explain", f"{V1}/predict?explain=true", lambda rows: {"rows": list(rows)}, PROBLEM,
        lambda body: [p["explanation"]["base"] for p in body["predictions"]], own=True,
    ),
    Route("feedback", f"{V1}/feedback", _labels, PROBLEM, lambda _body: []),
    Route("v2", f"{V2}/infer", _tensors, frozenset({"error"}), _outputs),
    Route("v2 version", f"{V2}/versions/1/infer", _tensors, frozenset({"error"}), _outputs),
    Route("mlflow split", f"{V1}/invocations", _split, _MLFLOW, _predictions),
    Route("mlflow records", f"{V1}/invocations", lambda r: {"dataframe_records": list(r)}, _MLFLOW, _predictions),
    Route("mlflow instances", f"{V1}/invocations", lambda r: {"instances": list(r)}, _MLFLOW, _predictions),
    Route("mlflow inputs", f"{V1}/invocations", _lists, _MLFLOW, _predictions),
)  # fmt: skip

COLUMNAR = Route(
    "columnar", f"{V1}/predict", ROUTES[0].wrap, PROBLEM, ROUTES[0].numbers, headers={"Accept": "application/json"}
)
"""Arrow and Parquet bodies, answered as JSON; they are no JSON, so the corpus of JSON is not for them."""
