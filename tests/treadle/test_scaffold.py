"""`treadle init` makes a whole project of a table, or nothing and one line that says why."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from treadle.errors import BadData, BadProject, Conflict, NotFound
from treadle.project import load_project
from treadle.scaffold import init_project
from treadle.tables.data import load_schema

CLASSES, NUMBERS = "tabular-classification", "tabular-regression"


@pytest.fixture
def write(tmp_path):
    """Writes a table to a file beside the installation."""

    def make(table, name="orders.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(path) if name.endswith("parquet") else table.to_csv(path, index=False)
        return path

    return make


@pytest.fixture
def rich(toy_table):
    """The toy table and columns that nothing should learn from."""
    n = len(toy_table)
    return toy_table.assign(
        order_id=[f"o-{i * 7919 % 10007:05d}" for i in range(n)],
        note=[f"please leave parcel number {i} with the neighbour" for i in range(n)],
        country="NO",
    )


def test_a_project_of_a_table_is_whole(rich, write, settings):
    source = write(rich)
    inferred = init_project("orders", source, "churned", settings)
    project = load_project("orders", settings)
    assert inferred.project_path == str(settings.projects_dir / "orders/project.yaml")
    assert (inferred.problem, project.problem) == (CLASSES, CLASSES)
    assert (inferred.time, project.data.time) == ("when", "when")
    assert set(inferred.ignored) == {"order_id", "note", "country"}
    assert (inferred.rows, inferred.target, inferred.classes) == (600, "churned", 2)
    assert Path(inferred.data_path).read_bytes() == source.read_bytes()
    assert [row["column"] for row in inferred.columns] == list(rich.columns)
    assert (project.folder / "data/orders.csv").read_bytes() == source.read_bytes()
    assert sorted(p.name for p in project.folder.iterdir()) == ["data", "project.yaml", "schema.json"]


def test_columns_say_how_much_is_missing_and_whole_numbers_have_no_point(write, settings):
    x, y = np.arange(200) * 3.0, np.arange(200) * 1.5
    table = pd.DataFrame({"x": x, "gaps": [*([None] * 180), *range(20)], "hole": [None, *(x[1:] / 7)], "y": y})
    columns = {row["column"]: row for row in init_project("orders", write(table), "y", settings).columns}
    assert {name: row["missing"] for name, row in columns.items()} == {
        "x": "none", "gaps": "90 %", "hole": "under 1 %", "y": "none",
    }  # fmt: skip
    assert columns["gaps"]["example"] == "0"


def test_examples_of_times_say_their_zone(write, settings):
    stamps = pd.Series(pd.date_range("2024-01-01 08:00", periods=200, freq="h", tz="Europe/Berlin")).map(
        pd.Timestamp.isoformat
    )
    columns = {row["column"]: row for row in init_project("orders", write(times(when=stamps)), "y", settings).columns}
    assert columns["when"]["example"] == "2024-01-01 07:00:00 UTC"


def test_what_init_wrote_needs_no_second_inference(rich, write, settings):
    init_project("orders", write(rich), "churned", settings)
    path = settings.projects_dir / "orders/schema.json"
    before = path.read_bytes()
    schema = load_schema(load_project("orders", settings))
    assert path.read_bytes() == before
    assert schema.classes == ("no", "yes")


def test_the_file_is_short_and_says_where_the_rest_is(rich, write, settings):
    init_project("orders", write(rich), "churned", settings)
    text = (settings.projects_dir / "orders/project.yaml").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 12
    assert "docs/project.md" in text
    assert str(settings.home) not in text


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (["yes", "no"], CLASSES),
        ([True, False], CLASSES),
        ([0, 1], CLASSES),
        (["a", "b", "c", None], CLASSES),
        ([1, 2, 3, 4, 5], CLASSES),
        (list(range(90)), NUMBERS),
        ([0.5, 1.5, 2.5], NUMBERS),
        ([0] * 150 + [1] * 100 + [2] * 40 + [3] * 8 + [4] * 2, NUMBERS),  # a count, with the tail of one
        (["1,200", "950", "12,000.5", "7"], NUMBERS),
    ],
)
def test_the_problem_follows_from_the_target(write, settings, target, problem):
    table = pd.DataFrame({"x": np.random.default_rng(0).normal(size=300), "y": (target * 300)[:300]})
    assert init_project("orders", write(table), "y", settings).problem == problem


@pytest.mark.parametrize("name", ["orders.parquet", "orders.csv.gz", "größe 日本.csv"])
def test_files_of_every_kind_and_name(toy_table, write, settings, name):
    init_project("orders", write(toy_table, name), "amount", settings)
    project = load_project("orders", settings)
    assert project.data.source == f"data/{name}"
    assert load_schema(project).target == "amount"


def test_names_that_are_not_english(write, settings):
    table = pd.DataFrame({"größe: m²": np.random.default_rng(0).normal(size=80), "売上": np.arange(80) * 1.5})
    init_project("orders", write(table), "売上", settings)
    assert load_project("orders", settings).data.target == "売上"


def times(**columns):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"x": rng.normal(size=200), "y": rng.normal(size=200)} | columns)


@pytest.mark.parametrize("name", ["timestamp", "created_at", "order_date", "when"])
def test_the_time_of_an_event_is_recognised(write, settings, name):
    stamps = pd.date_range("2024-01-01", periods=200, freq="h").strftime("%Y-%m-%d %H:%M")
    assert init_project("orders", write(times(**{name: stamps})), "y", settings).time == name


def test_dates_that_are_no_event_are_not_the_time(write, settings):
    dates = np.resize(["2024-01-01", "2024-06-01"], 200)
    assert init_project("orders", write(times(contract_end=dates)), "y", settings).time is None


def test_times_that_are_not_read_are_no_free_text(write, settings):
    stamps = pd.date_range("2024-01-01", periods=200, freq="h").strftime("%Y-%m-%d %H:%M CET")
    ignored = init_project("orders", write(times(when=stamps)), "y", settings).ignored
    assert "looks like times that are not read" in ignored["when"]


# -- refusals ---------------------------------------------------------------------------------------------------------


def refused(settings, source, target="y", name="orders"):
    """The one line that init ends in; nothing may be left in the projects' folder."""
    with pytest.raises((BadData, BadProject, Conflict, NotFound)) as caught:
        init_project(name, source, target, settings)
    assert "\n" not in str(caught.value)
    left = list(settings.projects_dir.iterdir()) if settings.projects_dir.exists() else []
    assert left == []
    return str(caught.value)


def test_an_unknown_target_suggests_the_nearest(toy_table, write, settings):
    assert "Did you mean 'churned'?" in refused(settings, write(toy_table), "churn")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (["same"] * 100, "is 'same' in every row"),
        ([None] * 100, "is missing in every row"),
        (["a"] * 25 + ["b"] * 24 + [None] * 51, "49 rows have a value of 'y'; bring 50 or more"),
        ([f"name {i}" for i in range(100)], "100 different values that are not numbers"),
        (["a"] * 50 + ["b"] * 49 + ["rare"], "'rare' of 'y' has 1 row"),
    ],
    ids=["constant", "missing", "few", "names", "rare"],
)
def test_a_target_that_cannot_be_learned_says_why(write, settings, target, says):
    table = pd.DataFrame({"x": np.random.default_rng(0).normal(size=100), "y": target})
    assert says in refused(settings, write(table))


def test_a_table_without_anything_to_learn_from(write, settings):
    table = pd.DataFrame({"k": "same", "y": np.arange(100) * 1.5})
    assert "'y' could be learned from" in refused(settings, write(table))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"x,y\n", "header but no rows"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not a text file"),
        ("x,y\nå,1\n".encode("latin-1"), "is not UTF-8: line 2"),
        (b"x,y\n1,2,3\n", "line 2 has 3 fields"),
        (b"y,x,y\n1,2,3\n", "column 'y' twice"),
    ],
    ids=["empty", "header only", "png", "latin-1", "ragged", "twice"],
)
def test_what_is_no_table(tmp_path, settings, content, says):
    path = tmp_path / "orders.csv"
    path.write_bytes(content)
    assert says in refused(settings, path)


def test_no_file_no_ending_no_name(toy_table, write, tmp_path, settings):
    path = write(toy_table)
    assert "Did you mean 'orders.csv'" in refused(settings, tmp_path / "order.csv")
    assert "is a folder" in refused(settings, tmp_path)
    assert "'My Orders' cannot be a project's name" in refused(settings, path, "amount", "My Orders")
    assert "cannot be a project's name" in refused(settings, path, "amount", "../orders")


def test_an_existing_project_is_left_as_it_is(toy_table, write, settings):
    path = write(toy_table)
    init_project("orders", path, "amount", settings)
    before = {p: p.read_bytes() for p in settings.projects_dir.rglob("*") if p.is_file()}
    with pytest.raises(Conflict, match="The project 'orders' exists"):
        init_project("orders", path, "churned", settings)
    assert {p: p.read_bytes() for p in settings.projects_dir.rglob("*") if p.is_file()} == before


def test_a_failure_half_way_leaves_nothing(toy_table, write, settings, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("treadle.tables.schema.Schema.save", full)
    path = write(toy_table)
    with pytest.raises(OSError, match="No space"):
        init_project("orders", path, "amount", settings)
    assert list(settings.projects_dir.iterdir()) == []
