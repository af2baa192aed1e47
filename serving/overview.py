"""What the console and the model list say of each model: who answers, who waits, what was judged and decided last."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from serving.models.champions import Champions
from treadle.errors import BadProject, NotFound
from treadle.ledger import AlertBook, Champion, Ledger, QualityRows, Releases, VerdictRow
from treadle.ledger.set_aside import batches
from treadle.models.bundle import Manifest
from treadle.pages.look import FOLDER, page_name
from treadle.project import load_project
from treadle.quality.words import say_quality
from treadle.retraining.governor import Governor
from treadle.retraining.policy import say_policy
from treadle.settings import Settings

DECISIONS = 8
MOST_DECISIONS = 200
"""Of so many the newest are shown, those that repeat each other as one."""
LOOKS = 12


def overview(champions: Champions, ledger: Ledger, settings: Settings) -> list[dict[str, Any]]:
    """Every model that is served, or that has a champion which cannot be."""
    names = {*champions.models, *(set(champions.troubles) & set(ledger.champions()))}
    return [summary(name, champions, ledger, settings) for name in sorted(names)]


def open_alerts(ledger: Ledger) -> list[dict[str, Any]]:
    """The open alerts of all projects, those without a model too; their pages as this service has them."""
    rows = [alert.as_row() for alert in AlertBook(ledger).list()]
    return [row | {"page": _below_here(row["page"])} for row in rows]


def _below_here(address: str | None) -> str | None:
    """A page's address without the name that the service had when it was written."""
    place = (address or "").find("/reports/")
    return address[place:] if address is not None and place >= 0 else None


def summary(name: str, champions: Champions, ledger: Ledger, settings: Settings) -> dict[str, Any]:
    """One model; `version`, `digest` and what the manifest says are `None` while no version of it answers."""
    served = champions.models.get(name)
    champion = ledger.champion(name)
    validation = settings.reports_dir / name / "validation.html"
    looks = [_look(name, row, settings) for row in ledger.last_verdicts(name, LOOKS)]
    return {
        "name": name,
        "version": served.version if served else None,
        "digest": served.digest if served else None,
        "champion": champion.version if champion else None,
        "previous": champion.previous if champion else None,
        "challenger": _challenger(name, champion, ledger),
        "release": _release(name, ledger),
        **_said(served.manifest if served else None),
        "degraded": champions.troubles.get(name),
        "verdict": looks[0] if looks else None,
        "looks": looks,
        "quality": _quality(name, ledger),
        "decisions": _decisions(name, ledger),
        "governor": _governor(name, ledger, settings),
        "validation": _address(str(validation), settings),
    }


def _said(manifest: Manifest | None) -> dict[str, Any]:
    """What a manifest says of its version."""
    keys = ("problem", "target", "family", "metric", "metrics", "data_until")
    return {key: getattr(manifest, key, None) for key in keys}


def _release(name: str, ledger: Ledger) -> dict[str, Any] | None:
    """The version that is tried on live requests, if one is."""
    release = Releases(ledger).running().get(name)
    if release is None:
        return None
    return {
        "version": release.version,
        "mode": release.mode,
        "percent": release.share * 100,
        "started": release.started.isoformat(),
        "reason": release.reason,
    }


def _challenger(name: str, champion: Champion | None, ledger: Ledger) -> int | None:
    """The newest version, unless it serves or has served."""
    newest = ledger.versions(name)[:1]
    if not newest or champion is None or newest[0].version in (champion.version, champion.previous):
        return None
    return newest[0].version


def _look(name: str, row: VerdictRow, settings: Settings) -> dict[str, Any]:
    """What one look at the window said, at its event time."""
    page = settings.reports_dir / name / FOLDER / page_name(row.at)
    return {
        "verdict": row.verdict,
        "version": row.version,
        "reason": row.reason,
        "rows": row.rows,
        "labelled": row.labelled,
        "at": row.at.isoformat(),
        "page": _address(str(page), settings),
        "report": _address(row.report, settings),
    }


def _decisions(name: str, ledger: Ledger) -> list[dict[str, Any]]:
    """The newest decisions, newest first; one rule's refusals in a row are one line that counts them."""
    shown: list[dict[str, Any]] = []
    before = None
    for decision in ledger.last_decisions(name, MOST_DECISIONS):
        what = (decision.kind, decision.figures.get("rule") or decision.reason)
        if what == before and decision.kind == "skip":
            shown[-1]["times"] += 1
        elif len(shown) == DECISIONS:
            break
        else:
            said = {"kind": decision.kind, "reason": decision.reason, "at": decision.at.isoformat(), "times": 1}
            shown.append(said)
        before = what
    return shown


def _governor(name: str, ledger: Ledger, settings: Settings) -> dict[str, Any] | None:
    """How retrains stand; `None` where the project's file is not there, as on a machine that only serves."""
    try:
        project = load_project(name, settings)
        standing = Governor(ledger, project).standing()
    except (BadProject, NotFound):
        return None
    return {
        "policy": say_policy(project.retrain),
        "breaker": standing.breaker,
        "followed": standing.followed,
        "waiting": standing.waiting,
        "suppressed": standing.suppressed,
        "labels_set_aside": sum(batch.labels for batch in batches(ledger, name)),
    }


def _quality(name: str, ledger: Ledger) -> dict[str, Any] | None:
    """What the last look said of quality: its figures, and in plain words."""
    figures = QualityRows(ledger).last_look(name)
    return None if figures is None else {**figures, "said": say_quality(figures)}


def _address(path: str | None, settings: Settings) -> str | None:
    """Where the service shows a report, if it is there."""
    if path is None or not Path(path).is_file() or not Path(path).is_relative_to(settings.reports_dir):
        return None
    return f"/reports/{quote(str(Path(path).relative_to(settings.reports_dir)))}"
