"""The commands `treadle faces …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.options import Json, read_settings

faces_app = typer.Typer(
    help="Enroll people for search-faces, list and forget them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

Name = Annotated[str, typer.Argument(help="The person, as searches answer.", metavar="NAME")]
Collection = Annotated[str, typer.Option(help="The collection.", metavar="COLLECTION")]


@faces_app.command("list")
def list_(
    collection: Annotated[str | None, typer.Option(help="Only this one.", metavar="COLLECTION")] = None, json: Json = False
) -> None:  # fmt: skip
    """List who is enrolled, with what consent."""
    from console.output import answering, give, table

    with answering() as answer:
        from console import faces

        columns = ["collection", "person", "pictures", "consent", "by", "at"]
        give(answer, faces.list_people(read_settings(), collection), json, lambda rows: table(rows, columns))


@faces_app.command("enroll")
def enroll(
    name: Name,
    pictures: Annotated[list[Path], typer.Argument(help="Pictures that show this face only.", metavar="PICTURE")],
    consent: Annotated[str, typer.Option(help="Who agreed to what, and where that is kept.", metavar="NOTE")],
    collection: Collection = "default",
    json: Json = False,
) -> None:
    """Remember a person by numbers that describe the face; the pictures are not kept."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console import faces

        give(answer, faces.enroll_person(read_settings(), name, pictures, consent, collection), json, pairs)


@faces_app.command("forget")
def forget(name: Name, collection: Collection = "default", json: Json = False) -> None:
    """Remove all that is known of a person."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console import faces

        give(answer, faces.forget_person(read_settings(), name, collection), json, pairs)
