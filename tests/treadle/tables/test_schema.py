"""A schema is a file that people edit: it comes back as it went, and says what is wrong with an edit."""

import pytest

from treadle.errors import BadProject, NotFound
from treadle.tables.schema import FEATURE_KINDS, Column, Schema


@pytest.fixture
def schema():
    kinds = (*FEATURE_KINDS, "text", "identifier", "constant")
    columns = [Column(name=kind, kind=kind) for kind in kinds]
    more = [
        Column(name="naïve Größe", kind="number", low=-1.5, high=2.0, example=0.25),
        Column(name="y", kind="number"),
    ]
    return Schema(columns=(*columns, *more), target="y", group="category", ignored=("integer",))


def test_models_see_neither_target_nor_group_nor_ignored_nor_words(schema):
    assert [c.name for c in schema.features] == ["number", "boolean", "datetime", "naïve Größe"]


def test_a_schema_comes_back_as_it_went(schema, tmp_path):
    path = tmp_path / "schema.json"
    schema.save(path)
    assert Schema.load(path) == schema
    assert "naïve Größe" in path.read_text(encoding="utf-8")


def test_a_schema_of_before_is_read(schema, tmp_path):
    """Its columns said whether numbers have thousands separators."""
    path = tmp_path / "schema.json"
    schema.save(path)
    path.write_text(path.read_text(encoding="utf-8").replace('"missing": [],', '"missing": [], "thousands": false,'))
    assert "thousands" in path.read_text(encoding="utf-8")
    assert Schema.load(path) == schema


def test_an_unknown_column_suggests_the_nearest(schema):
    assert schema.column("boolean").kind == "boolean"
    with pytest.raises(NotFound, match="Did you mean 'boolean'"):
        schema.column("boolen")


@pytest.mark.parametrize(
    "edit",
    [lambda text: "", lambda text: text[:-20], lambda text: text.replace('"boolean"', '"bool"'), lambda text: "[]"],
    ids=["empty", "cut", "unknown kind", "a list"],
)
def test_an_edit_that_is_no_schema_is_one_line(schema, tmp_path, edit):
    path = tmp_path / "schema.json"
    schema.save(path)
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(BadProject) as caught:
        Schema.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
