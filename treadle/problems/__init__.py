"""The kinds of ML: one file each, one line in the table."""

from __future__ import annotations

from importlib import import_module

from treadle.errors import BadProject, NotFound, nearest
from treadle.problems.protocol import Metric, Problem

PROBLEMS = {
    "tabular-classification": "treadle.problems.tabular_classification:TabularClassification",
    "tabular-regression": "treadle.problems.tabular_regression:TabularRegression",
}

__all__ = ["PROBLEMS", "Metric", "Problem", "load_problem", "pick_metric"]


def load_problem(name: str) -> Problem:
    """The problem of that name.

    Raises:
        NotFound: There is none; the nearest is suggested.
    """
    if name not in PROBLEMS:
        raise NotFound(f"No problem '{name}'.{nearest(name, PROBLEMS)} Known: {', '.join(PROBLEMS)}.")
    module, _, attribute = PROBLEMS[name].partition(":")
    return getattr(import_module(module), attribute)()  # type: ignore[no-any-return]


def pick_metric(problem: Problem, wanted: str | None) -> str:
    """The metric a project asks for, or the problem's default.

    Raises:
        BadProject: The problem has no such metric.
    """
    if wanted is None:
        return problem.default_metric
    if wanted not in problem.metrics:
        raise BadProject(
            f"promote.metric: {problem.name} has no metric '{wanted}'.{nearest(wanted, problem.metrics)} "
            f"Known: {', '.join(problem.metrics)}."
        )
    return wanted
