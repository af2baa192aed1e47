"""Begins a release as a project's file says: the rules of a shadow or a canary out of `serve`, `promote` and `watch`."""

from __future__ import annotations

from treadle.ledger import Ledger, Release, Releases
from treadle.problems import load_problem, pick_metric
from treadle.project import Project
from treadle.promotion.release import Mode, Rules


def rules_of(project: Project) -> Rules:
    """When a release of this project ends, and how."""
    serve, promote = project.serve, project.promote
    return Rules(
        metric=pick_metric(load_problem(project.problem), promote.metric),
        min_answers=serve.min_answers,
        min_minutes=serve.min_time.total_seconds() / 60,
        min_labelled=project.watch.min_labelled,
        confidence=promote.confidence,
        max_failures=serve.max_failures,
        deadline_s=serve.deadline_s,
        advance=promote.approval,
    )


def begin_release(
    ledger: Ledger,
    project: Project,
    version: int,
    mode: Mode,
    *,
    percent: float | None = None,
    who: str = "flow",
    lease_fence: int | None = None,
) -> Release:
    """Try a version on live requests; a release that runs is stopped for it.

    Args:
        ledger: The ledger.
        project: Says the rules.
        version: The candidate.
        mode: Shadow or canary.
        percent: Of callers that a canary answers; the project's when left out.
        who: Asks for it.
        lease_fence: The lease under which the caller works; a newer lease makes it void.

    Raises:
        NotFound: The model has no champion, or no such version.
        Conflict: It is champion already, or another release or lease came first.
    """
    share = (project.serve.canary_percent if percent is None else percent) / 100 if mode == "canary" else 1.0
    return Releases(ledger).start(
        project.name, version, mode, rules_of(project), share=share, who=who, lease_fence=lease_fence
    )
