"""Inputs by URL: off unless hosts are named; https alone, and every address is looked at when it is connected to."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from urllib.parse import SplitResult, urljoin, urlsplit

from treadle.capabilities.limits import BadInput, TooMuch
from treadle.settings import Settings

MOST_HOPS = 3
TIMEOUT_S = 10.0
CHUNK = 1 << 16
NAT64 = ipaddress.ip_network("64:ff9b::/96")
REDIRECTS = (301, 302, 303, 307, 308)


def is_public(address: str) -> bool:
    """Whether an address is on the open internet: not this machine, not this network, not a cloud's own pages.

    >>> is_public("93.184.216.34"), is_public("169.254.169.254"), is_public("10.0.0.1"), is_public("::ffff:127.0.0.1")
    (True, False, False, False)
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        found = _within(found) or found
    return found.is_global and not found.is_multicast


def _within(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for: mapped, translated (NAT64), or by 6to4."""
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


class Fetcher:
    """Gets inputs from the hosts that the settings name.

    Args:
        hosts: Names; empty allows none.
        most_bytes: Of one file.
        port: Where those hosts listen.
        allows: Whether an address may be connected to.
        context: Of TLS.
    """

    def __init__(
        self,
        hosts: frozenset[str],
        most_bytes: int,
        port: int = 443,
        allows: Callable[[str], bool] = is_public,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._hosts = hosts
        self._most_bytes = most_bytes
        self._port = port
        self._allows = allows
        self._context = context

    @classmethod
    def of(cls, settings: Settings) -> Fetcher:
        """As an installation has it."""
        hosts = frozenset(name.strip().lower() for name in settings.ready_url_hosts.split(",") if name.strip())
        return cls(hosts, settings.ready_upload_bytes)

    def fetch(self, url: str) -> bytes:
        """A file.

        Raises:
            BadInput: URLs, this one, or one that it leads to are not allowed; or there is nothing.
            TooMuch: It is too large or too slow.
        """
        if not self._hosts:
            raise BadInput("Inputs by URL are off here (TREADLE_READY_URL_HOSTS); send the file itself.")
        end = time.monotonic() + TIMEOUT_S
        for _ in range(MOST_HOPS + 1):
            found = self._get(self._checked(url), end)
            if isinstance(found, bytes):
                return found
            url = urljoin(url, found)
        raise BadInput(f"The URL leads on more than {MOST_HOPS} times.")

    def _checked(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            port = parts.port or self._port
        except ValueError:
            raise BadInput("This is no URL.") from None
        if parts.scheme != "https" or parts.username is not None or port != self._port:
            raise BadInput("A URL must be https://host/…, without a name or another port.")
        if (parts.hostname or "") not in self._hosts:
            raise BadInput("The URL's host is not one of TREADLE_READY_URL_HOSTS.")
        return parts

    def _get(self, parts: SplitResult, end: float) -> bytes | str:
        """The content, or where it is instead."""
        host = parts.hostname or ""
        try:
            connection = http.client.HTTPSConnection(host, self._port, timeout=_left(end))
            connection.sock = self._connect(host, end)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers={"User-Agent": "treadle", "Accept-Encoding": "identity"})
            response = connection.getresponse()
            if response.status in REDIRECTS:
                return response.getheader("location") or ""
            if response.status != http.client.OK:
                raise BadInput(f"The URL's host answers {response.status}.")
            return self._read(connection, response, end)
        except TimeoutError:
            raise TooMuch(f"The URL's host took longer than {TIMEOUT_S:g} seconds.") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BadInput(f"The URL cannot be fetched: {type(error).__name__}.") from None

    def _connect(self, host: str, end: float) -> ssl.SSLSocket:
        """A connection to an address that was looked at, and no other: names may change between two looks."""
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, self._port, type=socket.SOCK_STREAM)}
        if not addresses or not all(map(self._allows, addresses)):
            raise BadInput("The URL's host is at an address that is not open to this.")
        plain = socket.create_connection((sorted(addresses)[0], self._port), timeout=_left(end))
        try:
            return (self._context or ssl.create_default_context()).wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise

    def _read(self, connection: http.client.HTTPSConnection, response: http.client.HTTPResponse, end: float) -> bytes:
        content = bytearray()
        while True:
            if connection.sock is not None:
                connection.sock.settimeout(_left(end))
            chunk = response.read(CHUNK)
            if not chunk:
                return bytes(content)
            content += chunk
            if len(content) > self._most_bytes:
                raise TooMuch(f"The URL's file is larger than {self._most_bytes:,} bytes.")


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
