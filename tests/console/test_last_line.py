"""What a person reads when a service does not start."""

import pytest

from console.platform import _last_line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('INFO before\n{"level": "critical", "message": "Cannot listen."}\n', "Cannot listen."),
        ("Traceback:\nValueError: 1\n\n", "ValueError: 1"),
        ("[1]\n", "[1]"),
        ('{"other": 1}', '{"other": 1}'),
        ("", "it said nothing"),
    ],
)
def test_the_last_line_of_a_log_is_told_as_a_sentence(tmp_path, text, said):
    (tmp_path / "api.log").write_text(text)
    assert _last_line(tmp_path / "api.log") == said
