"""Commands on signatures: whose bundles are served here, and signing one that was registered without a signature."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

from treadle.ledger import Ledger
from treadle.models import signing
from treadle.models.trust import begin_signing, sign_version
from treadle.project import check_name
from treadle.settings import Settings


def list_keys(settings: Settings) -> list[dict[str, Any]]:
    """Every trusted key: its short name, whether this installation signs with it, and its file."""
    own = signing.own_key(settings)
    folder = signing.signing_dir(settings) / "trusted"
    return [
        {"key": name, "own": name == own, "file": str(folder / f"{name}.pem")}
        for name in signing.read_keyring(settings).keys
    ]


def add_key(settings: Settings, file: Path) -> dict[str, Any]:
    """Trust the bundles of another installation, whose public key this is.

    Raises:
        NotFound: There is no such file.
        BadData: It is not a public key.
    """
    ledger = Ledger.open(settings)
    begin_signing(settings, ledger)  # first, or what is registered here already would count as registered later
    name = signing.trust(settings, file)
    ledger.record_audit(getpass.getuser(), "trust", name, None, "trusted")
    return {"key": name, "trusted": True}


def remove_key(settings: Settings, name: str) -> dict[str, Any]:
    """Trust a key no more.

    Raises:
        NotFound: No such key is trusted.
        Conflict: It is this installation's own.
    """
    signing.distrust(settings, name)
    Ledger.open(settings).record_audit(getpass.getuser(), "distrust", name, "trusted", None)
    return {"key": name, "trusted": False}


def sign(settings: Settings, name: str, version: int) -> dict[str, Any]:
    """Sign a registered version with this installation's key.

    Raises:
        NotFound: There is no such version.
        BrokenBundle: Its bundle is not what was registered.
    """
    ledger = Ledger.open(settings)
    digest = sign_version(settings, ledger, check_name(name), version)
    ledger.record_audit(getpass.getuser(), "sign", f"{name}/{version}", None, digest)
    return {"project": name, "version": version, "digest": digest, "key": signing.own_key(settings)}
