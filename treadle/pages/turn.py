"""One turn of the wheel in plain words: what the Prefect UI shows of a train run and `treadle train` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from treadle.wording import number


def in_words(summary: Mapping[str, Any]) -> dict[str, str]:
    """The lines of a turn's summary by their names, in order.

    Args:
        summary: What `treadle train --json` prints.
    """
    rows, trials = summary["rows"], summary["trials"]
    return {
        "version": f"{summary['version'] or '—'} ({summary['family']})",
        f"{summary['metric']} of the challenger": _known(summary["challenger"]),
        f"{summary['metric']} of the champion": _known(summary["champion"]),
        "rows": f"{rows['train']:,} train, {rows['valid']:,} valid, {rows['test']:,} test, {rows['holdout']:,} held out, "
        f"{rows['quarantined']:,} quarantined",
        "learned from": summary["history"]["why"],
        "trials": f"{trials['done']} done, {trials['pruned']} pruned. {summary['search']['why']}",
        "ONNX parity": f"{_known(summary['parity'])} of what is allowed",
        "cost": f"{summary['seconds']:.0f} s, {summary['cpu_seconds']:.0f} CPU seconds",
        **({"look at the table": " ".join(summary["findings"])} if summary.get("findings") else {}),
    }


def _known(value: float | None) -> str:
    return "—" if value is None else number(value)
