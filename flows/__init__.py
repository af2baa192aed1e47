"""Treadle's sentences: one Prefect flow a file, only order and branching."""
