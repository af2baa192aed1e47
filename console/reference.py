"""Writes docs/project.md, docs/settings.md and docs/project.schema.json from the classes themselves.

`python -m console.reference` writes them; a test fails when they are stale.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from treadle.project import Project
from treadle.settings import CHECKOUT, Settings


def pages() -> dict[Path, str]:
    """Every generated page by its path."""
    docs = CHECKOUT / "docs"
    return {
        docs / "project.md": _project_page(),
        docs / "settings.md": _settings_page(),
        docs / "project.schema.json": json.dumps(Project.model_json_schema(by_alias=True), indent=1) + "\n",
    }


def _project_page() -> str:
    lines = [
        "# project.yaml",
        "",
        "Made from `treadle/project.py` by `make docs`. Only `name`, `problem`, `data.source` and `data.target` are needed.",
        "For completion in an editor, begin the file with `# yaml-language-server: $schema=../../docs/project.schema.json`.",
        "",
    ]
    for name, field in Project.model_fields.items():
        key = field.alias or name
        lines += [f"## {key}", ""]
        part = field.annotation
        if isinstance(part, type) and issubclass(part, BaseModel):
            lines += [(part.__doc__ or "").strip(), "", *_table(part, f"{key}."), ""]
        else:
            lines += [field.description or "", ""]
    return "\n".join(lines).rstrip() + "\n"


def _settings_page() -> str:
    head = [
        "# Settings",
        "",
        "Made from `treadle/settings.py` by `make docs`. Facts of a machine, from the environment; never in a project.",
        "",
    ]
    return "\n".join([*head, *_table(Settings, "TREADLE_", upper=True)]) + "\n"


def _table(part: type[BaseModel], prefix: str, *, upper: bool = False) -> list[str]:
    return ["| key | default | meaning |", "|---|---|---|", *_lines(part, prefix, upper=upper)]


def _lines(part: type[BaseModel], prefix: str, *, upper: bool) -> Iterator[str]:
    """A line a key; a part in a part begins with what it is, and its keys follow."""
    for name, field in part.model_fields.items():
        key = name.upper() if upper else name
        meaning = " ".join((field.description or "").split())
        inner = _inner(field)
        default = "" if inner is not None and field.default is not None else _default(field)
        yield f"| `{prefix}{key}` | {default} | {meaning} |"
        if inner is not None:
            yield from _lines(inner, f"{prefix}{key}.", upper=upper)


def _inner(field: FieldInfo) -> type[BaseModel] | None:
    """The part that a key holds, if it holds one."""
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is PydanticUndefined:
        return "needed"
    if isinstance(value, Path):
        return "the checkout"
    if hasattr(value, "total_seconds"):
        from treadle.durations import format_duration

        return f"`{format_duration(value)}`"
    if isinstance(value, tuple):
        value = list(value)
    return f"`{json.dumps(value)}`"


def main() -> None:
    """Write every page."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
