"""The API's description with every served model in it: its own columns, types, and an example from a real row."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.model import ServedModel

_TYPES = {
    "number": {"type": "number"},
    "integer": {"type": "number"},
    "boolean": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
    "category": {"type": "string"},
}
_PROBLEM = {"description": "RFC 9457 problem", "content": {"application/problem+json": {}}}


def example_request(model: ServedModel) -> dict[str, Any]:
    """A predict body that works: the first smoke row."""
    smoke = model.manifest.smoke
    return {"rows": [smoke[0].row]} if smoke else {"rows": [{c.name: c.example for c in model.manifest.columns}]}


def describe(app: FastAPI, models: dict[str, ServedModel]) -> dict[str, Any]:
    """The OpenAPI document as of now."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    for name, model in sorted(models.items()):
        document["paths"][f"/v1/models/{name}/predict"] = {"post": _predict(name, model)}
        document["paths"][f"/v1/models/{name}/feedback"] = {"post": _feedback(name, model)}
    return document


def _operation(summary: str, tag: str, schema: dict[str, Any], example: Any, answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "tags": [tag],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}},
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": answer}}},
            **dict.fromkeys(("400", "404", "409", "413", "422", "503"), _PROBLEM),
        },
    }


def _predict(name: str, model: ServedModel) -> dict[str, Any]:
    properties = {}
    for column in model.manifest.columns:
        kind: dict[str, Any] = dict(_TYPES[column.kind])
        if column.nullable:
            kind["type"] = [kind["type"], "null"]
        if column.categories:
            kind["examples"] = list(column.categories[:10])
        properties[column.name] = kind
    row = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    times = {"type": "string", "format": "date-time"}
    body = {
        "type": "object",
        "required": ["rows"],
        "additionalProperties": False,
        "properties": {
            "rows": {"type": "array", "items": row, "minItems": 1},
            "ids": {"type": "array", "items": {"type": "string", "maxLength": 128}},
            "at": {"oneOf": [times, {"type": "array", "items": times}]},
        },
    }
    prediction: dict[str, Any] = {"id": {"type": "string"}, "prediction": _target(model)}
    if model.manifest.classes:
        prediction["probabilities"] = {"type": "object", "additionalProperties": {"type": "number"}}
    answer = {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "integer"},
            "digest": {"type": "string"},
            "predictions": {"type": "array", "items": {"type": "object", "properties": prediction}},
        },
    }
    return _operation(f"Predict {model.manifest.target}", name, body, example_request(model), answer)


def _target(model: ServedModel) -> dict[str, Any]:
    classes = model.manifest.classes
    return {"type": "string", "enum": list(classes)} if classes else {"type": "number"}


def _feedback(name: str, model: ServedModel) -> dict[str, Any]:
    label = {
        "type": "object",
        "required": ["id", "label"],
        "properties": {
            "id": {"type": "string"},
            "label": _target(model),
            "at": {"type": "string", "format": "date-time"},
        },
    }
    body = {"type": "object", "required": ["labels"], "properties": {"labels": {"type": "array", "items": label}}}
    example = {"labels": [{"id": "the id of a prediction", "label": (model.manifest.classes or (0,))[0]}]}
    counts = {"accepted": {"type": "integer"}, "repeated": {"type": "integer"}}
    return _operation(
        f"Give labels of {model.manifest.target}", name, body, example, {"type": "object", "properties": counts}
    )
