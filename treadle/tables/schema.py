"""What a table looks like: its columns, their kinds, and what was seen in them. Inferred once, then fixed in a file.

Plain typed data; knows nothing of pandas, so that serving can read it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from treadle.errors import BadProject, NotFound, nearest
from treadle.project import Kind

FEATURE_KINDS = ("number", "integer", "boolean", "category", "datetime")


class Column(BaseModel):
    """One column.

    Attributes:
        name: As in the table.
        kind: What its values are; `text`, `identifier` and `constant` columns are not learned from.
        nullable: Whether missing values were seen, and so are accepted.
        categories: Values seen, most frequent first; others are still accepted when serving.
        tokens: The texts that mean false and true, for booleans written as text.
        missing: Texts that mean "missing" in this column, in lower case, besides the usual ones.
        format: The `strptime` format of a datetime; `None` is ISO 8601, `mixed` several, `unix` and `unix-ms` epochs.
        low: Smallest value seen; epoch seconds for a datetime.
        high: Largest value seen.
        example: A value from a real row.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Kind
    nullable: bool = False
    categories: tuple[str, ...] | None = None
    tokens: tuple[str, str] | None = None
    missing: tuple[str, ...] = ()
    format: str | None = None
    low: float | None = None
    high: float | None = None
    example: str | float | bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_thousands(cls, said: Any) -> Any:
        """Earlier files said whether numbers have thousands separators; they are read with and without them, whatever it said."""
        return {key: value for key, value in said.items() if key != "thousands"} if isinstance(said, dict) else said


class Schema(BaseModel):
    """The columns of a project's table, target included.

    Attributes:
        columns: All columns, in the table's order.
        target: The column to predict.
        time: The column of event times.
        group: The column whose values never straddle a split; not learned from.
        classes: The target's values, sorted; `None` for regression.
        ignored: Columns that models must not see.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[Column, ...]
    target: str
    time: str | None = None
    group: str | None = None
    classes: tuple[str, ...] | None = None
    ignored: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns that models see."""
        hidden = {self.target, self.group, *self.ignored}
        return tuple(c for c in self.columns if c.kind in FEATURE_KINDS and c.name not in hidden)

    def column(self, name: str) -> Column:
        """One column by name.

        Raises:
            NotFound: There is none; the nearest name is suggested.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise NotFound(f"No column '{name}'.{nearest(name, [c.name for c in self.columns])}")

    def hiding(self, names: Iterable[str]) -> Schema:
        """The schema whose features lack some."""
        return self.model_copy(update={"ignored": (*self.ignored, *names)})

    def without_values(self, names: Container[str]) -> Schema:
        """The schema without the values that were seen in some of its features."""
        bare = {"categories": None, "low": None, "high": None, "example": None}
        hidden = {column.name for column in self.features if column.name in names}
        columns = (c.model_copy(update=bare) if c.name in hidden else c for c in self.columns)
        return self.model_copy(update={"columns": tuple(columns)})

    def save(self, path: Path) -> None:
        """Write the schema as JSON that a person can read and edit."""
        path.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Schema:
        """Read what `save` wrote.

        Raises:
            BadProject: The file was edited into something else; the message names the place.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BadProject(f"{path} is not a schema: {' '.join(str(error).split())[:300]}") from error
