"""Treadle's nouns: projects, data, problems, families, the registry and the ledger."""

__version__ = "0.1.0"
