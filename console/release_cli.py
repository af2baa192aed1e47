"""The commands `treadle release …`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, read_settings

release_app = typer.Typer(
    help="Try a version on live requests before it is champion.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

Name = Annotated[str, typer.Argument(help="The project: a folder in projects/.", metavar="NAME")]


@release_app.command("start")
def start(
    name: Name,
    version: Annotated[int, typer.Argument(metavar="VERSION")],
    shadow: Annotated[bool, typer.Option("--shadow", help="It answers beside the champion; nobody sees it.")] = False,
    canary: Annotated[
        float | None, typer.Option(min=0.1, max=100, help="It answers so many percent of the callers.", metavar="N")
    ] = None,
    json: Json = False,
) -> None:
    """Try a version; what is tried already makes way for it."""
    from console.output import answering, give

    with answering() as answer:
        from console import releases

        begun = releases.start(read_settings(), name, version, shadow=shadow, canary=canary)
        give(answer, begun, json, releases.shown)


@release_app.command("status")
def status(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None,
    last: Annotated[int, typer.Option(min=1, help="So many releases, the newest.", metavar="N")] = 10,
    json: Json = False,
) -> None:
    """Say how releases are, the newest first."""
    from console.output import answering, give

    with answering() as answer:
        from console import releases

        rows = releases.status(read_settings(), name, last)
        give(answer, rows, json, lambda rows: "\n".join(map(releases.shown, rows)) or "There was no release yet.")


@release_app.command("stop")
def stop(name: Name, json: Json = False) -> None:
    """End the release that runs; the champion stays."""
    from console.output import answering, give

    with answering() as answer:
        from console import releases

        give(answer, releases.stop(read_settings(), name), json, releases.shown)


@release_app.command("advance")
def advance(name: Name, json: Json = False) -> None:
    """Make the version that is tried champion now."""
    from console.output import answering, give

    with answering() as answer:
        from console import releases

        give(answer, releases.advance(read_settings(), name), json, releases.shown)
