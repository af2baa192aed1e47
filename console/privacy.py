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
    """Remove a subject; what was removed, without the subject's value.

    Raises:
        BadProject: The project does not say whose a row is.
        Unavailable: The ledger does not answer, or is behind.
    """
    done = erase(settings, Ledger.open(settings), load_project(name, settings), value, getpass.getuser())
    return {"project": name, **asdict(done)}
