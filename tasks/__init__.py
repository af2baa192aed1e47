"""Treadle's verbs: one step of the wheel a file, each a Prefect task."""
