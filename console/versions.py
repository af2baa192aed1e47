"""Commands on versions and on what the ledger keeps of a model: list, promote, roll back, reset, cost."""

from __future__ import annotations

import shutil
from typing import Any

from console.keys import whoami
from console.platform import redeploy
from treadle.errors import BadData, NotFound
from treadle.ledger import Ledger, ReadyCalls
from treadle.models.registry import Registry
from treadle.project import check_name, list_projects, load_project
from treadle.settings import Settings


def list_versions(settings: Settings, name: str | None) -> list[dict[str, Any]]:
    """Every registered version, newest first: name, version, aliases, metrics, run_id and more.

    Raises:
        NotFound: There is no such project, nor a version of that name.
    """
    rows = Registry(settings, Ledger.open(settings)).versions(name and check_name(name))
    if name and not rows:
        load_project(name, settings)
    return rows


def promote(settings: Settings, name: str, version: int | None) -> dict[str, Any]:
    """Put a version online by hand, whatever the gate said of it; without a version the challenger, else the newest.

    Says again in MLflow what the ledger says, so it also settles an alias that was moved by hand.

    Raises:
        NotFound: There is no such version.
        Conflict: Somebody else promoted at the same moment.
    """
    ledger = Ledger.open(settings)
    registry = Registry(settings, ledger)
    known = sorted(found.version for found in ledger.versions(check_name(name)))
    if not known:
        load_project(name, settings)
        raise NotFound(f"'{name}' has no version to promote; train one with `treadle train {name}`.")
    chosen = version or registry.challenger(name) or known[-1]
    if chosen not in known:
        raise NotFound(f"'{name}' has no version {chosen}; it has {', '.join(map(str, known))}.")
    champion = ledger.champion(name)
    before = champion.version if champion else None
    if chosen == before:
        registry.publish(name)
        return {"project": name, "version": chosen, "changed": False}
    registry.promote(name, chosen, before, verdict="by-hand", reason="by hand", who=whoami())
    if before is None:  # the first champion turns the project's schedules on; later ones change nothing in Prefect
        redeploy(settings)
    return {"project": name, "version": chosen, "previous": before, "changed": True}


def rollback(settings: Settings, name: str) -> dict[str, Any]:
    """Put the champion before this one online again.

    Raises:
        NotFound: There is no champion, or none before it.
    """
    ledger = Ledger.open(settings)
    before = ledger.champion(check_name(name))
    if before is None:
        load_project(name, settings)
        raise NotFound(f"'{name}' has no champion to roll back; train one with `treadle train {name}`.")
    champion = Registry(settings, ledger).rollback(name, "by hand", whoami())
    return {"project": name, "version": champion.version, "previous": before.version, "changed": True}


def reset(settings: Settings, name: str, sure: bool) -> dict[str, Any]:
    """Forget a model: versions, predictions, labels, decisions and reports. Its project and MLflow's runs stay.

    Raises:
        BadData: Nobody said `--yes`.
    """
    load_project(name, settings)
    if not sure:
        raise BadData(f"This forgets every version, prediction and label of '{name}'; add --yes if you mean it.")
    ledger = Ledger.open(settings)
    versions = len(ledger.versions(name))
    Registry(settings, ledger).forget(name, whoami())
    for folder in ("reports", "snapshots", "studies", "turns", "quarantine", "scores"):
        shutil.rmtree(settings.state_dir / folder / name, ignore_errors=True)
    shutil.rmtree(settings.bundles_dir / name, ignore_errors=True)
    redeploy(settings)
    return {"project": name, "versions_forgotten": versions}


def cost(settings: Settings, name: str | None) -> dict[str, Any]:
    """What was spent on one project, or on all and on ready models: CPU and wall seconds, in all and by flow, model, caller."""
    if name:
        load_project(name, settings)
    ledger = Ledger.open(settings)
    rows = [
        {"project": project, "flow": flow, **figures}
        for project in ([name] if name else list_projects(settings))
        for flow, figures in sorted(ledger.spent(project).items())
    ]
    ready = [] if name else ReadyCalls(ledger).spent()
    totals = {key: round(sum(row.get(key, 0.0) for row in [*rows, *ready]), 3) for key in ("cpu_seconds", "seconds")}
    return {"project": name, **totals, "by_flow": rows, "ready": ready}
