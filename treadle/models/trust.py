"""Where the ledger's versions meet the keys: bundles are opened only when signed, and signed when registered.

Knows nothing of onnxruntime or MLflow; serving imports it.
"""

from __future__ import annotations

import logging
from pathlib import Path

from treadle.errors import BrokenBundle, NotFound, TreadleError
from treadle.ledger import Ledger
from treadle.models.bundle import Bundle, read_bundle, sign_bundle
from treadle.models.onnx_guard import refuse_what_reaches_out
from treadle.models.signing import Sign, make_key, read_keyring, signer
from treadle.settings import Settings

log = logging.getLogger("treadle")


def open_bundle(settings: Settings, name: str, version: int, folder: Path, digest: str) -> Bundle:
    """Read the bundle of one version; every check is made before a byte of it reaches onnxruntime.

    Args:
        settings: Says where the trusted keys are.
        name: The model that it must be of.
        version: The version that it must be.
        folder: Where it is.
        digest: SHA-256 of its manifest, from the ledger or the last good copy.

    Raises:
        Untrusted: Nobody signed it who is trusted here.
        BrokenBundle: It is not what was registered, is another version's, or reaches out of itself.
    """
    bundle = read_bundle(folder, digest, read_keyring(settings))
    if (bundle.manifest.model, bundle.manifest.version or version) != (name, version):
        raise BrokenBundle(f"{folder} is not the bundle of '{name}' version {version}; register the version again.")
    refuse_what_reaches_out(bundle.onnx_bytes)
    if bundle.packed_bytes is not None:
        refuse_what_reaches_out(bundle.packed_bytes)
    return bundle


def begin_signing(settings: Settings, ledger: Ledger) -> None:
    """Make the installation's key unless it has one.

    Before there were signatures, the digest in the ledger was what a bundle was trusted by. So, once, when an installation
    gets its first key, every version whose bundle still has that digest is signed. From then on nothing is signed but
    what is registered, or what a person names: else whoever removes a signature would get a new one.
    """

    def adopt(sign: Sign) -> None:
        for row in ledger.versions():
            folder = settings.home / row.bundle
            try:
                sign_bundle(folder, row.digest, sign)
            except (TreadleError, OSError) as error:
                log.warning("%s: version %s was not signed: %s", row.model, row.version, error)

    make_key(settings, adopt)


def ensure_trust(settings: Settings, ledger: Ledger) -> None:
    """Begin signing if no key is trusted yet; who only opens bundles needs no private key of its own."""
    if not read_keyring(settings).keys:
        begin_signing(settings, ledger)


def sign_version(settings: Settings, ledger: Ledger, name: str, version: int) -> str:
    """Sign a registered version with this installation's key, because a person says so.

    Returns:
        The bundle's digest.

    Raises:
        NotFound: There is no such version.
        BrokenBundle: It is not what was registered.
    """
    row = ledger.version(name, version)
    if row is None:
        raise NotFound(f"'{name}' has no version {version}. `treadle models {name}` lists them.")
    begin_signing(settings, ledger)
    sign_bundle(settings.home / row.bundle, row.digest, signer(settings))
    return row.digest
