"""The table of routes: which role may ask what. A route that is not here is refused, whatever the app would answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from treadle.keys import Role

OPEN = 0
VIEWER, CALLER, TRAINER, ADMIN = (int(role) for role in Role)

READ = {"GET": VIEWER, "HEAD": VIEWER}
LOOK = {"GET": OPEN, "HEAD": OPEN}
CALL = {"POST": CALLER}
CHANGE = {"POST": TRAINER}
KEEP = {"GET": TRAINER, "HEAD": TRAINER}

ROUTES: Mapping[str, Mapping[str, int]] = {
    "/": READ,
    "/docs": READ,
    "/playground": READ,
    "/openapi.json": READ,
    "/console.json": READ,
    "/page/page.css": LOOK,
    "/page/{file}": READ,
    "/reports/{project}/looks/{path:path}": READ,
    "/reports/{project}/{path:path}": READ,
    "/login": {**LOOK, "POST": OPEN},
    "/logout": {"POST": OPEN},
    "/healthz": LOOK,
    "/readyz": LOOK,
    "/metrics": READ,
    "/v1/models": READ,
    "/v1/models/{project}": READ,
    "/v1/models/{project}/alerts": READ,
    "/v1/models/{project}/alerts/silence": CHANGE,
    "/v1/models/{project}/alerts/{alert}/acknowledge": CHANGE,
    "/v1/models/{project}/predict": CALL,
    "/v1/models/{project}/feedback": CALL,
    "/v1/models/{project}/invocations": CALL,
    "/v1/models/{project}/versions/{version}/invocations": CALL,
    "/v1/ready": READ,
    "/v1/ready/{capability}": {**READ, **CALL},
    "/v1/ready/{capability}/hf": CALL,
    "/v1/ready/jobs/{job}": READ,
    "/v1/ready/faces": KEEP,
    "/v1/ready/faces/{collection}": {**KEEP, **CHANGE},
    "/v1/ready/faces/{collection}/forget": CHANGE,
    "/openai/v1/models": READ,
    "/openai/v1/models/{model}": READ,
    "/openai/v1/embeddings": CALL,
    "/openai/v1/chat/completions": CALL,
    "/openai/v1/audio/transcriptions": CALL,
    "/v2": READ,
    "/v2/": READ,
    "/v2/health/live": LOOK,
    "/v2/health/ready": LOOK,
    "/v2/repository/index": {"POST": VIEWER},
    "/v2/models/{project}": READ,
    "/v2/models/{project}/ready": READ,
    "/v2/models/{project}/infer": CALL,
    "/v2/models/{project}/versions/{version}": READ,
    "/v2/models/{project}/versions/{version}/ready": READ,
    "/v2/models/{project}/versions/{version}/infer": CALL,
}
"""Pattern -> method -> least role. A websocket's method is `WEBSOCKET`; `{project}` is what keys are bound to."""

FILTERED = {
    "/", "/docs", "/openapi.json", "/console.json", "/page/page.css", "/page/{file}", "/login", "/logout", "/healthz",
    "/readyz", "/v1/models", "/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/v2/repository/index",
}  # fmt: skip
"""Routes without a project that show a bound key only its own projects. All others are closed to bound keys."""

OF_READY = {
    "/playground", "/v1/ready", "/v1/ready/{capability}", "/v1/ready/{capability}/hf", "/v1/ready/jobs/{job}", "/openai/v1/models",
    "/openai/v1/models/{model}", "/openai/v1/embeddings", "/openai/v1/chat/completions", "/openai/v1/audio/transcriptions",
}  # fmt: skip
"""Routes of ready models, which belong to no project: open to a bound key that was made for them too. Faces are not among them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one route asks of its caller.

    Attributes:
        route: The pattern.
        roles: Least role by method, `OPEN` for nobody at all.
        by_project: Whether the path names a project.
        of_ready: Whether it is ready models'.
        whole: Whether it shows all projects at once, so that a key must be for all.
    """

    route: str
    roles: Mapping[str, int]
    by_project: bool
    of_ready: bool
    whole: bool


class _Node:
    """One step of a path."""

    __slots__ = ("named", "project", "rest", "rule", "wild")

    def __init__(self) -> None:
        self.named: dict[str, _Node] = {}
        self.wild: _Node | None = None
        self.project = False  # whether what comes here is a project's name
        self.rest: Rule | None = None
        self.rule: Rule | None = None


class Table:
    """Finds a path's rule, however many routes there are: one look in a dictionary for each part of the path."""

    def __init__(self, routes: Mapping[str, Mapping[str, int]] = ROUTES) -> None:
        self._root = _Node()
        for route, roles in routes.items():
            by_project, of_ready = "{project}" in route, route in OF_READY
            whole = not by_project and not of_ready and route not in FILTERED
            self._add(route, Rule(route, roles, by_project, of_ready, whole))

    def _add(self, route: str, rule: Rule) -> None:
        node = self._root
        for part in route.split("/")[1:]:
            if part.endswith(":path}"):
                node.rest = rule
                return
            if not part.startswith("{"):
                node = node.named.setdefault(part, _Node())
                continue
            node.wild = node.wild or _Node()
            node = node.wild
            node.project = part == "{project}"
        node.rule = rule

    def find(self, path: str) -> tuple[Rule | None, str | None]:
        """The rule of a path and the project that it names.

        A path that climbs (`..`) or has empty parts has no rule: what serves files would read it otherwise than this.

        >>> rule, project = Table().find("/v1/models/bikes/predict")
        >>> rule.route, project
        ('/v1/models/{project}/predict', 'bikes')
        >>> Table().find("/reports/bikes/../churn/x.html")
        (None, None)
        """
        if "/." in path or "//" in path:
            return None, None
        node, project = self._root, None
        for part in path.split("/")[1:]:
            step = node.named.get(part)
            if step is None:
                step = node.wild
                if step is None or not part:
                    return node.rest, project
                if step.project:
                    project = part
            node = step
        return node.rule, project
