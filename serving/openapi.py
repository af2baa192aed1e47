"""The API's description with every served model in it: its own columns, types, and an example from a real row."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.model import ServedModel
from serving.openapi_v2 import v2_paths

_TYPES = {
    "number": {"type": "number"},
    "integer": {"type": "number"},
    "boolean": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
    "category": {"type": "string"},
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


def example_request(model: ServedModel) -> dict[str, Any]:
    """A predict body that works: the first smoke row."""
    smoke = model.manifest.smoke
    return {"rows": [smoke[0].row]} if smoke else {"rows": [{c.name: c.example for c in model.manifest.columns}]}


def describe(app: FastAPI, models: dict[str, ServedModel]) -> dict[str, Any]:
    """The OpenAPI document as of now."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    for name, model in sorted(models.items()):
        columns, target = _columns(model), _target(model)
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
    document["paths"] |= v2_paths(models)
    return document


def _operation(summary: str, tag: str, schema: dict[str, Any], example: Any, answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "tags": [tag],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}},
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": answer}}},
            **dict.fromkeys(("400", "404", "408", "409", "413", "422", "503"), _PROBLEM),
        },
    }


def _columns(model: ServedModel) -> dict[str, Any]:
    """The schema of each column's value."""
    properties = {}
    for column in model.manifest.columns:
        kind: dict[str, Any] = dict(_TYPES[column.kind])
        kind["type"] = [kind["type"], "null"]  # null says "not known", in any column
        if column.categories:
            kind["examples"] = list(column.categories[:10])
        properties[column.name] = kind
    return properties


def _target(model: ServedModel) -> dict[str, Any]:
    classes = model.manifest.classes
    return {"type": "string", "enum": list(classes)} if classes else {"type": "number"}


def _predict(
    summary: str, tag: str, row: dict[str, Any], target: dict[str, Any], example: dict[str, Any]
) -> dict[str, Any]:
    properties = {
        "rows": {"type": "array", "items": row, "minItems": 1},
        "ids": {"type": "array", "items": {"type": "string", "maxLength": 128}},
        "at": {"oneOf": [_TIME, {"type": "array", "items": _TIME}]},
    }
    body = {"type": "object", "required": ["rows"], "additionalProperties": False, "properties": properties}
    probabilities = {"type": "object", "additionalProperties": {"type": "number"}}
    prediction = {"id": {"type": "string"}, "prediction": target, "probabilities": probabilities}
    answer = {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "integer"},
            "digest": {"type": "string"},
            "predictions": {"type": "array", "items": {"type": "object", "properties": prediction}},
        },
    }
    return _operation(summary, tag, body, example, answer)


def _feedback(summary: str, tag: str, target: dict[str, Any], label: str | float) -> dict[str, Any]:
    one = {
        "type": "object",
        "required": ["id", "label"],
        "properties": {"id": {"type": "string"}, "label": target, "at": _TIME},
    }
    body = {"type": "object", "required": ["labels"], "properties": {"labels": {"type": "array", "items": one}}}
    example = {"labels": [{"id": "the id of a prediction", "label": label}]}
    counts = {"accepted": {"type": "integer"}, "repeated": {"type": "integer"}}
    return _operation(summary, tag, body, example, {"type": "object", "properties": counts})
