"""What an ONNX graph reaches for beyond itself: nothing, or it is refused before onnxruntime sees it.

onnxruntime follows a tensor's `external_data` to any file of the machine. Needs neither `onnx` nor onnxruntime.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from treadle.errors import BrokenBundle

OUR_DOMAINS = {b"", b"ai.onnx", b"ai.onnx.ml"}
EXTERNAL = 1

# The few fields of onnx.proto3 that are looked at: message -> field -> (number, type or message, repeated).
FIELDS: dict[str, dict[str, tuple[int, str, bool]]] = {
    "Model": {
        "graph": (7, "Graph", False),
        "functions": (25, "Function", True),
        "training_info": (20, "Training", True),
    },
    "Training": {"initialization": (1, "Graph", False), "algorithm": (2, "Graph", False)},
    "Function": {"domain": (10, "bytes", False), "node": (7, "Node", True), "attribute_proto": (11, "Attribute", True)},
    "Graph": {
        "node": (1, "Node", True),
        "initializer": (5, "Tensor", True),
        "sparse_initializer": (15, "Sparse", True),
    },
    "Node": {"attribute": (5, "Attribute", True), "domain": (7, "bytes", False)},
    "Attribute": {
        "t": (5, "Tensor", False),
        "g": (6, "Graph", False),
        "tensors": (10, "Tensor", True),
        "graphs": (11, "Graph", True),
        "sparse_tensor": (22, "Sparse", False),
        "sparse_tensors": (23, "Sparse", True),
    },
    "Sparse": {"values": (1, "Tensor", False), "indices": (2, "Tensor", False)},
    "Tensor": {"external_data": (13, "Entry", True), "data_location": (14, "int32", False)},
    "Entry": {"key": (1, "bytes", False)},
}


def refuse_what_reaches_out(onnx_bytes: bytes) -> None:
    """Refuse a graph that needs other files, or operators that are not ONNX's own.

    Raises:
        BrokenBundle: It does, or it is not an ONNX model.
    """
    from google.protobuf.message import DecodeError

    model = _model_class()()
    try:
        model.ParseFromString(onnx_bytes)
    except DecodeError as error:
        raise BrokenBundle("The model is not an ONNX graph; register the version again.") from error
    if not model.HasField("graph") or not model.graph.node:
        raise BrokenBundle("The model is not an ONNX graph; register the version again.")
    domains = OUR_DOMAINS | {function.domain for function in model.functions}
    for kind, part in _walk(model):
        if kind == "Tensor" and (part.data_location == EXTERNAL or part.external_data):
            raise BrokenBundle("The model refers to data in other files; export it with its weights inside.")
        if kind == "Node" and part.domain not in domains:
            raise BrokenBundle("The model needs operators that are not ONNX's own; export it without custom operators.")


def _walk(message: Any) -> Iterator[tuple[str, Any]]:
    """Every message below this one, with the name of its type."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        name = part.DESCRIPTOR.name
        yield name, part
        for field, (_, kind, repeated) in FIELDS[name].items():
            if kind not in FIELDS:
                continue
            if repeated:
                waiting.extend(getattr(part, field))
            elif part.HasField(field):
                waiting.append(getattr(part, field))


@cache
def _model_class() -> Any:
    """A class of protobuf's that reads these fields and skips all others."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field_type = descriptor_pb2.FieldDescriptorProto
    kinds = {"bytes": field_type.TYPE_BYTES, "int32": field_type.TYPE_INT32}
    labels = {True: field_type.LABEL_REPEATED, False: field_type.LABEL_OPTIONAL}
    file = descriptor_pb2.FileDescriptorProto(name="treadle/onnx.proto", package="treadle.onnx", syntax="proto2")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            made = message.field.add(name=field, number=number, label=labels[repeated])
            if kind in kinds:
                made.type = kinds[kind]
            else:
                made.type, made.type_name = field_type.TYPE_MESSAGE, f".treadle.onnx.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("treadle.onnx.Model"))
