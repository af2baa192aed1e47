"""The Open Inference Protocol (V2, of KServe, Triton and MLServer) over HTTP: requests to columns, arrays to answers.

Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md; the binary tensor data extension is
Triton's, docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from serving.answering.decode import to_columns
from serving.models.model import ServedModel
from serving.problem_details import BadRequest, v2_refusal
from serving.protocols.protocol import Answered, Asked, Reply
from serving.protocols.v2_body import accepted, pack, shares, unpack
from serving.protocols.v2_tensors import DATATYPES, Tensor, read_elements, write_binary
from treadle.errors import TreadleError, nearest
from treadle.models.bundle import Manifest

EXTENSIONS = ("binary_tensor_data",)
_DATATYPE = {"number": "FP64", "integer": "INT64", "boolean": "BOOL", "datetime": "BYTES", "category": "BYTES"}
_NUMERIC = {"number", "integer", "boolean"}
_UNSUPPORTED = ("classification", "shared_memory_region")  # of Triton: an answer without them would be a wrong one


class Wanted(msgspec.Struct):
    """One output that the caller asks for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct):
    """An inference request; what it has besides is of other servers, and passed over."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[Wanted] | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What the answer needs of the request.

    Attributes:
        id: The request's own, to echo.
        outputs: Each wanted output, and whether as binary data.
        encoding: The compression of the answer.
    """

    id: str | None
    outputs: Mapping[str, bool]
    encoding: str | None


_request = msgspec.json.Decoder(InferRequest)


class OpenInference:
    """The protocol.

    Args:
        most: Bytes that a body may have when it is decompressed.
    """

    name = "v2"

    def __init__(self, most: int) -> None:
        self._most = most

    def read(self, body: bytes, headers: Mapping[str, str], model: ServedModel, max_rows: int) -> Asked:
        """Read an inference request.

        Raises:
            BadRequest: It is not one, or does not fit the model.
        """
        manifest = model.manifest
        text, binary = unpack(body, headers, self._most)
        if binary is not None and not text:
            request, binary = _raw_request(binary, manifest)
        else:
            request = _decode(text)
        context = Context(request.id, _wanted(request, manifest), accepted(headers))
        rows = _rows(request.inputs, shares(request.inputs, binary), manifest, max_rows)
        return Asked(to_columns(rows, manifest), len(rows), rows, context=context)

    def write(self, answered: Answered) -> Reply:
        """Write an inference response."""
        context: Context = answered.asked.context
        arrays = _arrays(answered)
        outputs, buffers = [], []
        for name, binary in context.outputs.items():
            outputs.append(_output(name, arrays[name], answered.model.manifest))
            if binary:
                buffers.append(write_binary(arrays[name]))
                outputs[-1].setdefault("parameters", {})["binary_data_size"] = len(buffers[-1])
            else:
                outputs[-1]["data"] = arrays[name].ravel().tolist()
        model = answered.model
        said = {"model_name": model.name, "model_version": str(model.version)}
        said |= {} if context.id is None else {"id": context.id}
        said |= {"parameters": {"digest": model.digest}, "outputs": outputs}
        return Reply(*pack(said, buffers, context.encoding))

    def refuse(self, error: TreadleError, path: str) -> Reply:  # noqa: ARG002 - the protocol's errors name no path
        """Tell an error as `{"error": message}`."""
        response = v2_refusal(error)
        return Reply(bytes(response.body), response.headers, response.status_code)


def _decode(text: bytes) -> InferRequest:
    try:
        return _request.decode(text)
    except RecursionError:
        raise BadRequest("The body is nested too deeply.", 400) from None
    except msgspec.ValidationError as error:  # says types and places, never values
        raise BadRequest(f"The body is not an inference request: {error}", 400) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequest("The body is not JSON in UTF-8.", 400) from None


def _raw_request(raw: bytes, manifest: Manifest) -> tuple[InferRequest, bytes]:
    """A body without JSON: the one column's data, or one text; the answer is binary data.

    Source: Triton, extension_binary_data.md, "Raw Binary Request".
    """
    if len(manifest.columns) != 1:
        raise BadRequest("Only a model of one column takes binary data alone; put JSON with the inputs before it.", 400)
    column = manifest.columns[0]
    datatype = _DATATYPE[column.kind]
    if datatype == "BYTES":
        raw, count = len(raw).to_bytes(4, "little") + raw, 1
    else:
        count = len(raw) // np.dtype(DATATYPES[datatype]).itemsize
    tensor = Tensor(column.name, [count], datatype, {"binary_data_size": len(raw)})
    return InferRequest([tensor], parameters={"binary_data_output": True}), raw


def _wanted(request: InferRequest, manifest: Manifest) -> dict[str, bool]:
    """The outputs that are wanted, and which as binary data; all that the model has when none is named.

    Raises:
        BadRequest: One is unknown, named twice, or wanted in a way that is not offered.
    """
    binary = _truth(request.parameters, "binary_data_output", default=False)
    known = [output["name"] for output in outputs_of(manifest)]
    if not request.outputs:
        return dict.fromkeys(known, binary)
    names = [output.name for output in request.outputs]
    if not set(names) <= set(known):
        raise BadRequest(f"An unknown output is asked for; the model has {', '.join(known)}.", 400)
    if len(set(names)) < len(names):
        raise BadRequest("An output is asked for twice.", 400)
    for output in request.outputs:
        _refuse_unsupported(output.parameters)
    return {output.name: _truth(output.parameters, "binary_data", default=binary) for output in request.outputs}


def _truth(parameters: Mapping[str, Any] | None, name: str, *, default: bool) -> bool:
    value = (parameters or {}).get(name, default)
    if type(value) is not bool:
        raise BadRequest(f"The parameter {name} must be true or false.", 400)
    return value


def _refuse_unsupported(parameters: Mapping[str, Any] | None) -> None:
    for name in _UNSUPPORTED:
        if name in (parameters or {}):
            raise BadRequest(f"The parameter {name} is of an extension that this server does not have.", 400)


def _rows(
    inputs: Sequence[Tensor], parts: Sequence[bytes | None], manifest: Manifest, max_rows: int
) -> list[dict[str, Any]]:
    """Rows as callers of the own protocol would have sent them, from a tensor a column or one of all columns."""
    names = [column.name for column in manifest.columns]
    for tensor in inputs:
        _refuse_unsupported(tensor.parameters)
    if _is_matrix(inputs, names):
        _check_matrix(inputs[0], manifest)
        _check_count(inputs, max_rows)
        values = read_elements(inputs[0], parts[0], "The input")
        columns = [values[first :: len(names)] for first in range(len(names))]
    else:
        _check_names([tensor.name for tensor in inputs], names)
        for tensor in inputs:
            if len(tensor.shape) not in (1, 2) or tensor.shape[1:] not in ([], [1]):
                raise BadRequest(f"'{tensor.name}' must be of shape [n] or [n, 1], n the number of rows.", 400)
        _check_count(inputs, max_rows)
        pairs = zip(inputs, parts, strict=True)
        read = {tensor.name: read_elements(tensor, part, f"'{tensor.name}'") for tensor, part in pairs}
        columns = [read[name] for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _is_matrix(inputs: Sequence[Tensor], names: Sequence[str]) -> bool:
    """Whether one tensor has all columns, as clients of scikit-learn servers send it, whatever its name."""
    if len(inputs) != 1 or len(inputs[0].shape) != 2 or inputs[0].shape[1] != len(names):
        return False
    return len(names) > 1 or inputs[0].name not in names


def _check_matrix(tensor: Tensor, manifest: Manifest) -> None:
    odd = [column.name for column in manifest.columns if column.kind not in _NUMERIC]
    if odd or tensor.datatype == "BYTES":
        why = f"'{odd[0]}' is text or time" if odd else "it is BYTES"
        raise BadRequest(f"One input cannot have all columns, since {why}; send an input for each column.", 400)


def _check_names(names: Sequence[str], columns: Sequence[str]) -> None:
    """Refuse inputs that are not exactly the model's columns."""
    strangers = sorted(set(names) - set(columns))
    if strangers:
        shown = strangers[0] if len(strangers[0]) <= 64 and strangers[0].isprintable() else "(unprintable)"
        takes = ", ".join(sorted(columns))[:1000]
        raise BadRequest(f"Unknown input '{shown}'.{nearest(shown, columns)} The model takes: {takes}.", 400)
    missing = [name for name in columns if name not in names]
    if missing:
        raise BadRequest(f"The input '{missing[0]}' is missing; send null for values that are not known.", 400)
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise BadRequest(f"The input '{name}' is there {times} times.", 400)


def _check_count(inputs: Sequence[Tensor], max_rows: int) -> None:
    counts = {tensor.shape[0] for tensor in inputs}
    if len(counts) > 1:
        raise BadRequest("The inputs are not of the same number of rows.", 400)
    (count,) = counts
    if count < 1:
        raise BadRequest("The inputs have no rows; send at least one.", 400)
    if count > max_rows:
        raise BadRequest(f"There are too many rows for one request; send at most {max_rows}.", 413)


def _arrays(answered: Answered) -> dict[str, np.ndarray]:
    """Every output by name: numbers as float64, text as dtype object."""
    values, classes = answered.values.astype(np.float64), answered.model.manifest.classes
    ids = np.array(answered.ids, dtype=object)
    if classes is None:
        return {"prediction": values.reshape(answered.asked.count), "id": ids}
    best = np.array(classes, dtype=object)[values.argmax(axis=1)]
    return {"prediction": best, "probabilities": values, "id": ids}


def _output(name: str, values: np.ndarray, manifest: Manifest) -> dict[str, Any]:
    said: dict[str, Any] = {"name": name, "shape": values.shape}
    said["datatype"] = "BYTES" if values.dtype == object else "FP64"
    if name == "probabilities":
        said["parameters"] = {"labels": labels_of(manifest)}
    return said


def labels_of(manifest: Manifest) -> str:
    """The classes, in the order of the probabilities, as a JSON list in a text: parameters cannot be lists."""
    return msgspec.json.encode(manifest.classes).decode()


def inputs_of(manifest: Manifest) -> list[dict[str, Any]]:
    """The metadata of a model's inputs: one a column."""
    return [{"name": c.name, "datatype": _DATATYPE[c.kind], "shape": [-1]} for c in manifest.columns]


def outputs_of(manifest: Manifest) -> list[dict[str, Any]]:
    """The metadata of a model's outputs: `id` are the prediction ids that feedback names."""
    number = {"name": "prediction", "datatype": "FP64", "shape": [-1]}
    ids = {"name": "id", "datatype": "BYTES", "shape": [-1]}
    if manifest.classes is None:
        return [number, ids]
    shares_ = {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(manifest.classes)]}
    return [number | {"datatype": "BYTES"}, shares_, ids]


def metadata_of(model: ServedModel, versions: Sequence[int]) -> dict[str, Any]:
    """What a model says of itself.

    Args:
        model: The version that is asked about.
        versions: Those that callers may name.
    """
    manifest = model.manifest
    properties = {"version": str(model.version), "digest": model.digest, "target": manifest.target}
    if manifest.classes is not None:
        properties["labels"] = labels_of(manifest)
    times = [column.name for column in manifest.columns if column.kind == "datetime"]
    if times:
        properties["iso_8601"] = msgspec.json.encode(times).decode()
    if {column.kind for column in manifest.columns} <= _NUMERIC:
        properties["one_input"] = f"[-1, {len(manifest.columns)}]"
    return {
        "name": model.name,
        "versions": [str(version) for version in sorted(versions)],
        "platform": "onnx_onnxv1",
        "inputs": inputs_of(manifest),
        "outputs": outputs_of(manifest),
        "properties": properties,
    }
