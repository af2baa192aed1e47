"""HTTP/1.1 as it comes in: nothing without end, and offers to speak another protocol passed over.

uvicorn's parser has no limit: headers, trailers and chunk extensions without end would fill the memory before anybody is
asked for a key. And it takes the body of a request with such an offer for bytes of the other protocol.
"""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_UNTOLD = 65_536
"""Bytes in which the parser must tell of something: a head that is whole, or a part of a body."""
OFFERS = (b"upgrade", b"http2-settings")


class Framing(HttpToolsProtocol):
    """uvicorn's protocol with a limit of what tells nothing, which knows no upgrade.

    Attributes:
        told: Whether the parser has told of a request, a head or a part of a body since it was fed last.
        offered: Whether the head that the parser has told of offers to speak another protocol.
    """

    told = False
    offered = False
    _untold = 0

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._unset_keepalive_if_required()
        self.told = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self.offered:
                self._pass_over(data[offer.args[0] :])
            else:
                self._unsupported_upgrade_warning()
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)
        self._untold = 0 if self.told else self._untold + len(data)
        if self._untold > MOST_UNTOLD and not self.transport.is_closing():
            self.end_endless()

    def end_endless(self) -> None:
        """End a request that goes on and on without telling anything."""
        raise NotImplementedError

    def is_offer(self) -> bool:
        """Whether the head that is whole now offers to speak another protocol; then the parser stops behind it."""
        self.offered = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        return self.offered

    def _pass_over(self, rest: bytes) -> None:
        """Go on with a request as if it had offered nothing (RFC 9110, section 7.8): Java's clients offer HTTP/2 each time.

        Args:
            rest: What came behind the head.
        """
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % (name, value) for name, value in self.headers if name not in OFFERS]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)
