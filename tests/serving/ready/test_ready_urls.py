"""Inputs by URL, against a real TLS server: only what is named, only open addresses, no redirect out, no endless file."""

import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serving.ready.urls import Fetcher, is_public
from treadle.capabilities.limits import BadInput, TooMuch

CONTENT = b"a picture, say"


class Files(BaseHTTPRequestHandler):
    """Some files, and some that lead elsewhere."""

    def do_GET(self):
        port = self.server.server_address[1]
        elsewhere = {
            "/here": f"https://localhost:{port}/file",
            "/relative": "/file",
            "/loop": "/loop",
            "/plain": f"http://localhost:{port}/file",
            "/other": f"https://127.0.0.1:{port}/file",
            "/inside": "https://169.254.169.254/latest/meta-data",
        }
        if self.path in elsewhere:
            self.send_response(302)
            self.send_header("Location", elsewhere[self.path])
            self.end_headers()
        elif self.path == "/file":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b"x" * 1000)
        else:
            self.send_error(404)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here")
    folder = tmp_path_factory.mktemp("tls")
    key, made = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", made, "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True)
    return key, made


@pytest.fixture(scope="module")
def port(certificate):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[1], certificate[0])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def make_fetcher(port, certificate):
    def make(hosts=("localhost",), allows=lambda _: True, most_bytes=10_000):
        context = ssl.create_default_context(cafile=certificate[1])
        return Fetcher(frozenset(hosts), most_bytes, port, allows, context)

    return make


def test_a_file_is_got_and_redirects_within_are_followed(make_fetcher, port):
    fetch = make_fetcher().fetch
    assert fetch(f"https://localhost:{port}/file") == CONTENT
    assert fetch(f"https://localhost:{port}/here") == CONTENT
    assert fetch(f"https://localhost:{port}/relative") == CONTENT


@pytest.mark.parametrize("path", ["plain", "other", "inside", "loop", "nothing"])
def test_what_leads_elsewhere_is_not_followed(make_fetcher, port, path):
    with pytest.raises(BadInput):
        make_fetcher().fetch(f"https://localhost:{port}/{path}")


def test_an_endless_file_is_cut_off(make_fetcher, port):
    with pytest.raises(TooMuch):
        make_fetcher().fetch(f"https://localhost:{port}/endless")


def test_an_inner_address_is_not_connected_to(make_fetcher, port):
    with pytest.raises(BadInput, match="not open to this"):
        make_fetcher(allows=is_public).fetch(f"https://localhost:{port}/file")


@pytest.mark.parametrize(
    "url",
    ["http://localhost/file", "ftp://localhost/x", "file:///etc/passwd", "https://user@localhost/x", "https://localhost:22/x",
     "https://elsewhere.example/x", "https://localhost.elsewhere.example/x", "https://[::1]/x", "https://localhost:99999/x", "x", ""],
)  # fmt: skip
def test_other_urls_are_refused(make_fetcher, url):
    with pytest.raises(BadInput):
        make_fetcher().fetch(url)


def test_all_are_off_unless_hosts_are_named(make_fetcher, port):
    with pytest.raises(BadInput, match="TREADLE_READY_URL_HOSTS"):
        make_fetcher(hosts=()).fetch(f"https://localhost:{port}/file")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1", "::1", "fe80::1%eth0",
     "fd00::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"],
)  # fmt: skip
def test_addresses_of_this_machine_and_network_are_not_public(address):
    assert not is_public(address)
