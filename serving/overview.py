"""What the console and the model list say of each model: who answers, who waits, what was judged and decided last."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from serving.champions import Champions
from treadle.bundle import Manifest
from treadle.ledger import AlertBook, Champion, Ledger, Releases, VerdictRow
from treadle.look import FOLDER, page_name
from treadle.settings import Settings

DECISIONS = 8
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
        "decisions": [
            {"kind": d.kind, "reason": d.reason, "at": d.at.isoformat()} for d in ledger.last_decisions(name, DECISIONS)
        ],
        "validation": _address(str(validation), settings),
    }


def _said(manifest: Manifest | None) -> dict[str, Any]:
    """What a manifest says of its version."""
    keys = ("problem", "family", "metric", "metrics", "data_until")
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
        "reason": row.reason,
        "rows": row.rows,
        "labelled": row.labelled,
        "at": row.at.isoformat(),
        "page": _address(str(page), settings),
        "report": _address(row.report, settings),
    }


def _address(path: str | None, settings: Settings) -> str | None:
    """Where the service shows a report, if it is there."""
    if path is None or not Path(path).is_file() or not Path(path).is_relative_to(settings.reports_dir):
        return None
    return f"/reports/{quote(str(Path(path).relative_to(settings.reports_dir)))}"
