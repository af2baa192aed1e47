"""What should be said before any training: columns that give the answer away, and targets that cannot be learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from treadle.tables.data import ROW, to_seconds
from treadle.tables.schema import Column, Schema

MOST_ROWS = 4000
LEAST_ROWS = 60
TELLING_R2 = 0.9  # of one column alone, out of fold; carat alone has .86 on the price of diamonds
TELLING_AUC = 0.9  # 2·AUC − 1 likewise
ONE_SIDED = 0.98  # share of one class among the rows where a value is there at all
LEAST_PRESENT = 20
FOLDS = 3


@dataclass(frozen=True)
class Finding:
    """Something to know of a column; `stop` means that training would be pointless."""

    column: str
    kind: Literal["leak", "duplicate-of-target", "identifier", "constant-target", "one-class", "duplicate-rows"]
    detail: str
    severity: Literal["stop", "warn"]


def find_leaks(frame: pd.DataFrame, schema: Schema, problem: str) -> list[Finding]:
    """Look at a conformed table.

    Args:
        frame: Conformed rows.
        schema: Their schema; ignored columns are not spoken of again.
        problem: The problem's name.
    """
    labelled = frame[frame[schema.target].notna()]
    target = labelled[schema.target]
    hopeless = _hopeless(target, schema, problem)
    if hopeless:
        return [hopeless]
    found = _repeats(labelled)
    sample = labelled.sample(min(len(labelled), MOST_ROWS), random_state=0)
    for column in schema.columns:
        if column.name != schema.target and column.name not in schema.ignored:
            found += _look_at(sample, column, schema)
    return found + _sums(sample, schema)


def _hopeless(target: pd.Series, schema: Schema, problem: str) -> Finding | None:
    if target.empty:
        return Finding(
            schema.target, "constant-target", f"The target '{schema.target}' is missing in every row.", "stop"
        )
    if target.nunique() > 1:
        return None
    kind: Literal["one-class", "constant-target"] = (
        "one-class" if problem.endswith("classification") else "constant-target"
    )
    return Finding(
        schema.target, kind, f"The target '{schema.target}' has only one value: there is nothing to learn.", "stop"
    )


def _repeats(frame: pd.DataFrame) -> list[Finding]:
    repeated = int(frame[ROW].str.contains("#", regex=False).sum())
    if not repeated:
        return []
    said = f"{repeated:,} rows repeat another row in every column; a split keeps them together."
    return [Finding("", "duplicate-rows", said, "warn")]


def _look_at(sample: pd.DataFrame, column: Column, schema: Schema) -> list[Finding]:
    name, values = column.name, sample[column.name]
    if _same_values(values, sample[schema.target]):
        return [
            Finding(
                name,
                "duplicate-of-target",
                f"'{name}' is the target under another name; put it under data.ignore.",
                "stop",
            )
        ]
    if column.kind == "identifier":
        return [Finding(name, "identifier", f"'{name}' identifies rows; models do not see it.", "warn")]
    if column.kind in ("text", "constant", "datetime") or len(sample) < LEAST_ROWS:
        return []
    one_sided = _one_sided(values, sample[schema.target], schema)
    if one_sided:
        said = f"Where '{name}' is there, the target is {one_sided}. If it is known only afterwards, put it under data.ignore."
        return [Finding(name, "leak", said, "warn")]
    telling = _telling(values, column, sample[schema.target], schema)
    if telling < (TELLING_AUC if schema.classes else TELLING_R2):
        return []
    measure = "tells the classes apart" if schema.classes else "explains the target"
    said = f"'{name}' alone {measure} almost perfectly ({telling:.3f} of 1). If it is known only afterwards, put it under data.ignore."
    return [Finding(name, "leak", said, "warn")]


def _same_values(values: pd.Series, target: pd.Series) -> bool:
    """Whether two columns say the same, whatever their dtypes."""
    one, other = (pd.to_numeric(column, errors="coerce") for column in (values, target))
    if one.notna().all() and other.notna().all():
        return bool((one == other).all())
    return bool(values.astype(str).equals(target.astype(str)))


def _one_sided(values: pd.Series, target: pd.Series, schema: Schema) -> str | None:
    """The class that the target nearly always has where a mostly missing column has a value, if that says much."""
    present = values.notna()
    if not schema.classes or present.sum() < LEAST_PRESENT or present.mean() > 0.5:
        return None
    shares = target[present].value_counts(normalize=True)
    common = str(shares.index[0])
    says_much = float((target[~present] == common).mean()) < 1 - 2 * (1 - ONE_SIDED) - 0.1
    return common if shares.iloc[0] >= ONE_SIDED and says_much else None


def _sums(sample: pd.DataFrame, schema: Schema) -> list[Finding]:
    """Pairs of columns that add up to the target, as casual and registered riders do."""
    if schema.classes is not None or not len(sample):
        return []
    hidden = {schema.target, *schema.ignored}
    names = [c.name for c in schema.columns if c.kind in ("number", "integer") and c.name not in hidden]
    target = sample[schema.target].to_numpy(dtype=np.float64)
    found = []
    for i, first in enumerate(names):
        rest = target - sample[first].to_numpy(dtype=np.float64)
        for second in names[i + 1 :]:
            if np.allclose(rest, sample[second].to_numpy(dtype=np.float64), atol=1e-9):
                said = f"'{first}' and '{second}' add up to the target; put them under data.ignore."
                found += [Finding(name, "leak", said, "warn") for name in (first, second)]
    return found


def _telling(values: pd.Series, column: Column, target: pd.Series, schema: Schema) -> float:
    """How much one column tells of the target, 0 to 1, out of fold: R², or 2·AUC − 1."""
    from sklearn.model_selection import cross_val_predict
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    X = _as_numbers(values, column)
    least = max(5, len(X) // 200)
    if schema.classes is None:
        y = target.to_numpy(dtype=np.float64)
        tree = DecisionTreeRegressor(min_samples_leaf=least, random_state=0)
        answer: Any = cross_val_predict(tree, X, y, cv=FOLDS)
        spread = float(((y - y.mean()) ** 2).sum())
        return 1 - float(((y - answer) ** 2).sum()) / spread if spread else 0.0
    from treadle.problems import load_problem

    kept = target.isin(target.value_counts()[lambda counts: counts >= FOLDS].index)
    codes, classes = pd.factorize(target[kept])
    if len(classes) < 2:
        return 0.0
    tree = DecisionTreeClassifier(min_samples_leaf=least, random_state=0)
    answer: Any = cross_val_predict(tree, X[kept.to_numpy()], codes, cv=FOLDS, method="predict_proba")
    return 2 * load_problem("tabular-classification").metrics["auc"].score(codes, answer) - 1


def _as_numbers(values: pd.Series, column: Column) -> np.ndarray:
    """One column and whether it is missing, (n, 2): that a value is there at all can be the leak."""
    if column.kind == "category":
        numbers = values.astype("category").cat.codes.to_numpy(dtype=np.float64)
    elif column.kind == "datetime":
        numbers = to_seconds(values)
    else:
        numbers = values.to_numpy(dtype=np.float64)
    return np.column_stack([np.nan_to_num(numbers, nan=-1.0), values.isna().to_numpy(dtype=np.float64)])
