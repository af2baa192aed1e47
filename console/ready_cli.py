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


@ready_app.command("embed")
def embed(
    source: Annotated[str, typer.Argument(help="A table with a column of texts, or a folder of labelled pictures.", metavar="SOURCE")],
    to: Annotated[Path, typer.Option(help="The table that is written, Parquet.", metavar="FILE")],
    column: Annotated[str, typer.Option(help="The column of texts; it is not in the new table.", metavar="COLUMN")] = "text",
    model: Model = None,
    json: Json = False,
) -> None:  # fmt: skip
    """Make a table of vectors, to train a model on that can be a ready one."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console import ready_yours as work

        give(answer, work.embed(read_settings(), source, column, model, to), json, pairs)


@ready_app.command("add")
def add(
    capability: Capability,
    project: Annotated[str, typer.Option(help="The project whose champion shall answer.", metavar="PROJECT")],
    model: Annotated[str | None, typer.Option("--model", help="What callers name it; the project's name.", metavar="MODEL")] = None,
    json: Json = False,
) -> None:  # fmt: skip
    """Make a model that was trained here a ready one: classify-text or classify-image."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console import ready_yours as work

        give(answer, work.add(read_settings(), capability, project, model), json, pairs)


@ready_app.command("remove")
def remove(
    capability: Capability,
    model: Annotated[str, typer.Argument(help="As `treadle ready` lists it.", metavar="MODEL")],
    json: Json = False,
) -> None:
    """Take a model out that was added here; its files stay."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console import ready_yours as work

        give(answer, work.remove(read_settings(), capability, model), json, pairs)


@ready_app.command("watch")
def watch(
    capability: Annotated[str | None, typer.Argument(help="Only this one.", metavar="[CAPABILITY]")] = None,
    json: Json = False,
) -> None:
    """Look whether ready models are asked about what they were asked about at first."""
    from console.output import answering, give

    with answering() as answer:
        from console import ready as work
        from console.runs import run_here

        give(answer, run_here(read_settings(), "watch_ready", {"capability": capability}), json, work.watched)


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
