"""Durations are written as they are read, and nothing else is one."""

import pytest

from treadle.durations import format_duration, parse_duration


@pytest.mark.parametrize("text", ["0s", "45s", "15m", "36h", "3d", "2w"])
def test_durations_are_written_as_read(text):
    assert format_duration(parse_duration(text)) == text


@pytest.mark.parametrize("text", ["", "6", "h", "-1h", "1.5h", "6 h", "1y", "1h30m"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)
