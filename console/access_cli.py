"""The commands `treadle keys …` and `treadle audit …`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from console.options import Json, read_settings

keys_app = typer.Typer(
    help="Make, list and end keys to the service.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)
audit_app = typer.Typer(help="Say who changed what, and who was refused.", rich_markup_mode=None, add_completion=False)


@keys_app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What people call the key.", metavar="NAME")],
    role: Annotated[str, typer.Option(help="viewer, caller, trainer or admin.", metavar="ROLE")],
    project: Annotated[
        list[str] | None, typer.Option(help="Only this project; may be said again. All, when left out.", metavar="P")
    ] = None,
    ready: Annotated[bool, typer.Option("--ready", help="Only ready models, or they and the projects.")] = False,
    expires: Annotated[str | None, typer.Option(help="Ends after so long, such as 90d.", metavar="TIME")] = None,
    rows_per_minute: Annotated[int | None, typer.Option(help="Rows that it may send in a minute.", metavar="N")] = None,
    json: Json = False,
) -> None:
    """Make a key; it is shown this once."""
    from console.output import answering, give

    with answering() as answer:
        from console import keys

        made = keys.create(read_settings(), name, role, project or None, expires, rows_per_minute, ready=ready)
        give(answer, made, json, keys.shown_once)


@keys_app.command("list")
def list_(json: Json = False) -> None:
    """List all keys, without what opens."""
    from console.output import answering, give, table

    with answering() as answer:
        from console import keys

        rows = keys.list_all(read_settings())
        columns = ["id", "name", "role", "projects", "ready", "rows_per_minute", "state", "created", "expires"]
        give(answer, rows, json, lambda rows: table(rows, columns))


@keys_app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, see `treadle keys list`.", metavar="ID")],
    json: Json = False,
) -> None:
    """End a key for good; running services refuse it within a second."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console import keys

        give(answer, keys.revoke(read_settings(), key_id), json, pairs)


@audit_app.callback(invoke_without_command=True)
def audit(
    context: typer.Context,
    last: Annotated[int, typer.Option(min=1, help="So many rows, the newest.", metavar="N")] = 20,
    json: Json = False,
) -> None:
    """Say who changed what, and who was refused."""
    from console.output import answering, give, table

    if context.invoked_subcommand is not None:
        return
    with answering() as answer:
        from console import keys

        rows = keys.audited(read_settings(), last)
        columns = ["seq", "at", "who", "key_id", "what", "subject", "outcome", "times", "before", "after"]
        give(answer, rows, json, lambda rows: table(rows, columns))


@audit_app.command("verify")
def verify(json: Json = False) -> None:
    """Look whether a row of the audit was changed, deleted, moved or put in."""
    from console.output import answering, give

    with answering() as answer:
        from console import keys

        found = keys.verify_audit(read_settings())
        give(answer, found, json, keys.verified)
    sys.exit(0 if found["whole"] else 1)
