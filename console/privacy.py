"""The command on personal data: erasure of one subject."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from typing import Any

from treadle.erasure import erase
from treadle.ledger import Ledger
from treadle.project import load_project
from treadle.settings import Settings


def erase_subject(settings: Settings, name: str, value: str) -> dict[str, Any]:
    """Remove a subject; what was removed, without the subject's value, and what is the caller's to settle.

    Raises:
        BadProject: The project does not say whose a row is.
        Unavailable: The ledger does not answer, or is behind.
    """
    project = load_project(name, settings)
    done = erase(settings, Ledger.open(settings), project, value, getpass.getuser())
    yours = f"{project.data.source} is as it was, and the next train reads it: take the rows out there; see docs/privacy.md for the rest"
    return {"project": name, **asdict(done), "yours": yours}
