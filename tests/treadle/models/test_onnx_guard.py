"""A graph that reaches for files or for operators of others is refused before it is run."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from treadle.errors import BrokenBundle
from treadle.models.onnx_guard import refuse_what_reaches_out


def tensor(external=False):
    made = numpy_helper.from_array(np.ones(4, np.float32), "w")
    if external:
        made.ClearField("raw_data")
        made.data_location = TensorProto.EXTERNAL
        made.external_data.add(key="location", value="../../../etc/passwd")
    return made


def branch(node):
    return helper.make_graph([node], "branch", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])])


def model(nodes=(), initializers=(), domains=(("", 18),), functions=()):
    add = helper.make_node("Add", ["x", "w"], ["z"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, [4])
    graph = helper.make_graph([*nodes, add], "g", [x], [z], list(initializers) or [tensor()])
    opsets = [helper.make_opsetid(*domain) for domain in domains]
    return helper.make_model(graph, opset_imports=opsets, functions=functions)


def constant(external):
    return helper.make_node("Constant", [], ["c"], value=tensor(external))


def conditional(node):
    return helper.make_node("If", ["b"], ["i"], then_branch=branch(node), else_branch=branch(node))


def function(external=False):
    opsets = [helper.make_opsetid("", 18)]
    return helper.make_function("own.functions", "F", ["a"], ["c"], [constant(external)], opsets)


def sparse():
    made = model()
    made.graph.sparse_initializer.add().values.CopyFrom(tensor(external=True))
    return made


def half_said():
    """A path without the flag that makes it count: nothing honest writes that."""
    made = tensor()
    made.external_data.add(key="location", value="x")
    return model(initializers=[made])


CUSTOM = helper.make_node("Run", ["x"], ["y"], domain="com.example")
REACHING = {
    "weights in a file": model(initializers=[tensor(external=True)]),
    "a constant in a file": model([constant(external=True)]),
    "a constant in a branch": model([conditional(constant(external=True))]),
    "a constant in a branch of a branch": model([conditional(conditional(constant(external=True)))]),
    "a constant in a function": model(functions=[function(external=True)]),
    "a sparse tensor": sparse(),
    "a path without a flag": half_said(),
    "an operator of others": model([CUSTOM]),
    "an operator of others in a branch": model([conditional(CUSTOM)]),
    "a compiled part in a file": model([helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft")]),
}


@pytest.mark.parametrize("what", REACHING)
def test_it_is_refused(what):
    with pytest.raises(BrokenBundle, match="refers to data in other files|not ONNX's own"):
        refuse_what_reaches_out(REACHING[what].SerializeToString())


@pytest.mark.parametrize("content", [b"", b"onnx", b"\x80\x04\x95 a pickle", model().SerializeToString()[:-20]])
def test_what_is_no_graph_is_refused(content):
    with pytest.raises(BrokenBundle, match="not an ONNX graph"):
        refuse_what_reaches_out(content)


def test_a_graph_of_its_own_passes():
    refuse_what_reaches_out(
        model([constant(external=False), conditional(constant(external=False))]).SerializeToString()
    )
    call = helper.make_node("F", ["x"], ["f"], domain="own.functions")
    refuse_what_reaches_out(model([call], functions=[function()]).SerializeToString())


def test_the_fields_are_those_of_onnx():
    """Every message that can hold a tensor, a graph or a node is walked; a new one in onnx shows here."""
    from treadle.models.onnx_guard import FIELDS

    theirs = {"Training": "TrainingInfoProto", "Sparse": "SparseTensorProto", "Entry": "StringStringEntryProto"}
    named = {ours: getattr(onnx, theirs.get(ours, f"{ours}Proto")).DESCRIPTOR for ours in FIELDS}
    holders = {descriptor.name for descriptor in named.values()} - {"StringStringEntryProto"}
    for ours, descriptor in named.items():
        numbers = {field.name: field.number for field in descriptor.fields}
        assert {name: number for name, (number, _, _) in FIELDS[ours].items()}.items() <= numbers.items()
        holding = {f.name for f in descriptor.fields if f.message_type and f.message_type.name in holders}
        assert holding <= set(FIELDS[ours]), descriptor.name
