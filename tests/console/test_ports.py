"""Ports: the wished ones, the next free ones, and a clear word when one is taken."""

from __future__ import annotations

import os
import socket

import pytest

from console.ports import choose_ports, free_port, is_free
from treadle.errors import Unavailable
from treadle.settings import Settings

pytestmark = pytest.mark.enable_socket


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def _settings(home, api_port):
    return Settings(
        home=home, api_port=api_port, prefect_port=free_port("127.0.0.1"), mlflow_port=free_port("127.0.0.1")
    )


def test_a_taken_port_is_named_with_its_holder_and_the_way_out(tmp_path, taken):
    with pytest.raises(Unavailable) as caught:
        choose_ports(_settings(tmp_path, taken), auto=False)
    message = str(caught.value)
    assert caught.value.exit_code == 5
    assert str(taken) in message
    assert f"process {os.getpid()}" in message
    assert "--api-port" in message
    assert "--auto-ports" in message


def test_auto_ports_move_only_what_is_taken(tmp_path, taken):
    settings = _settings(tmp_path, taken)
    ports = choose_ports(settings, auto=True)
    assert ports["api"] != taken
    assert is_free("127.0.0.1", ports["api"])
    assert ports["prefect"] == settings.prefect_port
    assert ports["mlflow"] == settings.mlflow_port


def test_one_port_for_two_services_is_refused(tmp_path):
    port = free_port("127.0.0.1")
    settings = Settings(home=tmp_path, api_port=port, prefect_port=port, mlflow_port=free_port("127.0.0.1"))
    with pytest.raises(Unavailable, match="another service of this platform"):
        choose_ports(settings, auto=False)
    assert len(set(choose_ports(settings, auto=True).values())) == 3
