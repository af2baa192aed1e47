"""Processes of one machine hear each other, however many files they had open when they began."""

import fcntl
import resource
import socket

import pytest

from treadle.frames import is_readable

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
        assert not is_readable(channel)
        owner.send(b"enough")
        assert is_readable(channel)
        channel.recv(16)
        assert not is_readable(channel)
        owner.close()
        assert is_readable(channel)  # nobody listens any more
