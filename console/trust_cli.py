"""The commands `treadle trust …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.options import Json, read_settings

trust_app = typer.Typer(
    help="Say whose signed bundles are served here.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@trust_app.command("list")
def list_trusted(json: Json = False) -> None:
    """List the keys that are trusted."""
    from console.output import answering, give, table

    with answering() as answer:
        from console import trust

        give(answer, trust.list_keys(read_settings()), json, lambda rows: table(rows, ["key", "own", "file"]))


@trust_app.command("add")
def add_trusted(
    file: Annotated[Path, typer.Argument(help="A public key, from .treadle/signing/trusted of the other machine.")],
    json: Json = False,
) -> None:
    """Trust another installation's bundles."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console import trust

        give(answer, trust.add_key(read_settings(), file), json, pairs)


@trust_app.command("remove")
def remove_trusted(
    key: Annotated[str, typer.Argument(help="As `treadle trust list` shows it.")], json: Json = False
) -> None:
    """Trust a key no more."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console import trust

        give(answer, trust.remove_key(read_settings(), key), json, pairs)
