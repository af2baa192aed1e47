"""The commands `treadle ready …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.options import Json, read_settings

ready_app = typer.Typer(
    help="List, install and run ready models.",
    rich_markup_mode=None,
    add_completion=False,
    invoke_without_command=True,
)

Capability = Annotated[str, typer.Argument(help="As `treadle ready` lists it.", metavar="CAPABILITY")]
Model = Annotated[
    str | None, typer.Option("--model", help="Another model than the first that is installed.", metavar="MODEL")
]


@ready_app.callback()
def ready(context: typer.Context, json: Json = False) -> None:
    """List ready models: licence, size, quality, whether they are here."""
    if context.invoked_subcommand is None:
        list_ready(json)


@ready_app.command("list")
def list_ready(json: Json = False) -> None:
    """List ready models: licence, size, quality, whether they are here."""
    from console.output import answering, give

    with answering() as answer:
        from console import ready as work

        give(answer, work.listing(read_settings()), json, work.listed)


@ready_app.command("install")
def install(
    capability: Capability,
    model: Model = None,
    hub: Annotated[str | None, typer.Option(help="A Hugging Face id, or a folder of that form.", metavar="ID")] = None,
    revision: Annotated[
        str | None, typer.Option(help="Its commit, tag or branch; pinned to the commit.", metavar="REV")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    json: Json = False,
) -> None:
    """Bring a model here: say what, its licence and size, and ask."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console import ready_install

        give(answer, ready_install.install(read_settings(), capability, model, hub, revision, yes), json, pairs)


@ready_app.command("run")
def run(
    capability: Capability,
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Texts, files or folders; - is standard input.", metavar="INPUT")
    ] = None,
    model: Model = None,
    given: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter, as name=value.", metavar="NAME=VALUE")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where annotated pictures go.", metavar="DIR")] = Path(),
    json: Json = False,
) -> None:
    """Have a ready model answer, here, with no server."""
    from console.output import answering

    with answering() as answer:
        from console import ready as work

        work.run(read_settings(), capability, inputs or ["-"], model, given or [], out, answer, json)
