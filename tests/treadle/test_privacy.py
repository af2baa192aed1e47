"""Pseudonyms are stable and need the key; what is dropped is gone; the key is made once."""

import threading

import pytest

from treadle.errors import BadProject
from treadle.ledger import Row
from treadle.privacy import Redactor, check_columns, privacy_key, pseudonym, unknown_where_redacted
from treadle.settings import Settings

ROW = {"email": "ann@example.org", "user_id": 4711, "age": 30}


def test_a_row_is_kept_hashed_and_dropped_by_column():
    redact = Redactor({"email": "drop", "user_id": "hash"}, b"key")
    assert redact(ROW) == {"user_id": pseudonym(4711, b"key"), "age": 30}
    assert redact(ROW | {"user_id": None})["user_id"] is None
    assert redact(ROW | {"user_id": "4711"}) == redact(ROW | {"user_id": 4711.0}) == redact(ROW)
    assert Redactor({"user_id": "hash"}, b"other")(ROW)["user_id"] != redact(ROW)["user_id"]


def test_redacted_columns_are_not_known():
    rows = [Row("a", 1, None, {"email": "x", "age": 3}, {}, None)]
    assert unknown_where_redacted(rows, {"email": "hash"})[0].features == {"age": 3}
    assert unknown_where_redacted(rows, {}) == rows


def test_a_policy_for_no_column_is_refused():
    with pytest.raises(BadProject, match=r"'emial'.*'email'"):
        check_columns(["emial"], ["email", "age"])


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path):
    settings = Settings(home=tmp_path)
    keys, start = [], threading.Barrier(16)

    def ask():
        start.wait()
        keys.append(privacy_key(settings))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    (path,) = (tmp_path / ".treadle").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
