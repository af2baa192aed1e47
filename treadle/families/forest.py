"""Random forests from scikit-learn, capped in depth and leaves so that the ONNX stays small."""

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

MAX_LEAVES = 1024  # 100 trees of 1,024 leaves are about 10 MB of ONNX


class Forest:
    """A forest of bounded trees on imputed columns: scikit-learn's own handling of NaN does not survive ONNX."""

    name = "forest"
    problems = frozenset({"tabular-regression", "tabular-classification"})

    def defaults(self, problem: Problem) -> dict[str, Any]:  # noqa: ARG002 - the protocol's shape
        """A hundred trees."""
        return {"trees": 100, "leaves": 512, "min_leaf": 3, "features": 0.5}

    def search_space(self, trial: optuna.Trial, problem: Problem) -> dict[str, Any]:  # noqa: ARG002
        """Trees, their leaves, and the share of columns that a split looks at."""
        return {
            "trees": trial.suggest_int("trees", 50, 150, step=25),
            "leaves": trial.suggest_int("leaves", 64, MAX_LEAVES, log=True),
            "min_leaf": trial.suggest_int("min_leaf", 1, 20, log=True),
            "features": trial.suggest_float("features", 0.2, 1.0),
        }

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
        """Fit all trees; there is nothing to prune."""
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
        from sklearn.pipeline import Pipeline

        from treadle.encoder import TableEncoder

        check_params(self.name, params, self.defaults(problem))
        check_rows(y, schema)
        kind: Any = RandomForestClassifier if schema.classes else RandomForestRegressor
        estimator: Any = kind(
            n_estimators=int(params["trees"]),
            max_leaf_nodes=min(int(params["leaves"]), MAX_LEAVES),
            min_samples_leaf=int(params["min_leaf"]),
            max_features=float(params["features"]),
            random_state=seed,
            n_jobs=1,
        )
        encoder = TableEncoder([c.model_dump() for c in schema.features], "ordinal", smooth=False, impute=True)
        pipeline = Pipeline([("encode", encoder), ("model", estimator)])
        return Fitted(pipeline.fit(X, y, model__sample_weight=weights), dict(params))

    def sketch(self, params: dict[str, Any]) -> dict[str, Any]:
        """A quarter of the trees."""
        return dict(params) | {"trees": max(20, int(params["trees"]) // 4)}

    def to_onnx(self, model: Pipeline, schema: Schema) -> onnx.ModelProto:
        """By skl2onnx, behind the encoder's own graph."""
        from treadle.models.onnx_export import convert_sklearn_estimator

        return convert_sklearn_estimator(model, schema)
