"""What a worker does with its port at its end."""

import socket

import pytest

from serving.worker import _waiting_until_closed


def test_who_waits_before_a_port_when_it_is_closed_is_taken_in():
    with socket.create_server(("127.0.0.1", 0)) as port:
        address = port.getsockname()
        waiting = [socket.create_connection(address, timeout=30) for _ in range(3)]
        taken = _waiting_until_closed(port)
    assert {caller.getpeername() for caller in taken} == {caller.getsockname() for caller in waiting}
    taken[0].send(b"welcome")
    assert b"welcome" in {caller.recv(7) for caller in waiting if caller.getsockname() == taken[0].getpeername()}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=30)
    for caller in (*waiting, *taken):
        caller.close()


def test_nobody_waits_before_a_port_that_was_never_listened_on():
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        assert _waiting_until_closed(port) == []
