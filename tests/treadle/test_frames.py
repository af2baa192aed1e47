"""A model's process hears its owner, however many files the owner had open when it began."""

import fcntl
import resource
import socket

import pytest

from treadle.capabilities.child import _is_called

FAR = 1_100  # `select` ends at 1,024


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard <= FAR:
        pytest.skip("this machine does not allow so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FAR + 1), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_it_is_heard_on_a_file_of_a_high_number():
    owner, near = socket.socketpair()
    with owner, near, socket.socket(fileno=fcntl.fcntl(near, fcntl.F_DUPFD, FAR)) as channel:
        assert channel.fileno() >= FAR
        assert not _is_called(channel)
        owner.send(b"enough")
        assert _is_called(channel)
        channel.recv(16)
        assert not _is_called(channel)
        owner.close()
        assert _is_called(channel)  # nobody listens any more
