"""The supervisor's configuration, and how strays of one home are told from others'."""

from __future__ import annotations

import configparser
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil

from console import supervision
from treadle.settings import Settings


def _read(path):
    config = configparser.RawConfigParser()
    config.read(path)
    return config


def test_config_stops_the_worker_first(tmp_path):
    config = _read(supervision.write_config(Settings(home=tmp_path)))
    priorities = {name: config.getint(f"program:{name}", "priority") for name in ("prefect", "mlflow", "api", "worker")}
    assert max(priorities, key=lambda name: priorities[name]) == "worker"
    assert min(priorities, key=lambda name: priorities[name]) == "prefect"
    assert all(config.get(f"program:{name}", "stopasgroup") == "true" for name in priorities)


def test_a_percent_sign_in_the_path_is_kept(tmp_path):
    home = tmp_path / "50% off"
    home.mkdir()
    text = supervision.write_config(Settings(home=home)).read_text()
    assert f"directory={str(home).replace('%', '%%')}" in text


def test_socket_is_private_short_and_one_a_home(tmp_path):
    paths = []
    for name in ("a" * 200, "b"):
        home = tmp_path / name
        home.mkdir()
        config = _read(supervision.write_config(Settings(home=home)))
        paths.append(Path(config.get("unix_http_server", "file")))
    assert paths[0] != paths[1]
    assert all(len(os.fsencode(path)) < 100 for path in paths)
    assert stat.S_IMODE(paths[0].parent.stat().st_mode) == 0o700


def test_strays_are_ended_only_in_their_own_home(tmp_path):
    settings = Settings(home=tmp_path / "mine")
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    mine = subprocess.Popen(sleep, env=dict(os.environ) | {supervision.MARK: str(settings.home)})
    other = subprocess.Popen(sleep, env=dict(os.environ) | {supervision.MARK: str(tmp_path / "other")})
    try:
        time.sleep(0.3)
        assert supervision.end_strays(settings, {"NOT_THERE"}, grace_s=1) == []
        assert supervision.end_strays(settings, set(), grace_s=5) == [mine.pid]
        assert not psutil.pid_exists(mine.pid)
        assert other.poll() is None
    finally:
        for process in (mine, other):
            process.kill()
            process.wait()


def test_nobody_there_is_down(tmp_path):
    assert not supervision.is_running(Settings(home=tmp_path))
    assert not supervision.is_present(Settings(home=tmp_path))
