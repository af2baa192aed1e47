"""Tables conformed to a schema, kept as snapshots, and a schema that is fixed once."""

import numpy as np
import pandas as pd
import pytest

from treadle.errors import BrokenTable, NotFound, TreadleError
from treadle.project import Data, load_project
from treadle.tables.data import (
    AT,
    BAD,
    ROW,
    SOURCE,
    conform,
    conform_features,
    digest,
    infer_schema,
    load_schema,
    load_snapshot,
    read_source,
    read_table,
    row_ids,
    snapshot,
)

# -- conforming -------------------------------------------------------------------------------------------------------


def test_frames_have_the_dtypes_of_their_kinds(toy):
    schema, frame = toy("tabular-classification")
    assert frame["size"].dtype == np.float64
    assert set(frame["member"].unique()) == {0.0, 1.0}
    assert frame["when"].dtype == "datetime64[us]"
    assert frame["plan"].dtype == "str"
    assert frame["plan"].isna().any()
    assert frame["churned"].dtype == "str"
    assert schema.classes == ("no", "yes")
    assert frame[AT].equals(frame["when"].rename(AT))
    assert set(frame[SOURCE]) == {"table"}
    assert BAD not in frame


def test_a_table_as_text_is_the_same_table(toy_table, toy, tmp_path):
    schema, _ = toy("tabular-classification")
    raw = toy_table.drop(columns="amount").round({"size": 6})
    frame = conform(raw, schema)
    raw.to_csv(tmp_path / "toy.csv", index=False)
    again = conform(read_table(str(tmp_path / "toy.csv")), schema)
    pd.testing.assert_frame_equal(again, frame)


def test_a_later_table_may_write_thousands_otherwise(toy_table, toy):
    schema, _ = toy("tabular-classification")
    plain = toy_table.drop(columns="amount").assign(serial=range(1000, 1600))
    written = plain.assign(serial=[f"{number:,}" for number in plain["serial"]])
    pd.testing.assert_frame_equal(conform(written, schema), conform(plain, schema))


def test_single_cells_that_cannot_be_read_are_named(toy_table, toy):
    schema, _ = toy("tabular-classification")
    raw = toy_table.astype({"size": object, "when": object})
    raw.loc[3, "size"] = "heavy"
    raw.loc[3, "when"] = "yesterday"
    frame = conform(raw, schema)
    assert "size: 'heavy' is no number" in frame.loc[3, BAD]
    assert "when: 'yesterday' is no datetime" in frame.loc[3, BAD]
    assert frame[BAD].notna().sum() == 1
    assert np.isnan(frame.loc[3, "size"])


def test_another_column_under_the_name_is_a_broken_table(toy_table, toy):
    schema, _ = toy("tabular-classification")
    with pytest.raises(BrokenTable, match="'size' should be number") as caught:
        conform(toy_table.assign(size="heavy"), schema)
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_a_broken_table(toy_table, toy):
    schema, _ = toy("tabular-classification")
    with pytest.raises(BrokenTable, match="lacks the column 'plan'.* Did you mean 'plans'"):
        conform(toy_table.rename(columns={"plan": "plans"}), schema)
    with pytest.raises(BrokenTable, match="lacks the column 'churned'"):
        conform(toy_table.drop(columns="churned"), schema)


def test_columns_nobody_learns_from_may_go_and_others_may_come(toy_table):
    raw = toy_table.assign(note=[f"this is the long note number {i} of many" for i in range(len(toy_table))])
    schema = infer_schema(raw, Data(source="a.csv", target="amount"), "tabular-regression")
    frame = conform(raw.drop(columns="note").assign(new=1), schema)
    assert frame["note"].isna().all()
    assert "new" not in frame


def test_features_conform_without_a_target(toy_table, toy):
    schema, frame = toy("tabular-regression")
    raw = toy_table.drop(columns=["amount", "churned"])
    features, unread = conform_features(raw, schema)
    pd.testing.assert_frame_equal(features, frame[[c.name for c in schema.features]])
    assert unread == {}
    raw = raw.astype({"size": object})
    raw.loc[[3, 5], "size"] = "heavy"
    features, unread = conform_features(raw, schema)
    assert unread == {"size": 2}
    assert features.loc[[3, 5], "size"].isna().all()


def test_row_ids_follow_values_and_number_repeats():
    frame = pd.DataFrame({"a": [1.0, 2.0, 1.0, 1.0], "b": ["x", None, "x", "x"]})
    ids = row_ids(frame)
    assert ids.is_unique
    assert list(ids[[2, 3]]) == [f"{ids[0]}#2", f"{ids[0]}#3"]
    assert list(row_ids(frame.iloc[[1]])) == [ids[1]]
    assert len(row_ids(frame.iloc[:0])) == 0


# -- snapshots and the fixed schema -----------------------------------------------------------------------------------


def test_a_snapshot_is_named_by_its_content_and_kept_once(toy, settings):
    _, frame = toy("tabular-regression")
    path = snapshot(frame, settings, "toy")
    assert path == snapshot(frame.copy(), settings, "toy")
    back = load_snapshot(path)
    pd.testing.assert_frame_equal(back, frame)
    assert digest(back) == digest(frame)
    frame.loc[1, "size"] += 1
    assert snapshot(frame, settings, "toy") != path
    assert not list((settings.state_dir / "snapshots").rglob("*.part"))


@pytest.fixture
def shop(settings, toy_table):
    """Writes projects/shop around the toy table; more keys of `data` may be given."""

    def make(more=""):
        folder = settings.projects_dir / "shop"
        (folder / "data").mkdir(parents=True, exist_ok=True)
        toy_table.to_csv(folder / "data/shop.csv", index=False)
        body = f"name: shop\nproblem: tabular-regression\ndata: {{source: data/shop.csv, target: amount{more}}}\n"
        (folder / "project.yaml").write_text(body)
        return load_project("shop", settings)

    return make


def test_types_are_inferred_once_and_then_fixed(shop, toy_table):
    project = shop()
    first = load_schema(project)
    toy_table["size"] = "heavy"
    shop()
    assert load_schema(project) == first


def test_what_people_change_in_the_project_later_holds(shop):
    load_schema(shop())
    schema = load_schema(shop(", time: when, ignore: [churned], types: {serial: category}"))
    assert schema.time == "when"
    assert schema.column("serial").kind == "category"
    assert "churned" not in [c.name for c in schema.features]


def test_a_source_that_has_moved_is_named_with_the_line_that_names_it(shop):
    project = shop()
    assert len(read_source(project)) == 600
    (project.folder / "data/shop.csv").rename(project.folder / "data/shops.csv")
    with pytest.raises(NotFound) as caught:
        load_schema(project)
    said = str(caught.value)
    assert said.startswith(f"No file {project.folder}/data/shop.csv. Did you mean 'shops.csv'?")
    assert (
        f"{project.folder}/project.yaml names it as data.source; put it back, or write there where it is now." in said
    )


@pytest.mark.parametrize("seed", range(25))
def test_no_table_of_odd_cells_ends_in_anything_but_a_table_or_one_line(tmp_path, seed):
    rng = np.random.default_rng(seed)
    cells = ["", "1", "1,234", "-", "NaN", "inf", "1e999", "é", "日本", "yes", "no", "2024-02-30", "31.12.1999", "?", "0",
             "9" * 40, " ", "'", "=1+1", "\u200b", "null", "1.2.3", "00:00", "99999-01-01", "🎉", "#2", "%"]  # fmt: skip
    table = pd.DataFrame({f"c{i}": rng.choice(rng.choice(cells, 4), 70) for i in range(6)})
    path = tmp_path / "odd.csv"
    table.to_csv(path, index=False)
    raw = read_table(str(path))
    for problem in ("tabular-classification", "tabular-regression"):
        try:
            schema = infer_schema(raw, Data(source="odd.csv", target="c0"), problem)
            frame = conform(raw, schema)
        except TreadleError as error:
            assert "\n" not in str(error)  # noqa: PT017
            continue
        assert len(frame) == 70
        assert frame[ROW].is_unique
        numbers = frame.select_dtypes("number").to_numpy()
        assert not np.isinf(numbers).any()
