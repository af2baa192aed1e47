"""The commands `treadle governor …` and `treadle labels …`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, read_settings

governor_app = typer.Typer(
    help="Say why a retrain started or did not.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)
labels_app = typer.Typer(
    help="Settle labels that were set aside as suspicious.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

Name = Annotated[str, typer.Argument(help="The project: a folder in projects/.", metavar="NAME")]
Batch = Annotated[int | None, typer.Option("--batch", min=1, help="One batch; all, when left out.", metavar="N")]


@governor_app.command("status")
def status(
    name: Name,
    last: Annotated[int, typer.Option(min=1, help="So many triggers, the newest.", metavar="N")] = 10,
    json: Json = False,
) -> None:
    """Say how retrains stand: breaker, triggers, what was suppressed."""
    from console import governing
    from console.output import answering, give

    with answering() as answer:
        give(answer, governing.status(read_settings(), name, last), json, governing.shown)


@governor_app.command("close")
def close(name: Name, json: Json = False) -> None:
    """Close an open breaker: the next trigger may retrain."""
    from console import governing
    from console.output import answering, give, pairs

    with answering() as answer:
        give(answer, governing.close(read_settings(), name), json, pairs)


@labels_app.command("list")
def list_(name: Name, json: Json = False) -> None:
    """List labels that are set aside, and why."""
    from console import governing
    from console.output import answering, give, table

    with answering() as answer:
        rows = governing.set_aside(read_settings(), name)
        columns = ["batch", "key", "labels", "since", "until", "reason"]
        give(answer, rows, json, lambda rows: table(rows, columns) if rows else "No labels are set aside.")


@labels_app.command("release")
def release(name: Name, batch: Batch = None, json: Json = False) -> None:
    """Count labels again, and learn from them: they are right."""
    from console import governing
    from console.output import answering, give, pairs

    with answering() as answer:
        give(answer, governing.release_labels(read_settings(), name, batch), json, pairs)


@labels_app.command("drop")
def drop(name: Name, batch: Batch = None, json: Json = False) -> None:
    """Delete labels that are set aside: they are wrong."""
    from console import governing
    from console.output import answering, give, pairs

    with answering() as answer:
        give(answer, governing.drop_labels(read_settings(), name, batch), json, pairs)
