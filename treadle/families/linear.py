"""Linear models from scikit-learn: ridge regression and logistic regression, on one-hot and smooth columns."""

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


class Linear:
    """Ridge regression, or logistic regression; `strength` is the penalty, higher is simpler."""

    name = "linear"
    problems = frozenset({"tabular-regression", "tabular-classification"})

    def defaults(self, problem: Problem) -> dict[str, Any]:  # noqa: ARG002 - the protocol's shape
        """A mild penalty."""
        return {"strength": 1.0}

    def search_space(self, trial: optuna.Trial, problem: Problem) -> dict[str, Any]:  # noqa: ARG002
        """The penalty, over five powers of ten."""
        return {"strength": trial.suggest_float("strength", 1e-3, 1e2, log=True)}

    def fit(
        self,
        X: pd.DataFrame,
        y: np.ndarray,
        params: dict[str, Any],
        *,
        problem: Problem,
        schema: Schema,
        metric: str,  # noqa: ARG002
        valid: tuple[pd.DataFrame, np.ndarray] | None = None,  # noqa: ARG002
        seed: int = 0,
        report: Report | None = None,  # noqa: ARG002
        weights: np.ndarray | None = None,
    ) -> Fitted:
        """Fit in one go; there is nothing to prune."""
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import Pipeline

        from treadle.encoder import TableEncoder

        check_params(self.name, params, self.defaults(problem))
        check_rows(y, schema)
        strength = float(params["strength"])
        estimator: Any = (
            LogisticRegression(C=1 / strength, max_iter=300, random_state=seed)
            if schema.classes
            else Ridge(alpha=strength)
        )
        encoder = TableEncoder([c.model_dump() for c in schema.features], "onehot", smooth=True)
        return Fitted(
            Pipeline([("encode", encoder), ("model", estimator)]).fit(X, y, model__sample_weight=weights), dict(params)
        )

    def sketch(self, params: dict[str, Any]) -> dict[str, Any]:
        """The recipe itself: it is cheap."""
        return dict(params)

    def to_onnx(self, model: Pipeline, schema: Schema) -> onnx.ModelProto:
        """By skl2onnx, behind the encoder's own graph."""
        from treadle.models.onnx_export import convert_sklearn_estimator

        return convert_sklearn_estimator(model, schema)
