"""What can be trained: one file a family, one line in the table; imported on first use.

Other packages add families by the entry point group `treadle.families`.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import entry_points

from treadle.errors import BadProject, NotFound, nearest
from treadle.families.protocol import Family, Fitted
from treadle.problems import load_problem

FAMILIES = {
    "linear": "treadle.families.linear:Linear",
    "gradient-boosting": "treadle.families.gradient_boosting:GradientBoosting",
    "forest": "treadle.families.forest:Forest",
    "mlp": "treadle.families.mlp:Mlp",
}

__all__ = ["FAMILIES", "Family", "Fitted", "check_families", "load_family"]


def load_family(name: str) -> Family:
    """The family of that name.

    Raises:
        NotFound: There is none; the nearest is suggested.
    """
    if name in FAMILIES:
        module, _, attribute = FAMILIES[name].partition(":")
        return getattr(import_module(module), attribute)()  # type: ignore[no-any-return]
    outside = {entry.name: entry for entry in entry_points(group="treadle.families")}
    if name in outside:
        return outside[name].load()()  # type: ignore[no-any-return]
    known = [*FAMILIES, *outside]
    raise NotFound(f"No family '{name}'.{nearest(name, known)} Known: {', '.join(known)}. (train.families)")


def check_families(names: Iterable[str], problem: str) -> None:
    """Refuse families that are not there, or do not learn a problem, before anything is fitted.

    Raises:
        NotFound: There is no such problem, or no family of a name; the nearest is suggested.
        BadProject: One does not learn the problem; the message names those of ours that do.
    """
    load_problem(problem)
    for name in names:
        if problem not in load_family(name).problems:
            able = ", ".join(known for known in FAMILIES if problem in load_family(known).problems)
            raise BadProject(f"The family '{name}' does not learn {problem}; these do: {able}. (train.families)")
