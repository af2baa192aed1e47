"""How a command speaks: prints of libraries stay off standard output, failures are one line with a code."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from console.output import table

HEAD = """
import errno, os
from console.output import answering, give
from treadle.errors import Conflict
with answering() as answer:
    print("a library's chatter")
    os.system("echo chatter of a child")
"""


def run(tmp_path, body):
    code = HEAD + "\n".join(f"    {line}" for line in body.splitlines())
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "/usr/bin:/bin", "TREADLE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_only_the_answer_is_on_standard_output(tmp_path):
    done = run(tmp_path, "give(answer, {'n': float('nan'), 'pair': (1, 2)}, True, str)")
    assert json.loads(done.stdout) == {"n": None, "pair": [1, 2]}
    assert "a library's chatter" in done.stderr
    assert "chatter of a child" in done.stderr


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        ("raise Conflict('Version 3 won.')", 3, "Version 3 won."),
        ("raise KeyboardInterrupt", 130, "Stopped. Run the same command again to go on."),
        ("raise OSError(errno.ENOSPC, 'No space left')", 5, "The disk is full"),
        ("raise RuntimeError('run failed') from OSError(errno.ENOSPC, 'No space')", 5, "The disk is full"),
    ],
)
def test_failures_are_one_line_and_a_code(tmp_path, body, code, line):
    done = run(tmp_path, body)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.strip().splitlines()[-1].startswith(line)
    assert "Traceback" not in done.stderr


def test_a_bug_leaves_its_trace_in_a_file(tmp_path):
    done = run(tmp_path, "{}['key']")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "KeyError" in (tmp_path / ".treadle" / "logs" / "last-error.log").read_text()


def test_table_aligns_and_shows_missing_values():
    text = table([{"a": None, "b": [1, 2]}, {"a": 0.123456, "b": []}], ["a", "b"])
    assert text.splitlines() == ["a       b", "—       1, 2", "0.1235  —"]
