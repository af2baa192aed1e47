"""What the console and the model list say of each model: who answers, who waits, what was judged and decided last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serving.champions import Champions
from serving.model import ServedModel
from treadle.ledger import Ledger
from treadle.settings import Settings


def overview(champions: Champions, ledger: Ledger, settings: Settings) -> list[dict[str, Any]]:
    """Every served model."""
    return [summary(model, champions, ledger, settings) for _, model in sorted(champions.models.items())]


def summary(model: ServedModel, champions: Champions, ledger: Ledger, settings: Settings) -> dict[str, Any]:
    """One served model."""
    champion = ledger.champion(model.name)
    newest = ledger.versions(model.name)[:1]
    waiting = (
        newest[0].version
        if newest and champion and newest[0].version not in (champion.version, champion.previous)
        else None
    )
    verdicts = ledger.last_verdicts(model.name, 1)
    return {
        "name": model.name,
        "version": model.version,
        "champion": champion.version if champion else None,
        "previous": champion.previous if champion else None,
        "challenger": waiting,
        "problem": model.manifest.problem,
        "family": model.manifest.family,
        "metric": model.manifest.metric,
        "metrics": model.manifest.metrics,
        "data_until": model.manifest.data_until,
        "degraded": champions.troubles.get(model.name),
        "verdict": None
        if not verdicts
        else {
            "verdict": verdicts[0].verdict,
            "reason": verdicts[0].reason,
            "rows": verdicts[0].rows,
            "labelled": verdicts[0].labelled,
            "at": verdicts[0].at.isoformat(),
            "report": _address(verdicts[0].report, settings),
        },
        "decisions": [
            {"kind": d.kind, "reason": d.reason, "at": d.at.isoformat()} for d in ledger.last_decisions(model.name, 8)
        ],
        "validation": _address(str(settings.reports_dir / model.name / "validation.html"), settings),
    }


def _address(path: str | None, settings: Settings) -> str | None:
    """Where the service shows a report, if it is there."""
    if path is None or not Path(path).is_file() or not Path(path).is_relative_to(settings.reports_dir):
        return None
    return f"/reports/{Path(path).relative_to(settings.reports_dir)}"
