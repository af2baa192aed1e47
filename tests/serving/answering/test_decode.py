from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from serving.answering.decode import decode_predict, event_times, refuse_repeated_keys, to_columns
from serving.problem_details import BadRequest
from treadle.models.bundle import Manifest, ManifestColumn

ROW = {"temp": 3.5, "holiday": False, "when": "2011-01-01T05:00:00", "season": "summer"}
COLUMNS = (
    ManifestColumn("temp", "number"),
    ManifestColumn("holiday", "boolean", tokens=("no", "yes")),
    ManifestColumn("when", "datetime"),
    ManifestColumn("season", "category"),
)
MANIFEST = Manifest(
    model="toy", problem="tabular-regression", family="linear", columns=COLUMNS, target="bikers", metric="mae"
)


def test_columns_have_the_types_of_the_onnx_inputs():
    columns = to_columns([ROW, ROW | {"temp": 4, "holiday": True, "season": "autumn"}], MANIFEST)
    assert columns["temp"].dtype == columns["holiday"].dtype == columns["when"].dtype == np.float64
    assert columns["temp"].tolist() == [3.5, 4.0]
    assert columns["holiday"].tolist() == [0.0, 1.0]
    assert columns["when"].tolist() == [1293858000.0, 1293858000.0]
    assert columns["season"].tolist() == ["summer", "autumn"]


def test_missing_values_reach_the_model_as_it_learned_them():
    columns = to_columns([dict.fromkeys(ROW), dict.fromkeys(ROW, "")], MANIFEST)
    assert columns["season"].tolist() == ["", ""]
    assert all(np.isnan(columns[name]).all() for name in ("temp", "holiday", "when"))


@pytest.mark.parametrize("value", ["yes", True, 1, 1.0])
def test_booleans_are_read_as_people_write_them(value):
    assert to_columns([ROW | {"holiday": value}], MANIFEST)["holiday"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *[("temp", value) for value in ("3.5", True, [1], {"a": 1}, 10**400)],
        *[("holiday", value) for value in ("maybe", 2, [True], 0.5)],
        *[("when", value) for value in ("yesterday", 1293858000, "0001-01-01T00:00:00+14:00", "9999-12-31", [])],
        *[("season", value) for value in (1, True, ["summer"], "x" * 10_001)],
    ],
)
def test_a_value_of_another_kind_is_refused_with_its_column_and_row(column, value):
    with pytest.raises(BadRequest) as caught:
        to_columns([ROW, ROW | {column: value}], MANIFEST)
    assert caught.value.members == {"column": column, "row": 1}
    assert str(value) not in str(caught.value)


def test_a_missing_column_and_a_misspelled_one_are_told_apart():
    short = {name: value for name, value in ROW.items() if name != "temp"}
    with pytest.raises(BadRequest, match="'temp' is missing; send null"):
        to_columns([ROW, short], MANIFEST)
    with pytest.raises(BadRequest, match=r"Unknown column 'tmep'\. Did you mean 'temp'"):
        to_columns([short | {"tmep": 1}], MANIFEST)


@pytest.mark.parametrize(
    "body",
    [
        {"rows": [ROW]},
        {"rows": [ROW, ROW | {"season": None}], "ids": ["a", "b"], "at": "2011-01-01"},
        {"rows": [ROW, ROW], "at": ["2011-01-01", "2011-01-02"], "ids": None},
        {"rows": [ROW | {"season": 'a "quoted" \\ text'}]},
    ],
)
def test_a_body_that_says_everything_once_passes(body):
    content = msgspec.json.encode(body)
    refuse_repeated_keys(content, decode_predict(content, 10))


@pytest.mark.parametrize(
    "body",
    [
        b'{"rows": [{"temp": 1}], "rows": [{"temp": 2}]}',
        b'{"rows": [{"temp": 1, "temp": 2}]}',
        b'{"rows": [{"temp": 1, "\\u0074emp": 2}]}',
        b'{"rows": [{"temp": "a", "temp": "b"}], "ids": ["x"]}',
        b'{"rows": [{"temp": 1}], "at": "2011-01-01", "at": null}',
    ],
)
def test_a_body_that_says_one_thing_twice_is_refused(body):
    with pytest.raises(BadRequest, match="same key twice"):
        refuse_repeated_keys(body, decode_predict(body, 10))


def test_event_times_are_utc_whatever_zone_they_came_in():
    assert event_times("2011-01-01T05:00:00+02:00", 2) == [datetime(2011, 1, 1, 3, tzinfo=UTC)] * 2
    assert event_times(["2011-01-01"], 1) == [datetime(2011, 1, 1, tzinfo=UTC)]
    with pytest.raises(BadRequest, match="ISO 8601"):
        event_times(["2011-01-01", "soon"], 2)
