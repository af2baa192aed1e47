"""The API's description with every served model in it: its own columns, types, and an example from a real row."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.answering.decode import MAX_ID, MAX_TEXT
from serving.models.model import ServedModel
from serving.openapi.scoring import scoring_paths
from serving.openapi.v2 import v2_paths
from serving.protocols.arrow import FILE, PARQUET, STREAM
from serving.ready.openapi import ready_paths
from treadle.models.bundle import ManifestColumn

_TYPES = {
    "number": {"type": "number"},
    "integer": {"type": "number"},
    "boolean": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
    "category": {"type": "string", "maxLength": MAX_TEXT},
}
_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
_TEXT, _WHOLE = {"type": "string"}, {"type": "integer"}
_TIME = {"type": "string", "format": "date-time"}
_PROBLEM = {
    "description": "RFC 9457 problem",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "instance"],
                "properties": {
                    **dict.fromkeys(("type", "title", "detail", "instance", "column"), _TEXT),
                    **dict.fromkeys(("status", "row"), _WHOLE),
                },
            }
        }
    },
}


_BINARY = {"schema": {"type": "string", "format": "binary"}}
_COLUMN_NAME = {"type": "string", "description": "A column of an Arrow or Parquet body."}
_PARAMETERS = [
    {
        "name": "explain",
        "in": "query",
        "schema": {"type": "string", "enum": ["true", "false"]},
        "description": "Whether each prediction tells what each column contributed; for up to 100 rows of JSON.",
    },
    {"name": "ids", "in": "query", "schema": _COLUMN_NAME, "description": "It has the caller's prediction ids."},
    {"name": "at", "in": "query", "schema": _COLUMN_NAME, "description": "It has the event times."},
]


def example_request(model: ServedModel) -> dict[str, Any]:
    """A predict body that works: the first smoke row, its times with their zone."""
    smoke = model.manifest.smoke
    row = smoke[0].row if smoke else {c.name: c.example for c in model.manifest.columns}
    times = {c.name for c in model.manifest.columns if c.kind == "datetime"}
    return {"rows": [{name: _with_zone(value) if name in times else value for name, value in row.items()}]}


def _with_zone(value: Any) -> Any:
    """A time as RFC 3339 wants it, which is what `date-time` means."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return value
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def describe(app: FastAPI, models: dict[str, ServedModel]) -> dict[str, Any]:
    """The OpenAPI document as of now."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    for name, model in sorted(models.items()):
        columns, target = {c.name: _column(c) for c in model.manifest.columns}, _target(model)
        row = {"type": "object", "properties": columns, "required": list(columns), "additionalProperties": False}
        label = (model.manifest.classes or (0,))[0]
        predict = _predict(f"Predict {model.manifest.target}", name, row, target, example_request(model))
        feedback = _feedback(f"Give labels of {model.manifest.target}", name, target, label)
        document["paths"][f"/v1/models/{name}/predict"] = {"post": predict}
        document["paths"][f"/v1/models/{name}/feedback"] = {"post": feedback}
    any_target = {"type": ["string", "number"]}
    any_row = {"rows": [{"column": "value"}]}
    document["paths"]["/v1/models/{name}/predict"] = {
        "parameters": [_NAME],
        "post": _predict("Predict with a model", "models", {"type": "object"}, any_target, any_row),
    }
    document["paths"]["/v1/models/{name}/feedback"] = {
        "parameters": [_NAME],
        "post": _feedback("Give labels to a model", "models", any_target, 0),
    }
    _mend(document["paths"])
    examples = {name: example_request(model)["rows"][0] for name, model in models.items()}
    document["paths"] |= _with_problems(scoring_paths(examples) | v2_paths(models))
    document["paths"] |= ready_paths(_PROBLEM)
    return document


def _with_problems(paths: dict[str, Any]) -> dict[str, Any]:
    """The same; what no route knows, such as a name with control characters, is not found before a protocol hears of it."""
    for operation in (op for path in paths.values() for op in path.values() if isinstance(op, dict)):
        if missing := operation.get("responses", {}).get("404"):
            content = missing["content"] | _PROBLEM["content"]
            operation["responses"]["404"] = missing | {"content": content}
    return paths


def _mend(paths: dict[str, Any]) -> None:
    """Say what FastAPI cannot know of its own routes."""
    one = paths["/v1/models/{name}"]["get"]["responses"]
    one.pop("422", None)  # any text is a name
    one |= dict.fromkeys(("404", "503"), _PROBLEM)
    for path in (path for path in paths if "/alerts" in path):
        for operation in paths[path].values():
            operation["responses"] |= dict.fromkeys(("401", "403", "404", "422", "503"), _PROBLEM)
    ready = paths["/readyz"]["get"]["responses"]
    ready["503"] = ready["200"] | {"description": "It is ending"}
    paths["/metrics"]["get"]["responses"]["200"]["content"] = {"text/plain": {"schema": _TEXT}}


def _operation(summary: str, tag: str, schema: dict[str, Any], example: Any, answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "tags": [tag],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}},
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": answer}}},
            **dict.fromkeys(("400", "401", "403", "404", "408", "409", "413", "422", "429", "503"), _PROBLEM),
        },
    }


def _column(column: ManifestColumn) -> dict[str, Any]:
    """The schema of a column's value. Any may be null, which says "not known"; the text says where that was seen."""
    schema: dict[str, Any] = dict(_TYPES[column.kind])
    schema["type"] = [schema["type"], "null"]
    said = "Was missing at times" if column.nullable else "Was never missing"
    schema["description"] = f"{said} in the table that was learned from."
    if column.categories:
        schema["examples"] = list(column.categories[:10])
    elif column.kind == "datetime":
        schema["description"] += " ISO 8601; without a zone: UTC."
    elif column.low is not None and column.high is not None and column.kind != "boolean":
        schema["description"] += f" From {column.low:g} to {column.high:g} there."
    return schema


def _target(model: ServedModel) -> dict[str, Any]:
    classes = model.manifest.classes
    return {"type": "string", "enum": list(classes)} if classes else {"type": "number"}


def _predict(
    summary: str, tag: str, row: dict[str, Any], target: dict[str, Any], example: dict[str, Any]
) -> dict[str, Any]:
    properties = {
        "rows": {"type": "array", "items": row, "minItems": 1},
        "ids": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": MAX_ID}},
        "at": {"oneOf": [_TIME, {"type": "array", "items": _TIME}]},
    }
    body = {"type": "object", "required": ["rows"], "additionalProperties": False, "properties": properties}
    operation = _operation(summary, tag, body, example, _answer(target))
    operation["parameters"] = _PARAMETERS
    operation["requestBody"]["content"] |= dict.fromkeys((STREAM, FILE, PARQUET), _BINARY)
    operation["responses"]["200"]["content"] |= dict.fromkeys((STREAM, PARQUET), _BINARY)
    operation["responses"] |= dict.fromkeys(("406", "415"), _PROBLEM)
    return operation


def _answer(target: dict[str, Any]) -> dict[str, Any]:
    """What predict answers."""
    shares = {"type": "object", "additionalProperties": {"type": "number"}}
    explanation = {
        "type": "object",
        "required": ["base", "contributions"],
        "properties": {"base": {"type": "number"}, "class": target, "contributions": shares},
        "additionalProperties": False,
    }
    prediction = {
        "type": "object",
        "required": ["id", "prediction"],
        "properties": {"id": _TEXT, "prediction": target, "probabilities": shares, "explanation": explanation},
        "additionalProperties": False,
    }
    properties = {
        "model": _TEXT,
        "version": _WHOLE,
        "digest": _TEXT,
        "predictions": {"type": "array", "items": prediction},
    }
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}


def _feedback(summary: str, tag: str, target: dict[str, Any], label: str | float) -> dict[str, Any]:
    one = {
        "type": "object",
        "required": ["id", "label"],
        "properties": {"id": {"type": "string"}, "label": target, "at": _TIME},
    }
    asked = {"labels": {"type": "array", "items": one}, "keep_early": {"type": "boolean", "default": False}}
    body = {"type": "object", "required": ["labels"], "properties": asked}
    example = {"labels": [{"id": "the id of a prediction", "label": label}]}
    always = ["accepted", "repeated"]
    counts = {name: {"type": "integer"} for name in (*always, "early", "ahead")}
    answer = {"type": "object", "required": always, "properties": counts, "additionalProperties": False}
    return _operation(summary, tag, body, example, answer)
