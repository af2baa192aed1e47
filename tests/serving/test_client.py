"""Our own client asks for predictions with rows as people have them: mappings, or a pandas DataFrame with its gaps."""

import os
import subprocess
import sys
import sysconfig
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.serving.conftest import ROW
from tests.serving.sockets import served
from treadle import Client
from treadle.client import Refused

pytestmark = pytest.mark.e2e


PLACED = list(Path(sysconfig.get_path("purelib")).glob("__editable__*_finder.py"))


@pytest.mark.skipif(bool(PLACED), reason="installed before the checkout was put on the path; `make install` mends it")
def test_a_script_beside_a_folder_of_our_name_finds_the_client(tmp_path):
    (tmp_path / "treadle").mkdir()  # a clone has this name
    (tmp_path / "ask.py").write_text("from treadle import Client; print(Client.__name__)")
    quiet = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "ask.py"], cwd=tmp_path, env=quiet, capture_output=True, text=True, check=True
    )
    assert done.stdout == "Client\n"


@pytest.fixture
def asked(home):
    with served(home) as (_, (host, port)):
        yield Client(f"http://{host}:{port}")


def test_a_frame_is_asked_as_it_is(asked):
    frame = pd.DataFrame([ROW, ROW | {"temp": np.nan}, ROW | {"season": None}])
    frame["when"] = pd.to_datetime(frame["when"])
    frame.loc[2, "when"] = pd.NaT
    answers = asked.predict("toy", frame, ids=["a", "b", "c"])
    gaps = [ROW, ROW | {"temp": None}, ROW | {"season": None, "when": None}]
    assert [answer["id"] for answer in answers] == ["a", "b", "c"]
    assert [row["prediction"] for row in answers] == [row["prediction"] for row in asked.predict("toy", gaps)]
    assert answers[0]["prediction"] != answers[1]["prediction"]


def test_values_of_numpy_and_times_are_sent(asked):
    row = {
        "temp": np.float32(3.5),
        "holiday": np.bool_(False),
        "when": datetime(2011, 1, 1, 5),
        "season": np.str_("summer"),
    }
    assert asked.predict("toy", [row])[0]["prediction"] == asked.predict("toy", [ROW])[0]["prediction"]


def test_labels_come_back_with_their_event_time(home, asked):
    at = "2011-01-01T05:00:00+00:00"
    asked.predict("toy", [ROW, ROW], ids=["a", "b"], at=at)
    assert asked.feedback("toy", {"a": np.int64(7), "b": 8.5}) == {"accepted": 2, "repeated": 0}
    assert {row.at for row in home.ledger.window("toy", 10)} == {datetime(2011, 1, 1, 5, tzinfo=UTC)}


def test_what_is_no_number_stays_refused(asked):
    with pytest.raises(Refused, match="not JSON") as refused:
        asked.predict("toy", [ROW | {"temp": float("inf")}])
    assert refused.value.status == 400
