"""What every step shares as a Prefect task: no result cache unless it names one, and retries only for outages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import get_state_exception

from treadle.errors import Unavailable

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str, *, retries: int = 0, **options: Any) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A task decorator with the rules of the house.

    Args:
        name: What the Prefect UI shows: a verb and its object.
        retries: How often an outage (never bad data) is tried again, 5 s and then 15 s later.
        options: Anything else that `prefect.task` takes; a `cache_policy` here replaces "never cached".
    """
    rules: dict[str, Any] = {"cache_policy": NO_CACHE} | options
    if retries:
        rules |= {"retries": retries, "retry_delay_seconds": [5, 15][:retries], "retry_condition_fn": _is_outage}
    return task(name=name, **rules)


def _is_outage(_task: object, _run: object, state: State) -> bool:
    from sqlalchemy.exc import OperationalError

    outages = (Unavailable, OperationalError, ConnectionError, TimeoutError)
    return isinstance(get_state_exception(state), outages)
