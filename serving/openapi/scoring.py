"""The part of the API's description that is MLflow's scoring protocol, with every served model's own example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXT = {"type": "string"}
_NAME = {"name": "name", "in": "path", "required": True, "schema": _TEXT}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "integer"}}
_ROW = {"type": "object"}
_ROWS = {"type": "array", "items": _ROW, "minItems": 1}
_SPLIT = {
    "type": "object",
    "required": ["data"],
    "additionalProperties": False,
    "properties": {
        "columns": {"type": "array", "items": _TEXT},
        "data": {"type": "array", "minItems": 1},
        "index": {"type": ["array", "null"]},
    },
}
_ANY = {"oneOf": [{"type": "object"}, {"type": "array", "minItems": 1}]}
_FORMS = {"dataframe_split": _SPLIT, "dataframe_records": _ROWS, "instances": _ANY, "inputs": _ANY}
_REQUEST = {
    "type": "object",
    "properties": _FORMS | {"params": {}},
    "oneOf": [{"required": [form]} for form in _FORMS],
}
_NUMBER = {"type": "number"}
_ANSWER = {
    "type": "object",
    "required": ["predictions"],
    "additionalProperties": False,
    "properties": {
        "predictions": {"type": "array", "items": {"oneOf": [_NUMBER, {"type": "array", "items": _NUMBER}]}}
    },
}
_ERROR = {
    "type": "object",
    "required": ["error_code", "message"],
    "additionalProperties": False,
    "properties": {"error_code": _TEXT, "message": _TEXT},
}
_FAILED = {"description": "MLflow's error", "content": {"application/json": {"schema": _ERROR}}}


def scoring_paths(examples: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The paths of the protocol.

    Args:
        examples: A row that works, by model.
    """
    anything = _operation("Predict with a model", "models", {"column": "value"})
    paths: dict[str, Any] = {
        "/v1/models/{name}/invocations": {"parameters": [_NAME], "post": anything},
        "/v1/models/{name}/versions/{version}/invocations": {"parameters": [_NAME, _VERSION], "post": anything},
    }
    for name, row in sorted(examples.items()):
        paths[f"/v1/models/{name}/invocations"] = {"post": _operation(f"Predict with {name}", name, row)}
    return paths


def _operation(summary: str, tag: str, row: dict[str, Any]) -> dict[str, Any]:
    split = {"columns": list(row), "data": [list(row.values())]}
    content = {
        "application/json": {"schema": _REQUEST, "example": {"dataframe_split": split}},
        "text/csv": {"schema": _TEXT},
    }
    answer = {
        "description": "Numbers, or lists of probabilities in the order of the classes",
        "headers": {
            "X-Prediction-Ids": {"schema": _TEXT, "description": "For feedback; joined by commas, up to 32 rows"},
            "X-Model-Version": {"schema": _TEXT},
            "X-Model-Digest": {"schema": _TEXT},
        },
        "content": {"application/json": {"schema": _ANSWER}},
    }
    return {
        "summary": f"{summary} (MLflow's scoring protocol)",
        "tags": [tag],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": answer,
            **dict.fromkeys(("400", "404", "408", "409", "413", "415", "429", "503"), _FAILED),
        },
    }
