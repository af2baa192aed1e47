"""Fitted pipelines on disk, as skops: what may be opened is a list in this code, never in the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from treadle.errors import BadData

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

TRUSTED = [
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "numpy.dtype",
    "sklearn.tree._tree.Tree",
    "treadle.encoder.TableEncoder",
    "treadle.families.network.Network",
    "treadle.families.gradient_boosting._Score",
]


def save_model(model: Pipeline, path: Path) -> None:
    """Write a pipeline as skops."""
    import skops.io

    skops.io.dump(model, path)


def load_model(path: str | Path) -> Any:
    """Open what `save_model` wrote.

    Raises:
        BadData: The file holds a type that is not on our list.
    """
    import skops.io

    strangers = sorted(set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED))
    if strangers:
        raise BadData(f"{path} holds {strangers[0]}, which Treadle does not open; train the model again.")
    return skops.io.load(path, trusted=TRUSTED)
