"""The part of the API's description that is the Open Inference Protocol, with every served model's own example."""

from __future__ import annotations

from typing import Any

from serving.models.model import ServedModel
from serving.protocols.v2 import inputs_of, metadata_of, outputs_of
from serving.protocols.v2_tensors import DATATYPES

_TEXT, _TRUTH = {"type": "string"}, {"type": "boolean"}
_TEXTS = {"type": "array", "items": _TEXT}
_SHAPE = {"type": "array", "items": {"type": "integer"}}
_NAME = {"name": "name", "in": "path", "required": True, "schema": _TEXT}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9]{1,9}$"}}


def _object(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_ERROR = {"description": "Error", "content": {"application/json": {"schema": _object(("error",), error=_TEXT)}}}
_ANY = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}
_DATATYPE = {"type": "string", "enum": list(DATATYPES)}
_META = _list(_object(("name", "datatype", "shape"), name=_TEXT, datatype=_DATATYPE, shape=_SHAPE))
_MODEL = _object(
    ("name", "versions", "platform", "inputs", "outputs"),
    name=_TEXT, versions=_TEXTS, platform=_TEXT, inputs=_META, outputs=_META,
    properties={"type": "object", "additionalProperties": _TEXT},
)  # fmt: skip
_TENSOR = {"name": _TEXT, "shape": _SHAPE, "datatype": _DATATYPE, "parameters": _ANY, "data": {"type": "array"}}
_REQUEST = _object(
    ("inputs",),
    id=_TEXT, parameters=_ANY,
    inputs=_list(_object(("name", "shape", "datatype"), **_TENSOR)),
    outputs=_list(_object(("name",), name=_TEXT, parameters=_ANY)),
)  # fmt: skip
_RESPONSE = _object(
    ("model_name", "model_version", "outputs"),
    model_name=_TEXT, model_version=_TEXT, id=_TEXT, parameters=_ANY,
    outputs=_list(_object(("name", "shape", "datatype"), **_TENSOR)),
)  # fmt: skip
_INDEX = _list(_object(("name", "state", "reason"), name=_TEXT, version=_TEXT, state=_TEXT, reason=_TEXT))


def v2_paths(models: dict[str, ServedModel]) -> dict[str, Any]:
    """The paths of the protocol, as of now."""
    server = _object(("name", "version", "extensions"), name=_TEXT, version=_TEXT, extensions=_TEXTS)
    paths = {
        "/v2": {"get": _operation("Server metadata", server)},
        "/v2/health/live": {"get": _operation("Whether the process lives", _object(("live",), live=_TRUTH))},
        "/v2/health/ready": {
            "get": _operation("Whether every model answers", _object(("ready",), ready=_TRUTH), "503")
        },
        "/v2/repository/index": {"post": _with_body("Models that are served", _INDEX, _object((), ready=_TRUTH), {})},
    }
    for path, parameters in (
        ("/v2/models/{name}", [_NAME]),
        ("/v2/models/{name}/versions/{version}", [_NAME, _VERSION]),
    ):
        paths |= _model_paths(path, {"parameters": parameters})
    for name, model in sorted(models.items()):
        infer = _with_body(
            f"Predict {model.manifest.target} (Open Inference Protocol)", _RESPONSE, _REQUEST, _example(model)
        )
        paths[f"/v2/models/{name}/infer"] = {"post": infer}
        about = _operation(f"Inputs and outputs of {name}", _MODEL)
        about["responses"]["200"]["content"]["application/json"]["example"] = metadata_of(model, [model.version])
        paths[f"/v2/models/{name}"] = {"get": about}
    return paths


def _model_paths(path: str, parameters: dict[str, Any]) -> dict[str, Any]:
    ready = _object(("name", "ready"), name=_TEXT, ready=_TRUTH)
    example = {"inputs": [{"name": "column", "shape": [1], "datatype": "FP64", "data": [0.5]}]}
    return {
        path: parameters | {"get": _operation("Inputs and outputs of a model", _MODEL, "404", "503")},
        f"{path}/ready": parameters | {"get": _operation("Whether a model answers", ready, "404", "503")},
        f"{path}/infer": parameters | {"post": _with_body("Predict with a model", _RESPONSE, _REQUEST, example)},
    }


def _operation(summary: str, answer: dict[str, Any], *errors: str) -> dict[str, Any]:
    responses = {"200": {"description": "OK", "content": {"application/json": {"schema": answer}}}}
    return {
        "summary": summary,
        "tags": ["Open Inference Protocol"],
        "responses": responses | dict.fromkeys(errors, _ERROR),
    }


def _with_body(summary: str, answer: dict[str, Any], body: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    operation = _operation(summary, answer, "400", "404", "408", "413", "415", "422", "503")
    contents: dict[str, Any] = {"application/json": {"schema": body, "example": example}}
    if body is _REQUEST:  # the binary tensor data extension
        binary = {"schema": {"type": "string", "format": "binary"}}
        contents["application/octet-stream"] = binary
        operation["responses"]["200"]["content"]["application/octet-stream"] = binary
    return operation | {"requestBody": {"required": body is _REQUEST, "content": contents}}


def _example(model: ServedModel) -> dict[str, Any]:
    """An inference request that works: the first smoke row."""
    smoke = model.manifest.smoke
    row = smoke[0].row if smoke else {column.name: column.example for column in model.manifest.columns}
    inputs = [
        {"name": said["name"], "shape": [1], "datatype": _datatype_of(row[said["name"]], said["datatype"]),
         "data": [row[said["name"]]]}
        for said in inputs_of(model.manifest)
    ]  # fmt: skip
    return {"inputs": inputs, "outputs": [{"name": said["name"]} for said in outputs_of(model.manifest)]}


def _datatype_of(value: Any, said: str) -> str:
    """The datatype that a value can be sent in: a truth's own word is text, and so on."""
    match value:
        case str():
            return "BYTES"
        case float():
            return "FP64"
        case _:
            return said
