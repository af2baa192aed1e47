"""Treadle's nouns: projects, data, problems, families, capabilities, the registry and the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from treadle.client import Client

__all__ = ["Client", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`Client`, imported when somebody wants it: `import treadle` stays quick."""
    if name == "Client":
        from treadle.client import Client

        return Client
    raise AttributeError(f"module 'treadle' has no attribute '{name}'")
