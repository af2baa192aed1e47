"""The table encoder: named columns of any kind in, one float32 matrix out, the same in scikit-learn and in ONNX.

Computes in float64 and casts last, because a float32 cannot hold epoch seconds or large identifiers. Missing and
unseen values are dealt with here. Knows columns; knows nothing of estimators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from treadle.algebra import NumpyAlgebra, OnnxAlgebra, PackedAlgebra
from treadle.errors import BadData

if TYPE_CHECKING:
    import onnx

DAY_S = 86400.0
NUMBERS = ("number", "integer", "boolean")
CALENDAR = ("hour", "weekday", "hour of week", "day of month", "month")
CYCLES = {"hour": 24.0, "weekday": 7.0, "month": 12.0}
MAX_CATEGORIES = 50
MIN_SCALE = 1e-12


class TableEncoder(TransformerMixin, BaseEstimator):
    """Encodes the feature columns of a schema.

    Args:
        columns: The columns, as `Column.model_dump()` of `schema.features`.
        categories: `ordinal`, one column of codes in the order of the mean target, for trees; or `onehot`.
        smooth: Times become sines, cosines and an offset in years, for linear models and networks. Trees get
            calendar parts, and no unbounded trend.
        impute: Missing numbers become the median, with an indicator column where the fit saw gaps; else they stay NaN.
    """

    def __init__(
        self,
        columns: list[dict[str, Any]],
        categories: Literal["onehot", "ordinal"] = "onehot",
        smooth: bool = True,
        impute: bool | None = None,
    ) -> None:
        self.columns = columns
        self.categories = categories
        self.smooth = smooth
        self.impute = impute

    @property
    def _imputes(self) -> bool:
        return self.smooth if self.impute is None else self.impute

    def fit(self, X: pd.DataFrame, y: np.ndarray | None = None) -> Self:
        """Learn centres, scales, fills and categories.

        Args:
            X: Shape (n, at least the columns).
            y: Encoded target (n,), used only to order the codes of categories.

        Raises:
            BadData: There are no rows, or none of the columns can be learned from.
        """
        if not len(X):
            raise BadData("There are no rows to learn from.")
        if not self.columns:
            raise BadData("There is no column to learn from; see data.ignore and the kinds in schema.json.")
        values = self._values(X)
        self._fit_numbers(values)
        self._fit_times(values)
        self.levels_ = {name: self._levels(values[name], y) for name in self._named("category")}
        self.n_features_out_ = int(self._encode(NumpyAlgebra({k: v[:1] for k, v in values.items()})).shape[1])
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """The matrix, float32, shape (n, n_features_out_)."""
        return np.asarray(self._encode(NumpyAlgebra(self._values(X))))

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:  # noqa: ARG002 - scikit-learn's shape
        """Names of the matrix's columns."""
        numbers = self._named(*NUMBERS)
        names = list(numbers) + [f"{numbers[i]} missing" for i in self.gaps_]
        for name in self._named("datetime"):
            names += self._time_names(name)
        for name, levels in self.levels_.items():
            if self.categories == "ordinal":
                names.append(name)
            else:
                names += [f"{name}={level}" for level in [*levels, "(other)", "(missing)"]]
        return np.array(names, dtype=object)

    def to_onnx(self) -> onnx.ModelProto:
        """The encoder as ONNX: one rank-1 input a column (double, or string for categories), output `features`."""
        return self._graph(OnnxAlgebra())

    def to_packed_onnx(self) -> tuple[onnx.ModelProto, list[str], dict[str, tuple[str, ...]]]:
        """The encoder as ONNX behind two matrices for all columns together.

        Returns:
            The graph; the columns of its input `numbers`; those of its input `codes`, with their categories.
        """
        algebra = PackedAlgebra([*self._named(*NUMBERS), *self._named("datetime")])
        return self._graph(algebra), algebra.packed, algebra.levels

    def _graph(self, graph: OnnxAlgebra) -> onnx.ModelProto:
        from onnx import TensorProto, helper

        out = self._encode(graph)
        graph.nodes.append(helper.make_node("Identity", [out.name], ["features"]))
        output = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", self.n_features_out_])
        return helper.make_model(
            helper.make_graph(graph.nodes, "encoder", graph.inputs, [output], graph.constants),
            opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)],
            ir_version=9,
        )

    def _named(self, *kinds: str) -> list[str]:
        return [column["name"] for column in self.columns if column["kind"] in kinds]

    def _values(self, X: pd.DataFrame) -> dict[str, np.ndarray]:
        """Columns as the algebra wants them: float64, epoch seconds, or text."""
        missing = [c["name"] for c in self.columns if c["name"] not in X]
        if missing:
            raise BadData(f"The table lacks the column '{missing[0]}'.")
        return {column["name"]: as_values(X[column["name"]], column["kind"]) for column in self.columns}

    def _fit_numbers(self, values: dict[str, np.ndarray]) -> None:
        """Median, centre, scale a column, and which columns had gaps."""
        matrix = np.column_stack(
            [values[n] for n in self._named(*NUMBERS)] or [np.empty((len(next(iter(values.values()))), 0))]
        )
        self.fill_ = np.array([_finite(np.median, column, 0.0) for column in matrix.T])
        self.centre_ = np.array([_finite(np.mean, column, 0.0) for column in matrix.T])
        self.scale_ = np.array([max(_finite(np.std, column, 1.0), MIN_SCALE) or 1.0 for column in matrix.T])
        self.scale_[self.scale_ <= MIN_SCALE] = 1.0
        gaps = np.isnan(matrix).any(axis=0) if self._imputes else np.zeros(matrix.shape[1], dtype=bool)
        self.gaps_ = [int(i) for i in np.flatnonzero(gaps)]

    def _fit_times(self, values: dict[str, np.ndarray]) -> None:
        """For each time column its middle, and which calendar parts vary in it."""
        self.time_fill_: dict[str, float] = {}
        self.parts_: dict[str, list[int]] = {}
        for name in self._named("datetime"):
            seconds = values[name]
            self.time_fill_[name] = float(np.floor(_finite(np.median, seconds, 0.0)))
            known = NumpyAlgebra({name: seconds[np.isfinite(seconds)]})
            parts = _calendar(known, known.numbers([name])) if len(seconds[np.isfinite(seconds)]) else np.empty((0, 5))
            self.parts_[name] = (
                [i for i in range(len(CALENDAR)) if len(np.unique(parts[:, i])) > 1] if len(parts) else []
            )

    def _levels(self, values: np.ndarray, y: np.ndarray | None) -> list[str]:
        """The categories kept: the most frequent, seen at least twice; ordered by mean target for codes."""
        counts = pd.Series(values[values != ""]).value_counts()
        kept = [str(v) for v in counts[counts > 1].index[:MAX_CATEGORIES]]
        if self.categories == "ordinal" and y is not None and kept:
            means = pd.Series(np.asarray(y, dtype=np.float64)).groupby(pd.Series(values)).mean()
            kept.sort(key=lambda level: (means[level], level))
        return kept

    def _encode(self, algebra: Any) -> Any:
        """The one formula."""
        parts = []
        if numbers := self._named(*NUMBERS):
            raw = algebra.numbers(numbers)
            filled = algebra.fill(raw, self.fill_) if self._imputes else raw
            parts.append((filled - self.centre_) / self.scale_)
            if self.gaps_:
                parts.append(algebra.is_missing(algebra.pick(raw, self.gaps_)))
        parts += [self._encode_time(algebra, name) for name in self._named("datetime") if self._time_names(name)]
        if self.levels_:
            codes = algebra.codes(self.levels_)
            sizes = [len(levels) + 2 for levels in self.levels_.values()]
            parts.append(codes if self.categories == "ordinal" else algebra.one_hot(codes, sizes))
        return algebra.float32(algebra.join(parts))

    def _encode_time(self, algebra: Any, name: str) -> Any:
        seconds = algebra.fill(algebra.numbers([name]), np.array([self.time_fill_[name]]))
        parts = _calendar(algebra, seconds)
        chosen = self.parts_[name]
        if not self.smooth:
            return algebra.pick(parts, chosen)
        waves = [(seconds - self.time_fill_[name]) / (DAY_S * 365.25)]
        for index in self._cycles(name):
            turns = algebra.pick(parts, [index]) * (2 * np.pi / CYCLES[CALENDAR[index]])
            waves += [algebra.sin(turns), algebra.cos(turns)]
        return algebra.join(waves)

    def _cycles(self, name: str) -> list[int]:
        return [index for index in self.parts_[name] if CALENDAR[index] in CYCLES]

    def _time_names(self, name: str) -> list[str]:
        if not self.smooth:
            return [f"{name}: {CALENDAR[i]}" for i in self.parts_[name]]
        waves = [f"{name}: {wave} {CALENDAR[i]}" for i in self._cycles(name) for wave in ("sin", "cos")]
        return [f"{name}: years", *waves]


def as_values(column: pd.Series, kind: str) -> np.ndarray:
    """A column (n,) as models take it: float64, epoch seconds, or text with `""` for missing."""
    if kind == "datetime":
        cached = column.dtype.kind != "M"  # what are times already is not parsed; asking for repeats would take longest
        times = pd.to_datetime(column, utc=True, errors="coerce", cache=cached).astype("datetime64[us, UTC]")
        micros = times.astype("int64").to_numpy()
        return np.where(times.isna().to_numpy(), np.nan, micros / 1e6)
    if kind == "category":
        return column.astype("object").where(column.notna(), "").astype(str).to_numpy(dtype=object)
    return pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def _finite(statistic: Any, values: np.ndarray, empty: float) -> float:
    known = values[np.isfinite(values)]
    return float(statistic(known)) if len(known) else empty


def _calendar(algebra: Any, seconds: Any) -> Any:
    """Calendar parts of epoch seconds (n, 1) in UTC, in the order of `CALENDAR`, shape (n, 5).

    Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
    """
    floor = algebra.floor
    day = floor(seconds / DAY_S)
    hour = floor((seconds - day * DAY_S) / 3600.0)
    weekday = (day + 3.0) - floor((day + 3.0) / 7.0) * 7.0  # 1970-01-01 was a Thursday; Monday is 0
    shifted = day + 719468.0
    of_era = shifted - floor(shifted / 146097.0) * 146097.0
    leap = floor(of_era / 1460.0) * -1.0 + floor(of_era / 36524.0) - floor(of_era / 146096.0)
    year = floor((of_era + leap) / 365.0)
    of_year = of_era - (year * 365.0 + floor(year / 4.0) - floor(year / 100.0))
    march_month = floor((of_year * 5.0 + 2.0) / 153.0)
    day_of_month = of_year - floor((march_month * 153.0 + 2.0) / 5.0) + 1.0
    month = march_month + 3.0 - algebra.at_least(march_month, 10.0) * 12.0
    return algebra.join([hour, weekday, weekday * 24.0 + hour, day_of_month, month])
