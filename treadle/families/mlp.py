"""A small neural network trained with PyTorch: embeddings for categories, early stopping, pruned by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from treadle.families.protocol import Fitted, Report, check_params, check_rows
from treadle.problems import Problem
from treadle.tables.schema import Schema

if TYPE_CHECKING:
    import onnx
    import optuna
    from sklearn.pipeline import Pipeline

MAX_EPOCHS = 60


class Mlp:
    """A two-layer perceptron; see `treadle.families.network`."""

    name = "mlp"
    problems = frozenset({"tabular-regression", "tabular-classification"})

    def defaults(self, problem: Problem) -> dict[str, Any]:  # noqa: ARG002 - the protocol's shape
        """64 units a layer."""
        return {"width": 64, "dropout": 0.1, "rate": 2e-3, "decay": 1e-4, "epochs": 30}

    def search_space(self, trial: optuna.Trial, problem: Problem) -> dict[str, Any]:  # noqa: ARG002
        """Width, dropout, rate and decay; epochs are found by early stopping."""
        return {
            "width": trial.suggest_int("width", 32, 192, step=32),
            "dropout": trial.suggest_float("dropout", 0.0, 0.4),
            "rate": trial.suggest_float("rate", 5e-4, 1e-2, log=True),
            "decay": trial.suggest_float("decay", 1e-6, 1e-2, log=True),
            "epochs": MAX_EPOCHS,
        }

    def fit(
        self,
        X: pd.DataFrame,
        y: np.ndarray,
        params: dict[str, Any],
        *,
        problem: Problem,
        schema: Schema,
        metric: str,
        valid: tuple[pd.DataFrame, np.ndarray] | None = None,
        seed: int = 0,
        report: Report | None = None,
        weights: np.ndarray | None = None,
    ) -> Fitted:
        """Fit; with valid rows, the best epoch by the metric is kept and becomes the `epochs` of the refit."""
        from sklearn.pipeline import Pipeline

        from treadle.encoder import TableEncoder
        from treadle.families.network import Network

        check_params(self.name, params, self.defaults(problem))
        check_rows(y, schema)
        encoder = TableEncoder([c.model_dump() for c in schema.features], "ordinal", smooth=True).fit(X, y)
        network = Network(
            cardinalities=[len(levels) + 2 for levels in encoder.levels_.values()],
            n_classes=len(schema.classes or ()),
            width=int(params["width"]),
            dropout=float(params["dropout"]),
            rate=float(params["rate"]),
            decay=float(params["decay"]),
            epochs=int(params["epochs"]),
            seed=seed,
        )
        judged = problem.metrics[metric]
        sign = -1.0 if judged.higher_is_better else 1.0
        network.fit(
            encoder.transform(X),
            y,
            valid=None if valid is None else (encoder.transform(valid[0]), valid[1]),
            score=lambda truth, answer: sign * judged.score(truth, answer),
            weights=weights,
            report=None if report is None else lambda epoch, score: report(epoch, sign * score),
        )
        return Fitted(
            Pipeline([("encode", encoder), ("model", network)]), dict(params) | {"epochs": network.best_epoch_}
        )

    def sketch(self, params: dict[str, Any]) -> dict[str, Any]:
        """A third of the epochs."""
        return dict(params) | {"epochs": max(5, int(params["epochs"]) // 3)}

    def to_onnx(self, model: Pipeline, schema: Schema) -> onnx.ModelProto:
        """A graph of our own: gathers, three matrix products, a softmax."""
        from treadle.models.onnx_export import join_encoder

        encoder: Any = model[0]
        return join_encoder(encoder, network_graph(model[-1], encoder.n_features_out_), schema)


def network_graph(network: Any, columns: int) -> onnx.ModelProto:
    """The network as ONNX: `features` (n, columns) in, its answer out."""
    from onnx import TensorProto, helper, numpy_helper

    numbers = columns - len(network.cardinalities)
    weights = {name: value.astype(np.float32) for name, value in network.weights_.items()}
    constants = [numpy_helper.from_array(value, f"net/{name}") for name, value in weights.items()]
    nodes, parts = [], []

    def pick(name: str, wanted: list[int]) -> str:
        constants.append(numpy_helper.from_array(np.array(wanted, dtype=np.int64), f"net/{name}/columns"))
        nodes.append(helper.make_node("Gather", ["features", f"net/{name}/columns"], [f"net/{name}"], axis=1))
        return f"net/{name}"

    if numbers:
        parts.append(pick("numbers", list(range(numbers))))
    for index in range(len(network.cardinalities)):
        constants.append(numpy_helper.from_array(np.array(numbers + index, dtype=np.int64), f"net/{index}/column"))
        nodes.append(helper.make_node("Gather", ["features", f"net/{index}/column"], [f"net/{index}/code"], axis=1))
        nodes.append(helper.make_node("Cast", [f"net/{index}/code"], [f"net/{index}/int"], to=TensorProto.INT64))
        nodes.append(
            helper.make_node("Gather", [f"net/tables.{index}.weight", f"net/{index}/int"], [f"net/{index}/row"], axis=0)
        )
        parts.append(f"net/{index}/row")
    nodes.append(helper.make_node("Concat", parts, ["net/x0"], axis=1))
    for number, layer in enumerate(("first", "second")):
        gemm = [f"net/x{number}", f"net/{layer}.weight", f"net/{layer}.bias"]
        nodes.append(helper.make_node("Gemm", gemm, [f"net/y{number}"], transB=1))
        nodes.append(helper.make_node("Relu", [f"net/y{number}"], [f"net/x{number + 1}"]))
    nodes.append(helper.make_node("Gemm", ["net/x2", "net/last.weight", "net/last.bias"], ["net/out"], transB=1))
    if network.n_classes:
        nodes.append(helper.make_node("Softmax", ["net/out"], ["net/answer"], axis=1))
    else:
        constants.append(numpy_helper.from_array(np.array([network.scale_], dtype=np.float32), "net/scale"))
        constants.append(numpy_helper.from_array(np.array([network.centre_], dtype=np.float32), "net/centre"))
        nodes.append(helper.make_node("Mul", ["net/out", "net/scale"], ["net/scaled"]))
        nodes.append(helper.make_node("Add", ["net/scaled", "net/centre"], ["net/answer"]))
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", columns])]
    outputs = [helper.make_tensor_value_info("net/answer", TensorProto.FLOAT, ["n", None])]
    return helper.make_model(helper.make_graph(nodes, "network", inputs, outputs, constants))
