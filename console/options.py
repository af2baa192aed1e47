"""What every command of the command line shares: the `--json` option and how settings are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from treadle.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="One JSON value on standard output; the log on standard error.")]


def read_settings(**given: Any) -> Settings:
    """The settings of this home, and what the command line says otherwise."""
    from pydantic import ValidationError

    from treadle.errors import TreadleError
    from treadle.settings import Settings, quiet_telemetry

    quiet_telemetry()
    try:
        return Settings(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise TreadleError(f"TREADLE_{name} is {first['input']!r}: {first['msg']}. See docs/settings.md.") from None
