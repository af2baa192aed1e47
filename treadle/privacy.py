"""Personal data: what of a row the ledger keeps, by column, and how its values become pseudonyms.

`keep` writes a value as it came, `hash` a keyed pseudonym (HMAC-SHA256, RFC 2104: equal values stay equal, and nobody
without the key can try values out), `drop` nothing. Knows no ledger and no model; serving imports it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from treadle.errors import BadProject, nearest
from treadle.ledger import Row
from treadle.settings import Settings

DIGITS = 16
"""Hexadecimal digits of a pseudonym: two of a million subjects share one with probability 3e-8."""


def pseudonym(value: Any, key: bytes) -> str:
    """What stands for a value, the same for 7, 7.0 and "7".

    >>> pseudonym(7, b"k") == pseudonym("7", b"k") != pseudonym("8", b"k")
    True
    """
    return hmac.new(key, as_text(value).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:DIGITS]


def as_text(value: Any) -> str:
    """A value as a person would write it, to compare subjects by."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


class Redactor:
    """Makes rows fit for the ledger.

    Args:
        policy: `hash` or `drop` by column; all others are kept.
        key: The installation's, see `privacy_key`.
    """

    def __init__(self, policy: Mapping[str, str], key: bytes) -> None:
        self._policy = dict(policy)
        self._key = key

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row without what is dropped, with pseudonyms for what is hashed; what is not known stays so."""
        kept = {name: value for name, value in row.items() if self._policy.get(name) != "drop"}
        for name, how in self._policy.items():
            if how == "hash" and kept.get(name) not in (None, ""):
                kept[name] = pseudonym(kept[name], self._key)
        return kept


def unknown_where_redacted(rows: Sequence[Row], redacted: Iterable[str]) -> list[Row]:
    """Rows of the ledger without the columns whose values it does not have: a pseudonym is no value to learn from."""
    gone = set(redacted)
    if not gone:
        return list(rows)
    return [replace(row, features={k: v for k, v in row.features.items() if k not in gone}) for row in rows]


def check_columns(named: Iterable[str], known: Sequence[str]) -> None:
    """Refuse a policy for a column that is not there: the one that was meant would be kept.

    Raises:
        BadProject: There is such a column.
    """
    for name in named:
        if name not in known:
            raise BadProject(f"privacy names the column '{name}', which the data does not have.{nearest(name, known)}")


def privacy_key(settings: Settings) -> bytes:
    """The key of this installation's pseudonyms, 32 bytes, made at the first use; however many processes ask at once."""
    path = settings.state_dir / "privacy.key"
    with suppress(FileNotFoundError):
        return path.read_bytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    _write_secret(draft, secrets.token_bytes(32))
    with suppress(FileExistsError):
        os.link(draft, path)  # of several only one succeeds, and the file is whole when it is there
    draft.unlink()
    return path.read_bytes()


def _write_secret(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
