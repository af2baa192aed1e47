"""Labeling rules of the adult project: each takes one row and says a label, or `None` to abstain."""

from __future__ import annotations

from typing import Any


def capital_gain(row: dict[str, Any]) -> str | None:
    """Whoever sold assets at such a gain earns above the line, nearly always."""
    return ">50K" if (row["capital-gain"] or 0) > 7000 else None


def married_graduate(row: dict[str, Any]) -> str | None:
    """Married, with a master's degree or more, and working full time."""
    married = row["marital-status"] == "Married-civ-spouse"
    graduate = (row["education-num"] or 0) >= 14
    return ">50K" if married and graduate and (row["hours-per-week"] or 0) >= 40 else None


def student(row: dict[str, Any]) -> str | None:
    """Under 25 and never married."""
    return "<=50K" if (row["age"] or 99) < 25 and row["marital-status"] == "Never-married" else None


def few_hours(row: dict[str, Any]) -> str | None:
    """Little work and no gains from assets."""
    return "<=50K" if (row["hours-per-week"] or 99) < 20 and not row["capital-gain"] else None
