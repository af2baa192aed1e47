"""The commands `treadle alerts …`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from console.options import Json, read_settings

alerts_app = typer.Typer(
    help="List, acknowledge and silence alerts, and try the channels.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

Name = Annotated[str | None, typer.Argument(help="One project; all, when left out.", metavar="[NAME]")]


@alerts_app.command("list")
def list_(
    name: Name = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    last: Annotated[int, typer.Option(min=1, help="So many, the newest.", metavar="N")] = 50,
    json: Json = False,
) -> None:
    """List alerts, the newest first, and what became of their messages."""
    from console.output import answering, give

    with answering() as answer:
        from console import alerts

        rows = alerts.listed(read_settings(), name, last, everything=everything)
        give(answer, rows, json, lambda rows: "\n".join(map(alerts.shown, rows)) or "No alert is open.")


@alerts_app.command("ack")
def ack(
    alert: Annotated[int, typer.Argument(help="Its number, see `treadle alerts list`.", metavar="ID", min=1)],
    json: Json = False,
) -> None:
    """Take an alert upon yourself: nobody is told more of it until it is over."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console import alerts

        give(answer, alerts.acknowledge(read_settings(), alert), json, pairs)


@alerts_app.command("silence")
def silence(
    name: Name = None,
    span: Annotated[str | None, typer.Option("--for", help="For so long, such as 2h.", metavar="TIME")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind, such as drift.", metavar="KIND")] = None,
    end: Annotated[bool, typer.Option("--end", help="End such a silence now.")] = False,
    json: Json = False,
) -> None:
    """Tell nothing for a while; what is still open then is told."""
    from console.output import answering, give

    with answering() as answer:
        from console import alerts

        give(answer, alerts.silence(read_settings(), name, span, kind, end=end), json, alerts.silenced)


@alerts_app.command("test")
def try_channels(json: Json = False) -> None:
    """Send a message to every channel, and say what became of it."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console import alerts

        result = alerts.try_channels(read_settings())
        give(answer, result, json, lambda result: pairs(result["channels"]))
    sys.exit(0 if result["delivered"] else 5)
