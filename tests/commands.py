"""The command line as a person calls it, in a home of its own: what it answers as JSON, and the platform up for a while."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def treadle(home: Path, *words: str, **environment: str) -> Any:
    """What a command answers; it must succeed.

    Args:
        home: The home it is called in.
        words: The command.
        environment: More environment variables.
    """
    command = [sys.executable, "-m", "console.cli", *words, "--json"]
    known = os.environ | {"TREADLE_HOME": str(home)} | environment
    done = subprocess.run(command, env=known, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@contextmanager
def platform_of_toy(home: Path, rules: str) -> Iterator[None]:
    """The platform with a project `toy` of `toy.csv`, target `y`, that has these rules beside what `init` writes, and a champion."""
    treadle(home, "init", "toy", "--from", str(home / "toy.csv"), "--target", "y")
    path = home / "projects/toy/project.yaml"
    path.write_text(path.read_text() + rules)
    treadle(home, "up", "--detach", "--auto-ports")
    try:
        assert treadle(home, "train", "toy")["decision"] == "promoted"
        yield
    finally:
        treadle(home, "down")
