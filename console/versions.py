"""Commands on versions and on what the ledger keeps of a model: list, promote, roll back, reset, cost."""

from __future__ import annotations

import getpass
import shutil
from typing import Any

from treadle.errors import BadData, NotFound
from treadle.ledger import Ledger
from treadle.project import check_name, load_project
from treadle.settings import Settings


def list_versions(settings: Settings, name: str | None) -> list[dict[str, Any]]:
    """Every registered version, newest first: name, version, aliases, metrics, run_id.

    The ledger knows them all, so that this answers in no time and while MLflow is down.

    Raises:
        NotFound: There is no such project, nor a version of that name.
    """
    ledger = Ledger.open(settings)
    rows = [
        {
            "name": version.model,
            "version": version.version,
            "aliases": _aliases(ledger, version.model, version.version),
            "metrics": version.metrics,
            "run_id": version.run_id,
        }
        for version in ledger.versions(name)
    ]
    if name and not rows:
        load_project(name, settings)
    return sorted(rows, key=lambda row: (row["name"], -row["version"]))


def _aliases(ledger: Ledger, name: str, version: int) -> list[str]:
    champion = ledger.champion(name)
    if champion is None:
        return []
    names = {champion.version: "champion", champion.previous: "previous"}
    return [names[version]] if version in names else []


def promote(settings: Settings, name: str, version: int | None) -> dict[str, Any]:
    """Put a version online by hand, whatever the gate said of it; without a version the newest one.

    Says again in MLflow what the ledger says, so it also settles an alias that was moved by hand.

    Raises:
        NotFound: There is no such version.
        Conflict: Somebody else promoted at the same moment.
    """
    ledger = Ledger.open(settings)
    known = sorted(found.version for found in ledger.versions(check_name(name)))
    if not known:
        load_project(name, settings)
        raise NotFound(f"'{name}' has no version to promote; train one with `treadle train {name}`.")
    chosen = known[-1] if version is None else version
    if chosen not in known:
        raise NotFound(f"'{name}' has no version {chosen}; it has {', '.join(map(str, known))}.")
    champion = ledger.champion(name)
    before = champion.version if champion else None
    if chosen != before:
        champion = ledger.promote(name, chosen, before, verdict="promoted", reason="by hand")
        ledger.record_audit(getpass.getuser(), "promote", name, before, chosen)
    _publish(settings, ledger, name)
    return {
        "project": name,
        "version": chosen,
        "previous": before if chosen != before else None,
        "changed": chosen != before,
    }


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
    champion = ledger.rollback(name)
    ledger.record_audit(getpass.getuser(), "rollback", name, before.version, champion.version)
    _publish(settings, ledger, name)
    return {"project": name, "version": champion.version, "previous": before.version, "changed": True}


def _publish(settings: Settings, ledger: Ledger, name: str) -> None:
    """Make MLflow's aliases say what the ledger says, and the schedules follow the champion."""
    from treadle.registry import Registry

    from console.platform import redeploy

    Registry(settings, ledger).publish(name)
    redeploy(settings)


def reset(settings: Settings, name: str, sure: bool) -> dict[str, Any]:
    """Forget a model: versions, predictions, labels, decisions and reports. Its project and MLflow's runs stay.

    Raises:
        BadData: Nobody said `--yes`.
    """
    load_project(name, settings)
    if not sure:
        raise BadData(f"This forgets every version, prediction and label of '{name}'; add --yes if you mean it.")
    from console.platform import redeploy

    ledger = Ledger.open(settings)
    versions = len(ledger.versions(name))
    ledger.forget(name)
    ledger.record_audit(getpass.getuser(), "reset", name, versions, 0)
    for folder in ("reports", "snapshots", "studies", "turns", "quarantine"):
        shutil.rmtree(settings.state_dir / folder / name, ignore_errors=True)
    shutil.rmtree(settings.bundles_dir / name, ignore_errors=True)
    redeploy(settings)
    return {"project": name, "versions_forgotten": versions}


def cost(settings: Settings, name: str | None) -> dict[str, Any]:
    """What was spent on one project, or on all: CPU and wall seconds, in all and by flow."""
    from treadle.project import list_projects

    if name:
        load_project(name, settings)
    ledger = Ledger.open(settings)
    rows = [
        {"project": project, "flow": flow, **figures}
        for project in ([name] if name else list_projects(settings))
        for flow, figures in sorted(ledger.spent(project).items())
    ]
    totals = {key: round(sum(row.get(key, 0.0) for row in rows), 3) for key in ("cpu_seconds", "seconds")}
    return {"project": name, **totals, "by_flow": rows}
