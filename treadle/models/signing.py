"""Who made a bundle: this installation's Ed25519 key, and the public keys of others that it trusts.

A folder holds all: `private.pem` (0600), and `trusted/<key>.pem`, where the own public key lies too. Knows nothing of bundles.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from treadle.errors import BadData, Conflict, NotFound, Untrusted
from treadle.settings import Settings

# RFC 8410, section 10: for Ed25519 these are all the bytes of PKCS #8 and of SubjectPublicKeyInfo before the key's own 32.
PRIVATE_HEAD = bytes.fromhex("302e020100300506032b657004220420")
PUBLIC_HEAD = bytes.fromhex("302a300506032b6570032100")
KEY_BYTES = 32

Sign = Callable[[bytes], bytes]
"""Makes the detached signature, 64 bytes, of some content."""


@dataclass(frozen=True)
class Keyring:
    """The public keys that are trusted, by their short names."""

    keys: Mapping[str, bytes]

    def verify(self, content: bytes, signature: bytes) -> str:
        """The name of the trusted key that signed `content`.

        Raises:
            Untrusted: None of them did.
        """
        from nacl.exceptions import CryptoError
        from nacl.signing import VerifyKey

        for name, public in self.keys.items():
            try:
                VerifyKey(public).verify(content, signature)
            except CryptoError:
                continue
            return name
        raise Untrusted("its signature is by no key that is trusted here (`treadle trust list` shows which are).")


def signing_dir(settings: Settings) -> Path:
    """Where the keys of an installation are."""
    return settings.state_dir / "signing"


def read_keyring(settings: Settings) -> Keyring:
    """Every key that is trusted now; a file that is not a key is an error, since a typing mistake must not widen trust."""
    files = sorted((signing_dir(settings) / "trusted").glob("*.pem"))
    return Keyring({_name(public): public for public in map(read_public_key, files)})


def own_key(settings: Settings) -> str | None:
    """The short name of the key that this installation signs with; `None` before it has one."""
    path = _private_path(settings)
    return _name(_public_of(_read_private(path))) if path.exists() else None


def make_key(settings: Settings, adopt: Callable[[Sign], None] = lambda _: None) -> None:
    """Make the key pair unless there is one; of two processes that try at once, the second finds the first one's.

    Args:
        settings: The installation.
        adopt: Called with the new key before that is there, if no key was ever trusted here: what was registered before
            there were signatures is signed by it. Interrupted, it is called again the next time.
    """
    path = _private_path(settings)
    if path.exists():
        return
    from nacl.signing import SigningKey

    with _alone(path.parent):
        if path.exists():
            return
        key = SigningKey.generate()
        if not read_keyring(settings).keys:
            adopt(lambda content: key.sign(content).signature)
        _trust(settings, bytes(key.verify_key))
        _write(path, _to_pem("PRIVATE KEY", PRIVATE_HEAD + bytes(key)), 0o600)


def signer(settings: Settings) -> Sign:
    """What signs with this installation's key.

    Raises:
        NotFound: It has none yet; `make_key` makes it.
        Untrusted: Others may read the private key.
    """
    from nacl.signing import SigningKey

    key = SigningKey(_read_private(_private_path(settings)))
    return lambda content: key.sign(content).signature


def trust(settings: Settings, file: Path) -> str:
    """Trust the bundles signed by another installation's key.

    Returns:
        The key's short name.

    Raises:
        NotFound: There is no such file.
        BadData: It is not an Ed25519 public key in PEM form.
    """
    if not file.is_file():
        raise NotFound(f"There is no file {file}.")
    return _trust(settings, read_public_key(file))


def distrust(settings: Settings, name: str) -> None:
    """Trust a key no more; versions that are in memory go on until they are swapped or the service is restarted.

    Raises:
        NotFound: No key of that name is trusted.
        Conflict: It is the key that this installation signs with.
    """
    path = signing_dir(settings) / "trusted" / f"{name}.pem"
    if not re.fullmatch(r"[0-9a-f]{16}", name) or not path.exists():
        raise NotFound(f"No key '{name}' is trusted; `treadle trust list` shows which are.")
    if name == own_key(settings):
        raise Conflict(
            f"{name} is the key that this installation signs with; move {_private_path(settings)} away first."
        )
    path.unlink()


def read_public_key(file: Path) -> bytes:
    """The 32 bytes of a public key.

    Raises:
        BadData: The file is not an Ed25519 public key in PEM form.
    """
    raw = _from_pem(file, "PUBLIC KEY", PUBLIC_HEAD)
    if raw is None:
        raise BadData(
            f"{file} is not an Ed25519 public key in PEM form, as in .treadle/signing/trusted of the other machine."
        )
    return raw


def _private_path(settings: Settings) -> Path:
    return signing_dir(settings) / "private.pem"


def _read_private(path: Path) -> bytes:
    if not path.exists():
        raise NotFound(f"This installation has no signing key yet; `treadle up` makes {path}.")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Untrusted(f"Others may read the signing key; `chmod 600 {path}`, or move it away if they have read it.")
    raw = _from_pem(path, "PRIVATE KEY", PRIVATE_HEAD)
    if raw is None:
        raise BadData(f"{path} is not an Ed25519 private key in PEM form; move it away and `treadle up` makes another.")
    return raw


def _public_of(private: bytes) -> bytes:
    from nacl.signing import SigningKey

    return bytes(SigningKey(private).verify_key)


def _trust(settings: Settings, public: bytes) -> str:
    name = _name(public)
    _write(signing_dir(settings) / "trusted" / f"{name}.pem", _to_pem("PUBLIC KEY", PUBLIC_HEAD + public), 0o644)
    return name


def _name(public: bytes) -> str:
    """A key's short name: the beginning of its SHA-256."""
    return hashlib.sha256(public).hexdigest()[:16]


def _to_pem(label: str, der: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.b64encode(der).decode()}\n-----END {label}-----\n"


def _from_pem(file: Path, label: str, head: bytes) -> bytes | None:
    """The key's own 32 bytes; `None` when the file holds something else."""
    text = file.read_bytes()[:10_000].decode("ascii", errors="replace")
    found = re.fullmatch(rf"\s*-----BEGIN {label}-----\s+([A-Za-z0-9+/=\s]+)-----END {label}-----\s*", text)
    if found is None:
        return None
    try:
        der = base64.b64decode(found[1])
    except ValueError:
        return None
    return der[len(head) :] if der.startswith(head) and len(der) == len(head) + KEY_BYTES else None


def _write(path: Path, text: str, mode: int) -> None:
    """Write a file whole or not at all; never readable by more than `mode` says, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    handle, draft = tempfile.mkstemp(prefix=".key-", dir=path.parent)  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(mode)
        Path(draft).rename(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a lock that the kernel releases when its holder dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
