"""One formula, two worlds: the same arithmetic on NumPy arrays and as nodes of an ONNX graph.

The encoder is written once against these operations, so what a model was fitted on and what the ONNX computes cannot
drift apart. Arrays have shape (n, k), float64, until they are cast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def _places(sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """For each indicator the column of codes that it looks at, and the code that it stands for.

    >>> column, code = _places([2, 3])
    >>> column.tolist(), code.tolist()
    ([0, 0, 1, 1, 1], [0.0, 1.0, 0.0, 1.0, 2.0])
    """
    column = np.repeat(np.arange(len(sizes)), sizes)
    return column, np.concatenate([np.arange(size, dtype=np.float64) for size in sizes])


class NumpyAlgebra:
    """Computes on the columns of a table.

    Args:
        columns: Column values by name: float64 (n,), or text (n,) with `""` for missing.
    """

    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        self._columns = columns

    def numbers(self, names: Sequence[str]) -> Any:
        """The named float64 columns side by side, (n, len(names))."""
        return np.column_stack([self._columns[name] for name in names])

    def codes(self, levels: Mapping[str, Sequence[str]]) -> Any:
        """Text columns as category numbers side by side, (n, len(levels)).

        A category is its index in its column's levels, any other text the number after them, missing the next.
        """
        return np.column_stack([self._codes(self._columns[name], known) for name, known in levels.items()])

    @staticmethod
    def _codes(texts: np.ndarray, known: Sequence[str]) -> np.ndarray:
        index = {category: code for code, category in enumerate(known)} | {"": len(known) + 1}
        return np.array([float(index.get(text, len(known))) for text in texts], dtype=np.float64)

    def floor(self, x: Any) -> Any:
        """The largest whole number not above x."""
        return np.floor(x)

    def sin(self, x: Any) -> Any:
        """Sine of x in radians."""
        return np.sin(x)

    def cos(self, x: Any) -> Any:
        """Cosine of x in radians."""
        return np.cos(x)

    def is_missing(self, x: Any) -> Any:
        """1.0 where x is NaN, else 0.0."""
        return np.isnan(x).astype(np.float64)

    def fill(self, x: Any, value: np.ndarray) -> Any:
        """X with its NaN replaced by a value a column."""
        return np.where(np.isnan(x), value, x)

    def at_least(self, x: Any, bound: float) -> Any:
        """1.0 where x ≥ bound, else 0.0."""
        return (x >= bound).astype(np.float64)

    def pick(self, x: Any, columns: Sequence[int]) -> Any:
        """Some columns of x, in the given order."""
        return x[:, list(columns)]

    def one_hot(self, codes: Any, sizes: Sequence[int]) -> Any:
        """Codes (n, k) as indicator columns (n, sum(sizes)): those of the first column, of the second, …."""
        column, code = _places(sizes)
        return (codes[:, column] == code).astype(np.float64)

    def join(self, parts: Sequence[Any]) -> Any:
        """Parts side by side."""
        return np.concatenate(parts, axis=1)

    def float32(self, x: Any) -> Any:
        """X in single precision: the last step, after all shifting and scaling."""
        return x.astype(np.float32)


class OnnxAlgebra:
    """Writes nodes; `nodes`, `inputs` and `constants` become the graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.constants: list[Any] = []
        self._names = 0

    def numbers(self, names: Sequence[str]) -> Node:
        """Rank-1 double inputs, stacked as columns; one concatenation for all of them."""
        from onnx import TensorProto, helper

        for name in names:
            self.inputs.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n"]))
        return self._columns([Node(self, name) for name in names])

    def _columns(self, parts: Sequence[Node]) -> Node:
        """Rank-1 parts as the columns of a matrix."""
        flat = self.add("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]
        rows = self.add("Reshape", flat, self.constant(np.array([len(parts), -1], dtype=np.int64)))
        return self.add("Transpose", rows, perm=[1, 0])

    def codes(self, levels: Mapping[str, Sequence[str]]) -> Node:
        """Rank-1 string inputs, each through a LabelEncoder, stacked as columns.

        All steps but the first take the columns together: one row costs as many microseconds as there are nodes.
        """
        from onnx import TensorProto, helper

        encoded = []
        for name, known in levels.items():
            self.inputs.append(helper.make_tensor_value_info(name, TensorProto.STRING, ["n"]))
            codes = [float(len(known) + 1), *map(float, range(len(known)))]
            table = {"keys_strings": ["", *known], "values_floats": codes, "default_float": float(len(known))}
            encoded.append(self.add("LabelEncoder", Node(self, name), domain="ai.onnx.ml", **table))
        return self._as_double(self._columns(encoded))

    def floor(self, x: Node) -> Node:
        """Floor."""
        return self.add("Floor", x)

    def sin(self, x: Node) -> Node:
        """Sine; onnxruntime has it in single precision only, and its inputs here are within one turn."""
        return self._in_float32("Sin", x)

    def cos(self, x: Node) -> Node:
        """Cosine, as `sin`."""
        return self._in_float32("Cos", x)

    def _in_float32(self, kind: str, x: Node) -> Node:
        from onnx import TensorProto

        narrow = self.add("Cast", x, to=TensorProto.FLOAT)
        return self.add("Cast", self.add(kind, narrow), to=TensorProto.DOUBLE)

    def is_missing(self, x: Node) -> Node:
        """IsNaN as double."""
        return self._as_double(self.add("IsNaN", x))

    def fill(self, x: Node, value: np.ndarray) -> Node:
        """Where NaN, the value."""
        return self.add("Where", self.add("IsNaN", x), self.constant(value), x)

    def at_least(self, x: Node, bound: float) -> Node:
        """GreaterOrEqual as double."""
        return self._as_double(self.add("GreaterOrEqual", x, self.constant(np.float64(bound))))

    def pick(self, x: Node, columns: Sequence[int]) -> Node:
        """Gather on the second axis."""
        return self.add("Gather", x, self.constant(np.array(columns, dtype=np.int64)), axis=1)

    def one_hot(self, codes: Node, sizes: Sequence[int]) -> Node:
        """Each code's column as often as it has indicators, Equal against 0 … size - 1."""
        column, code = _places(sizes)
        repeated = self.pick(codes, column.tolist()) if len(sizes) > 1 else codes
        return self._as_double(self.add("Equal", repeated, self.constant(code)))

    def join(self, parts: Sequence[Node]) -> Node:
        """Concat on the second axis."""
        return self.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]

    def float32(self, x: Node) -> Node:
        """Cast to FLOAT."""
        from onnx import TensorProto

        return self.add("Cast", x, to=TensorProto.FLOAT)

    def _as_double(self, x: Node) -> Node:
        from onnx import TensorProto

        return self.add("Cast", x, to=TensorProto.DOUBLE)

    def constant(self, value: np.ndarray | np.float64) -> Node:
        """An initializer."""
        from onnx import numpy_helper

        name = self._new_name()
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return Node(self, name)

    def add(self, kind: str, *operands: Node, domain: str = "", **attributes: Any) -> Node:
        """Append one node and return its output."""
        from onnx import helper

        name = self._new_name()
        self.nodes.append(helper.make_node(kind, [x.name for x in operands], [name], domain=domain, **attributes))
        return Node(self, name)

    def _new_name(self) -> str:
        self._names += 1
        return f"encoder/{self._names}"


class PackedAlgebra(OnnxAlgebra):
    """Writes the same graph behind two matrices, `numbers` and `codes`: what one input a column costs is spared.

    onnxruntime takes about a microsecond to accept an input, and several to make tensors of texts.

    Args:
        numbers: The columns of `numbers`.
    """

    def __init__(self, numbers: Sequence[str]) -> None:
        super().__init__()
        self._packed = list(numbers)
        self.levels: dict[str, tuple[str, ...]] = {}

    @property
    def packed(self) -> list[str]:
        """The columns of `numbers`; none if the formula uses none."""
        return self._packed if any(value.name == "numbers" for value in self.inputs) else []

    def numbers(self, names: Sequence[str]) -> Node:
        """Columns of the matrix `numbers`."""
        if not self.packed:
            self._take("numbers", len(self._packed))
        whole = Node(self, "numbers")
        return whole if list(names) == self._packed else self.pick(whole, [self._packed.index(n) for n in names])

    def codes(self, levels: Mapping[str, Sequence[str]]) -> Node:
        """The matrix `codes`, as it is."""
        self._take("codes", len(levels))
        self.levels = {name: tuple(known) for name, known in levels.items()}
        return Node(self, "codes")

    def _take(self, name: str, width: int) -> None:
        from onnx import TensorProto, helper

        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n", width]))


class Node:
    """An output in an ONNX graph that can be computed with."""

    __array_ufunc__ = None  # so that `array * node` reaches our operators and not NumPy's

    def __init__(self, graph: OnnxAlgebra, name: str) -> None:
        self.graph = graph
        self.name = name

    def _with(self, kind: str, other: Any, *, swap: bool = False) -> Node:
        operand = other if isinstance(other, Node) else self.graph.constant(np.asarray(other, dtype=np.float64))
        pair = (operand, self) if swap else (self, operand)
        return self.graph.add(kind, *pair)

    def __add__(self, other: Any) -> Node:
        return self._with("Add", other)

    def __radd__(self, other: Any) -> Node:
        return self._with("Add", other, swap=True)

    def __sub__(self, other: Any) -> Node:
        return self._with("Sub", other)

    def __rsub__(self, other: Any) -> Node:
        return self._with("Sub", other, swap=True)

    def __mul__(self, other: Any) -> Node:
        return self._with("Mul", other)

    def __rmul__(self, other: Any) -> Node:
        return self._with("Mul", other, swap=True)

    def __truediv__(self, other: Any) -> Node:
        return self._with("Div", other)
